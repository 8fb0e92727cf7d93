package rego

import (
	"strings"
	"testing"

	"assay.dev/assay"
)

func TestRunningRegoTestsReportsResultsAndCoverage(t *testing.T) {
	r, err := Test(t.Context(), release(t))
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Results) != 3 {
		t.Fatalf("results %+v", r.Results)
	}
	first := r.Results[0]
	if first.Package != "release_test" || first.Name != "test_critical_finding_is_denied" || first.File != "release_test.rego" || first.Line != 12 || first.Duration <= 0 {
		t.Errorf("first result %+v", first)
	}
	if r.Results[2].Status != TestSkipped {
		t.Errorf("todo test is %s", r.Results[2].Status)
	}
	if len(r.Files) != 1 || r.Coverage <= 50 || r.Coverage >= 100 || len(r.Files[0].NotCovered) == 0 {
		t.Errorf("coverage %v of %+v; the warn rule is not tested, deny is", r.Coverage, r.Files)
	}
}

func TestRunningRegoTestsSaysWhatDidNotHold(t *testing.T) {
	rev := revision(t, map[string]string{
		"r.rego":      "package release\n\ndeny contains \"x\" if input.environment == \"p\"\n",
		"r_test.rego": "package release_test\n\nimport data.release\n\ntest_it if {\n\tprint(\"seen\")\n\tcount(release.deny) == 1 with input.environment as \"q\"\n}\n\ntest_error if {\n\ttime.parse_rfc3339_ns(\"x\") == 1\n}\n",
	})
	r, err := Test(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() {
		t.Error("a failed test counts as good")
	}
	failed, errored := r.Results[0], r.Results[1]
	if failed.Status != TestFailed || failed.FailedLine != 7 || failed.Output != "seen\n" || !strings.Contains(failed.Message, "count(release.deny) == 1") {
		t.Errorf("failed test: %+v", failed)
	}
	if errored.Status != TestErrored || !strings.Contains(errored.Message, "parse_rfc3339_ns") {
		t.Errorf("errored test: %+v", errored)
	}
}

func TestRegoTestsHaveNoMoreFunctionsThanPolicies(t *testing.T) {
	_, err := Test(t.Context(), revision(t, map[string]string{"r_test.rego": "package release_test\n\ntest_it if time.now_ns() > 1\n"}))
	wantError(t, err, assay.CodeInvalid, "r_test.rego:3:12: function time.now_ns is not available in policies")
}

func TestNoTestsIsNotSuccess(t *testing.T) {
	r, err := Test(t.Context(), revision(t, map[string]string{"r.rego": "package release\n\ndeny contains \"x\" if false\n"}))
	if err != nil || r.OK() {
		t.Errorf("OK is %v for no tests (%v)", r.OK(), err)
	}
}

func TestLintFindsNothingInAGoodPolicy(t *testing.T) {
	if got := Lint(release(t)); len(got) != 0 {
		t.Errorf("found %+v", got)
	}
}

func TestLintFinds(t *testing.T) {
	good := "package release\n\n# METADATA\n# title: t\ndeny contains \"x\" if input.environment == \"p\"\n"
	test := "package release_test\n\ntest_x if true\n"
	for _, c := range []struct {
		name, src string
		level     Level
		want      string
	}{
		{"unused variable", good + "\nf(x) := y if {\n\ty := x\n\tz := 1\n}\n", LevelError, "assigned var z unused"},
		{"unused import", strings.Replace(good, "\n\n", "\n\nimport data.release as r\n\n", 1), LevelError, "unused"},
		{"forbidden function", good + "\nwhen := time.now_ns()\n", LevelError, "function time.now_ns is not available"},
		{"syntax error", good + "\nx := \n", LevelError, "r.rego:8"},
		{"misspelt reference", good + "\ny := data.relase.x\n", LevelError, "data.relase does not exist"},
		{"no metadata", strings.Replace(good, "# METADATA\n# title: t\n", "", 1), LevelWarning, "r.rego:3:1: a deny rule without a METADATA comment"},
		{"near miss", good + "\nwarm contains \"y\" if input.environment == \"q\"\n", LevelWarning, `set release.warm is used by nothing (is it meant to be "warn"?)`},
		{"object without msg", good + "\n# METADATA\n# title: t\ndeny contains {\"rule\": \"a\"} if input.environment == \"q\"\n", LevelError, `r.rego:9:15: rule release.deny gives an object without "msg"`},
		{"object without rule, by variable", good + "\n# METADATA\n# title: t\ndeny contains v if {\n\tinput.environment == \"q\"\n\tv := {\"msg\": \"a\"}\n}\n", LevelError, `gives an object without "rule"`},
		{"a number", good + "\n# METADATA\n# title: t\ndeny contains 7 if input.environment == \"q\"\n", LevelError, "rule release.deny gives number"},
		{"complete rule", "package release\n\nwarn := \"x\"\n\n# METADATA\n# title: t\ndeny contains \"x\" if input.environment == \"p\"\n", LevelError, "rule release.warn is not a set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rev := revision(t, map[string]string{"r.rego": c.src, "r_test.rego": test})
			found := Lint(rev)
			if len(found) == 0 {
				t.Fatal("found nothing")
			}
			if got := found[0].Err().Error(); found[0].Level != c.level || !strings.Contains(got, c.want) {
				t.Errorf("found %s %q, want %s %q (all: %+v)", found[0].Level, got, c.level, c.want, found)
			}
			if len(found) != 1 {
				t.Errorf("found %d problems: %+v", len(found), found)
			}
		})
	}
}

func TestLintFindsPackagesThatNoGateAsks(t *testing.T) {
	found := Lint(revision(t, map[string]string{
		"r.rego": "package release\n\n# METADATA\n# title: t\ndeny contains \"x\" if input.environment == \"p\"\n",
		"o.rego": "package other\n\ndeny contains \"x\"\n",
	}))
	var rules []string
	for _, p := range found {
		rules = append(rules, p.Rule)
	}
	if strings.Join(rules, " ") != "unbound-package no-tests" {
		t.Errorf("found %+v", found)
	}
	found = Lint(revision(t, map[string]string{"r.rego": "package relese\n"}))
	if len(found) != 1 || found[0].Level != LevelError || found[0].File != "policy.yaml" || found[0].Hint != `did you mean "relese"?` {
		t.Errorf("found %+v", found)
	}
}

func TestFormatIsStableAndKeepsMeaning(t *testing.T) {
	out, err := Format("r.rego", []byte("package release\ndeny   contains \"x\" if {   input.environment==\"p\" }"))
	want := "package release\n\ndeny contains \"x\" if input.environment == \"p\"\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v", out, err)
	}
	again, err := Format("r.rego", out)
	if err != nil || string(again) != string(out) {
		t.Errorf("formatting twice gives %q, %v", again, err)
	}
	_, err = Format("r.rego", []byte("package a\n\ndeny[x] { x := 1 }\n"))
	wantError(t, err, assay.CodeInvalid, "this is Rego v0")
}
