package attest_test

import (
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/evidence"
	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	vulns "github.com/in-toto/attestation/go/predicates/vulns/v02"
	"google.golang.org/protobuf/encoding/protojson"
)

// subject is the artifact that statements about reports are about.
var subject = assay.Subject{Name: "app", Digest: digest("binary"), Commit: strings.Repeat("4f2c9d1a", 5)}

// read reads a report as the control plane does.
func read(t testing.TB, name, report string) assay.Evidence {
	t.Helper()
	ev, err := evidence.Read(strings.NewReader(report), name, evidence.Options{Origin: assay.OriginLive, Collected: now})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// goTest is a report of go test -json with these outcomes of TestA, TestB, ….
func goTest(outcomes ...string) string {
	var b strings.Builder
	for i, o := range outcomes {
		name := string(rune('A' + i))
		line := func(action string) {
			b.WriteString(`{"Time":"2026-11-02T09:00:00Z","Action":"` + action + `","Package":"example.com/x","Test":"Test` + name + `"}` + "\n")
		}
		line("run")
		if o == "flaky" {
			line("fail")
			line("run")
			o = "pass"
		}
		line(o)
	}
	verdict := "pass"
	if strings.Contains(strings.Join(outcomes, " "), "fail") {
		verdict = "fail"
	}
	b.WriteString(`{"Time":"2026-11-02T09:00:01Z","Action":"` + verdict + `","Package":"example.com/x"}` + "\n")
	return b.String()
}

func TestTestResultSaysWhatTheReportsSay(t *testing.T) {
	for _, c := range []struct {
		name     string
		outcomes []string
		result   string
		warned   string
		failed   string
	}{
		{"all passed", []string{"pass", "pass", "skip"}, "PASSED", "", ""},
		{"one is flaky", []string{"pass", "flaky"}, "WARNED", "example.com/x.TestB", ""},
		{"one failed", []string{"flaky", "fail", "pass"}, "FAILED", "example.com/x.TestA", "example.com/x.TestB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := read(t, "out/tests.json", goTest(c.outcomes...))
			data, err := attest.TestResultStatement(subject, []assay.Evidence{ev})
			if err != nil {
				t.Fatal(err)
			}
			st, err := attest.ParseStatement(data)
			if err != nil {
				t.Fatal(err)
			}
			if st.PredicateType != "https://in-toto.io/attestation/test-result/v0.1" || len(st.Subject) != 2 ||
				!st.Subject[0].Has(string(subject.Digest)) || !st.Subject[1].Has("gitCommit:"+subject.Commit) {
				t.Errorf("statement = %+v; want a test result about the artifact and its revision", st)
			}
			r, err := attest.ParseTestResult(st.Predicate)
			if err != nil {
				t.Fatal(err)
			}
			if r.Result != c.result || strings.Join(r.WarnedTests, " ") != c.warned || strings.Join(r.FailedTests, " ") != c.failed {
				t.Errorf("result = %+v; want %s, warned %q, failed %q", r, c.result, c.warned, c.failed)
			}
			if len(r.Configuration) != 1 || !r.Configuration[0].Has(string(ev.Digest)) || r.Counts == nil || r.Counts.TestCounts != *ev.Tests {
				t.Errorf("configuration %+v, counts %+v; want the report by digest, and its counts", r.Configuration, r.Counts)
			}
			// in-toto's own types read it.
			var theirs testresult.TestResult
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(st.Predicate, &theirs); err != nil || theirs.GetResult() != c.result {
				t.Errorf("in-toto reads %v, %v", &theirs, err)
			}
		})
	}
}

func TestTestResultIsRefused(t *testing.T) {
	tests := read(t, "tests.json", goTest("pass"))
	empty := tests
	empty.Tests = &assay.TestCounts{Skipped: 3}
	scan := assay.Evidence{Kind: assay.KindVulnerabilities, Source: "scan.json"}
	for _, c := range []struct {
		name    string
		subject assay.Subject
		reports []assay.Evidence
		words   string
	}{
		{"no artifact", assay.Subject{}, []assay.Evidence{tests}, "an artifact with a digest"},
		{"no report", subject, nil, "no test that ran"},
		{"nothing ran", subject, []assay.Evidence{empty}, "no test that ran"},
		{"another kind", subject, []assay.Evidence{tests, scan}, "made of reports of kind test-results"},
	} {
		if _, err := attest.TestResultStatement(c.subject, c.reports); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v; want an error with %q", c.name, err, c.words)
		}
	}
	for words, predicate := range map[string]string{
		"expected PASSED, WARNED or FAILED": `{"result":"OK","configuration":[{}]}`,
		"configuration is missing":          `{"result":"PASSED","configuration":[]}`,
		"although the result is PASSED":     `{"result":"PASSED","configuration":[{}],"failedTests":["x"]}`,
		"not what this version writes":      `{"result":"PASSED","configuration":[{}],"https://assay.dev/test-result/counts/v1":{"x":1}}`,
	} {
		if _, err := attest.ParseTestResult([]byte(predicate)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want an error with %q", predicate, err, words)
		}
	}
}

