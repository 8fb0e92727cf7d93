package gate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/policy"
)

// vexDoc is a VEX document signed by the vendor.
func vexDoc(statements ...assay.VEXStatement) assay.Evidence {
	return assay.Evidence{Kind: assay.KindVEX, Format: "openvex", Source: "vex.json", Digest: digest(30), Origin: assay.OriginLive,
		Collected: now, Producer: "vendor", VEX: statements}
}

func statement(status assay.VEXStatus, at time.Time) assay.VEXStatement {
	return assay.VEXStatement{Vulnerability: "CVE-2", Products: []string{"pkg:npm/left-pad@1.0.0"}, Status: status,
		Justification: "vulnerable_code_not_in_execute_path", Impact: "padding is done in the browser", Time: at}
}

// withVEX is a gate that a critical vulnerability fails, and that trusts the vendor's VEX.
func withVEX(docs ...assay.Evidence) Inputs {
	in := inputs()
	in.Evidence = append([]assay.Evidence{tests(1, 0, 0), vulnerabilities(cve("CVE-2", assay.SeverityCritical))}, docs...)
	in.Gate.Spec.VEX = &policy.VEXTrust{Producers: []string{"vendor"}}
	in.Subject.URI = "pkg:generic/assay"
	return in
}

func TestVEXSuppressesOnlyWhatItMayAndSaysWhy(t *testing.T) {
	old := now.AddDate(0, -1, 0)
	for _, c := range []struct {
		name   string
		change func(*Inputs)
		want   assay.Outcome
		says   string
	}{
		{"not affected", func(*Inputs) {}, assay.OutcomePass, "CVE-2: not_affected, vulnerable_code_not_in_execute_path: padding is done in the browser (2026-10-21); says vex.json, signed by vendor"},
		{"fixed", func(in *Inputs) { in.Evidence[2].VEX[0].Status = assay.VEXFixed }, assay.OutcomePass, "CVE-2: fixed"},
		{"under investigation", func(in *Inputs) { in.Evidence[2].VEX[0].Status = assay.VEXUnderInvestigation }, assay.OutcomeFail, ""},
		{"affected", func(in *Inputs) { in.Evidence[2].VEX[0].Status = assay.VEXAffected }, assay.OutcomeFail, ""},
		{"alias", func(in *Inputs) { in.Evidence[2].VEX[0].Vulnerability = "ghsa-cve-2" }, assay.OutcomePass, "CVE-2: not_affected"},
		{"every version", func(in *Inputs) { in.Evidence[2].VEX[0].Products = []string{"pkg:npm/left-pad"} }, assay.OutcomePass, "CVE-2: not_affected"},
		{"the artifact", func(in *Inputs) { in.Evidence[2].VEX[0].Products = []string{"pkg:oci/assay@" + string(subject.Digest)} }, assay.OutcomePass, "CVE-2: not_affected"},
		{"a component of the artifact", func(in *Inputs) {
			in.Evidence[2].VEX[0].Products, in.Evidence[2].VEX[0].Components = []string{"pkg:generic/assay"}, []string{"pkg:npm/left-pad"}
		}, assay.OutcomePass, "CVE-2: not_affected"},
		{"another component of the artifact", func(in *Inputs) {
			in.Evidence[2].VEX[0].Products, in.Evidence[2].VEX[0].Components = []string{"pkg:generic/assay"}, []string{"pkg:npm/right-pad"}
		}, assay.OutcomeFail, ""},
		{"a component of another artifact", func(in *Inputs) {
			in.Evidence[2].VEX[0].Products, in.Evidence[2].VEX[0].Components = []string{"pkg:generic/other"}, []string{"pkg:npm/left-pad"}
		}, assay.OutcomeFail, ""},
		{"a package of which only the name is known", func(in *Inputs) {
			in.Evidence[1].Findings[0].Package = assay.Component{Name: "org.example:parser", Version: "2.3.0"}
			in.Evidence[2].VEX[0].Products = []string{"pkg:maven/org.example/parser@2.3.0?type=jar"}
		}, assay.OutcomePass, "CVE-2: not_affected"},
		{"another version of such a package", func(in *Inputs) {
			in.Evidence[1].Findings[0].Package = assay.Component{Name: "org.example:parser", Version: "2.3.1"}
			in.Evidence[2].VEX[0].Products = []string{"pkg:maven/org.example/parser@2.3.0"}
		}, assay.OutcomeFail, ""},
		{"another version", func(in *Inputs) { in.Evidence[2].VEX[0].Products = []string{"pkg:npm/left-pad@1.0.1"} }, assay.OutcomeFail, ""},
		{"another product", func(in *Inputs) { in.Evidence[2].VEX[0].Products = []string{"pkg:npm/right-pad@1.0.0"} }, assay.OutcomeFail, ""},
		{"without a justification", func(in *Inputs) { in.Evidence[2].VEX[0].Justification, in.Evidence[2].VEX[0].Impact = "", "" }, assay.OutcomeFail, "says not_affected without a justification"},
		{"from the future", func(in *Inputs) { in.Evidence[2].VEX[0].Time = now.Add(time.Hour) }, assay.OutcomeFail, ""},
		{"taken back later", func(in *Inputs) {
			in.Evidence[2].VEX = append(in.Evidence[2].VEX, statement(assay.VEXAffected, now))
		}, assay.OutcomeFail, ""},
		{"cleared later", func(in *Inputs) {
			in.Evidence[2].VEX = append([]assay.VEXStatement{statement(assay.VEXAffected, old.AddDate(0, -1, 0))}, in.Evidence[2].VEX...)
		}, assay.OutcomePass, "CVE-2: not_affected"},
		{"contradicted at the same instant", func(in *Inputs) {
			in.Evidence[2].VEX = append(in.Evidence[2].VEX, statement(assay.VEXUnderInvestigation, old))
		}, assay.OutcomeFail, ""},
		{"signed by nobody", func(in *Inputs) { in.Evidence[2].Producer = "" }, assay.OutcomeFail, "nobody that is known here signed it"},
		{"signed by nobody, and trusted so", func(in *Inputs) {
			in.Evidence[2].Producer, in.Gate.Spec.VEX = "", &policy.VEXTrust{TrustUnsigned: true}
		}, assay.OutcomePass, "says vex.json, which nobody signed"},
		{"signed by a stranger", func(in *Inputs) { in.Evidence[2].Producer = "mallory" }, assay.OutcomeFail, "the gate does not trust the VEX of mallory"},
		{"signed by a stranger where unsigned is trusted", func(in *Inputs) {
			in.Evidence[2].Producer, in.Gate.Spec.VEX = "mallory", &policy.VEXTrust{TrustUnsigned: true}
		}, assay.OutcomeFail, "does not trust the VEX of mallory"},
		{"a gate that trusts none", func(in *Inputs) { in.Gate.Spec.VEX = nil }, assay.OutcomeFail, "the gate trusts no VEX"},
		{"about another artifact", func(in *Inputs) { in.Evidence[2].Subject = digest(2) }, assay.OutcomeFail, "is about another artifact"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := withVEX(vexDoc(statement(assay.VEXNotAffected, old)))
			c.change(&in)
			v := mustCheck(t, in, nil)
			if v.Outcome != c.want {
				t.Errorf("outcome %s, want %s: %+v", v.Outcome, c.want, v.Violations)
			}
			told := slices.ContainsFunc(v.Warnings, func(w assay.Violation) bool { return strings.Contains(w.Message, c.says) })
			if c.says != "" && !told {
				t.Errorf("nothing says %q: %+v", c.says, v.Warnings)
			}
			if in.Evidence[1].Findings[0].Suppressed != "" {
				t.Error("the caller's evidence was changed")
			}
		})
	}
}

