package evidence

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"assay.dev/assay"
	"github.com/go-json-experiment/json/jsontext"
)

// refuseEncoding refuses what is not UTF-8 text before anybody tries to parse it.
// XML may be in any encoding that its declaration can name.
func refuseEncoding(head []byte) error {
	if utf16XML(head) != "" {
		return nil
	}
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
	if utf16XML(head) != "" {
		return sniffXML(head, whole)
	}
	switch b := bytes.TrimLeft(head, " \t\r\n"); {
	case len(b) == 0:
		return "", unknown("a run of white space")
	case b[0] == '<':
		return sniffXML(head, whole)
	case b[0] == '[':
		return sniffList(b)
	case b[0] == '{':
		return sniffObject(head, whole)
	}
	return sniffText(head)
}

// unknown refuses a report whose format is not read.
func unknown(what string) error {
	e := assay.Errorf(assay.CodeInvalid, "is %s, which is not understood yet", what)
	e.Hint = understood()
	return e
}

// sniffList names the format of a JSON list. Gitleaks writes one, and an empty
// one when it finds nothing, which could be anybody's.
func sniffList(b []byte) (string, error) {
	switch {
	case bytes.Contains(b, []byte(`"RuleID"`)) && bytes.Contains(b, []byte(`"StartLine"`)):
		return FormatGitleaks, nil
	case len(bytes.TrimSpace(b[1:])) == 1 && bytes.HasSuffix(bytes.TrimSpace(b), []byte("]")):
		e := assay.Errorf(assay.CodeInvalid, "is an empty JSON list, which several tools write when they find nothing")
		e.Hint = "name its format, for example " + FormatGitleaks
		return "", e
	}
	return "", unknown("a JSON list")
}

var (
	manifestVersion = regexp.MustCompile(`(?m)^apiVersion:[ \t]+\S`)
	manifestKind    = regexp.MustCompile(`(?m)^kind:[ \t]+\S`)
	benchLine       = regexp.MustCompile(`(?m)^Benchmark\S*[ \t]+\d+[ \t]+[0-9.e+]+ \S`)
	benchHeader     = regexp.MustCompile(`(?m)^(?:goos|goarch|pkg): \S`)
	benchstatHeader = regexp.MustCompile(`(?m)^,[^,\n]+,CI(?:,|\r?$)`)
	coverHeader     = regexp.MustCompile(`^mode: (?:set|count|atomic)\r?\n`)
)

// sniffText names the format of a report that is neither JSON nor XML.
func sniffText(head []byte) (string, error) {
	switch {
	case hasTestEvent(head):
		return FormatGoTest, nil
	case coverHeader.Match(head), bytes.HasPrefix(head, []byte("mode: ")) && !bytes.Contains(head, newline):
		return FormatGoCover, nil
	case benchstatHeader.Match(head):
		return FormatBenchstat, nil
	case benchLine.Match(head), benchHeader.Match(head):
		return FormatGoBench, nil
	case manifestVersion.Match(head) && manifestKind.Match(head):
		return FormatManifests, nil
	}
	return "", unknown("no JSON object")
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
	if key == "results" && kind == '[' {
		return s.results()
	}
	if name = s.known(key, kind, text); name != "" {
		return name, "", nil
	}
	if other = s.otherFormat(key, kind, text); other != "" || kind == '"' {
		return "", other, nil
	}
	return "", "", s.dec.SkipValue()
}

// known names the format that one key with its value settles, "" if it does not.
func (s *sniffer) known(key string, kind jsontext.Kind, text string) string {
	switch {
	case key == "bomFormat" && text == "CycloneDX", key == "$schema" && strings.Contains(text, "cyclonedx.org/schema/bom"):
		return FormatCycloneDX
	case key == "$schema" && strings.Contains(text, "sarif"), key == "runs" && kind == '[':
		return FormatSARIF
	case key == "Action" && kind == '"':
		return FormatGoTest
	case key == "spdxVersion", key == "SPDXID":
		return FormatSPDX
	case key == "SchemaVersion", key == "ArtifactName", key == "ArtifactType":
		return FormatTrivy
	case key == "matches" && kind == '[':
		return FormatGrype
	case key == "document" && kind == '{' && s.headHas(`"csaf_version"`):
		return FormatCSAF
	case key == "@context" && (strings.Contains(text, "openvex.dev") || kind == '[' && s.headHas("openvex.dev/ns")):
		return FormatOpenVEX
	case key == "payloadType", key == "dsseEnvelope", key == "_type" && strings.Contains(text, "in-toto.io/Statement"),
		key == "mediaType" && strings.Contains(text, "dev.sigstore.bundle"):
		return FormatInToto
	case key == "terraform_version", key == "resource_changes", key == "planned_values":
		return FormatTerraform
	case key == "root_group" && kind == '{':
		return FormatK6
	case key == "resources" && kind == '[' && validated.Match(s.head):
		return FormatKubeconform
	}
	return ""
}

// validated is the status that kubeconform gives every resource.
var validated = regexp.MustCompile(`"status"\s*:\s*"status(?:Valid|Invalid|Error|Skipped|Empty)"`)

func (s *sniffer) headHas(text string) bool { return bytes.Contains(s.head, []byte(text)) }

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
		case key == "command":
			return FormatHyperfine, "", nil
		case key == "check_id":
			return "", "Semgrep JSON", nil
		}
	}
	return "", "a list of results of an unknown tool", nil
}

// otherFormat names well-known reports that are not read, so that their owner is not left guessing.
func (s *sniffer) otherFormat(key string, kind jsontext.Kind, text string) string {
	switch key {
	case "@context":
		if strings.Contains(text, "spdx.org/rdf/3") {
			return "SPDX 3 JSON"
		}
	case "check_type":
		return "Checkov JSON"
	case "config":
		if kind == '{' && s.headHas(`"scanner_name"`) {
			return "govulncheck JSON"
		}
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
	case has("apiVersion") && has("kind"):
		return FormatManifests, nil
	case has("resources") && has("summary") && s.headHas(`"skipped"`):
		return FormatKubeconform, nil // nothing but a summary
	case has("format_version") && has("errored"):
		return FormatTerraform, nil
	case has("metrics") && (s.headHas(`"iterations"`) || s.headHas(`"http_reqs"`)):
		return FormatK6, nil
	case len(s.keys) > 0 && !slices.ContainsFunc(s.keys, func(k string) bool { return !manifestFile.MatchString(k) }) && s.headHas(`"status"`):
		return FormatKubectlValidate, nil
	}
	return "", unknown("JSON of an unknown format")
}

// manifestFile is a name that kubectl validate gives a list of results.
var manifestFile = regexp.MustCompile(`\.(?:ya?ml|json)$`)

// placeIn is the line and column of an offset in b.
func placeIn(b []byte, off int64) (line, column int) {
	b = b[:min(max(off, 0), int64(len(b)))]
	return bytes.Count(b, newline) + 1, len(b) - bytes.LastIndexByte(b, '\n')
}
