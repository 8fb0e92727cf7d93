package evidence_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// run wraps members of a SARIF run.
func run(members string) string {
	return `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"tool","version":"1"}},` + members + `}]}`
}

// one reads a run with one result.
func one(t *testing.T, result string) assay.Finding {
	t.Helper()
	e := mustRead(t, run(`"results":[`+result+`]`), evidence.Options{})
	if len(e.Findings) != 1 {
		t.Fatalf("%d findings, want 1: %+v", len(e.Findings), e.Findings)
	}
	return e.Findings[0]
}

func TestSARIFSeverity(t *testing.T) {
	rules := `,"rules":[
		{"id":"plain"},
		{"id":"note","defaultConfiguration":{"level":"note"}},
		{"id":"scored","defaultConfiguration":{"level":"note"},"properties":{"security-severity":"9.8"}},
		{"id":"number","properties":{"security-severity":3.9}},
		{"id":"words","properties":{"security-severity":"grave"},"defaultConfiguration":{"level":"error"}}]`
	for _, tt := range []struct {
		result string
		want   assay.Severity
	}{
		{`"ruleId":"plain"`, assay.SeverityMedium},
		{`"ruleId":"absent"`, assay.SeverityMedium},
		{`"ruleId":"plain","level":"error"`, assay.SeverityHigh},
		{`"ruleId":"plain","level":"note"`, assay.SeverityLow},
		{`"ruleId":"plain","level":"none"`, assay.SeverityNone},
		{`"ruleId":"plain","level":"fatal"`, assay.SeverityUnknown},
		{`"ruleId":"plain","level":null`, assay.SeverityMedium},
		{`"ruleId":"note"`, assay.SeverityLow},
		{`"ruleId":"note/more/specific"`, assay.SeverityLow},
		{`"ruleIndex":1`, assay.SeverityLow},
		{`"ruleId":"note","level":"error"`, assay.SeverityHigh},
		{`"ruleId":"scored"`, assay.SeverityCritical},
		{`"ruleId":"scored","level":"note"`, assay.SeverityCritical},
		{`"ruleId":"scored","properties":{"security-severity":"5.0"}`, assay.SeverityMedium},
		{`"ruleId":"number","level":"error"`, assay.SeverityLow},
		{`"ruleId":"words"`, assay.SeverityHigh},
		{`"ruleId":"scored","kind":"pass"`, assay.SeverityNone},
		{`"ruleId":"scored","kind":"fail"`, assay.SeverityCritical},
		{`"ruleId":"plain","kind":"open","level":"none"`, assay.SeverityUnknown},
	} {
		// The rules come after the results that need them, as sorted keys put them.
		report := `{"runs":[{"results":[{` + tt.result + `}],"tool":{"driver":{"name":"tool"` + rules + `}}}],"version":"2.1.0"}`
		e := mustRead(t, report, evidence.Options{})
		if got := e.Findings[0].Severity; got != tt.want {
			t.Errorf("%s: severity %s, want %s", tt.result, got, tt.want)
		}
	}
}

func TestSARIFRulesOfExtensions(t *testing.T) {
	report := `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"CodeQL","semanticVersion":"2.1","rules":[{"id":"q"}]},
		"extensions":[{"name":"empty"},{"name":"pack","rules":[{"id":"other"},{"id":"q","properties":{"security-severity":"9.1"},
			"messageStrings":{"default":{"text":"{0} flows to {1}."}}}]}]},
		"artifacts":[{"location":{"uri":"a.go"}},{"location":{"uri":"src/b%20c.go"}}],
		"results":[{"rule":{"id":"q","index":1,"toolComponent":{"index":1}},"message":{"id":"default","arguments":["input","output"]},
			"locations":[{"physicalLocation":{"artifactLocation":{"index":1},"region":{"startLine":7,"startColumn":3}}},{"physicalLocation":{"artifactLocation":{"uri":"second.go"}}}]}]}]}`
	e := mustRead(t, report, evidence.Options{Kind: assay.KindVulnerabilities})
	f := e.Findings[0]
	f.Fingerprint = ""
	want := assay.Finding{Rule: "q", Severity: assay.SeverityCritical, Message: "input flows to output.",
		Location: assay.Location{File: "src/b c.go", Line: 7, Column: 3}}
	if dump(t, f) != dump(t, want) {
		t.Errorf("got  %s\nwant %s", dump(t, f), dump(t, want))
	}
	if e.Kind != assay.KindVulnerabilities || e.Tool != (assay.Tool{Name: "CodeQL", Version: "2.1"}) {
		t.Errorf("kind %s by %v", e.Kind, e.Tool)
	}
}

