package policy

import (
	"strings"
	"testing"

	"assay.dev/assay"
)

// kevJSON has the form of CISA's catalogue.
const kevJSON = `{
  "title": "CISA Catalog of Known Exploited Vulnerabilities",
  "catalogVersion": "2026.11.20",
  "dateReleased": "2026-11-20T18:00:05.4321Z",
  "count": 2,
  "vulnerabilities": [
    {"cveID": "CVE-2021-44228", "vendorProject": "Apache", "vulnerabilityName": "Log4Shell", "dateAdded": "2021-12-10", "dueDate": "2021-12-24",
     "knownRansomwareCampaignUse": "Known", "cwes": ["CWE-20"]},
    {"cveID": "CVE-2020-0001", "vulnerabilityName": "Another", "dateAdded": "2022-01-02", "dueDate": "", "knownRansomwareCampaignUse": "Unknown"}
  ]
}
`

// epssCSV has the form of FIRST's daily file.
const epssCSV = "#model_version:v2026.03.14,score_date:2026-11-20T12:55:00Z\ncve,epss,percentile\nCVE-2021-44228,0.94358,0.99961\nCVE-2020-0001,0.00042,0.13\n"

const strictGateYAML = `apiVersion: assay.dev/v1alpha1
kind: Gate
metadata: {name: strict}
spec:
  requires:
    - name: vulns
      kind: vulnerabilities
      knownExploited: deny
      epss: {max: 0.5}
`

func TestRevisionReadsTheListsOfVulnerabilities(t *testing.T) {
	rev, err := NewRevision([]File{file("g.yaml", strictGateYAML), file("known_exploited_vulnerabilities.json", kevJSON), file("lists/epss.csv", epssCSV)})
	if err != nil {
		t.Fatal(err)
	}
	l := rev.Lists()
	id, e, ok := l.FindExploited([]string{"GHSA-x", "cve-2021-44228"})
	if !ok || id != "cve-2021-44228" || e.Name != "Log4Shell" || e.Added != "2021-12-10" || !e.Ransomware {
		t.Errorf("%q %+v %t", id, e, ok)
	}
	if _, _, ok := l.FindExploited([]string{"CVE-2099-0001"}); ok {
		t.Error("found what is not listed")
	}
	id, p, ok := l.FindLikelihood([]string{"CVE-2020-0001", "CVE-2021-44228"})
	if !ok || id != "CVE-2021-44228" || p.Score < 0.9 {
		t.Errorf("%q %+v %t", id, p, ok)
	}
	if l.EPSSDate.Day() != 20 || l.ExploitedDate.Hour() != 18 {
		t.Errorf("dates %s and %s", l.EPSSDate, l.ExploitedDate)
	}
	without, err := NewRevision([]File{file("g.yaml", strictGateYAML), file("x.kev.json", kevJSON), file("epss.csv", epssCSV+"CVE-2020-0002,0.1,0.2\n")})
	if err != nil || without.Digest() == rev.Digest() {
		t.Errorf("the lists are not part of the digest (%v)", err)
	}
}

func TestGateThatAsksAListWhichIsNotThereIsRefused(t *testing.T) {
	_, err := NewRevision([]File{file("g.yaml", strictGateYAML), file("epss.csv", epssCSV)})
	wantError(t, err, assay.CodeInvalid, "g.yaml:1:1: spec.requires[0].knownExploited needs a list that the policy directory does not have (put there known_exploited")
	_, err = NewRevision([]File{file("g.yaml", strictGateYAML), file("a.kev.json", kevJSON)})
	wantError(t, err, assay.CodeInvalid, "spec.requires[0].epss needs a list")
}

func TestMalformedListsAreRefusedWithFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"no CVE id", "CVE-2020-0001", "CVE-20-1", `k.kev.json:9: cveID "CVE-20-1" is not a CVE id`},
		{"twice", "CVE-2020-0001", "cve-2021-44228", "k.kev.json:9: cve-2021-44228 is listed twice"},
		{"no date", `"dateAdded": "2022-01-02", `, "", "k.kev.json:9: CVE-2020-0001 has no dateAdded"},
		{"wrong date", "2022-01-02", "2 January", `k.kev.json:9: CVE-2020-0001 has the date "2 January"`},
		{"wrong type", `"CVE-2020-0001"`, "17", "k.kev.json:9"},
		{"cut off", "  ]\n}\n", "", "k.kev.json:10:1: vulnerabilities is cut off"},
		{"another document", `"vulnerabilities"`, `"findings"`, "k.kev.json: has no list of vulnerabilities"},
		{"released when", "2026-11-20T18", "yesterdayT18", "k.kev.json:4: dateReleased"},
	} {
		t.Run("kev "+c.name, func(t *testing.T) {
			bad := strings.Replace(kevJSON, c.old, c.new, 1)
			if bad == kevJSON {
				t.Fatal("the case changes nothing")
			}
			_, err := NewRevision([]File{file("k.kev.json", bad)})
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"no CVE id", "CVE-2020-0001,", "GHSA-1,", `epss.csv:4: "GHSA-1" is not a CVE id`},
		{"two values", ",0.13", "", `epss.csv:4: "CVE-2020-0001,0.00042" is not three values`},
		{"no number", "0.00042", "high", `epss.csv:4: CVE-2020-0001 has the scores "high,0.13"`},
		{"above one", "0.00042", "1.5", "expected two numbers from 0 to 1"},
		{"not a number", "0.00042", "NaN", "expected two numbers from 0 to 1"},
		{"twice", "CVE-2020-0001", "CVE-2021-44228", "epss.csv:4: CVE-2021-44228 is listed twice"},
		{"no header", "cve,epss,percentile\n", "", "epss.csv:2: is not the header; expected cve,epss,percentile"},
		{"packed", "#model", "\x1f\x8b", "epss.csv: is packed with gzip (unpack it with gunzip)"},
	} {
		t.Run("epss "+c.name, func(t *testing.T) {
			_, err := NewRevision([]File{file("epss.csv", strings.Replace(epssCSV, c.old, c.new, 1))})
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
	_, err := NewRevision([]File{file("epss.csv", "cve,epss,percentile\n")})
	wantError(t, err, assay.CodeInvalid, "holds no EPSS scores")
	_, err = NewRevision([]File{file("epss.csv", epssCSV), file("a/epss_scores-2026-11-20.csv", epssCSV)})
	wantError(t, err, assay.CodeInvalid, "second file of EPSS scores")
	_, _, err = ParseKEV("k", make([]byte, MaxListBytes+1))
	wantError(t, err, assay.CodeTooLarge, "a list has at most")
	_, _, err = ParseEPSS("e", make([]byte, MaxListBytes+1))
	wantError(t, err, assay.CodeTooLarge, "a list has at most")
}

func TestParseChecksRequirementsOnProducersMeasuresAndLists(t *testing.T) {
	gate := func(require string) string {
		return "apiVersion: assay.dev/v1alpha1\nkind: Gate\nmetadata: {name: g}\nspec:\n  requires:\n    - " + strings.ReplaceAll(strings.TrimSpace(require), "\n", "\n      ") + "\n"
	}
	for _, c := range []struct{ require, want string }{
		{"name: a\nkind: coverage\nminCoverage: 0.8\ncovers: [lines]", ""},
		{"name: a\nkind: performance\nlimits: [{measure: p95, max: 0.3, maxRegression: 0.1}]\nfiles: ['bench/**']", ""},
		{"name: a\nkind: attestation\npredicateType: https://slsa.dev/provenance/v1\nproducers: [ci]", ""},
		{"name: a\nkind: secrets\nmaxSeverity: low", ""},
		{"name: a\nkind: coverage\nminCoverage: 80", "minCoverage is 80; expected a ratio from 0 to 1"},
		{"name: a\nkind: sbom\nminCoverage: 0.8", "minCoverage only applies to kind coverage"},
		{"name: a\nkind: sbom\nlimits: [{measure: x, max: 1}]", "limits only applies to kinds coverage and performance"},
		{"name: a\nkind: performance\nlimits: [{measure: x}]", "bounds nothing"},
		{"name: a\nkind: performance\nlimits: [{max: 1}]", `measure "" is not the name of a measure`},
		{"name: a\nkind: performance\nlimits: [{measure: x, min: 2, max: 1}]", "nothing could hold it"},
		{"name: a\nkind: performance\nlimits: [{measure: x, maxRegression: -1}]", "expected a share from 0 to 10"},
		{"name: a\nkind: sbom\nproducers: []", "producers is empty; it would accept nothing"},
		{"name: a\nkind: sbom\nproducers: [ci, ci]", `producers[1] "ci" is listed twice`},
		{"name: a\nkind: sbom\npredicateType: x", "predicateType only applies to kind attestation"},
		{"name: a\nkind: vulnerabilities\ncovers: [x]", "do not list what they looked at"},
		{"name: a\nkind: sbom\nknownExploited: deny", "knownExploited only applies to kind vulnerabilities"},
		{"name: a\nkind: vulnerabilities\nknownExploited: dney", `did you mean "deny"?`},
		{"name: a\nkind: vulnerabilities\nepss: {max: 50}", "expected a probability from 0 to 1"},
	} {
		_, err := Parse("g.yaml", []byte(gate(c.require)))
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: %v", c.require, err)
			}
			continue
		}
		wantError(t, err, assay.CodeInvalid, c.want)
	}
	_, err := Parse("g.yaml", []byte(gate("name: a\nkind: sbom")+"  vex: {}\n"))
	wantError(t, err, assay.CodeInvalid, "spec.vex trusts nobody")
}

func TestExceptionPolicyHasDefaultsAndBounds(t *testing.T) {
	const head = "apiVersion: assay.dev/v1alpha1\nkind: ExceptionPolicy\nmetadata: {name: x}\nspec: "
	rev, err := NewRevision([]File{file("x.yaml", head+"{approvals: 2, remindBefore: 48h, bypass: {page: [on-call], maxDuration: 1h}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if p := rev.ExceptionPolicy("default"); p.Approvals != 2 || p.RemindBefore.Value().Hours() != 48 || p.Bypass.MaxDuration.Value().Hours() != 1 {
		t.Errorf("%+v", p)
	}
	if p := rev.ExceptionPolicy("other"); p.Approvals != 1 || p.MaxDuration.Value() != MaxException || p.Bypass.MaxDuration.Value() != assay.MaxBypass || p.RemindBefore.Value() != DefaultReminder {
		t.Errorf("defaults %+v", p)
	}
	for spec, want := range map[string]string{
		"{approvals: 9}":                     "spec.approvals is 9; expected 1 to 8",
		"{approvals: -1}":                    "expected 1 to 8",
		"{maxDuration: 91d}":                 "spec.maxDuration is 91d; at most 2160h0m0s is possible",
		"{bypass: {maxDuration: 5h}}":        "spec.bypass.maxDuration is 5h; at most 4h0m0s is possible",
		"{bypass: {page: []}}":               "is empty",
		"{aprovals: 2}":                      `did you mean "approvals"?`,
		"{remindBefore: tomorrow}":           "is not a duration",
		"{bypass: {forbidden: true, x: no}}": "is not a known key",
	} {
		_, err := Parse("x.yaml", []byte(head+spec+"\n"))
		wantError(t, err, assay.CodeInvalid, want)
	}
	_, err = NewRevision([]File{file("x.yaml", head+"{}\n"), file("y.yaml", strings.Replace(head, "name: x", "name: y", 1)+"{}\n")})
	wantError(t, err, assay.CodeInvalid, `ExceptionPolicy "y" is the second of namespace default; first at x.yaml:1`)
}

func FuzzParseKEV(f *testing.F) {
	f.Add([]byte(kevJSON))
	f.Add([]byte(`{"vulnerabilities":[{"cveID":1}]}`))
	f.Add([]byte(`{"vulnerabilities":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := ParseKEV("k.json", data)
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("error is not one clean line: %q", err)
		}
		for id, e := range entries {
			if err == nil && (!isCVE(id) || e.Added == "") {
				t.Errorf("accepted %q %+v", id, e)
			}
		}
	})
}

func FuzzParseEPSS(f *testing.F) {
	f.Add([]byte(epssCSV))
	f.Add([]byte("cve,epss,percentile\nCVE-2021-44228,0.9,0.9\n"))
	f.Add([]byte("cve,epss,percentile\r\nCVE-2021-44228,1e400,0.9\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		scores, _, err := ParseEPSS("e.csv", data)
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("error is not one clean line: %q", err)
		}
		for id, p := range scores {
			if !(p.Score >= 0 && p.Score <= 1 && p.Percentile >= 0 && p.Percentile <= 1) {
				t.Errorf("accepted %q %+v", id, p)
			}
		}
	})
}
