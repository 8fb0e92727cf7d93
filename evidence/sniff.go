package evidence

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"assay.dev/assay"
	"github.com/go-json-experiment/json/jsontext"
)

// refuseEncoding refuses what is not UTF-8 text before anybody tries to parse it.
func refuseEncoding(head []byte) error {
	for _, m := range []struct{ magic, what string }{
		{"\x1f\x8b", "is gzip-compressed; decompress it first"},
		{"\x28\xb5\x2f\xfd", "is zstd-compressed; decompress it first"},
		{"\xfd7zXZ\x00", "is xz-compressed; decompress it first"},
		{"BZh", "is bzip2-compressed; decompress it first"},
		{"PK\x03\x04", "is a zip archive; extract the report first"},
		{"\xff\xfe", "is UTF-16 text; convert it to UTF-8"},
		{"\xfe\xff", "is UTF-16 text; convert it to UTF-8"},
		{"{\x00", "is UTF-16 text; convert it to UTF-8"},
		{"[\x00", "is UTF-16 text; convert it to UTF-8"},
		{"\x00{", "is UTF-16 text; convert it to UTF-8"},
		{"\x00[", "is UTF-16 text; convert it to UTF-8"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return assay.Errorf(assay.CodeInvalid, "%s", m.what)
		}
	}
	if len(bytes.TrimSpace(skipBOM(head))) == 0 && len(head) < headBytes {
		return &assay.Error{Code: assay.CodeInvalid, Msg: "is empty; expected a report", Hint: understood()}
	}
	return nil
}

// sniff names the format of the report that starts with head; whole means that head is all of it.
func sniff(head []byte, whole bool) (string, error) {
	switch b := bytes.TrimLeft(head, " \t\r\n"); {
	case len(b) == 0:
		return "", unknown("a run of white space")
	case b[0] == '<':
		return "", unknown(xmlName(b))
	case b[0] == '[':
		return "", unknown(listName(b))
	case b[0] == '{':
		return sniffObject(head, whole)
	}
	if hasTestEvent(head) {
		return FormatGoTest, nil
	}
	return "", unknown("no JSON object")
}

// unknown refuses a report whose format is not read.
func unknown(what string) error {
	e := assay.Errorf(assay.CodeInvalid, "is %s, which is not understood yet", what)
	e.Hint = understood()
	return e
}

func xmlName(b []byte) string {
	switch {
	case bytes.Contains(b, []byte("<testsuite")):
		return "JUnit XML"
	case bytes.Contains(b, []byte("//JACOCO//")):
		return "JaCoCo XML"
	case bytes.Contains(b, []byte("http://cyclonedx.org/schema/bom")):
		return "CycloneDX XML"
	}
	return "XML"
}

func listName(b []byte) string {
	if bytes.Contains(b, []byte(`"RuleID"`)) && bytes.Contains(b, []byte(`"StartLine"`)) {
		return "gitleaks JSON"
	}
	return "a JSON list"
}

// hasTestEvent looks for a test event among the first lines, since go test
// prints what concerns the build as plain text before them.
func hasTestEvent(head []byte) bool {
	for line := range bytes.Lines(head) {
		if bytes.HasPrefix(line, []byte("{")) {
			f, err := sniffObject(line, true)
			return err == nil && f == FormatGoTest
		}
	}
	return false
}

// sniffer gathers the keys of the first JSON object in a report's head.
type sniffer struct {
	dec  *jsontext.Decoder
	keys []string
	head []byte
}