func TestRulesSeeWhatVEXSuppressed(t *testing.T) {
	in := withVEX(vexDoc(statement(assay.VEXNotAffected, now)))
	c := check{in: normal(in), accepted: make([][]string, 3)}
	c.applyVEX()
	for _, e := range c.document().Evidence {
		if e.Kind == assay.KindVulnerabilities && !strings.HasPrefix(e.Findings[0].Suppressed, "vex: not_affected") {
			t.Errorf("rules see %+v", e.Findings)
		}
	}
}

func TestListsOfVulnerabilitiesBlockWhateverTheSeverity(t *testing.T) {
	in := inputs()
	in.Evidence[1] = vulnerabilities(cve("CVE-2021-0001", assay.SeverityLow), cve("CVE-2021-0002", assay.SeverityLow))
	in.Lists = policy.Lists{
		Exploited: map[string]policy.Exploited{"CVE-2021-0001": {Name: "N", Added: "2021-12-10", Ransomware: true}},
		EPSS:      map[string]policy.Likelihood{"CVE-2021-0001": {Score: 0.2}, "CVE-2021-0002": {Score: 0.91}},
	}
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomePass {
		t.Errorf("a gate that does not ask the lists: %s", v.Outcome)
	}
	r := &in.Gate.Spec.Requires[1]
	r.KnownExploited, r.EPSS = policy.DenyExploited, &policy.EPSSLimit{Max: 0.5}
	v := mustCheck(t, in, nil)
	var got []string
	for _, x := range v.Violations {
		got = append(got, x.Rule+" "+string(x.Severity)+" "+x.Message)
	}
	want := []string{
		"vulns/epss low CVE-2021-0002 will be exploited within 30 days with probability 91.0 %; at most 50.0 % is accepted: CVE-2021-0002: overflow",
		"vulns/known-exploited critical CVE-2021-0001 is known to be exploited, since 2021-12-10, also by ransomware: CVE-2021-0001: overflow",
	}
	if v.Outcome != assay.OutcomeFail || !slices.Equal(got, want) {
		t.Errorf("%s\n%s", v.Outcome, strings.Join(got, "\n"))
	}
	// What a VEX document or the tool suppresses is not held against the artifact by the lists either.
	in.Evidence[1].Findings[0].Suppressed, in.Evidence[1].Findings[1].Suppressed = "not reachable", "not reachable"
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomePass {
		t.Errorf("suppressed findings: %s", v.Outcome)
	}
}

