package rego

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/golden"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
)

const policyYAML = `apiVersion: assay.dev/v1alpha1
kind: Policy
metadata: {name: release}
spec: {package: release}
`

// revision makes a revision of the Policy above and the given files.
func revision(t testing.TB, files map[string]string) *policy.Revision {
	t.Helper()
	list := []policy.File{{Path: "policy.yaml", Content: []byte(policyYAML)}}
	for p, c := range files {
		list = append(list, policy.File{Path: p, Content: []byte(c)})
	}
	rev, err := policy.NewRevision(list)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// release is the small real policy of testdata/release.
func release(t testing.TB) *policy.Revision {
	t.Helper()
	files := map[string]string{"lists/data.yaml": "ignored: [CVE-2026-9]\n"}
	for _, name := range []string{"release.rego", "release_test.rego"} {
		data, err := os.ReadFile(filepath.Join("testdata/release", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	return revision(t, files)
}

func input(findings ...assay.Finding) policy.Input {
	return policy.Input{
		Subject: assay.Subject{Name: "assay", Digest: assay.DigestOf([32]byte{1})},
		Time:    time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		Gate:    policy.InputGate{Name: "release", Namespace: "default", Mode: assay.ModeEnforce},
		Evidence: []policy.InputEvidence{{
			Kind: assay.KindVulnerabilities, Format: "x", Tool: assay.Tool{Name: "scanner"},
			Origin: assay.OriginLive, Digest: assay.DigestOf([32]byte{2}), Findings: findings,
		}},
	}
}

func wantError(t *testing.T, err error, code assay.Code, text string) {
	t.Helper()
	if assay.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%s)\nwant %s with %q", err, assay.CodeOf(err), code, text)
	}
}

func TestEvaluateAnswersWithObjections(t *testing.T) {
	s, err := Compile(t.Context(), release(t))
	if err != nil {
		t.Fatal(err)
	}
	bad := assay.Finding{Rule: "CVE-2026-1", Severity: assay.SeverityCritical, Message: "m", Fingerprint: "f1",
		Package: assay.Component{Name: "left-pad", Version: "1.0", Licenses: []string{"MIT"}}}
	suppressed, ignored := bad, bad
	suppressed.Suppressed = "not reachable"
	ignored.Rule = "CVE-2026-9"
	got, err := s.Evaluate(t.Context(), input(bad, suppressed, ignored), []string{"release"})
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Objection{
		{Rule: "no-critical", Message: "CVE-2026-1 in left-pad", Severity: assay.SeverityCritical, Remedy: "update the package",
			Kind: assay.KindVulnerabilities, Component: assay.Component{Name: "left-pad", Version: "1.0"}, Fingerprint: "f1"},
		{Rule: "warn", Advice: true, Message: "the artifact does not say which commit it was built from", Severity: assay.SeverityUnknown},
	}
	if len(got["release"]) != 2 {
		t.Fatalf("got %+v", got)
	}
	for i, o := range got["release"] {
		o.Component.Licenses = nil
		if g, w := asJSON(t, o), asJSON(t, want[i]); g != w {
			t.Errorf("objection %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEvaluateNamesTheRuleThatGaveAWrongShape(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"a number", `7`, `r.rego:7:1: rule release.deny gave number (a member is a text or`},
		{"no msg", `{"rule": "x"}`, `r.rego:7:1: rule release.deny gave an object without "msg"`},
		{"no rule", `{"msg": "x"}`, `without "rule"`},
		{"unknown key", `{"rule": "x", "msg": "m", "severty": "low"}`, `with the key "severty" (did you mean "severity"?)`},
		{"unknown severity", `{"rule": "x", "msg": "m", "severity": "hihg"}`, `gave "severity", where "hihg" is not one of none, low, unknown, medium, high, critical (did you mean "high"?)`},
		{"unknown kind", `{"rule": "x", "msg": "m", "kind": "test"}`, `gave "kind", where "test" is not one of`},
		{"message of a wrong type", `{"rule": "x", "msg": 1}`, `gave number for "msg"; expected a text`},
		{"empty message", `{"rule": "x", "msg": " "}`, `gave an empty message`},
		{"rule name with a space", `{"rule": "x y", "msg": "m"}`, `gave the rule name "x y"`},
		{"line of a wrong type", `{"rule": "x", "msg": "m", "location": {"line": 1.5}}`, `gave 1.5 for "location.line"`},
		{"location with unknown key", `{"rule": "x", "msg": "m", "location": {"lin": 1}}`, `(did you mean "line"?)`},
		{"package of a wrong type", `{"rule": "x", "msg": "m", "package": 1}`, `gave number for "package"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := "package release\n\ndeny contains \"fine\" if {\n\tinput.gate.name == \"release\"\n}\n\ndeny contains v if {\n\tv := " + c.value + "\n}\n"
			s, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": src}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Evaluate(t.Context(), input(), []string{"release"})
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
}

func TestCompileRefusesWithPlaceAndSuggestion(t *testing.T) {
	head := "package release\n\nlimit := 3\n\n"
	for _, c := range []struct{ name, src, want string }{
		{"syntax", head + "deny contains \"x\" if {\n", "r.rego:6:1: unexpected eof token"},
		{"v0 syntax", head + "deny[msg] { msg := \"x\" }\n", "this is Rego v0"},
		{"misspelt rule", head + "deny contains \"x\" if limt > 2\n", `r.rego:5:22: limt is not defined, or nothing gives it a value (did you mean "limit"?)`},
		{"misspelt rule by path", head + "deny contains \"x\" if data.release.limt > 2\n", `r.rego:5:22: data.release.limt does not exist (did you mean "limit"?)`},
		{"misspelt package", head + "deny contains \"x\" if data.relase.limit > 2\n", `r.rego:5:22: data.relase does not exist (did you mean "release"?)`},
		{"misspelt function", head + "deny contains \"x\" if startwith(input.environment, \"p\")\n", `r.rego:5:22: function startwith does not exist (did you mean "startswith"?)`},
		{"misspelt input", head + "deny contains \"x\" if input.evidnce[_].kind == \"sbom\"\n", `r.rego:5:22: input.evidnce does not exist (did you mean "evidence"?)`},
		{"misspelt input in a loop", head + "deny contains \"x\" if {\n\tsome e in input.evidence\n\te.knd == \"sbom\"\n}\n", `r.rego:7:2: e.knd does not exist (did you mean "kind"?)`},
		{"clock", head + "deny contains \"x\" if time.now_ns() > 1\n", "r.rego:5:22: function time.now_ns is not available in policies: a verdict is about the instant in input.time"},
		{"network", head + "deny contains \"x\" if http.send({\"url\": \"http://x\", \"method\": \"get\"})\n", "function http.send is not available in policies: a verdict must not depend on the network"},
		{"deny is no set", head + "deny := \"x\"\n", "r.rego:5:1: rule release.deny is not a set; write `deny contains v if { … }`"},
		{"type error", head + "deny contains \"x\" if count(limit) > 2\n", "r.rego:5:22: count: invalid argument"},
		{"no rule that objects", head + "dney contains \"x\" if limit > 2\n", `policy.yaml:1:1: spec.package "release" has neither a deny nor a warn rule, so it can never object (is rule "dney" meant to be "deny"?)`},
		{"other package", "package relese\n\ndeny contains \"x\"\n", `policy.yaml:1:1: spec.package "release" is not the package of any module (did you mean "relese"?)`},
		{"empty module", "# nothing\n", "r.rego"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": c.src}))
			wantError(t, err, assay.CodeInvalid, c.want)
		})
	}
}

func TestCompileReportsEveryMistakeAtOnce(t *testing.T) {
	_, err := Compile(t.Context(), revision(t, map[string]string{
		"r.rego": "package release\n\ndeny contains \"x\" if a > 2\n\ndeny contains \"y\" if b > 2\n"}))
	wantError(t, err, assay.CodeInvalid, "r.rego:3:22: a is not defined")
	wantError(t, err, assay.CodeInvalid, "r.rego:5:22: b is not defined")
}

func TestDataFilesAreMountedAtTheirFolder(t *testing.T) {
	src := "package release\n\ndeny contains sprintf(\"%v %v\", [data.top, data.a.b.big]) if true\n"
	files := map[string]string{"r.rego": src, "data.json": `{"top": "root"}`, "a/b/data.yaml": "big: 9007199254740993\n"}
	s, err := Compile(t.Context(), revision(t, files))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Evaluate(t.Context(), input(), []string{"release"})
	if err != nil || got["release"][0].Message != "root 9007199254740993" {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, c := range map[string]struct{ path, content, want string }{
		"a list":     {"x/data.json", "[1]", "x/data.json: is not an object at its top level"},
		"duplicate":  {"x/data.json", `{"a": 1, "a": 2}`, "x/data.json:1:"},
		"two owners": {"a/data.json", `{"b": 1}`, `gives "b" a value, which another data file already does`},
		"not YAML":   {"x/data.yml", "a: [", "x/data.yml:1"},
	} {
		t.Run(name, func(t *testing.T) {
			with := map[string]string{c.path: c.content, "r.rego": src, "data.json": files["data.json"], "a/b/data.yaml": files["a/b/data.yaml"]}
			_, err := Compile(t.Context(), revision(t, with))
			if assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "data.") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestEvaluateIsBoundedByTheCallersDeadline(t *testing.T) {
	src := "package release\n\nn := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]\n\n" +
		"deny contains \"x\" if {\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\tsome e in n\n\tsome f in n\n\tsome g in n\n\tsome h in n\n\ta + b + c + d + e + f + g + h == 0\n}\n"
	s, err := Compile(t.Context(), revision(t, map[string]string{"r.rego": src}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.Evaluate(ctx, input(), []string{"release"})
	wantError(t, err, assay.CodeUnavailable, "package release was not evaluated in time")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s after a deadline of 50ms", d)
	}
}

func TestEvaluateFailsWhereABuiltinFailsInsteadOfStayingSilent(t *testing.T) {
	s, err := Compile(t.Context(), revision(t, map[string]string{
		"r.rego": "package release\n\ndeny contains \"x\" if time.parse_rfc3339_ns(input.subject.name) > 1\n"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Evaluate(t.Context(), input(), []string{"release"})
	wantError(t, err, assay.CodeInvalid, "r.rego:3:22: package release cannot be evaluated: time.parse_rfc3339_ns")
}

func TestEvaluateRefusesPackagesThatNoPolicyBinds(t *testing.T) {
	s, err := Compile(t.Context(), release(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Evaluate(t.Context(), input(), []string{"relase"})
	wantError(t, err, assay.CodeNotFound, `did you mean "release"?`)
}

func TestSnapshotIsSafeForConcurrentUse(t *testing.T) {
	s, err := Compile(t.Context(), release(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("group", func(t *testing.T) {
		for range 8 {
			t.Run("eval", func(t *testing.T) {
				t.Parallel()
				got, err := s.Evaluate(t.Context(), input(), []string{"release"})
				if err != nil || len(got["release"]) != 1 {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
	})
}

func TestOnlyListedBuiltinsExist(t *testing.T) {
	var names []string
	for _, b := range Capabilities().Builtins {
		names = append(names, b.Name)
	}
	slices.Sort(names)
	golden.Equal(t, "testdata/builtins.txt", []byte(strings.Join(names, "\n")+"\n"))
	for _, want := range AllowedBuiltins {
		if !slices.Contains(names, want) {
			t.Errorf("the engine has no function %q", want)
		}
	}
	for _, b := range ast.Builtins {
		if b.IsNondeterministic() && slices.Contains(names, b.Name) {
			t.Errorf("%s is nondeterministic and allowed", b.Name)
		}
	}
}

func TestInputValueEqualsTheJSONForm(t *testing.T) {
	in := input(assay.Finding{Rule: "r", Aliases: []string{"a"}, Severity: "high", Message: "m", Fingerprint: "f",
		Location: assay.Location{File: "x.go", Line: 3}, Package: assay.Component{Name: "p", Version: "1", PURL: "pkg:x/p@1", Licenses: []string{"MIT"}},
		FixedIn: []string{"2"}, Suppressed: "s", Known: true}, assay.Finding{})
	in.Environment = "production"
	in.Subject.Commit, in.Subject.URI = "abc", "pkg:generic/assay"
	in.Evidence[0].AgeSeconds = -3
	in.Evidence[0].Subject = in.Subject.Digest
	in.Evidence[0].Requirements = []string{"tests"}
	in.Evidence[0].Tool.Version = "1.2"
	in.Evidence = append(in.Evidence, policy.InputEvidence{Tests: &assay.TestCounts{Passed: 1, Flaky: 2}, Components: []assay.Component{{Name: "c"}}})
	in.Action = &policy.InputAction{Plan: "eu", Kind: assay.ActionAdjust, Service: "shop", Version: "v2", From: 10, Weight: 25, Lever: assay.LeverRegion, Scope: "eu", Now: 60.5, Want: 10}
	for _, in := range []policy.Input{in, {}} {
		if in.Evidence == nil {
			in.Evidence = []policy.InputEvidence{}
		}
		want, err := ast.ValueFromReader(strings.NewReader(asJSON(t, in)))
		if err != nil {
			t.Fatal(err)
		}
		if got := inputValue(in); got.Compare(want) != 0 {
			t.Errorf("\n got %v\nwant %v", got, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, src := range []string{
		"package release\n\ndeny contains \"x\" if input.environment == \"p\"\n",
		"package release\n\ndeny[msg] { msg := input.x }\n",
		"package release\n\nimport data.release.deny as d\n\nwarn contains x if some x in d\n",
		"package release\n\ndeny contains {\"rule\": \"x\", \"msg\": http.send({})}\n",
		"\x00", "package", "package a.b[\"c\"]\n\np[x].y := 1 if x := 2",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 2000 {
			return
		}
		rev := revision(t, map[string]string{"r.rego": src})
		_, err := Compile(t.Context(), rev)
		if err != nil && assay.CodeOf(err) == assay.CodeInternal {
			t.Errorf("error without a code: %v", err)
		}
		Lint(rev)
		if out, err := Format("r.rego", []byte(src)); err == nil {
			if _, err := parseModule("r.rego", out); err != nil {
				t.Errorf("formatted text does not parse: %v\n%s", err, out)
			}
		}
	})
}