func TestSARIFSuppressionsCountOnlyWhenAllAreAccepted(t *testing.T) {
	for suppressions, want := range map[string]string{
		`[]`:                    "",
		`null`:                  "",
		`[{"kind":"inSource"}]`: "suppressed (inSource) without a justification",
		`[{"kind":"external","status":"accepted","justification":"not\u001b[31m reachable"}]`: "not\uFFFD[31m reachable",
		`[{"kind":"external","status":"underReview"}]`:                                        "",
		`[{"kind":"external","status":"rejected"}]`:                                           "",
		`[{"kind":"inSource"},{"kind":"external","status":"rejected"}]`:                       "",
	} {
		if got := one(t, `{"ruleId":"r","suppressions":`+suppressions+`}`).Suppressed; got != want {
			t.Errorf("%s: suppressed %q, want %q", suppressions, got, want)
		}
	}
}

func TestSARIFBaseline(t *testing.T) {
	e := mustRead(t, run(`"results":[{"ruleId":"a","baselineState":"unchanged"},{"ruleId":"b","baselineState":"new"},
		{"ruleId":"c","baselineState":"absent"},{"ruleId":"d","baselineState":"updated"}]`), evidence.Options{})
	var got strings.Builder
	for _, f := range e.Findings {
		got.WriteString(f.Rule)
		if f.Known {
			got.WriteString("(known)")
		}
	}
	if got.String() != "a(known)bd" {
		t.Errorf("findings %s, want a(known)bd", got.String())
	}
	if want := `["1 result is marked as gone since the baseline and left out"]`; dump(t, e.Notes) != want {
		t.Errorf("notes %s, want %s", dump(t, e.Notes), want)
	}
	if s := evidence.Summary(e); s != "0 errors, 3 warnings, 1 known before" {
		t.Errorf("summary %q", s)
	}
}

func TestSARIFWithoutResultsIsCleanOnlyIfTheToolSaysItSucceeded(t *testing.T) {
	e := mustRead(t, run(`"invocations":[{"executionSuccessful":true}]`), evidence.Options{})
	if len(e.Findings) != 0 || len(e.Notes) != 1 {
		t.Errorf("findings %+v, notes %v; want none and one note", e.Findings, e.Notes)
	}
	e = mustRead(t, run(`"invocations":[{"executionSuccessful":true},{"executionSuccessful":false}]`), evidence.Options{})
	if len(e.Findings) != 1 || e.Findings[0].Severity != assay.SeverityCritical {
		t.Errorf("findings %+v; want that the analysis did not complete", e.Findings)
	}
}

func TestSARIFThatIsNotCompleteDoesNotLookClean(t *testing.T) {
	for members, why := range map[string]string{
		`"results":[],"invocations":[{"executionSuccessful":false}]`:                                                                                                                    "the tool says that its execution was not successful",
		`"invocations":[{"executionSuccessful":false,"exitCodeDescription":"out of memory"}],"results":[]`:                                                                              "out of memory",
		`"results":[],"invocations":[{"executionSuccessful":true},{"executionSuccessful":false,"toolExecutionNotifications":[{"level":"error","message":{"text":"no such package"}}]}]`: "no such package",
		`"artifacts":[]`: "the run has no results, so nothing was analysed",
		`"results":null`: "the run has no results, so nothing was analysed",
		`"externalPropertyFileReferences":{"results":[{"location":{"uri":"more.sarif"}}]}`: "its results lie in another file, which was not read",
	} {
		e := mustRead(t, run(members), evidence.Options{})
		if len(e.Findings) != 1 {
			t.Fatalf("%s: findings %+v", members, e.Findings)
		}
		f := e.Findings[0]
		if f.Severity != assay.SeverityCritical || f.Rule != "analysis-did-not-complete" || f.Message != "analysis did not complete: "+why {
			t.Errorf("%s: finding %+v", members, f)
		}
		if s := evidence.Summary(e); s != "1 error, 0 warnings" {
			t.Errorf("%s: summary %q", members, s)
		}
	}
}

