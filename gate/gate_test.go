package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

var (
	now     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	subject = assay.Subject{Name: "assay", Digest: digest(1), Commit: "0123abc"}
)

func digest(n byte) assay.Digest { return assay.DigestOf([32]byte{n}) }

// answers is an engine that answers from a table.
type answers map[string][]policy.Objection

func (a answers) Evaluate(_ context.Context, _ policy.Input, packages []string) (map[string][]policy.Objection, error) {
	out := map[string][]policy.Objection{}
	for _, p := range packages {
		out[p] = a[p]
	}
	return out, nil
}

func tests(passed, failed, flaky int) assay.Evidence {
	return assay.Evidence{
		Kind: assay.KindTests, Format: "go-test-json", Source: "tests.json", Digest: digest(10), Tool: assay.Tool{Name: "go test", Version: "1.26"},
		Origin: assay.OriginLive, Produced: now.Add(-time.Minute), Collected: now, Tests: &assay.TestCounts{Passed: passed, Failed: failed, Flaky: flaky},
	}
}

func vulnerabilities(findings ...assay.Finding) assay.Evidence {
	return assay.Evidence{
		Kind: assay.KindVulnerabilities, Format: "osv", Source: "osv.json", Digest: digest(11), Tool: assay.Tool{Name: "osv-scanner"},
		Origin: assay.OriginRecorded, Collected: now.Add(-48 * time.Hour), Findings: findings,
	}
}

func cve(id string, s assay.Severity) assay.Finding {
	return assay.Finding{Rule: id, Aliases: []string{"GHSA-" + id}, Severity: s, Message: "overflow", Fingerprint: "fp-" + id,
		Package: assay.Component{Name: "left-pad", Version: "1.0.0", PURL: "pkg:npm/left-pad@1.0.0"}, FixedIn: []string{"1.0.1"}}
}

// inputs is a gate that passes; tests change one thing.
func inputs() Inputs {
	return Inputs{
		Gate: policy.Gate{Metadata: policy.Metadata{Name: "release", Namespace: "default"}, Spec: policy.GateSpec{
			Mode: assay.ModeEnforce, ResourceURI: "pkg:generic/assay", Levels: []string{"SLSA_BUILD_LEVEL_1"},
			Requires: []policy.Require{
				{Name: "tests", Kind: assay.KindTests},
				{Name: "vulns", Kind: assay.KindVulnerabilities, MaxSeverity: assay.SeverityHigh,
					Origins: []assay.Origin{assay.OriginLive, assay.OriginRecorded}},
			},
			Policies: []string{"rules"},
		}},
		Policies: []policy.Policy{{Metadata: policy.Metadata{Name: "rules", Namespace: "default"},
			Spec: policy.PolicySpec{Package: "rules", Mode: assay.ModeEnforce, Remedy: "read the handbook"}}},
		Revision:    assay.PolicyRef{URI: "git+https://example.com/policies", Digest: digest(99)},
		Subject:     subject,
		Environment: "production",
		Evidence:    []assay.Evidence{tests(412, 0, 0), vulnerabilities(cve("CVE-1", assay.SeverityLow))},
		Now:         now,
	}
}