func scan() assay.Evidence {
	return assay.Evidence{
		Kind: assay.KindVulnerabilities, Source: "scan.json", Digest: digest("scan"), Tool: assay.Tool{Name: "grype", Version: "0.90.0"},
		Produced: now.Add(-time.Hour), Collected: now,
		Findings: []assay.Finding{
			{Rule: "GHSA-1", Aliases: []string{"CVE-2026-1"}, Severity: assay.SeverityHigh, Package: assay.Component{Name: "example.com/x", Version: "v1.2.2"}, FixedIn: []string{"v1.2.3"}},
			{Rule: "GHSA-2", Severity: assay.SeverityLow, Suppressed: "not reachable"},
		},
	}
}

func TestVulnsStatementListsEveryFinding(t *testing.T) {
	data, err := attest.VulnsStatement(subject, scan())
	if err != nil {
		t.Fatal(err)
	}
	st, err := attest.ParseStatement(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := attest.ParseVulns(st.PredicateType, st.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	if st.PredicateType != "https://in-toto.io/attestation/vulns/v0.2" || v.Scanner.URI != "pkg:generic/grype" || v.Scanner.Version != "0.90.0" ||
		len(v.Scanner.Result) != 2 || !v.Metadata.ScanFinishedOn.Equal(now.Add(-time.Hour)) {
		t.Errorf("%s: %+v", st.PredicateType, v)
	}
	first := v.Scanner.Result[0]
	if first.ID != "GHSA-1" || first.Severity[0].Score != "high" || first.Annotations[0].Package.Name != "example.com/x" || first.Annotations[0].FixedIn[0] != "v1.2.3" {
		t.Errorf("first result = %+v", first)
	}
	if s := v.Scanner.Result[1].Annotations[0].Suppressed; s != "not reachable" {
		t.Errorf("the second is suppressed because %q", s)
	}
	var theirs vulns.Vulns
	if err := (protojson.UnmarshalOptions{}).Unmarshal(st.Predicate, &theirs); err != nil || len(theirs.GetScanner().GetResult()) != 2 {
		t.Errorf("in-toto reads %v, %v", &theirs, err)
	}
	nameless := scan()
	nameless.Tool = assay.Tool{}
	if _, err := attest.VulnsStatement(subject, nameless); err == nil || !strings.Contains(err.Error(), "does not name its scanner") {
		t.Errorf("a scan without a scanner: %v", err)
	}
	if _, err := attest.VulnsStatement(subject, read(t, "t", goTest("pass"))); err == nil || !strings.Contains(err.Error(), "of kind vulnerabilities") {
		t.Errorf("a test report: %v", err)
	}
}

// cosign's vuln predicate is another type of another shape; both are read.
const cosignVuln = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{"sha256":"` +
	`bb"}}],"predicateType":"https://cosign.sigstore.dev/attestation/vuln/v1","predicate":{"invocation":{"uri":"","event_id":"","builder.id":""},` +
	`"scanner":{"uri":"pkg:github/aquasecurity/trivy@v0.60","version":"0.60.0","db":{"uri":"","version":""},"result":{"Results":[]}},` +
	`"metadata":{"scanStartedOn":"2026-10-01T00:00:00Z","scanFinishedOn":"2026-10-01T00:01:00Z"}}}`

func TestVulnStatementsOfCosignAreRead(t *testing.T) {
	s := newSigner(t, "ed25519")
	bundle := signed(t, s, []byte(strings.Replace(cosignVuln, "bb", digest("binary").Hex(), 1)))
	for _, kind := range []string{"vulns", "vuln", "https://cosign.sigstore.dev/attestation/vuln/v1", attest.TypeAny} {
		r := attest.Verify(bundle, trust(s.key), attest.Expect{Subject: string(digest("binary")), Type: kind}, now)
		if err := r.Err(); err != nil {
			t.Errorf("--type %s: %v", kind, err)
		}
		if d := r.Steps[2].Detail; kind == "vuln" && !strings.Contains(d, "scan by pkg:github/aquasecurity/trivy@v0.60 0.60.0, its own report") {
			t.Errorf("step 3 says %q", d)
		}
	}
	wantStop(t, attest.Verify(bundle, trust(s.key), attest.Expect{Subject: string(digest("binary")), Type: assay.VulnsPredicateType}, now), "predicate type", "found predicate type")
	wantStop(t, attest.Verify(bundle, trust(s.key), attest.Expect{Subject: string(digest("binary")), Type: "openvex"}, now), "predicate type", "expected https://openvex.dev/ns")
	for words, predicate := range map[string]string{
		"scanner.uri is missing":    `{"scanner":{"result":[]}}`,
		"scanner.result is missing": `{"scanner":{"uri":"x"}}`,
		"is not a list":             `{"scanner":{"uri":"x","result":{}}}`,
		"result[0].id is missing":   `{"scanner":{"uri":"x","result":[{}]}}`,
	} {
		if _, err := attest.ParseVulns(assay.VulnsPredicateType, []byte(predicate)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want an error with %q", predicate, err, words)
		}
	}
}

func TestTypesHaveShortNames(t *testing.T) {
	for name, want := range map[string]string{
		"slsaprovenance1": "https://slsa.dev/provenance/v1", "cyclonedx": "https://cyclonedx.org/bom", "any": "any",
		"https://example.com/own/v1": "https://example.com/own/v1", "vsa": assay.VSAPredicateType,
	} {
		if got, err := attest.PredicateTypes(name); err != nil || got[0] != want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, want)
		}
	}
	if _, err := attest.PredicateTypes("sbom"); err == nil || !strings.Contains(err.Error(), "cyclonedx") {
		t.Errorf("an unknown name: %v; want the known ones", err)
	}
}