func TestSARIFReadsAllRuns(t *testing.T) {
	report := `{"version":"2.1.0","runs":[
		{"tool":{"driver":{"name":"a","version":"1"}},"invocations":[{"executionSuccessful":true,"startTimeUtc":"2026-11-02T00:00:00Z","endTimeUtc":"2026-11-02T01:00:00Z"}],"results":[{"ruleId":"x","ruleIndex":-1}]},
		{"tool":{"driver":{"name":"b"}},"invocations":[{"executionSuccessful":true,"endTimeUtc":"2026-11-01T01:00:00Z","toolExecutionNotifications":[{"level":"error","message":{"text":"skipped c.go"}}]}],"results":[{"ruleId":"x"},{"ruleId":"y"}]}]}`
	e := mustRead(t, report, evidence.Options{})
	if len(e.Findings) != 3 || e.Tool.Name != "a" {
		t.Errorf("findings %+v by %v", e.Findings, e.Tool)
	}
	if want := time.Date(2026, 11, 1, 1, 0, 0, 0, time.UTC); !e.Produced.Equal(want) {
		t.Errorf("produced %v, want the oldest run's end, %v", e.Produced, want)
	}
	if want := `["the tool reports 1 error of its own, the first: skipped c.go","also holds a run of b"]`; dump(t, e.Notes) != want {
		t.Errorf("notes %s\nwant  %s", dump(t, e.Notes), want)
	}
}

func TestFingerprintsNameTheSameFindingInTwoRuns(t *testing.T) {
	result := func(file, line, text string) string {
		return `{"ruleId":"r","message":{"text":"` + text + `"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"` + file + `"},"region":{"startLine":` + line + `}}}]}`
	}
	print := func(r string) string { return one(t, r).Fingerprint }
	first := print(result("src/a.go", "10", "Length is 12, not 7"))
	for _, same := range []string{
		result("src/a.go", "99", "length is 3, not 1000"),
		result("./src/a.go", "10", "Length  is 12,\\nnot 7"),
		result(`src\\a.go`, "10", "Length is 12, not 7"),
	} {
		if print(same) != first {
			t.Errorf("%s got another fingerprint", same)
		}
	}
	for _, other := range []string{
		result("src/b.go", "10", "Length is 12, not 7"),
		result("src/a.go", "10", "Width is 12, not 7"),
		strings.Replace(result("src/a.go", "10", "Length is 12, not 7"), `"r"`, `"s"`, 1),
	} {
		if print(other) == first {
			t.Errorf("%s got the same fingerprint", other)
		}
	}
	if a, b := print(result("file:///home/one/w/a.go", "1", "m")), print(result("file:///srv/two/a.go", "1", "m")); a != b {
		t.Error("the place of a checkout changes the fingerprint")
	}
	own := `{"ruleId":"r","message":{"text":"%"},"partialFingerprints":{"primaryLocationLineHash":"39fa2ee980eb94b0:1"}}`
	if print(strings.Replace(own, "%", "one", 1)) != print(strings.Replace(own, "%", "two", 1)) {
		t.Error("the tool's own fingerprint is not used")
	}
	twice := mustRead(t, run(`"results":[`+result("a.go", "1", "m")+`,`+result("a.go", "2", "m")+`]`), evidence.Options{}).Findings
	if twice[0].Fingerprint == twice[1].Fingerprint {
		t.Error("two findings of one report share a fingerprint")
	}
}