func exception(rule string) assay.Exception {
	return assay.Exception{
		ID: "0199-a", Namespace: "default", Scope: assay.ExceptionScope{Rules: []string{rule}}, Reason: "r", State: assay.ExceptionApproved,
		Requester: "ann", Requested: now.Add(-2 * time.Hour), Approver: "bob", Approved: now.Add(-time.Hour),
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
}

func mustCheck(t *testing.T, in Inputs, engine answers) assay.Verdict {
	t.Helper()
	v, err := Check(t.Context(), in, engine)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGatePassesWhenAllRequiredIsPresentAndNothingObjects(t *testing.T) {
	v := mustCheck(t, inputs(), nil)
	if v.Outcome != assay.OutcomePass || v.Blocks() || len(v.Violations) != 0 {
		t.Errorf("outcome %s, violations %+v", v.Outcome, v.Violations)
	}
	if !slices.Equal(v.Levels, []string{"SLSA_BUILD_LEVEL_1"}) || v.Subject.URI != "pkg:generic/assay" {
		t.Errorf("levels %v, URI %q", v.Levels, v.Subject.URI)
	}
	for _, r := range v.Requirements {
		if r.State != assay.Satisfied || r.Reason == "" {
			t.Errorf("requirement %+v", r)
		}
	}
}

func TestGateRefusesWhenRequiredEvidenceIsAbsent(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Inputs)
		want   string
	}{
		{"missing", func(in *Inputs) { in.Evidence = in.Evidence[1:] }, "no evidence of kind test-results was presented"},
		{"unreadable beside nothing", func(in *Inputs) {
			in.Evidence = in.Evidence[1:]
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "t.json"}, Reason: "is cut off"}}
		}, "no evidence of kind test-results was presented; t.json could not be read: is cut off"},
		{"unreadable beside a good one", func(in *Inputs) {
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "t2.json"}, Kind: assay.KindTests, Reason: "is cut off"}}
		}, "t2.json could not be read: is cut off"},
		{"unreadable beside too little", func(in *Inputs) {
			in.Gate.Spec.Requires[0].MinTests = new(413)
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "t2.json"}, Reason: "is empty"}}
		}, "at least 413 are required; t2.json could not be read: is empty"},
		{"unreadable and excused as absent", func(in *Inputs) {
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "t2.json", Line: 3, Column: 9}, Kind: assay.KindTests, Reason: "is cut off"}}
			in.Exceptions = []assay.Exception{exception("absent/tests")}
		}, "t2.json:3:9 could not be read: is cut off"},
		{"unreadable, nobody knows what, and excused as absent", func(in *Inputs) {
			in.Evidence = in.Evidence[1:]
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "t2.json", Line: 1}, Reason: "is cut off"}}
			in.Exceptions = []assay.Exception{exception("absent/tests")}
		}, "t2.json:1 could not be read: is cut off"},
		{"stale", func(in *Inputs) { in.Gate.Spec.Requires[0].MaxAge = "30s" }, "tests.json is 1m old, and at most 30s is accepted"},
		{"from the future", func(in *Inputs) { in.Evidence[0].Produced = now.Add(MaxClockSkew + time.Second) }, "is dated 5m1s in the future"},
		{"recorded", func(in *Inputs) { in.Evidence[0].Origin = assay.OriginRecorded }, "is recorded, and only live evidence is accepted"},
		{"wrong tool", func(in *Inputs) { in.Gate.Spec.Requires[0].Tool = "gotestsum" }, `was made by "go test", not by "gotestsum"`},
		{"wrong format", func(in *Inputs) { in.Gate.Spec.Requires[0].Format = "junit" }, "is go-test-json, not junit"},
		{"about another artifact", func(in *Inputs) { in.Evidence[0].Subject = digest(2) }, "is about another artifact (020000000000)"},
		{"not bound", func(in *Inputs) { in.Gate.Spec.Requires[0].SubjectBound = true }, "does not say which artifact it is about"},
		{"no tests in it", func(in *Inputs) { in.Evidence[0].Tests = &assay.TestCounts{Skipped: 9} }, "0 tests passed or failed"},
		{"only flaky tests in it", func(in *Inputs) { in.Evidence[0].Tests = &assay.TestCounts{Flaky: 9} }, "0 tests passed or failed"},
		{"too few tests", func(in *Inputs) { in.Gate.Spec.Requires[0].MinTests = new(413) }, "412 tests passed or failed (skipped and flaky ones do not count); at least 413"},
		{"the same report twice", func(in *Inputs) {
			in.Gate.Spec.Requires[0].MinTests = new(413)
			copied := in.Evidence[0]
			copied.Source = "copy.json"
			in.Evidence = append(in.Evidence, copied)
		}, "412 tests passed"},
		{"empty bill of materials", func(in *Inputs) {
			in.Gate.Spec.Requires[0] = policy.Require{Name: "sbom", Kind: assay.KindSBOM}
			in.Evidence[0].Kind = assay.KindSBOM
		}, "0 components are listed; at least 1 are required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			c.change(&in)
			v := mustCheck(t, in, nil)
			if v.Outcome != assay.OutcomeAbsent || !v.Blocks() || v.Levels != nil {
				t.Errorf("outcome %s, blocks %v, levels %v", v.Outcome, v.Blocks(), v.Levels)
			}
			if r := v.Requirements[0]; r.State != assay.Missing || !strings.Contains(r.Reason, c.want) {
				t.Errorf("requirement %+v\nwant absent because %q", r, c.want)
			}
		})
	}
}

