package gate

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	"pgregory.net/rapid"
)

// scene draws inputs and an engine's answers from small alphabets, so that
// collisions (same rule, same fingerprint, same digest) are common.
func scene(t *rapid.T) (Inputs, answers) {
	in := inputs()
	in.Policies[0].Spec.Mode = rapid.SampledFrom([]assay.Mode{assay.ModeEnforce, assay.ModeWarn, assay.ModeDryRun}).Draw(t, "mode")
	severity := rapid.SampledFrom([]assay.Severity{"none", "low", "unknown", "medium", "high", "critical"})
	in.Evidence = nil
	for i := range rapid.IntRange(0, 5).Draw(t, "reports") {
		var e assay.Evidence
		if rapid.Bool().Draw(t, "tests") {
			e = tests(rapid.IntRange(0, 3).Draw(t, "passed"), rapid.IntRange(0, 1).Draw(t, "failed"), rapid.IntRange(0, 2).Draw(t, "flaky"))
		} else {
			var fs []assay.Finding
			for range rapid.IntRange(0, 3).Draw(t, "findings") {
				fs = append(fs, cve(fmt.Sprint("CVE-", rapid.IntRange(1, 3).Draw(t, "cve")), severity.Draw(t, "severity")))
			}
			e = vulnerabilities(fs...)
		}
		e.Digest = digest(byte(20 + rapid.IntRange(0, 6).Draw(t, "digest")))
		e.Source = fmt.Sprint("report-", i)
		e.Origin = rapid.SampledFrom([]assay.Origin{assay.OriginLive, assay.OriginRecorded}).Draw(t, "origin")
		in.Evidence = append(in.Evidence, e)
	}
	for range rapid.IntRange(0, 3).Draw(t, "exceptions") {
		e := exception(rapid.SampledFrom([]string{"tests/failed", "vulns/severity", "rules/a", "absent/tests", "absent/vulns"}).Draw(t, "rule"))
		e.ID = fmt.Sprint("id-", rapid.IntRange(0, 2).Draw(t, "id"))
		e.NotAfter = now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "end")) * time.Hour)
		if rapid.Bool().Draw(t, "narrow") {
			e.Scope.Advisories = []string{fmt.Sprint("CVE-", rapid.IntRange(1, 3).Draw(t, "advisory"))}
		}
		in.Exceptions = append(in.Exceptions, e)
	}
	var objections []policy.Objection
	for range rapid.IntRange(0, 3).Draw(t, "objections") {
		objections = append(objections, objectionOf(t))
	}
	return in, answers{"rules": objections}
}

func objectionOf(t *rapid.T) policy.Objection {
	return policy.Objection{
		Rule:     rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
		Message:  rapid.SampledFrom([]string{"m", "n"}).Draw(t, "message"),
		Advice:   rapid.Bool().Draw(t, "advice"),
		Severity: assay.SeverityHigh,
	}
}

func bytesOf(t *rapid.T, in Inputs, engine answers) (assay.Verdict, string) {
	v, err := Check(t.Context(), in, engine)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return v, string(data)
}

func TestSameInputsInAnyOrderGiveTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, engine := scene(t)
		_, want := bytesOf(t, in, engine)
		wantDigest, err := in.Digest()
		if err != nil {
			t.Fatal(err)
		}
		other := in
		other.Evidence = rapid.Permutation(in.Evidence).Draw(t, "evidence in another order")
		other.Exceptions = rapid.Permutation(in.Exceptions).Draw(t, "exceptions in another order")
		zone := time.FixedZone("elsewhere", 3600)
		other.Now = other.Now.In(zone)
		for i := range other.Evidence {
			other.Evidence[i].Collected = other.Evidence[i].Collected.In(zone)
		}
		objections := rapid.Permutation(engine["rules"]).Draw(t, "objections in another order")
		if _, got := bytesOf(t, other, answers{"rules": objections}); got != want {
			t.Fatalf("order changes the verdict:\n%s\n%s", want, got)
		}
		if got, err := other.Digest(); err != nil || got != wantDigest {
			t.Fatalf("order changes the digest of the inputs: %s, %s (%v)", wantDigest, got, err)
		}
	})
}

