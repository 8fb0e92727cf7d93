package evidence_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

const sum = "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestCycloneDXNamesItsSubjectToolsAndComponents(t *testing.T) {
	report := `{"components":[
		{"type":"library","group":"org.example","name":"outer","version":"1","purl":"pkg:maven/org.example/outer@1","bom-ref":"o",
		 "licenses":[{"license":{"id":"MIT"}},{"license":{"name":"House licence"}},{"expression":"Apache-2.0 OR MIT"},{"license":{"id":"MIT"}}],
		 "components":[{"type":"library","name":"inner","licenses":null,"components":[{"name":"core"}]}]},
		{"type":"file","name":"last"}],
		"metadata":{"timestamp":"2026-11-20T10:00:00+01:00","tools":[{"vendor":"v","name":"gen","version":"2"},{"name":"other"}],
		 "component":{"type":"application","name":"assay","hashes":[{"alg":"SHA-1","content":"aa"},{"alg":"SHA-256","content":"` + sum + `"}],
		 "components":[{"name":"part"}]}},
		"specVersion":"1.4","bomFormat":"CycloneDX"}`
	e := mustRead(t, report, evidence.Options{})
	want := []assay.Component{
		{Name: "org.example/outer", Version: "1", PURL: "pkg:maven/org.example/outer@1", Licenses: []string{"MIT", "House licence", "Apache-2.0 OR MIT"}},
		{Name: "inner"}, {Name: "core"}, {Name: "last"}, {Name: "part"},
	}
	if dump(t, e.Components) != dump(t, want) {
		t.Errorf("got  %s\nwant %s", dump(t, e.Components), dump(t, want))
	}
	if e.Subject != assay.Digest("sha256:"+strings.ToLower(sum)) {
		t.Errorf("subject %q", e.Subject)
	}
	if e.Tool != (assay.Tool{Name: "gen", Version: "2"}) || dump(t, e.Notes) != `["2 tools made this document; only the first is named"]` {
		t.Errorf("tool %v, notes %q", e.Tool, e.Notes)
	}
	if e.Produced.Format("15:04") != "09:00" || evidence.Summary(e) != "5 components" {
		t.Errorf("produced %v, summary %q", e.Produced, evidence.Summary(e))
	}
}

func TestCycloneDXOfABinaryNamesItThroughGomodsProperties(t *testing.T) {
	one, two := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	doc := func(component, property string) string {
		return `{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"component":{"name":"app"` + component + `},
			"properties":[{"name":"cdx:gomod:binary:hash:MD5","value":"x"},{"name":"cdx:gomod:binary:hash:SHA-256","value":"` + property + `"}]}}`
	}
	e := mustRead(t, doc("", one), evidence.Options{})
	if e.Subject != assay.Digest("sha256:"+one) {
		t.Errorf("subject %q", e.Subject)
	}
	for name, bad := range map[string]string{
		"names another artifact": doc(`,"hashes":[{"alg":"SHA-256","content":"`+two+`"}]`, one),
		"is not a SHA-256 sum":   doc("", "zz"),
	} {
		if _, err := evidence.Read(strings.NewReader(bad), "sbom.json", evidence.Options{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error that it %s", err, name)
		}
	}
}

func TestCycloneDXReadsANewerVersionAndSaysSo(t *testing.T) {
	e := mustRead(t, `{"bomFormat":"CycloneDX","specVersion":"1.7","citations":[{}],"metadata":{"timestamp":"yesterday"},"components":[{"name":"a"}]}`, evidence.Options{})
	want := `["metadata.timestamp \"yesterday\" is not an RFC 3339 time and was not used","specVersion \"1.7\" is not one of 1.4, 1.5, 1.6; what it adds was not read"]`
	if dump(t, e.Notes) != want || len(e.Components) != 1 || !e.Produced.IsZero() {
		t.Errorf("notes %s\nwant  %s", dump(t, e.Notes), want)
	}
}

func TestCycloneDXVulnerabilitiesBecomeFindings(t *testing.T) {
	report := `{"bomFormat":"CycloneDX","specVersion":"1.6","vulnerabilities":[
		{"id":"CVE-1","ratings":[{"severity":"low"},{"score":9.1,"method":"CVSSv31"},{"score":10,"method":"OWASP"}],"references":[{"id":"GHSA-1","source":{}}],
		 "description":"bad","affects":[{"ref":"a"},{"ref":"pkg:npm/gone@2.0"}]},
		{"id":"CVE-2","analysis":{"state":"not_affected","justification":"code_not_reachable","detail":"never called"}},
		{"id":"CVE-3","analysis":{"state":"in_triage"},"detail":"long text"}],
		"components":[{"name":"a","version":"1","purl":"pkg:npm/%40s/a@1?arch=x","bom-ref":"a","licenses":[{"expression":"MIT"}]}]}`
	e := mustRead(t, report, evidence.Options{Kind: assay.KindVulnerabilities})
	prints := map[string]bool{}
	for i := range e.Findings {
		prints[e.Findings[i].Fingerprint] = true
		e.Findings[i].Fingerprint = ""
	}
	want := []assay.Finding{
		{Rule: "CVE-1", Aliases: []string{"GHSA-1"}, Severity: assay.SeverityCritical, Message: "bad", Package: assay.Component{Name: "a", Version: "1", PURL: "pkg:npm/%40s/a@1?arch=x"}},
		{Rule: "CVE-1", Aliases: []string{"GHSA-1"}, Severity: assay.SeverityCritical, Message: "bad", Package: assay.Component{Name: "pkg:npm/gone@2.0", PURL: "pkg:npm/gone@2.0"}},
		{Rule: "CVE-2", Severity: assay.SeverityUnknown, Suppressed: "not_affected: code_not_reachable: never called"},
		{Rule: "CVE-3", Severity: assay.SeverityUnknown, Message: "long text"},
	}
	if dump(t, e.Findings) != dump(t, want) || len(prints) != 4 {
		t.Errorf("got  %s\nwant %s", dump(t, e.Findings), dump(t, want))
	}
	if s := evidence.Summary(e); s != "2 critical, 0 high, 0 medium, 0 low, 1 of unknown severity, 1 suppressed" {
		t.Errorf("summary %q", s)
	}
}
