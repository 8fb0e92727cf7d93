package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
)

// readInToto reads an in-toto statement: bare, in a DSSE envelope, or in a
// Sigstore bundle. Signatures are not verified here; until somebody does, the
// evidence has no Producer. A statement about one artifact is bound to it; one
// about several is bound to none, and the notes say so.
//
// Usually the evidence is the attestation, with its predicate type. Asked for
// another kind, the predicate is read as the report that it is: a test result,
// vulnerabilities, a bill of materials or VEX.
func readInToto(r *report) error {
	a := &inToto{rep: r, c: newCursor(r)}
	a.envelope()
	if a.c.err != nil {
		return a.c.err
	}
	if a.payload != nil {
		if a.payloadType != assay.StatementPayloadType {
			return &assay.Error{Code: assay.CodeInvalid, Field: "payloadType", Msg: fmt.Sprintf("%q is not understood; expected %q", a.payloadType, assay.StatementPayloadType)}
		}
		return a.enclosed()
	}
	return a.finish()
}

type inToto struct {
	rep         *report
	c           *cursor
	statement   bool
	kind        string // _type
	predicate   []byte // the predicate as it stands
	subjects    int
	digest      string // of the first subject
	payload     []byte
	payloadType string
	signatures  int
}

// envelope reads the members of the document, whichever of the three it is.
func (a *inToto) envelope() {
	c := a.c
	for key := range c.document() {
		switch key {
		case "dsseEnvelope":
			for key := range c.object() {
				a.signed(key)
			}
		case "messageSignature":
			c.fail(assay.CodeInvalid, c.next(), "signs a file, not a statement; a bundle of that kind is no evidence")
		case "payload", "payloadType", "signatures":
			a.signed(key)
		default:
			a.member(key)
		}
	}
	if c.err == nil && a.payload == nil && !a.statement {
		c.err = missing("_type", "an in-toto statement, a DSSE envelope or a Sigstore bundle")
	}
}

// signed reads a member of a DSSE envelope.
func (a *inToto) signed(key string) {
	c := a.c
	switch key {
	case "payloadType":
		a.payloadType = c.name()
	case "payload":
		at := c.next()
		raw := c.bytes(false)
		if c.err != nil {
			return
		}
		// The standard allows both alphabets.
		text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(raw), "="))
		b, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			c.fail(assay.CodeInvalid, at, "is not base64")
			return
		}
		a.payload = b
	case "signatures":
		for range c.array() {
			a.signatures++
			c.skip()
		}
	default:
		c.skip()
	}
}

// member reads a member of a statement.
func (a *inToto) member(key string) {
	c := a.c
	switch key {
	case "_type":
		a.statement, a.kind = true, c.name()
	case "predicateType":
		a.rep.ev.Predicate = c.name()
	case "subject":
		for range c.array() {
			a.subject()
		}
	case "predicate":
		if a.rep.ev.Kind == assay.KindAttestation {
			c.skip()
			return
		}
		if c.peek(); c.err != nil {
			return
		}
		raw, err := c.dec.ReadValue()
		if err != nil {
			c.syntax(err)
			return
		}
		a.predicate = bytes.Clone(raw)
	default:
		c.skip()
	}
}

func (a *inToto) subject() {
	c := a.c
	a.subjects++
	for key := range c.object() {
		if key != "digest" {
			c.skip()
			continue
		}
		for alg := range c.object() {
			if sum := c.name(); alg == "sha256" && a.subjects == 1 {
				a.digest = sum
			}
		}
	}
}

// inside returns a report on b, which lies inside this one, that shares the
// evidence. done takes over what it gathered.
func (a *inToto) inside(b []byte) (sub *report, done func()) {
	r := *a.rep
	r.in, r.head = newInput(bytes.NewReader(b)), b[:min(len(b), headBytes)]
	return &r, func() {
		r.in, r.head = a.rep.in, a.rep.head
		*a.rep = r
	}
}

// enclosed reads the statement in an envelope.
func (a *inToto) enclosed() error {
	sub, done := a.inside(a.payload)
	in := &inToto{rep: sub, c: newCursor(sub)}
	for key := range in.c.document() {
		in.member(key)
	}
	if in.c.err != nil {
		return within("payload", in.c.err)
	}
	if err := in.finish(); err != nil {
		return within("payload", err)
	}
	if a.signatures == 0 {
		sub.note("the envelope holds no signature")
	} else {
		sub.note("%s not verified by this reader", plural(a.signatures, "signature was", "signatures were"))
	}
	done()
	return nil
}

// within says that an error happened in something inside the report, where lines mean nothing to its reader.
func within(field string, err error) error {
	e := *asError(err)
	e.Line, e.Column = 0, 0
	e.Field = strings.TrimSuffix(field+"."+e.Field, ".")
	return &e
}

// finish checks the statement, and reads the predicate if its kind is asked for.
func (a *inToto) finish() error {
	r := a.rep
	switch {
	case !strings.HasPrefix(a.kind, "https://in-toto.io/Statement/"):
		return &assay.Error{Code: assay.CodeInvalid, Field: "_type", Msg: fmt.Sprintf("%q is no in-toto statement; expected https://in-toto.io/Statement/v1", a.kind)}
	case r.ev.Predicate == "":
		return missing("predicateType", "a URI")
	case a.subjects == 0:
		return missing("subject", "at least one artifact")
	}
	r.ev.Tool.Name = "in-toto"
	switch {
	case a.subjects > 1:
		r.note("the statement is about %d artifacts; the evidence is bound to none of them", a.subjects)
	case a.digest == "":
		r.note("the statement names its artifact without a SHA-256; the evidence is not bound to it")
	default:
		if raw, err := hex.DecodeString(a.digest); err != nil || len(raw) != 32 {
			return &assay.Error{Code: assay.CodeInvalid, Field: "subject[0].digest.sha256", Msg: "is not a SHA-256 sum; expected 64 hexadecimal digits"}
		}
		r.ev.Subject = assay.Digest("sha256:" + strings.ToLower(a.digest))
	}
	if r.ev.Kind == assay.KindAttestation {
		return nil
	}
	return a.asKind()
}