func TestMoreViolationsNeverTurnFailIntoPass(t *testing.T) {
	rank := map[assay.Outcome]int{assay.OutcomePass: 0, assay.OutcomeAbsent: 1, assay.OutcomeFail: 2}
	rapid.Check(t, func(t *rapid.T) {
		in, engine := scene(t)
		before, _ := bytesOf(t, in, engine)
		more := answers{"rules": append(slices.Clone(engine["rules"]), objectionOf(t))}
		if after, _ := bytesOf(t, in, more); rank[after.Outcome] < rank[before.Outcome] {
			t.Fatalf("one more objection turns %s into %s", before.Outcome, after.Outcome)
		}
		worse := in
		worse.Evidence = slices.Clone(in.Evidence)
		for i, e := range worse.Evidence {
			if e.Kind == assay.KindVulnerabilities {
				worse.Evidence[i].Findings = append(slices.Clone(e.Findings), cve("CVE-9", assay.SeverityCritical))
			}
		}
		if after, _ := bytesOf(t, worse, engine); before.Outcome == assay.OutcomeFail && after.Outcome != assay.OutcomeFail {
			t.Fatalf("one more finding turns fail into %s", after.Outcome)
		}
	})
}

func TestExcusingOneRuleNeverTouchesOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, engine := scene(t)
		before, _ := bytesOf(t, in, engine)
		const rule = "rules/b" // no exception of the scene covers it
		e := exception(rule)
		e.ID = "zz"
		in.Exceptions = append(slices.Clone(in.Exceptions), e)
		after, _ := bytesOf(t, in, engine)
		if len(before.Violations) != len(after.Violations) {
			t.Fatal("an exception changes the number of violations")
		}
		for i, v := range after.Violations {
			was := before.Violations[i]
			if v.Rule == rule {
				v.Exception, was.Exception = "", ""
			}
			if compare(v, was) != 0 {
				t.Fatalf("an exception for %s changes %+v into %+v", rule, was, v)
			}
		}
	})
}

// Whatever else was presented and whoever excused what: what could not be read may
// hold what is wrong.
func TestWithAReportThatCouldNotBeReadTheOutcomeIsNeverPass(t *testing.T) {
	seen := map[assay.Outcome]int{}
	rapid.Check(t, func(t *rapid.T) {
		in, engine := scene(t)
		for i := range rapid.IntRange(1, 3).Draw(t, "refused") {
			in.Refused = append(in.Refused, assay.Refusal{
				Location: assay.Location{File: fmt.Sprint("cut-", i), Line: rapid.IntRange(0, 2).Draw(t, "line")}, Reason: "is cut off",
				Kind: rapid.SampledFrom([]assay.EvidenceKind{"", assay.KindTests, assay.KindVulnerabilities, assay.KindSBOM}).Draw(t, "kind"),
			})
		}
		v, err := Check(t.Context(), in, engine)
		other := in
		other.Refused = rapid.Permutation(in.Refused).Draw(t, "refused in another order")
		w, otherErr := Check(t.Context(), other, engine)
		if err != nil {
			if assay.CodeOf(err) != assay.CodeInvalid || otherErr == nil || err.Error() != otherErr.Error() {
				t.Fatalf("errors %v and %v", err, otherErr)
			}
			return
		}
		seen[v.Outcome]++
		if v.Outcome == assay.OutcomePass || len(v.Refused) == 0 {
			t.Fatalf("outcome %s with the refused reports %+v", v.Outcome, v.Refused)
		}
		if a, b := jsonOf(t, v), jsonOf(t, w); otherErr != nil || a != b {
			t.Fatalf("order changes the verdict (%v):\n%s\n%s", otherErr, a, b)
		}
	})
	if seen[assay.OutcomeAbsent] == 0 || seen[assay.OutcomeFail] == 0 {
		t.Errorf("outcomes seen: %v, want absent and fail", seen)
	}
}

func jsonOf(t *rapid.T, v assay.Verdict) string {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