func measured(kind assay.EvidenceKind, source string, measures ...assay.Measure) assay.Evidence {
	return assay.Evidence{Kind: kind, Format: "f", Source: source, Digest: digest(byte(40 + len(source))), Origin: assay.OriginLive, Collected: now, Measures: measures}
}

func TestMeasuresAreHeldToTheirLimits(t *testing.T) {
	p95 := func(v float64) assay.Measure { return assay.Measure{Name: "p95", Unit: "s", Value: v, Lower: true} }
	rate := func(v float64) assay.Measure { return assay.Measure{Name: "rate", Unit: "1/s", Value: v} }
	lines := func(v float64) assay.Measure { return assay.Measure{Name: "lines", Unit: "ratio", Value: v} }
	perf, cov := assay.KindPerformance, assay.KindCoverage
	for _, c := range []struct {
		name     string
		require  policy.Require
		now, old []assay.Measure
		want     assay.Outcome
		says     string
	}{
		{"enough coverage", policy.Require{Kind: cov, MinCoverage: new(0.8)}, []assay.Measure{lines(0.8)}, nil, assay.OutcomePass, ""},
		{"too little coverage", policy.Require{Kind: cov, MinCoverage: new(0.8)}, []assay.Measure{lines(0.793)}, nil, assay.OutcomeFail, "covers 79.3 % of the lines; at least 80 % is required"},
		{"no coverage measured", policy.Require{Kind: cov, MinCoverage: new(0.8)}, []assay.Measure{p95(1)}, nil, assay.OutcomeAbsent, "has neither of the measures lines, statements"},
		{"below the maximum", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", Max: new(0.3)}}}, []assay.Measure{p95(0.3)}, nil, assay.OutcomePass, ""},
		{"above the maximum", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", Max: new(0.3)}}}, []assay.Measure{p95(0.31)}, nil, assay.OutcomeFail, "p95 is 0.31 s; at most 0.3 s is accepted"},
		{"below the minimum", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "rate", Min: new(100.0)}}}, []assay.Measure{rate(99)}, nil, assay.OutcomeFail, "rate is 99 1/s; at least 100 1/s is required"},
		{"not measured", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p99", Max: new(0.3)}}}, []assay.Measure{p95(0.1)}, nil, assay.OutcomeAbsent, "no report has the measure p99"},
		{"in another unit", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", Unit: "ms", Max: new(300.0)}}}, []assay.Measure{p95(0.1)}, nil, assay.OutcomeAbsent, "no report has the measure p95 in ms"},
		{"a little slower", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", MaxRegression: new(0.1)}}}, []assay.Measure{p95(1.1)}, []assay.Measure{p95(1)}, assay.OutcomePass, ""},
		{"much slower", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", MaxRegression: new(0.1)}}}, []assay.Measure{p95(1.2)}, []assay.Measure{p95(1)}, assay.OutcomeFail, "p95 went from 1 s to 1.2 s, 20 % worse; at most 10 % is accepted"},
		{"faster", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", MaxRegression: new(0.0)}}}, []assay.Measure{p95(0.2)}, []assay.Measure{p95(1)}, assay.OutcomePass, ""},
		{"lower rate", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "rate", MaxRegression: new(0.1)}}}, []assay.Measure{rate(80)}, []assay.Measure{rate(100)}, assay.OutcomeFail, "20 % worse"},
		{"no baseline", policy.Require{Kind: perf, Limits: []policy.Limit{{Measure: "p95", MaxRegression: new(0.1)}}}, []assay.Measure{p95(1)}, nil, assay.OutcomeAbsent, "no baseline has the measure p95, so how much it changed is unknown"},
		{"does not cover", policy.Require{Kind: cov, Covers: []string{"branches"}}, []assay.Measure{lines(1)}, nil, assay.OutcomeAbsent, "no report covers branches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			c.require.Name = "m"
			in.Gate.Spec.Requires = []policy.Require{c.require}
			in.Evidence = []assay.Evidence{measured(c.require.Kind, "now.json", c.now...)}
			if c.old != nil {
				in.Baseline = []assay.Evidence{measured(c.require.Kind, "before.json", c.old...)}
			}
			v := mustCheck(t, in, nil)
			var text strings.Builder
			text.WriteString(v.Requirements[0].Reason)
			for _, x := range v.Violations {
				text.WriteString("\n" + x.Message)
			}
			if v.Outcome != c.want || !strings.Contains(text.String(), c.says) {
				t.Errorf("%s: %s\nwant %s: %s", v.Outcome, text.String(), c.want, c.says)
			}
		})
	}
}

