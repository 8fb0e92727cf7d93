package evidence_test

import (
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

const acmeMapping = `kind: static-analysis
tool: acme
version: meta.version
produced: meta.at
findings: runs[].problems[]
fields:
  rule: check.id
  message: text
  severity: level
  file: where.path
  line: where.line
  aliases: refs[]
  suppressed: muted
severities: {Blocker: critical}
ignore: [owner]
`

const acmeReport = `{"meta":{"version":"2.1","at":"2026-01-02T03:04:05Z"},"runs":[{"problems":[
	{"check":{"id":"A1","url":"x"},"text":"bad","level":"blocker","where":{"path":"a.go","line":7},"refs":["CWE-1","CWE-2"],"owner":"me","confidence":3},
	{"check":{"id":"A2"},"text":"odd","level":"weird","where":{"path":"b.go","line":"x"},"muted":true,"refs":[]}]},{"problems":[{"check":{"id":"A3"},"text":"late","level":"7.5"}]}]}`

func mapping(t testing.TB, text string) *evidence.Mapping {
	t.Helper()
	m, err := evidence.ParseMapping(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMappingSaysWhereTheFindingsOfAnyJSONAre(t *testing.T) {
	e := mustRead(t, acmeReport, evidence.Options{Mapping: mapping(t, acmeMapping)})
	want := []assay.Finding{
		{Rule: "A1", Aliases: []string{"CWE-1", "CWE-2"}, Severity: critical, Message: "bad", Location: assay.Location{File: "a.go", Line: 7}},
		{Rule: "A2", Severity: unknown, Message: "odd", Location: assay.Location{File: "b.go"}, Suppressed: "suppressed by the tool without a justification"},
		{Rule: "A3", Severity: high, Message: "late"},
	}
	if dump(t, ungraded(e.Findings)) != dump(t, want) {
		t.Errorf("got  %s\nwant %s", dump(t, ungraded(e.Findings)), dump(t, want))
	}
	notes := []string{
		"the mapping does not speak of these keys of findings: confidence",
		"not understood: findings of a severity that the mapping does not know, such as weird (1)",
		"not understood: lines or columns that are no whole numbers (1)",
	}
	if !slices.Equal(e.Notes, notes) {
		t.Errorf("notes %q\nwant  %q", e.Notes, notes)
	}
	if e.Kind != assay.KindStaticAnalysis || e.Format != evidence.FormatGeneric || e.Tool != (assay.Tool{Name: "acme", Version: "2.1"}) || e.Produced.IsZero() {
		t.Errorf("%s %s %+v %v", e.Kind, e.Format, e.Tool, e.Produced)
	}
	list := mustRead(t, `[{"m":"x"}]`, evidence.Options{Mapping: mapping(t, "kind: secrets\ntool: t\nfindings: '[]'\nfields: {message: m}\n")})
	if len(list.Findings) != 1 || list.Findings[0].Rule != "t" || list.Kind != assay.KindSecrets {
		t.Errorf("a report that is a list: %s", dump(t, list))
	}
}

func TestAMappedReportThatDoesNotFitIsRefused(t *testing.T) {
	for report, want := range map[string]string{
		`{"runs":[]}`:                       "r: runs[].problems is missing; the mapping says that the findings are there",
		`{"meta":{}}`:                       "r: runs[].problems is missing; the mapping says that the findings are there",
		`{"runs":[{"problems":[3]}]}`:       "r:1:23: runs[0].problems[0] has the wrong type: found a number, expected an object",
		`{"runs":[{"problems":[{"a":1}]}]}`: "r:1:30: runs[0].problems[0] has neither a rule nor a message where the mapping says they are",
		`{"runs":7}`:                        "r:1:9: runs has the wrong type: found a number, expected what the mapping says",
		`{"runs":[{"problems":[]}]`:         "r:1:26: document is cut off: the JSON ends before its value does",
	} {
		_, err := evidence.Read(strings.NewReader(report), "r", evidence.Options{Mapping: mapping(t, acmeMapping)})
		refused(t, err, assay.CodeInvalid, want)
	}
	_, err := evidence.Read(strings.NewReader(acmeReport), "r", evidence.Options{Mapping: mapping(t, acmeMapping), Kind: assay.KindSecrets})
	refused(t, err, assay.CodeInvalid, "r: is generic-json, which is evidence of kind static-analysis; expected evidence of kind secrets")
	_, err = evidence.Read(strings.NewReader(acmeReport), "r", evidence.Options{Format: evidence.FormatGeneric})
	refused(t, err, assay.CodeInvalid, "r: format generic-json and a mapping belong together; the mapping says where the findings are")
}

func TestParseMappingRefusesWhatCannotBeAMapping(t *testing.T) {
	for text, want := range map[string]string{
		"":     "holds 0 YAML documents; expected one mapping",
		"[]":   "wrong type",
		"a: b": "a is not a known key",
		strings.Replace(acmeMapping, "static-analysis", "coverage", 1):           `kind "coverage" is not one of static-analysis, vulnerabilities, secrets, manifests`,
		strings.Replace(acmeMapping, "tool: acme\n", "", 1):                      "tool is missing",
		strings.Replace(acmeMapping, "runs[].problems[]", "runs[].problems", 1):  "does not end in []",
		strings.Replace(acmeMapping, "rule: check.id", "rule: check..id", 1):     `"check..id" is not a path`,
		strings.Replace(acmeMapping, "rule: check.id", "rule: $.check", 1):       `"$.check" is not a path`,
		strings.Replace(acmeMapping, "rule: check.id", "rule: 'checks[].id'", 1): "names every entry of a list",
		strings.Replace(acmeMapping, "Blocker: critical", "Blocker: fatal", 1):   `severities.Blocker "fatal" is not one of`,
		"kind: secrets\ntool: t\nfindings: 'a[]'\nfields: {file: f}\n":           "gives neither rule nor message",
		strings.Repeat("#", evidence.MaxMappingBytes+1):                          "is larger than",
	} {
		_, err := evidence.ParseMapping(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}