func TestGateAcceptsEvidenceThatMeetsEveryCondition(t *testing.T) {
	in := inputs()
	in.Gate.Spec.Requires[0] = policy.Require{Name: "tests", Kind: assay.KindTests, Format: "go-test-json", Tool: "go test",
		MaxAge: "1m", SubjectBound: true, MinTests: new(412), MaxFailed: new(0)}
	in.Evidence[0].Subject = subject.Digest
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomePass {
		t.Errorf("%+v", v.Requirements)
	}
}

func TestThresholdsAreViolationsNamedAfterTheirRequirement(t *testing.T) {
	in := inputs()
	in.Evidence = []assay.Evidence{tests(400, 2, 0), vulnerabilities(cve("CVE-2", assay.SeverityCritical), cve("CVE-3", assay.SeverityMedium))}
	in.Evidence[0].Findings = []assay.Finding{{Rule: "pkg.TestA", Severity: assay.SeverityHigh, Location: assay.Location{File: "a_test.go", Line: 3}}}
	v := mustCheck(t, in, nil)
	if v.Outcome != assay.OutcomeFail || len(v.Violations) != 2 {
		t.Fatalf("outcome %s, %+v", v.Outcome, v.Violations)
	}
	first, second := v.Violations[0], v.Violations[1]
	if first.Rule != "tests/failed" || first.Message != "2 tests failed; at most 0 may: pkg.TestA" || first.Location.Line != 3 {
		t.Errorf("%+v", first)
	}
	if second.Rule != "vulns/severity" || second.Message != "CVE-2: overflow" || second.Remedy != "update left-pad to 1.0.1" || second.Fingerprint != "fp-CVE-2" {
		t.Errorf("%+v", second)
	}
	for _, r := range v.Requirements {
		if r.State != assay.Violated {
			t.Errorf("requirement %+v", r)
		}
	}
}

func TestFlakyTestsAloneTurnAGateNeitherGreenNorRed(t *testing.T) {
	in := inputs()
	in.Evidence[0] = tests(1, 0, 500)
	v := mustCheck(t, in, nil)
	if v.Outcome != assay.OutcomePass || len(v.Warnings) != 1 || v.Warnings[0].Rule != "tests/flaky" {
		t.Errorf("outcome %s, warnings %+v", v.Outcome, v.Warnings)
	}
	in.Evidence[0] = tests(0, 0, 500)
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeAbsent {
		t.Errorf("only flaky tests make the outcome %s", v.Outcome)
	}
}

func TestSuppressedFindingsDoNotBlockAndAreTold(t *testing.T) {
	in := inputs()
	f := cve("CVE-2", assay.SeverityCritical)
	f.Suppressed = "not reachable"
	in.Evidence[1] = vulnerabilities(f)
	v := mustCheck(t, in, nil)
	if v.Outcome != assay.OutcomePass || len(v.Warnings) != 1 || v.Warnings[0].Rule != "vulns/suppressed" {
		t.Errorf("outcome %s, warnings %+v", v.Outcome, v.Warnings)
	}
}

func TestOnlyEnforcedPoliciesDecide(t *testing.T) {
	deny := answers{"rules": {{Rule: "r1", Message: "no", Severity: assay.SeverityHigh, Kind: assay.KindTests}}}
	for mode, want := range map[assay.Mode]assay.Outcome{
		assay.ModeEnforce: assay.OutcomeFail, assay.ModeWarn: assay.OutcomePass, assay.ModeDryRun: assay.OutcomePass, assay.ModeOff: assay.OutcomePass,
	} {
		t.Run(string(mode), func(t *testing.T) {
			in := inputs()
			in.Policies[0].Spec.Mode = mode
			v := mustCheck(t, in, deny)
			if v.Outcome != want {
				t.Errorf("outcome %s, want %s", v.Outcome, want)
			}
			listed := len(v.Violations) == 1 && v.Violations[0].Mode == mode && v.Violations[0].Rule == "rules/r1" && v.Violations[0].Remedy == "read the handbook"
			if listed == (mode == assay.ModeOff) {
				t.Errorf("violations %+v", v.Violations)
			}
			violated := v.Requirements[0].State == assay.Violated
			if violated != (mode == assay.ModeEnforce) {
				t.Errorf("requirement is %s", v.Requirements[0].State)
			}
		})
	}
	advice := answers{"rules": {{Rule: "r2", Message: "hm", Advice: true}}}
	if v := mustCheck(t, inputs(), advice); v.Outcome != assay.OutcomePass || len(v.Warnings) != 1 || v.Warnings[0].Mode != assay.ModeWarn {
		t.Errorf("advice: outcome %s, warnings %+v", v.Outcome, v.Warnings)
	}
}