// sniffObject decides by the keys of the first object, in whatever order they come.
func sniffObject(head []byte, whole bool) (string, error) {
	s := &sniffer{dec: jsontext.NewDecoder(bytes.NewReader(head)), head: head}
	_, err := s.dec.ReadToken() // the brace
	for err == nil {
		var tok jsontext.Token
		if tok, err = s.dec.ReadToken(); err != nil {
			break
		}
		if tok.Kind() == '}' {
			return s.verdict(true)
		}
		key := tok.String()
		s.keys = append(s.keys, key)
		var name, other string
		if name, other, err = s.decisive(key); name != "" || other != "" {
			if name == "" {
				return "", unknown(other)
			}
			return name, nil
		}
	}
	if name, verr := s.verdict(false); verr == nil {
		return name, nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && !whole {
		return s.verdict(false)
	}
	c := &cursor{dec: s.dec, place: func(off int64) (int, int) { return placeIn(head, off) }}
	c.syntax(err)
	return "", c.err
}

// decisive reads the value of key, and names the format if the two settle it:
// either one that is understood, or another one.
func (s *sniffer) decisive(key string) (name, other string, err error) {
	kind := s.dec.PeekKind()
	text := ""
	if kind == '"' {
		var v jsontext.Value
		if v, err = s.dec.ReadValue(); err != nil {
			return "", "", err
		}
		b, _ := jsontext.AppendUnquote(nil, v) // checked by the decoder
		text = string(b)
	}
	switch {
	case key == "bomFormat" && text == "CycloneDX", key == "$schema" && strings.Contains(text, "cyclonedx.org/schema/bom"):
		return FormatCycloneDX, "", nil
	case key == "$schema" && strings.Contains(text, "sarif"), key == "runs" && kind == '[':
		return FormatSARIF, "", nil
	case key == "Action" && kind == '"':
		return FormatGoTest, "", nil
	case key == "results" && kind == '[':
		return s.results()
	}
	if other = otherFormat(key, kind, text, s.head); other != "" || kind == '"' {
		return "", other, nil
	}
	return "", "", s.dec.SkipValue()
}

// results looks at the first entry of a "results" list, which several tools write.
func (s *sniffer) results() (name, other string, err error) {
	depth := s.dec.StackDepth()
	for range 3 { // the bracket, the brace, the first key
		tok, err := s.dec.ReadToken()
		if err != nil {
			return "", "", err
		}
		if s.dec.StackDepth() == depth {
			return "", "", nil // an empty list settles nothing
		}
		if tok.Kind() != '"' {
			continue
		}
		switch key := tok.String(); {
		case key == "source" || key == "packages":
			return FormatOSVScanner, "", nil
		case key == "check_id":
			return "", "Semgrep JSON", nil
		}
	}
	return "", "a list of results of an unknown tool", nil
}

// otherFormat names well-known reports that are not read, so that their owner is not left guessing.
func otherFormat(key string, kind jsontext.Kind, text string, head []byte) string {
	switch key {
	case "spdxVersion", "SPDXID":
		return "SPDX JSON"
	case "SchemaVersion", "ArtifactName", "ArtifactType":
		return "Trivy JSON"
	case "matches":
		return "Grype JSON"
	case "document":
		if kind == '{' && bytes.Contains(head, []byte(`"csaf_version"`)) {
			return "CSAF JSON"
		}
	case "@context":
		if strings.Contains(text, "openvex") {
			return "OpenVEX JSON"
		}
	case "check_type":
		return "Checkov JSON"
	case "config":
		if kind == '{' && bytes.Contains(head, []byte(`"scanner_name"`)) {
			return "govulncheck JSON"
		}
	case "payloadType", "dsseEnvelope":
		return "a signed envelope"
	case "_type":
		return "an in-toto statement"
	}
	return ""
}

// osvKeys are the keys that osv-scanner writes beside an empty list of results.
var osvKeys = []string{"results", "experimental_config", "experimental_generic_findings", "license_summary", "image_metadata"}

// verdict decides by all keys seen, when none of them settled it alone.
func (s *sniffer) verdict(whole bool) (string, error) {
	has := func(k string) bool { return slices.Contains(s.keys, k) }
	switch {
	case has("specVersion") && (has("components") || has("metadata")), has("bomFormat"):
		return FormatCycloneDX, nil
	case whole && has("results") && !slices.ContainsFunc(s.keys, func(k string) bool { return !slices.Contains(osvKeys, k) }):
		return FormatOSVScanner, nil
	}
	return "", unknown("JSON of an unknown format")
}

// placeIn is the line and column of an offset in b.
func placeIn(b []byte, off int64) (line, column int) {
	b = b[:min(max(off, 0), int64(len(b)))]
	return bytes.Count(b, newline) + 1, len(b) - bytes.LastIndexByte(b, '\n')
}
