package attest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/golden"
)

func TestSummaryOfAVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		outcome assay.Outcome
		mode    assay.Mode
		result  string
		levels  string
	}{
		{"pass", assay.OutcomePass, assay.ModeEnforce, attest.ResultPassed, "ASSAY_RELEASE SLSA_BUILD_LEVEL_2"},
		{"fail", assay.OutcomeFail, assay.ModeEnforce, attest.ResultFailed, "FAILED"},
		{"absent", assay.OutcomeAbsent, assay.ModeEnforce, attest.ResultFailed, "FAILED"},
		{"dry-run-pass", assay.OutcomePass, assay.ModeDryRun, attest.ResultPassed, ""},
		{"dry-run-fail", assay.OutcomeFail, assay.ModeDryRun, attest.ResultFailed, "FAILED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verdict(c.outcome, c.mode)
			data := statement(t, v)
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, append(data, '\n'), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, "testdata/vsa-"+c.name+".json", pretty.Bytes())

			st, err := attest.ParseStatement(data)
			if err != nil {
				t.Fatal(err)
			}
			s, err := attest.ParseSummary(st.Predicate)
			if err != nil {
				t.Fatal(err)
			}
			if s.VerificationResult != c.result || strings.Join(s.VerifiedLevels, " ") != c.levels {
				t.Errorf("result %s with levels %q; want %s with %q", s.VerificationResult, s.VerifiedLevels, c.result, c.levels)
			}
			if s.Gate == nil || s.Gate.Outcome != c.outcome || s.Gate.Mode != c.mode {
				t.Errorf("gate extension = %+v; want outcome %s and mode %s", s.Gate, c.outcome, c.mode)
			}
			if want := len(v.Evidence) + len(v.Exceptions); len(s.InputAttestations) != want {
				t.Errorf("%d inputs; want all %d pieces of evidence and exceptions", len(s.InputAttestations), want)
			}
			if !bytes.Equal(statement(t, v), data) {
				t.Error("the same verdict gave other bytes")
			}
		})
	}
}

func TestSummaryIsRefusedForAnIncompleteVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*assay.Verdict)
		field  string
	}{
		{"no subject digest", func(v *assay.Verdict) { v.Subject.Digest = "" }, "subject.digest"},
		{"no policy digest", func(v *assay.Verdict) { v.Policy.Digest = "sha256:1" }, "policy.digest"},
		{"no policy URI", func(v *assay.Verdict) { v.Policy.URI = "" }, "policy.uri"},
		{"no resource URI", func(v *assay.Verdict) { v.Subject.URI = "" }, "resourceUri"},
		{"no time", func(v *assay.Verdict) { v.Time = v.Time.AddDate(-5000, 0, 0); v.Time = assay.Verdict{}.Time }, "time"},
		{"no outcome", func(v *assay.Verdict) { v.Outcome = "" }, "outcome"},
		{"gate off", func(v *assay.Verdict) { v.Mode = assay.ModeOff }, "mode"},
		{"no mode", func(v *assay.Verdict) { v.Mode = "" }, "mode"},
		{"evidence without digest", func(v *assay.Verdict) { v.Evidence[1].Digest = "" }, "evidence"},
		{"two levels of one track", func(v *assay.Verdict) { v.Levels = []string{"SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_3"} }, "verifiedLevels"},
		{"a pass that grants FAILED", func(v *assay.Verdict) { v.Levels = []string{"FAILED"} }, "verifiedLevels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verdict(assay.OutcomePass, assay.ModeEnforce)
			c.change(&v)
			_, err := attest.VSA(v, attest.VSAOptions{})
			if err == nil || !strings.HasPrefix(err.Error(), c.field+" ") {
				t.Errorf("error = %v; want one about %s", err, c.field)
			}
		})
	}
}