func TestFailWinsOverAbsent(t *testing.T) {
	in := inputs()
	in.Evidence = []assay.Evidence{vulnerabilities(cve("CVE-2", assay.SeverityCritical))}
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeFail || v.Requirements[0].State != assay.Missing {
		t.Errorf("outcome %s, %+v", v.Outcome, v.Requirements)
	}
}

func TestGateInAWeakModeTellsTheTruthAndDoesNotBlock(t *testing.T) {
	in := inputs()
	in.Gate.Spec.Mode = assay.ModeDryRun
	in.Evidence = nil
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeAbsent || v.Blocks() {
		t.Errorf("outcome %s, blocks %v", v.Outcome, v.Blocks())
	}
}

func TestThereIsNoVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Inputs)
		code   assay.Code
		want   string
	}{
		{"of a gate that is off", func(in *Inputs) { in.Gate.Spec.Mode = assay.ModeOff }, assay.CodeConflict, "is off"},
		{"for an environment it does not cover", func(in *Inputs) { in.Gate.Spec.Environments = []string{"staging"} }, assay.CodeInvalid, `does not cover environment "production"`},
		{"without a time", func(in *Inputs) { in.Now = time.Time{} }, assay.CodeInvalid, "instant"},
		{"without a subject", func(in *Inputs) { in.Subject.Digest = "" }, assay.CodeInvalid, "subject"},
		{"without a revision", func(in *Inputs) { in.Revision = assay.PolicyRef{} }, assay.CodeInvalid, "policy revision"},
		{"when a policy is left out", func(in *Inputs) { in.Policies = nil }, assay.CodeInvalid, "names 1 policies, but 0 were given"},
		{"when another policy is given", func(in *Inputs) { in.Policies[0].Metadata.Name = "other" }, assay.CodeInvalid, `names policy "rules", but "other" was given`},
		{"of a gate that requires nothing", func(in *Inputs) { in.Gate.Spec.Requires = nil }, assay.CodeInvalid, "requires nothing"},
		{"with an unreadable report of a kind that it does not require", func(in *Inputs) {
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "bom.json", Line: 2, Column: 5}, Kind: assay.KindSBOM, Reason: "is cut off"}}
		}, assay.CodeInvalid, "bom.json:2:5: is cut off (the gate needs no evidence from it"},
		{"with an unreadable report when nothing is missing", func(in *Inputs) {
			in.Refused = []assay.Refusal{{Location: assay.Location{File: "notes.txt"}, Reason: "is no JSON object"}}
		}, assay.CodeInvalid, "notes.txt: is no JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			c.change(&in)
			_, err := Check(t.Context(), in, answers{})
			if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (%s), want %s with %q", err, assay.CodeOf(err), c.code, c.want)
			}
		})
	}
	if _, err := Check(t.Context(), inputs(), nil); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("policies without an engine: %v", err)
	}
}