func TestTheBestOfSeveralBaselinesCounts(t *testing.T) {
	in := inputs()
	in.Gate.Spec.Requires = []policy.Require{{Name: "m", Kind: assay.KindPerformance, Limits: []policy.Limit{{Measure: "p95", MaxRegression: new(0.1)}}}}
	slow := assay.Measure{Name: "p95", Unit: "s", Value: 9, Lower: true}
	fast := slow
	fast.Value = 1
	in.Evidence = []assay.Evidence{measured(assay.KindPerformance, "now", slow)}
	in.Baseline = []assay.Evidence{measured(assay.KindPerformance, "slow", slow), measured(assay.KindPerformance, "fast.", fast)}
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeFail || len(v.Evidence) != 3 || !v.Evidence[2].Baseline {
		t.Errorf("%s with %+v", v.Outcome, v.Evidence)
	}
}

func TestRequirementsAcceptOnlyTheProducersFilesAndPredicatesTheyName(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*policy.Require, *assay.Evidence)
		want   string
	}{
		{"nobody signed", func(r *policy.Require, _ *assay.Evidence) { r.Producers = []string{"ci"} }, "is signed by nobody that is known here; accepted: ci"},
		{"a stranger signed", func(r *policy.Require, e *assay.Evidence) { r.Producers, e.Producer = []string{"ci"}, "mallory" }, "is signed by mallory; accepted: ci"},
		{"the right one signed", func(r *policy.Require, e *assay.Evidence) { r.Producers, e.Producer = []string{"ci", "x"}, "ci" }, ""},
		{"another file", func(r *policy.Require, _ *assay.Evidence) { r.Files = []string{"pay/*.json"} }, "is not one of the files pay/*.json"},
		{"the right file", func(r *policy.Require, e *assay.Evidence) {
			r.Files, e.Source = []string{"pay/*.json"}, "pay/tests.json"
		}, ""},
		{"a file below", func(r *policy.Require, e *assay.Evidence) {
			r.Files, e.Source = []string{"pay/*.json"}, "pay/x/tests.json"
		}, "is not one of the files"},
		{"another predicate", func(r *policy.Require, e *assay.Evidence) {
			r.Kind, e.Kind, r.PredicateType, e.Predicate = assay.KindAttestation, assay.KindAttestation, "https://a/v1", "https://b/v1"
		}, `attests "https://b/v1", not https://a/v1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			in.Gate.Spec.Requires, in.Evidence = in.Gate.Spec.Requires[:1], in.Evidence[:1]
			c.change(&in.Gate.Spec.Requires[0], &in.Evidence[0])
			v := mustCheck(t, in, nil)
			if q := v.Requirements[0]; (q.State == assay.Satisfied) != (c.want == "") || !strings.Contains(q.Reason, c.want) {
				t.Errorf("%s: %s", q.State, q.Reason)
			}
		})
	}
}

func TestFlakyTestsNeitherPassNorFailAndAreListedWithOwners(t *testing.T) {
	flaky := func(n int) []assay.Finding {
		var list []assay.Finding
		for i := range n {
			list = append(list, assay.Finding{Rule: "example.com/pay.Test" + string(rune('A'+i)), Severity: assay.SeverityMedium})
		}
		return list
	}
	in := inputs()
	in.Evidence[0] = tests(3, 0, 2)
	in.Evidence[0].Findings = append(flaky(2), assay.Finding{Rule: "x.TestBroken", Severity: assay.SeverityHigh})
	in.History = []evidence.History{{Test: "example.com/pay.TestB", Runs: 99, Flaked: 30}}
	in.Suite = evidence.History{Runs: 100, Flaked: 1}
	in.Owners = owners(t, "pay/ @pay\n")
	v := mustCheck(t, in, nil)
	if v.Outcome != assay.OutcomePass || len(v.Flaky) != 2 {
		t.Fatalf("%s, flaky %+v", v.Outcome, v.Flaky)
	}
	b, a := v.Flaky[0], v.Flaky[1]
	if b.Test != "example.com/pay.TestB" || b.Runs != 100 || b.Flaked != 31 || !slices.Equal(b.Owners, []string{"@pay"}) {
		t.Errorf("%+v", b)
	}
	if !(b.Low < b.Probability && b.Probability < b.High && b.Probability > 0.2 && a.Probability < b.Probability) {
		t.Errorf("probabilities %+v %+v", b, a)
	}
	// Two more flaky ones do not make up for tests that did not pass …
	in.Gate.Spec.Requires[0].MinTests = new(5)
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeAbsent {
		t.Errorf("3 passed and 2 flaky where 5 must pass: %s", v.Outcome)
	}
	// … nor do failed ones, where some may fail …
	in.Evidence[0].Tests.Failed, in.Gate.Spec.Requires[0].MaxFailed = 2, new(2)
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeFail || v.Violations[0].Rule != "tests/passed" {
		t.Errorf("3 passed and 2 failed where 5 must pass: %s %+v", v.Outcome, v.Violations)
	}
	// … and a test that failed every time is a failure, whatever its history.
	in = inputs()
	in.Evidence[0] = tests(3, 1, 0)
	in.Evidence[0].Findings = []assay.Finding{{Rule: "example.com/pay.TestB", Severity: assay.SeverityHigh}}
	in.History = []evidence.History{{Test: "example.com/pay.TestB", Runs: 99, Flaked: 90}}
	if v := mustCheck(t, in, nil); v.Outcome != assay.OutcomeFail || len(v.Flaky) != 0 {
		t.Errorf("a failed test with a flaky past: %s %+v", v.Outcome, v.Flaky)
	}
}

func TestExcusesIsOneAnswerForEveryScope(t *testing.T) {
	k := Case{Namespace: "default", Environment: "production", Subject: assay.Subject{Name: "shop/cart/api", Digest: digest(1)},
		Rule: "vulns/severity", Package: assay.Component{Name: "left-pad", PURL: "pkg:npm/left-pad@1.0.0"}, IDs: []string{"fp", "CVE-1"}}
	for _, c := range []struct {
		name   string
		change func(*assay.Exception)
		want   bool
	}{
		{"the rule alone", func(*assay.Exception) {}, true},
		{"another rule", func(e *assay.Exception) { e.Scope.Rules = []string{"vulns/severit"} }, false},
		{"the digest", func(e *assay.Exception) { e.Scope.Subjects = []assay.Digest{digest(2), digest(1)} }, true},
		{"another digest", func(e *assay.Exception) { e.Scope.Subjects = []assay.Digest{digest(2)} }, false},
		{"a name", func(e *assay.Exception) { e.Scope.Names = []string{"shop/cart/*"} }, true},
		{"a name in depth", func(e *assay.Exception) { e.Scope.Names = []string{"shop/**"} }, true},
		{"a name not in depth", func(e *assay.Exception) { e.Scope.Names = []string{"shop/*"} }, false},
		{"a name with a dot", func(e *assay.Exception) { e.Scope.Names = []string{"shop.cart.api"} }, false},
		{"a package", func(e *assay.Exception) { e.Scope.Packages = []string{"pkg:npm/left-pad"} }, true},
		{"another package", func(e *assay.Exception) { e.Scope.Packages = []string{"pkg:npm/left"} }, false},
		{"an advisory", func(e *assay.Exception) { e.Scope.Advisories = []string{"CVE-1"} }, true},
		{"another advisory", func(e *assay.Exception) { e.Scope.Advisories = []string{"CVE-11"} }, false},
		{"an environment", func(e *assay.Exception) { e.Scope.Environments = []string{"production"} }, true},
		{"another environment", func(e *assay.Exception) { e.Scope.Environments = []string{"staging"} }, false},
		{"another namespace", func(e *assay.Exception) { e.Namespace = "team" }, false},
		{"requested", func(e *assay.Exception) { e.State = assay.ExceptionRequested }, false},
		{"revoked", func(e *assay.Exception) { e.State = assay.ExceptionRevoked }, false},
		{"not yet, by a second", func(e *assay.Exception) { e.NotBefore = now.Add(time.Second) }, false},
		{"from this instant", func(e *assay.Exception) { e.NotBefore = now }, true},
		{"until this instant", func(e *assay.Exception) { e.NotAfter = now }, false},
		{"without an end", func(e *assay.Exception) { e.NotAfter = time.Time{} }, false},
		{"approved by the requester in capitals", func(e *assay.Exception) { e.Approver = " ANN " }, false},
		{"two of two", func(e *assay.Exception) {
			e.Needs, e.Approvals = 2, []assay.Approval{{Approver: "carl"}, {Approver: "bob"}}
		}, true},
		{"one of two, twice", func(e *assay.Exception) {
			e.Needs, e.Approvals = 2, []assay.Approval{{Approver: "bob"}, {Approver: "Bob"}}
		}, false},
		{"one of two and the requester", func(e *assay.Exception) {
			e.Needs, e.Approvals = 2, []assay.Approval{{Approver: "ann"}, {Approver: "bob"}}
		}, false},
		{"a bypass", func(e *assay.Exception) { e.Emergency, e.Approver = true, "" }, true},
		{"a bypass of five hours", func(e *assay.Exception) {
			e.Emergency, e.Approver, e.NotAfter = true, "", e.NotBefore.Add(5*time.Hour)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := exception("vulns/severity")
			c.change(&e)
			if got := Excuses(e, k, now); got != c.want {
				t.Errorf("excuses: %t", got)
			}
			if _, got := Excuse([]assay.Exception{e}, k, now); got != c.want {
				t.Errorf("found among others: %t", got)
			}
		})
	}
}

func TestExceptionThatIsNotInForceIsNamedWithItsReason(t *testing.T) {
	for _, c := range []struct {
		name, want, remedy string
		change             func(*assay.Exception)
	}{
		{"clock skew", "it starts 40s after the instant of this verdict", "compare the clocks", func(e *assay.Exception) { e.NotBefore = now.Add(40 * time.Second) }},
		{"later", "it starts 2h after the instant of this verdict", "", func(e *assay.Exception) { e.NotBefore, e.NotAfter = now.Add(2*time.Hour), now.Add(3*time.Hour) }},
		{"ended", "it ended 1m ago", "", func(e *assay.Exception) { e.NotAfter = now.Add(-time.Minute) }},
		{"half approved", "it is not approved: it has 1 of 2 approvals", "", func(e *assay.Exception) {
			e.State, e.Needs, e.Approvals = assay.ExceptionRequested, 2, []assay.Approval{{Approver: "bob"}}
		}},
		{"revoked", "it was revoked", "", func(e *assay.Exception) { e.State = assay.ExceptionRevoked }},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputs()
			in.Evidence[0] = tests(1, 1, 0)
			e := exception("tests/failed")
			c.change(&e)
			in.Exceptions = []assay.Exception{e}
			v := mustCheck(t, in, nil)
			i := slices.IndexFunc(v.Warnings, func(w assay.Violation) bool { return w.Rule == "exception/not-in-force" })
			if v.Outcome != assay.OutcomeFail || i < 0 {
				t.Fatalf("%s, warnings %+v", v.Outcome, v.Warnings)
			}
			if w := v.Warnings[i]; w.Message != "exception 0199-a covers tests/failed, but "+c.want || !strings.HasPrefix(w.Remedy, c.remedy) || (c.remedy == "") != (w.Remedy == "") {
				t.Errorf("%q, %q", w.Message, w.Remedy)
			}
		})
	}
}