func TestSummaryCountsAllViolationsAndListsUnexcusedOnesFirst(t *testing.T) {
	v := verdict(assay.OutcomeFail, assay.ModeEnforce)
	excused := v.Violations[0]
	excused.Exception = "0198b0aa-0000-7000-8000-000000000001"
	v.Violations = nil
	for range attest.MaxListed {
		v.Violations = append(v.Violations, excused)
	}
	last := excused
	last.Exception, last.Message = "", "a bell\a, an escape\x1b[31m, a C1 \u009b and\u2028"+strings.Repeat("x", 2000)
	v.Violations = append(v.Violations, last)
	st, err := attest.ParseStatement(statement(t, v))
	if err != nil {
		t.Fatal(err)
	}
	s, err := attest.ParseSummary(st.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	x := s.Violations
	if x.Total != attest.MaxListed+1 || len(x.Violations) != attest.MaxListed {
		t.Errorf("total %d, listed %d; want %d and %d", x.Total, len(x.Violations), attest.MaxListed+1, attest.MaxListed)
	}
	if m := x.Violations[0].Message; x.Violations[0].Exception != "" || strings.ContainsAny(m, "\a\x1b\u009b") || len(m) > 1010 {
		t.Errorf("first listed violation = %.60q (%d bytes, exception %q); want the unexcused one, clean and short", m, len(m), x.Violations[0].Exception)
	}
}

func TestForeignFieldsAreIgnoredButOurExtensionsAreReadStrictly(t *testing.T) {
	st, err := attest.ParseStatement(statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	if err != nil {
		t.Fatal(err)
	}
	good := string(st.Predicate)
	for _, c := range []struct{ name, old, new, want string }{
		{"an unknown field", `{`, `{"https://example.com/other":{"a":[1]},`, ""},
		{"an unknown field in the verifier", `"verifier":{`, `"verifier":{"trust":9,`, ""},
		{"an unknown field in our extension", `"gate":"release"`, `"gate":"release","gaet":1`, "gaet"},
		{"a wrong type in our extension", `"total":1`, `"total":"1"`, "assay.dev/vsa/violations/v1 is not what this version writes"},
		{"a duplicate key", `{`, `{"resourceUri":"pkg:generic/other",`, "duplicate key"},
		{"a name in other case", `"resourceUri"`, `"ResourceUri"`, "resourceUri is missing"},
		{"an unknown result", `"PASSED"`, `"MAYBE"`, "expected PASSED or FAILED"},
		{"a level that contradicts", `"ASSAY_RELEASE"`, `"FAILED"`, "although the result is PASSED"},
		{"two levels of one track", `"ASSAY_RELEASE"`, `"SLSA_BUILD_LEVEL_3"`, "at most one level per track"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(good, c.old, c.new, 1)
			if changed == good {
				t.Fatalf("%q is not in the summary", c.old)
			}
			_, err := attest.ParseSummary([]byte(changed))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error = %v; want %q", err, c.want)
			}
		})
	}
}

func TestStatementIsRefused(t *testing.T) {
	good := string(statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	for _, c := range []struct{ name, old, new, want string }{
		{"a duplicate key", `{`, `{"predicateType":"x",`, "duplicate key"},
		{"a duplicate key in the predicate", `"verificationResult":`, `"verificationResult":"FAILED","verificationResult":`, "duplicate key"},
		{"another statement type", "Statement/v1", "Statement/v2", "_type"},
		{"no predicate type", assay.VSAPredicateType, "", "predicateType is missing"},
		{"a subject without digest", string(`"digest":{"sha256":"` + digest("binary").Hex() + `"}`), `"uri":"x"`, "subject[0].digest is missing"},
		{"a control character", `"assay"`, `"as\u001bsay"`, "control character"},
		{"deep nesting", `"assay"`, strings.Repeat("[", 80) + strings.Repeat("]", 80), "nested deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(good, c.old, c.new, 1)
			if changed == good {
				t.Fatalf("%q is not in the statement", c.old)
			}
			if _, err := attest.ParseStatement([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
	big := append([]byte(good), bytes.Repeat([]byte(" "), attest.MaxStatement)...)
	if _, err := attest.ParseStatement(big); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a statement above the limit: %v; want too_large", err)
	}
}

func TestExceptionStatementIsAboutTheExceptionItHolds(t *testing.T) {
	e := assay.Exception{
		ID: "0198b0aa-0000-7000-8000-000000000001", Namespace: "default", State: assay.ExceptionApproved,
		Scope: assay.ExceptionScope{Rules: []string{"release/no-high-vulnerabilities"}}, Reason: "no fix yet",
		Requester: "dana", Requested: now, Approver: "kim", Approved: now, NotBefore: now, NotAfter: now.AddDate(0, 0, 30),
	}
	data, err := attest.ExceptionStatement(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := attest.ParseException(data)
	if err != nil || got.Digest() != e.Digest() {
		t.Fatalf("ParseException = %+v, %v; want the exception back", got, err)
	}
	signed := e
	signed.Statement = e.Digest()
	if again, err := attest.ExceptionStatement(signed); err != nil || !bytes.Equal(again, data) || signed.Digest() != e.Digest() {
		t.Errorf("the statement of a signed exception is %s, %v; want the same as before", again, err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"approver":"kim"`, `"approver":"dan"`, "not the exception in its predicate"},
		{`"reason"`, `"raeson"`, "raeson"},
		{`"not_after"`, `"statement":"` + string(e.Digest()) + `","not_after"`, "cannot name itself"},
		{assay.ExceptionPredicateType, assay.VSAPredicateType, "predicateType"},
	} {
		if _, err := attest.ParseException([]byte(strings.Replace(string(data), c.old, c.new, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v; want one with %q", c.new, err, c.want)
		}
	}
	for _, s := range []assay.ExceptionState{assay.ExceptionRequested, assay.ExceptionRevoked} {
		e.State = s
		if _, err := attest.ExceptionStatement(e); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("a %s exception: %v; want invalid", s, err)
		}
	}
}