// predicates are the predicate types that are reports of another kind.
var predicates = []struct {
	prefix string
	kind   assay.EvidenceKind
	read   func(*report) error
}{
	{"https://in-toto.io/attestation/test-result/", assay.KindTests, readTestResult},
	{"https://in-toto.io/attestation/vulns/", assay.KindVulnerabilities, readVulns},
	{"https://cyclonedx.org/bom", assay.KindSBOM, readCycloneDX},
	{"https://cyclonedx.org/bom", assay.KindVulnerabilities, readCycloneDX},
	{"https://spdx.dev/Document", assay.KindSBOM, readSPDX},
	{"https://openvex.dev/ns", assay.KindVEX, readOpenVEX},
}

func (a *inToto) asKind() error {
	r := a.rep
	for _, p := range predicates {
		if p.kind != r.ev.Kind || !strings.HasPrefix(r.ev.Predicate, p.prefix) {
			continue
		}
		if a.predicate == nil {
			return missing("predicate", "a "+string(p.kind)+" report")
		}
		sub, done := a.inside(a.predicate)
		if err := p.read(sub); err != nil {
			return within("predicate", err)
		}
		done()
		return nil
	}
	var can []string
	for _, p := range predicates {
		can = append(can, p.prefix)
	}
	return &assay.Error{Code: assay.CodeInvalid, Field: "predicateType",
		Msg:  fmt.Sprintf("%q is not evidence of kind %s", r.ev.Predicate, r.ev.Kind),
		Hint: "predicates that are read as reports start with " + strings.Join(slices.Compact(can), ", ")}
}

// readTestResult reads the predicate test-result v0.1, which lists names only.
func readTestResult(r *report) error {
	c := newCursor(r)
	var result string
	n := &assay.TestCounts{}
	count, warned := 0, 0
	names := func(each func(name string)) {
		for range c.array() {
			if count++; count > MaxTests {
				c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d test cases", MaxTests))
				return
			}
			each(c.name())
		}
	}
	for key := range c.document() {
		switch key {
		case "result":
			result = c.name()
		case "passedTests":
			names(func(string) { n.Passed++ })
		case "warnedTests":
			names(func(string) {
				n.Passed++
				warned++
			})
		case "failedTests":
			names(func(name string) {
				n.Failed++
				c.add(assay.Finding{Rule: name, Severity: assay.SeverityHigh, Message: "failed", Fingerprint: r.prints.of("test-result", name)})
			})
		default:
			c.skip()
		}
	}
	if c.err != nil {
		return c.err
	}
	switch {
	case result != "PASSED" && result != "WARNED" && result != "FAILED":
		return &assay.Error{Code: assay.CodeInvalid, Field: "result", Msg: fmt.Sprintf("%q is not one of PASSED, WARNED, FAILED", result)}
	case result == "FAILED" && n.Failed == 0:
		n.Failed++
		c.add(assay.Finding{Rule: "test-result", Severity: assay.SeverityHigh, Message: "the result is FAILED, but no failed test is listed", Fingerprint: r.prints.of("test-result", "", "failed")})
	case *n == (assay.TestCounts{}):
		r.note("no test is listed; the result is %s", result)
	}
	if warned > 0 {
		r.note("%s with a warning", plural(warned, "test passed", "tests passed"))
	}
	r.ev.Tests = n
	return c.err
}

// readVulns reads the predicate vulns v0.1 and v0.2.
func readVulns(r *report) error {
	c := newCursor(r)
	seen := false
	for key := range c.document() {
		switch key {
		case "scanner":
			for key := range c.object() {
				switch key {
				case "uri":
					r.ev.Tool.Name = c.name()
				case "version":
					r.ev.Tool.Version = c.name()
				case "result":
					seen = true
					for range c.array() {
						readVuln(r, c)
					}
				default:
					c.skip()
				}
			}
		case "metadata":
			for key := range c.object() {
				if key == "scanFinishedOn" {
					r.timestamp("metadata.scanFinishedOn", c.name())
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
	if c.err == nil && !seen {
		return missing("scanner.result", "a list")
	}
	return c.err
}

func readVuln(r *report, c *cursor) {
	f := assay.Finding{Severity: assay.SeverityUnknown}
	for key := range c.object() {
		switch key {
		case "id":
			f.Rule = c.name()
		case "severity":
			for range c.array() {
				var method, score string
				for key := range c.object() {
					switch key {
					case "method":
						method = c.name()
					case "score":
						score = c.scalar()
					default:
						c.skip()
					}
				}
				f.Severity = worst(f.Severity, predicateRating(method, score))
			}
		default:
			c.skip()
		}
	}
	if c.err == nil && f.Rule == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no id")
	}
	f.Message = "the report gives no summary"
	f.Fingerprint = r.prints.of("vulns", f.Rule)
	c.add(f)
}

// predicateRating reads a score, which is a CVSS number, a vector or a word.
func predicateRating(method, score string) assay.Severity {
	if base, ok := cvss3(score); ok {
		return bandOf(base)
	}
	if sev := severityWord(score); sev != assay.SeverityUnknown {
		return sev
	}
	if strings.Contains(strings.ToLower(method), "cvss") {
		return bandOfText(score)
	}
	return assay.SeverityUnknown
}
