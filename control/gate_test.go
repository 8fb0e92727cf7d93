package control_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
)

func TestAGateIsRunByCallersOfItsNamespaceAlone(t *testing.T) {
	in := controltest.New(t)
	for _, c := range []struct {
		namespace, gate string
		code            assay.Code
		says            string
	}{
		{"default", "", "", ""},
		{"default", "ship", "", ""},
		{"default", "default/ship", "", ""},
		{"team-a", "", "", ""},
		{"team-a", "team-a/ship", "", ""},
		{"team-a", "team-b/ship", assay.CodeNotFound, `namespace "team-a" has no gate "team-b/ship"; it has ship`},
		{"team-a", "shipp", assay.CodeNotFound, `namespace "team-a" has no gate "shipp"; it has ship (did you mean "ship"?)`},
		{"other", "", assay.CodeNotFound, `the policy has no gate for namespace "other" (a gate belongs to the namespace in its metadata, default if it names none; on local files --namespace chooses)`},
		{"other", "ship", assay.CodeNotFound, `the policy has no gate for namespace "other"`},
	} {
		s := in.As("alice", c.namespace, api.RoleDeveloper)
		req := in.Request(s, "app", controltest.Tests, controltest.Clean)
		req.Gate = c.gate
		for what, ask := range map[string]func() (assay.Verdict, error){
			"check": func() (assay.Verdict, error) { return s.Check(t.Context(), req) },
			"attest": func() (assay.Verdict, error) {
				att, err := s.Attest(t.Context(), req)
				return att.Verdict, err
			},
		} {
			v, err := ask()
			if assay.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s of gate %q in %s: %v (%q), want %q (%q)", what, c.gate, c.namespace, err, assay.CodeOf(err), c.says, c.code)
			}
			if err == nil && (v.Gate != "ship" || v.Outcome != assay.OutcomePass) {
				t.Errorf("%s of gate %q in %s: %s of gate %q", what, c.gate, c.namespace, v.Outcome, v.Gate)
			}
			if err != nil && c.namespace != "team-b" && strings.Contains(strings.ReplaceAll(err.Error(), c.gate, ""), "team-b") {
				t.Errorf("%s in %s tells of another namespace: %v", what, c.namespace, err)
			}
		}
	}
}

// A pipeline that presents a report which broke off must not pass, and must be told
// where the report is broken.
func TestAReportThatCannotBeReadIsAbsentEvidenceWithItsPlace(t *testing.T) {
	in := controltest.New(t)
	s := in.As("alice", "default", api.RoleDeveloper)
	cut := controltest.Tests + `{"Time":"2026-01-02T03:04:07Z","Action":"pa`
	for name, c := range map[string]struct {
		reports []string
		kind    assay.EvidenceKind
		line    int
		reason  string // of the requirement
	}{
		"cut off, alone": {[]string{cut, controltest.Clean}, assay.KindTests, 4, "report.json:4:"},
		// It may hold what failed.
		"cut off, beside a good one": {[]string{cut, controltest.Tests, controltest.Clean}, assay.KindTests, 4, "report.json:4:"},
		"empty":                      {[]string{"", controltest.Clean}, "", 0, "no evidence of kind test-results was presented; report.json could not be read: is empty"},
		"of an unknown format":       {[]string{"<rss/>", controltest.Clean}, "", 0, "report.json could not be read: "},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := s.Check(t.Context(), in.Request(s, "app", c.reports...))
			if err != nil {
				t.Fatal(err)
			}
			if v.Outcome != assay.OutcomeAbsent || !v.Blocks() || len(v.Refused) != 1 {
				t.Fatalf("outcome %s, refused %+v", v.Outcome, v.Refused)
			}
			f := v.Refused[0]
			if f.Kind != c.kind || f.Location.Line != c.line || f.Location.File != "report.json" || f.Digest != controltest.DigestOf(c.reports[0]) || strings.Contains(f.Reason, "report.json") {
				t.Errorf("refused %+v", f)
			}
			if r := v.Requirements[0]; r.State != assay.Missing || !strings.Contains(r.Reason, c.reason) || !strings.Contains(r.Reason, "could not be read") {
				t.Errorf("requirement %+v, want the reason %q", r, c.reason)
			}
			att, err := s.Attest(t.Context(), in.Request(s, "app", c.reports...))
			if err != nil || att.Verdict.Outcome != assay.OutcomeAbsent {
				t.Errorf("attested %s, %v", att.Verdict.Outcome, err)
			}
		})
	}
}

func TestAReportThatCannotBeEvidenceOfTheGateIsAnErrorWithItsPlace(t *testing.T) {
	in := controltest.New(t)
	s := in.As("alice", "default", api.RoleDeveloper)
	for name, c := range map[string]struct {
		reports []string
		want    string
	}{
		"nothing is missing": {[]string{controltest.Tests, controltest.Clean, "<rss/>"}, "report.json: "},
		"of a kind that is not required": {
			[]string{controltest.Tests, controltest.Clean, `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{`},
			"report.json:1:",
		},
	} {
		_, err := s.Check(t.Context(), in.Request(s, "app", c.reports...))
		if assay.CodeOf(err) != assay.CodeInvalid || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
