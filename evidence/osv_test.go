package evidence_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// advisories wraps the members of one scanned package.
func advisories(members string) string {
	return `{"results":[{"source":{"path":"go.mod"},"packages":[{"package":{"name":"lib","version":"1.0","ecosystem":"Debian:12"},` + members + `}]}]}`
}

func TestOSVSeverityIsTheHighestThatAnybodyGave(t *testing.T) {
	for _, tt := range []struct {
		vulnerability, group string
		want                 assay.Severity
	}{
		{``, ``, assay.SeverityUnknown},
		{``, `,"max_severity":""`, assay.SeverityUnknown},
		{``, `,"max_severity":"grave"`, assay.SeverityUnknown},
		{``, `,"max_severity":"11"`, assay.SeverityUnknown},
		{``, `,"max_severity":"0.0"`, assay.SeverityNone},
		{``, `,"max_severity":"0.1"`, assay.SeverityLow},
		{``, `,"max_severity":"3.9"`, assay.SeverityLow},
		{``, `,"max_severity":"4.0"`, assay.SeverityMedium},
		{``, `,"max_severity":"6.9"`, assay.SeverityMedium},
		{``, `,"max_severity":"7.0"`, assay.SeverityHigh},
		{``, `,"max_severity":"8.9"`, assay.SeverityHigh},
		{``, `,"max_severity":"9.0"`, assay.SeverityCritical},
		{``, `,"max_severity":"10.0"`, assay.SeverityCritical},
		{`,"database_specific":{"severity":"MODERATE"}`, `,"max_severity":""`, assay.SeverityMedium},
		{`,"database_specific":{"severity":"CRITICAL"}`, `,"max_severity":"5.0"`, assay.SeverityCritical},
		{`,"database_specific":{"severity":{"score":9}}`, ``, assay.SeverityUnknown},
		{`,"database_specific":"text"`, ``, assay.SeverityUnknown},
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]`, ``, assay.SeverityHigh},     // 7.5
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}]`, ``, assay.SeverityCritical}, // 10.0
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:N/AC:L/PR:L/UI:R/S:C/C:L/I:L/A:N"}]`, ``, assay.SeverityMedium},   // 5.4
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N/E:P"}]`, ``, assay.SeverityLow},  // 1.6
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"}]`, ``, assay.SeverityNone},     // 0
		{`,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L"}]`, ``, assay.SeverityUnknown},                            // not a base vector
		{`,"severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}]`, ``, assay.SeverityUnknown},
	} {
		report := advisories(`"vulnerabilities":[{"id":"X-1"` + tt.vulnerability + `}],"groups":[{"ids":["X-1"]` + tt.group + `}]`)
		e := mustRead(t, report, evidence.Options{})
		if len(e.Findings) != 1 || e.Findings[0].Severity != tt.want {
			t.Errorf("%s %s: findings %+v, want severity %s", tt.vulnerability, tt.group, e.Findings, tt.want)
		}
	}
}

func TestOSVReportsOneFindingForEachGroup(t *testing.T) {
	affected := func(name, eco, fixed string) string {
		return `{"package":{"name":"` + name + `","ecosystem":"` + eco + `","purl":"pkg:deb/` + name + `"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]}`
	}
	report := advisories(`"groups":[{"ids":["A","B"],"aliases":["A","CVE-1"],"max_severity":"8.1"}],
		"vulnerabilities":[
		{"id":"B","aliases":["CVE-1"],"summary":"second","affected":[` + affected("lib", "Debian:11", "1.2") + `,` + affected("other", "Debian:12", "9.9") + `]},
		{"id":"A","aliases":["CVE-2"],"details":"no summary here","affected":[` + affected("lib", "Debian:12", "1.1") + `,` + affected("lib", "npm", "7.7") + `]},
		{"id":"C"}],"license_violations":["GPL-3.0"]`)
	e := mustRead(t, report, evidence.Options{})
	prints := map[string]bool{}
	for i := range e.Findings {
		prints[e.Findings[i].Fingerprint] = true
		e.Findings[i].Fingerprint = ""
	}
	pkg := assay.Component{Name: "lib", Version: "1.0"}
	withURL := pkg
	withURL.PURL = "pkg:deb/lib"
	want := []assay.Finding{
		{Rule: "A", Aliases: []string{"B", "CVE-1", "CVE-2"}, Severity: assay.SeverityHigh, Message: "no summary here", Location: assay.Location{File: "go.mod"}, Package: withURL, FixedIn: []string{"1.1", "1.2"}},
		{Rule: "C", Severity: assay.SeverityUnknown, Message: "the report gives no summary", Location: assay.Location{File: "go.mod"}, Package: pkg},
	}
	if dump(t, e.Findings) != dump(t, want) || len(prints) != 2 {
		t.Errorf("got  %s\nwant %s", dump(t, e.Findings), dump(t, want))
	}
	if dump(t, e.Notes) != `["1 package has license violations, which were not read"]` {
		t.Errorf("notes %q", e.Notes)
	}
}

func TestOSVWithoutAnyResultSaysSo(t *testing.T) {
	for _, report := range []string{`{"results":[]}`, `{"results":null}`, `{"results":[],"experimental_config":{"licenses":{}}}`} {
		e := mustRead(t, report, evidence.Options{})
		if len(e.Findings) != 0 || len(e.Notes) != 1 || evidence.Summary(e) != "0 critical, 0 high, 0 medium, 0 low" {
			t.Errorf("%s: %+v", report, e)
		}
	}
}
