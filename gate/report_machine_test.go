package gate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// hostileVerdict is a verdict whose outside text tries to break out of every form.
func hostileVerdict(t *testing.T) assay.Verdict {
	t.Helper()
	f := cve("CVE-9", assay.SeverityCritical)
	f.Message = "x]]></failure>\n::error::owned\r\n%0A::set-output name=a::b \x1b[31m"
	f.Location = assay.Location{File: "a,b:c%\n::warning::d.go", Line: 7, Column: 2}
	in := inputs()
	in.Evidence = []assay.Evidence{tests(1, 0, 0), vulnerabilities(f)}
	return mustCheck(t, in, nil)
}

func TestSARIFReportIsReadBackByOurOwnReader(t *testing.T) {
	all := scenes(t)
	all["hostile"] = hostileVerdict(t)
	for name, v := range all {
		var b bytes.Buffer
		if err := SARIF(&b, v); err != nil {
			t.Fatal(err)
		}
		e, err := evidence.Read(&b, "report.sarif", evidence.Options{Origin: assay.OriginLive, Collected: now})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := entries(v)
		if e.Kind != assay.KindStaticAnalysis || e.Tool.Name != "assay" || len(e.Findings) != len(want) || len(e.Notes) > 0 {
			t.Errorf("%s: %s by %s with %d findings and notes %v; the verdict objects %d times", name, e.Format, e.Tool.Name, len(e.Findings), e.Notes, len(want))
			continue
		}
		suppressed, rules := 0, map[string]int{}
		for _, f := range e.Findings {
			rules[f.Rule]++
			if f.Suppressed != "" {
				suppressed++
			}
		}
		excusedEntries := 0
		for _, x := range want {
			rules[x.rule]--
			if x.status == excused {
				excusedEntries++
			}
		}
		for rule, n := range rules {
			if n != 0 {
				t.Errorf("%s: rule %s is read %+d times more often than it objects", name, rule, n)
			}
		}
		if suppressed != excusedEntries {
			t.Errorf("%s: %d suppressed, %d excused", name, suppressed, excusedEntries)
		}
	}
}

func TestJUnitReportIsReadBackByOurOwnReaderOrIsAtLeastXML(t *testing.T) {
	for name, v := range map[string]assay.Verdict{"fail": scenes(t)["fail"], "hostile": hostileVerdict(t)} {
		var b bytes.Buffer
		if err := JUnit(&b, v); err != nil {
			t.Fatal(err)
		}
		var back struct {
			Suites []struct {
				Failures int `xml:"failures,attr"`
				Cases    []struct {
					Failure *string `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &b)
		}
		n := 0
		for _, c := range back.Suites[0].Cases {
			if c.Failure != nil {
				n++
			}
		}
		if n == 0 || n != back.Suites[0].Failures {
			t.Errorf("%s: %d failures, of which %d are told", name, back.Suites[0].Failures, n)
		}
	}
}

func TestAnnotationsCannotBeBrokenOutOf(t *testing.T) {
	var b bytes.Buffer
	if err := Annotations(&b, hostileVerdict(t)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2 { // the vulnerability and the summary
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, l := range lines {
		if !strings.HasPrefix(l, "::error ") && !strings.HasPrefix(l, "::notice ") && !strings.HasPrefix(l, "::warning ") {
			t.Errorf("a line that is not ours: %q", l)
		}
		if strings.ContainsAny(l, "\r\x1b") {
			t.Errorf("a control character: %q", l)
		}
	}
	if want := "::error file=a%2Cb%3Ac%25 %3A%3Awarning%3A%3Ad.go,line=7,col=2,title=vulns/severity::CVE-9: x]]></failure> ::error::owned  %250A::set-output"; !strings.HasPrefix(lines[0], want) {
		t.Errorf("%q\nwant %q…", lines[0], want)
	}
}

func TestEveryMachineReportTellsRulePlaceReasonFixAndException(t *testing.T) {
	v := scenes(t)["fail"]
	for _, format := range []string{"sarif", "junit", "gitlab", "github"} {
		var b bytes.Buffer
		if err := Write(&b, format, v); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"rules/no-friday", "main.go", "it is Friday", "fix: read the handbook", "assay exception request --rule rules/no-friday --subject " + string(subject.Digest), "q83vEjRWeJA="} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s does not say %q", format, want)
			}
		}
	}
	if err := Write(&bytes.Buffer{}, "sarfi", v); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), `did you mean "sarif"?`) {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestGitLabFingerprintsAreUniqueAndStable(t *testing.T) {
	in := inputs()
	in.Evidence = []assay.Evidence{tests(1, 0, 0), vulnerabilities(cve("CVE-7", assay.SeverityHigh), cve("CVE-8", assay.SeverityHigh))}
	var prints [2]map[string]bool
	for i := range prints {
		in.Now = now.AddDate(0, 0, i)
		in.Evidence[0].Produced = in.Now
		var b bytes.Buffer
		if err := GitLab(&b, mustCheck(t, in, nil)); err != nil {
			t.Fatal(err)
		}
		var list []codeQuality
		if err := json.Unmarshal(b.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		prints[i] = map[string]bool{}
		for _, c := range list {
			if prints[i][c.Fingerprint] || len(c.Fingerprint) != 64 || c.Location.Lines.Begin < 1 {
				t.Errorf("%+v", c)
			}
			prints[i][c.Fingerprint] = true
		}
	}
	for p := range prints[0] {
		if !prints[1][p] {
			t.Errorf("fingerprint %s changed overnight", p)
		}
	}
}
