package evidence

import (
	"regexp"
	"strings"

	"assay.dev/assay"
)

var trivyKinds = kinds(assay.KindVulnerabilities, assay.KindManifests, assay.KindSecrets)

var (
	trivyPackages = regexp.MustCompile(`"Class"\s*:\s*"(?:os-pkgs|lang-pkgs)"|"Vulnerabilities"\s*:\s*\[`)
	trivyConfig   = regexp.MustCompile(`"Class"\s*:\s*"config"|"Misconfigurations"\s*:\s*\[`)
	trivySecret   = regexp.MustCompile(`"Class"\s*:\s*"secret"|"Secrets"\s*:\s*\[`)
)

// trivyKind is what a Trivy report is mostly about: packages if it begins with
// any, otherwise configuration, otherwise secrets.
func trivyKind(head []byte) assay.EvidenceKind {
	switch {
	case trivyPackages.Match(head):
		return assay.KindVulnerabilities
	case trivyConfig.Match(head):
		return assay.KindManifests
	case trivySecret.Match(head):
		return assay.KindSecrets
	}
	return assay.KindVulnerabilities
}

// readTrivy reads what a Trivy report holds of the kind that is asked for:
// vulnerabilities, misconfigurations as evidence of kind manifests, or secrets.
// Notes count what it holds of other kinds. Severity is Trivy's word. Checks
// that passed are not findings; what a Trivy policy or VEX takes out is
// suppressed. The text of a secret is never read.
func readTrivy(r *report) error {
	t := &trivy{rep: r, c: newCursor(r), others: map[string]int{}}
	r.ev.Tool = assay.Tool{Name: "trivy"}
	c := t.c
	var schema int
	for key := range c.document() {
		switch key {
		case "SchemaVersion":
			at := c.next()
			if schema = c.whole(); c.err == nil && schema != 2 {
				c.fail(assay.CodeInvalid, at, "is not understood; expected 2")
			}
		case "CreatedAt":
			r.timestamp("CreatedAt", c.name())
		case "Trivy":
			for key := range c.object() {
				if key == "Version" {
					r.ev.Tool.Version = c.name()
					continue
				}
				c.skip()
			}
		case "Metadata":
			t.metadata()
		case "Results":
			for range c.array() {
				t.result()
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case schema == 0:
		return missing("SchemaVersion", "2")
	}
	t.notes()
	return t.names.bind(r)
}

type trivy struct {
	rep    *report
	c      *cursor
	names  digests
	looked bool           // a result of the kind that is read is listed
	others map[string]int // findings of other kinds, by what they are called
}

func (t *trivy) notes() {
	for _, what := range []struct{ list, one, many string }{
		{"Vulnerabilities", "vulnerability; read it as evidence of kind vulnerabilities", "vulnerabilities; read them as evidence of kind vulnerabilities"},
		{"Misconfigurations", "misconfiguration; read it as evidence of kind manifests", "misconfigurations; read them as evidence of kind manifests"},
		{"Secrets", "secret; read it as evidence of kind secrets", "secrets; read them as evidence of kind secrets"},
		{"Licenses", "finding about a licence, which is not read", "findings about licences, which are not read"},
		{"CustomResources", "custom resource, which is not read", "custom resources, which are not read"},
	} {
		if n := t.others[what.list]; n > 0 {
			t.rep.note("also holds %s", plural(n, what.one, what.many))
		}
	}
	if !t.looked {
		t.rep.note("lists no result of this kind; the report does not say whether Trivy looked for any")
	}
}

func (t *trivy) metadata() {
	c := t.c
	for key := range c.object() {
		if key != "RepoDigests" {
			c.skip()
			continue
		}
		for range c.array() {
			t.names.add(c.name())
		}
	}
}

// trivyResult is one scanned target. Its name and class may come after its findings.
type trivyResult struct{ target, class string }

func (t *trivy) result() {
	c := t.c
	first := len(t.rep.ev.Findings)
	var res trivyResult
	for key := range c.object() {
		switch key {
		case "Target":
			res.target = c.name()
		case "Class":
			res.class = c.name()
		case "Vulnerabilities", "Misconfigurations", "Secrets":
			for range c.array() {
				t.finding(key)
			}
		case "Licenses", "CustomResources":
			for range c.array() {
				t.others[key]++
				c.skip()
			}
		case "ExperimentalModifiedFindings":
			for range c.array() {
				t.modified()
			}
		default:
			c.skip()
		}
	}
	switch res.class {
	case "os-pkgs", "lang-pkgs":
		t.looked = t.looked || t.rep.ev.Kind == assay.KindVulnerabilities
	case "config":
		t.looked = t.looked || t.rep.ev.Kind == assay.KindManifests
	case "secret":
		t.looked = t.looked || t.rep.ev.Kind == assay.KindSecrets
	}
	for i := range t.rep.ev.Findings[first:] {
		t.place(&t.rep.ev.Findings[first+i], res)
	}
}

// place says where a finding is. The packages of an operating system are in no
// file, and their target is the name of the image, which changes.
func (t *trivy) place(f *assay.Finding, res trivyResult) {
	if f.Location.File == "" && res.class != "os-pkgs" {
		f.Location.File = res.target
	}
	f.Fingerprint = t.rep.prints.of("trivy", f.Rule, fileKey(f.Location.File), packageKey(f.Package), messageKind(f.Fingerprint))
}

// finding reads one entry of a list of findings, and keeps it if it is of the asked kind.
func (t *trivy) finding(list string) {
	kind, read := assay.KindVulnerabilities, t.vulnerability
	switch list {
	case "Misconfigurations":
		kind, read = assay.KindManifests, t.misconfiguration
	case "Secrets":
		kind, read = assay.KindSecrets, t.secret
	}
	if t.rep.ev.Kind != kind {
		t.others[list]++
		t.c.skip()
		return
	}
	t.looked = true
	if f, ok := read(); ok {
		t.c.add(f)
	}
}

// modified reads a finding that Trivy took out, by a policy or a VEX document.
func (t *trivy) modified() {
	c := t.c
	var f assay.Finding
	var ok bool
	var kind, status, statement, source string
	for key := range c.object() {
		switch key {
		case "Type":
			kind = c.name()
		case "Status":
			status = c.name()
		case "Statement":
			statement = c.text(MaxMessage / 2)
		case "Source":
			source = c.name()
		case "Finding":
			f, ok = t.vulnerability()
		default:
			c.skip()
		}
	}
	if kind != "vulnerability" || !ok || t.rep.ev.Kind != assay.KindVulnerabilities {
		return
	}
	f.Suppressed = status
	for _, s := range []string{statement, source} {
		if s != "" {
			f.Suppressed += ": " + s
		}
	}
	c.add(f)
}

func (t *trivy) vulnerability() (assay.Finding, bool) {
	c := t.c
	f := assay.Finding{Severity: assay.SeverityUnknown}
	var title, description string
	for key := range c.object() {
		switch key {
		case "VulnerabilityID":
			f.Rule = c.name()
		case "VendorIDs":
			f.Aliases = c.names()
		case "PkgName":
			f.Package.Name = c.name()
		case "PkgPath":
			f.Location.File = c.name()
		case "PkgIdentifier":
			for key := range c.object() {
				if key == "PURL" {
					f.Package.PURL = c.name()
					continue
				}
				c.skip()
			}
		case "InstalledVersion":
			f.Package.Version = c.name()
		case "FixedVersion":
			for v := range strings.SplitSeq(c.name(), ",") {
				f.FixedIn = t.rep.list(f.FixedIn, strings.TrimSpace(v))
			}
		case "Title":
			title = c.text(MaxMessage)
		case "Description":
			description = c.excerpt(300)
		case "Severity":
			f.Severity = severityWord(c.name())
		default:
			c.skip()
		}
	}
	if f.Message = title; f.Message == "" {
		f.Message = description
	}
	if f.Message == "" {
		f.Message = "the report gives no summary"
	}
	return f, t.identified(&f, "VulnerabilityID")
}

func (t *trivy) misconfiguration() (assay.Finding, bool) {
	c := t.c
	f := assay.Finding{Severity: assay.SeverityUnknown}
	var title, message, status, resource string
	for key := range c.object() {
		switch key {
		case "ID":
			f.Rule = c.name()
		case "AVDID":
			f.Aliases = t.rep.list(f.Aliases, c.name())
		case "Title":
			title = c.text(MaxMessage / 2)
		case "Message":
			message = c.text(MaxMessage / 2)
		case "Severity":
			f.Severity = severityWord(c.name())
		case "Status":
			status = c.name()
		case "CauseMetadata":
			for key := range c.object() {
				switch key {
				case "StartLine":
					f.Location.Line = c.whole()
				case "Resource":
					resource = c.name()
				default:
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
	if f.Message = title; message != "" && message != title {
		f.Message = strings.TrimPrefix(f.Message+": "+message, ": ")
	}
	f.Fingerprint = resource // place completes it
	if status == "EXCEPTION" {
		f.Suppressed = "excepted by a policy of trivy"
	}
	return f, t.identified(&f, "ID") && status != "PASS"
}

func (t *trivy) secret() (assay.Finding, bool) {
	c := t.c
	f := assay.Finding{Severity: assay.SeverityUnknown}
	for key := range c.object() {
		switch key {
		case "RuleID":
			f.Rule = c.name()
		case "Title":
			f.Message = c.text(MaxMessage)
		case "Severity":
			f.Severity = severityWord(c.name())
		case "StartLine":
			f.Location.Line = c.whole()
		default: // among them the line around the secret
			c.skip()
		}
	}
	return f, t.identified(&f, "RuleID")
}

// identified refuses a finding without an id.
func (t *trivy) identified(f *assay.Finding, field string) bool {
	if t.c.err == nil && f.Rule == "" {
		t.c.fail(assay.CodeInvalid, t.c.dec.InputOffset(), "has no "+field)
	}
	if f.Message == "" {
		f.Message = f.Rule
	}
	return t.c.err == nil
}