func TestExceptionsExcuseExactlyWhatTheyCover(t *testing.T) {
	bad := func(in *Inputs) { in.Evidence[1] = vulnerabilities(cve("CVE-2", assay.SeverityCritical)) }
	missing := func(in *Inputs) { in.Evidence = in.Evidence[1:] }
	for _, c := range []struct {
		name    string
		setup   func(*Inputs)
		rule    string
		change  func(*assay.Exception)
		excused bool
	}{
		{"by rule", bad, "vulns/severity", func(*assay.Exception) {}, true},
		{"another rule", bad, "vulns/other", func(*assay.Exception) {}, false},
		{"absence by its rule", missing, "absent/tests", func(*assay.Exception) {}, true},
		{"absence of another requirement", missing, "absent/vulns", func(*assay.Exception) {}, false},
		{"only requested", bad, "vulns/severity", func(e *assay.Exception) { e.State = assay.ExceptionRequested }, false},
		{"revoked", bad, "vulns/severity", func(e *assay.Exception) { e.State = assay.ExceptionRevoked }, false},
		{"self-approved", bad, "vulns/severity", func(e *assay.Exception) { e.Approver = e.Requester }, false},
		{"without an end", bad, "vulns/severity", func(e *assay.Exception) { e.NotAfter = time.Time{} }, false},
		{"expired", bad, "vulns/severity", func(e *assay.Exception) { e.NotAfter = now }, false},
		{"not yet", bad, "vulns/severity", func(e *assay.Exception) { e.NotBefore = now.Add(1) }, false},
		{"of another namespace", bad, "vulns/severity", func(e *assay.Exception) { e.Namespace = "other" }, false},
		{"this artifact", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Subjects = []assay.Digest{subject.Digest} }, true},
		{"another artifact", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Subjects = []assay.Digest{digest(7)} }, false},
		{"this environment", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Environments = []string{"production"} }, true},
		{"another environment", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Environments = []string{"staging"} }, false},
		{"package by name", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Packages = []string{"left-pad"} }, true},
		{"package by URL", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Packages = []string{"pkg:npm/left-pad@1.0.0"} }, true},
		{"package by URL without version", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Packages = []string{"pkg:npm/left-pad"} }, true},
		{"package by URL of another version", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Packages = []string{"pkg:npm/left-pad@2.0.0"} }, false},
		{"another package", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Packages = []string{"right-pad", ""} }, false},
		{"advisory by id", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Advisories = []string{"CVE-2"} }, true},
		{"advisory by alias", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Advisories = []string{"GHSA-CVE-2"} }, true},
		{"finding by fingerprint", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Advisories = []string{"fp-CVE-2"} }, true},
		{"another advisory", bad, "vulns/severity", func(e *assay.Exception) { e.Scope.Advisories = []string{"CVE-1"} }, false},
		{"absence narrowed by package", missing, "absent/tests", func(e *assay.Exception) { e.Scope.Packages = []string{"left-pad"} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			c.setup(&in)
			before := mustCheck(t, in, nil)
			if before.Outcome == assay.OutcomePass {
				t.Fatal("the gate passes without an exception")
			}
			e := exception(c.rule)
			c.change(&e)
			in.Exceptions = []assay.Exception{e}
			v := mustCheck(t, in, nil)
			if excused := v.Outcome == assay.OutcomePass; excused != c.excused {
				t.Errorf("outcome %s", v.Outcome)
			}
			if len(v.Violations) != len(before.Violations) || len(v.Requirements) != len(before.Requirements) {
				t.Error("something excused is gone from the verdict")
			}
			if !c.excused {
				if len(v.Exceptions) != 0 {
					t.Errorf("an exception that excuses nothing counts as used: %+v", v.Exceptions)
				}
				return
			}
			if len(v.Exceptions) != 1 || !slices.Equal(v.Exceptions[0].Rules, []string{c.rule}) || v.Exceptions[0].Digest != e.Digest() ||
				v.Exceptions[0].Approver != "bob" || !v.Exceptions[0].ValidUntil.Equal(e.NotAfter) {
				t.Errorf("uses %+v", v.Exceptions)
			}
			if marked := len(v.Violations) == 1 && v.Violations[0].Exception == e.ID || v.Requirements[0].Exception == e.ID; !marked {
				t.Errorf("nothing names the exception: %+v %+v", v.Violations, v.Requirements)
			}
		})
	}
}

func TestPoliciesSeeEvidenceAndWhichRequirementsAcceptedIt(t *testing.T) {
	in := inputs()
	extra := tests(5, 0, 0)
	extra.Digest, extra.Origin = digest(12), assay.OriginRecorded
	in.Evidence = append(in.Evidence, extra)
	var seen policy.Input
	_, err := Check(t.Context(), in, spy{&seen})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range seen.Evidence {
		got = append(got, fmt.Sprintf("%s %s %v %d", e.Kind, e.Origin, e.Requirements, e.AgeSeconds))
	}
	want := []string{"test-results live [tests] 60", "test-results recorded [] 60", "vulnerabilities recorded [vulns] 172800"}
	if !slices.Equal(got, want) || !seen.Time.Equal(now) || seen.Gate.Name != "release" {
		t.Errorf("policies saw %q", got)
	}
}

// spy is an engine that remembers its input and objects to nothing.
type spy struct{ in *policy.Input }

func (s spy) Evaluate(ctx context.Context, in policy.Input, packages []string) (map[string][]policy.Objection, error) {
	*s.in = in
	return answers{}.Evaluate(ctx, in, packages)
}

func TestSpansAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 70 * time.Second: "1m10s", time.Hour: "1h", 70 * time.Minute: "1h10m",
		24 * time.Hour: "1d", 34 * time.Hour: "1d10h", 240 * time.Hour: "10d", 1500 * time.Millisecond: "2s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}
