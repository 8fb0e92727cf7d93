package evidence

import (
	"io"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Mapping says where the findings of a JSON report of an unknown tool are. A
// path is made of keys with dots between them; "[]" behind a key means each
// entry of its list, and a path that starts with "[]" a report that is a list:
//
//	kind: static-analysis
//	tool: acme-lint
//	findings: runs[].problems[]
//	fields:
//	  rule: check.id
//	  message: text
//	  severity: level
//	  file: where.path
//	  line: where.line
//	severities: {blocker: critical, minor: low}
//
// The paths of fields start at a finding.
type Mapping struct {
	Kind       assay.EvidenceKind        `json:"kind"`
	Tool       string                    `json:"tool"`
	Version    string                    `json:"version,omitempty"`  // path of the tool's version
	Produced   string                    `json:"produced,omitempty"` // path of the time the tool ran, RFC 3339
	Findings   string                    `json:"findings"`           // path of the list of findings
	Fields     MappedFields              `json:"fields"`
	Severities map[string]assay.Severity `json:"severities,omitempty"` // the tool's words, in any case; what is not listed is understood or unknown
	Ignore     []string                  `json:"ignore,omitempty"`     // keys of a finding that are left out on purpose
}

// MappedFields are the paths of what makes a finding. Rule or message must be given.
type MappedFields struct {
	Rule        string `json:"rule,omitempty"`
	Message     string `json:"message,omitempty"`
	Severity    string `json:"severity,omitempty"` // a word, or a CVSS score
	File        string `json:"file,omitempty"`
	Line        string `json:"line,omitempty"`
	Column      string `json:"column,omitempty"`
	Package     string `json:"package,omitempty"`
	Version     string `json:"version,omitempty"`
	PURL        string `json:"purl,omitempty"`
	FixedIn     string `json:"fixedIn,omitempty"`
	Aliases     string `json:"aliases,omitempty"`
	Suppressed  string `json:"suppressed,omitempty"` // why the tool itself does not count it
	Fingerprint string `json:"fingerprint,omitempty"`
}

// MaxMappingBytes is the largest mapping that ParseMapping reads.
const MaxMappingBytes = 64 << 10

// all lists the paths with the names they have in a mapping.
func (f *MappedFields) all() []struct{ name, path string } {
	return []struct{ name, path string }{
		{"rule", f.Rule}, {"message", f.Message}, {"severity", f.Severity}, {"file", f.File}, {"line", f.Line},
		{"column", f.Column}, {"package", f.Package}, {"version", f.Version}, {"purl", f.PURL}, {"fixedIn", f.FixedIn},
		{"aliases", f.Aliases}, {"suppressed", f.Suppressed}, {"fingerprint", f.Fingerprint},
	}
}

// ParseMapping reads a mapping in YAML or JSON, and checks it. Unknown fields
// and paths that cannot be are refused with their place.
func ParseMapping(r io.Reader) (*Mapping, error) {
	data, err := strict.Bounded(r, MaxMappingBytes, "the mapping")
	if err != nil {
		return nil, err
	}
	docs, err := strict.Documents(data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, assay.Errorf(assay.CodeInvalid, "holds %d YAML documents; expected one mapping", len(docs))
	}
	m := new(Mapping)
	if err := docs[0].Decode(m); err != nil {
		return nil, err
	}
	if err := m.check(docs[0]); err != nil {
		return nil, err
	}
	return m, nil
}

// mappable are the kinds that are made of findings.
var mappable = []assay.EvidenceKind{assay.KindStaticAnalysis, assay.KindVulnerabilities, assay.KindSecrets, assay.KindManifests}

func (m *Mapping) check(d strict.Document) error {
	names := make([]string, len(mappable))
	for i, k := range mappable {
		names[i] = string(k)
	}
	switch {
	case !slices.Contains(mappable, m.Kind):
		return d.Errorf([]string{"kind"}, "%s", strict.OneOf(string(m.Kind), names))
	case m.Tool == "":
		return d.Errorf([]string{"tool"}, "is missing; expected the name of the tool")
	case m.Findings == "":
		return d.Errorf([]string{"findings"}, "is missing; expected the path of the list of findings, for example results[]")
	case !strings.HasSuffix(m.Findings, "[]"):
		return d.Errorf([]string{"findings"}, "%q does not end in []; expected the path of a list", m.Findings)
	case m.Fields.Rule == "" && m.Fields.Message == "":
		return d.Errorf([]string{"fields"}, "gives neither rule nor message; a finding needs one")
	}
	for word, s := range m.Severities {
		if s.Rank() == assay.SeverityUnknown.Rank() && s != assay.SeverityUnknown {
			return d.Errorf([]string{"severities", word}, "%s", strict.OneOf(string(s), []string{"none", "low", "unknown", "medium", "high", "critical"}))
		}
	}
	paths := append(m.Fields.all(), []struct{ name, path string }{{"findings", m.Findings}, {"version", m.Version}, {"produced", m.Produced}}...)
	for i, p := range paths {
		at := []string{"fields", p.name}
		if i >= len(paths)-3 {
			at = at[1:]
		}
		if _, err := splitPath(p.path); p.path != "" && err != "" {
			return d.Errorf(at, "%q %s", p.path, err)
		}
		if list := p.name == "fixedIn" || p.name == "aliases" || p.name == "findings"; !list && strings.Contains(p.path, "[]") {
			return d.Errorf(at, "%q names every entry of a list; expected one value", p.path)
		}
	}
	return nil
}

// each is the step into every entry of a list.
const each = "[]"

// splitPath splits "a.b[].c" into a, b, [], c, and says what is wrong with a path.
func splitPath(path string) (steps []string, problem string) {
	if path == "" {
		return nil, ""
	}
	for part := range strings.SplitSeq(path, ".") {
		lists := 0
		for strings.HasSuffix(part, each) {
			part = strings.TrimSuffix(part, each)
			lists++
		}
		if part == "" && (lists == 0 || len(steps) > 0) || strings.ContainsAny(part, "[]$*") {
			return nil, "is not a path; expected keys with dots between them, and [] behind a list"
		}
		if part != "" {
			steps = append(steps, part)
		}
		for range lists {
			steps = append(steps, each)
		}
		if len(steps) > MaxDepth {
			return nil, "is too long"
		}
	}
	return steps, ""
}
