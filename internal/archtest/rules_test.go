//go:build !race

package archtest

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// sound is a small tree that keeps every rule.
func sound() map[string]string {
	var table strings.Builder
	table.WriteString("| id | what | state | shown by |\n| --- | --- | --- | --- |\n")
	for _, m := range missionIDs {
		for i := range m.count {
			fmt.Fprintf(&table, "| %s%d | a thing | not yet | |\n", m.prefix, i+1)
		}
	}
	return map[string]string{
		"doc.go":            "// Package assay holds the nouns that every stage of the loop shares.\npackage assay\n\nconst FactVerdict = \"gate.verdict\"\n",
		"store/store.go":    "// Package store is where facts and state live, as a port.\npackage store\n\nimport \"assay.dev/assay\"\n\n// Store is the port.\ntype Store interface{ Get() assay.X }\n",
		"store/mem/mem.go":  "// Package mem is the store in memory, with hooks for failures.\npackage mem\n\nimport \"assay.dev/assay/store\"\n\nvar _ store.Store\n",
		"gate/gate.go":      "// Package gate turns evidence, policy and exceptions into a verdict.\npackage gate\n\nimport \"assay.dev/assay/store\"\n\nvar _ store.Store\n\nconst MaxRules = 1 << 10\n",
		"gate/gate_test.go": "package gate\n\nimport (\n\t\"testing\"\n\n\t\"assay.dev/assay/store/mem\"\n)\n\nvar _ mem.T\n\nfunc TestGate(t *testing.T) { t.Run(\"says no\", f) }\n\nfunc TestSkips(t *testing.T) { t.Skip() }\n",
		wiring:              "// Command assay verifies, attests and proves what is built.\npackage main\n\nimport \"assay.dev/assay/store/mem\"\n\nvar _ mem.T\n",
		features:            table.String(),
		"README.md":         "# Assay\n\n`store/` `gate/` `cmd/` `docs/`; run `make test`. See [how](ARCHITECTURE.md#the-map).\n",
		"ARCHITECTURE.md":   "# Architecture\n\n## The map\n\n`store/` `store/mem/` `gate/` `cmd/` `docs/`\n",
		limitsDoc:           "| limit | value |\n| --- | --- |\n| `gate.MaxRules` | `1 << 10` |\n",
		factsDoc:            "| kind | constant |\n| --- | --- |\n| `gate.verdict` | `FactVerdict` |\n",
		"Makefile":          "test:\n\tgo test ./...\n\nSTARTS = ./store/mem\nSTARTED = ^TestNothing\n",
	}
}

func parse(t *testing.T, files map[string]string) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tr, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// none hands a rule an empty allow-list.
func none(rule func(*tree, map[string]string) []problem) func(*tree) []problem {
	return func(t *tree) []problem { return rule(t, nil) }
}

// every rule of this package, by name.
var every = map[string]func(*tree) []problem{
	"importRanks": importRanks, "rootStandsAlone": rootStandsAlone, "importBans": importBans, "pureStaysPure": pureStaysPure,
	"packageComments": packageComments, "exportedComments": exportedComments, "fileBudgets": none(fileBudgets),
	"funcBudgets": none(funcBudgets), "interfaceBudgets": none(interfaceBudgets), "forbiddenCode": none(forbiddenCode),
	"sleepingTests": none(sleepingTests), "leftovers": leftovers, "decodersAreFuzzed": decodersAreFuzzed,
	"featureTable": featureTable, "foldersAreMapped": foldersAreMapped, "linksResolve": linksResolve,
	"documentsNameRules": documentsNameRules, "noMachinePaths": noMachinePaths, "unwatchedTestsRun": unwatchedTestsRun,
	"limitsAreWritten": limitsAreWritten, "factsAreWritten": factsAreWritten,
}

func TestRulesAcceptASoundTree(t *testing.T) {
	tr := parse(t, sound())
	for name, rule := range every {
		for _, p := range rule(tr) {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// at most one file is added to or replaced in the sound tree, and the rule must say want.
var breaches = []struct{ rule, file, text, want string }{
	{"importRanks", "extra/x.go", "package extra", "has no import rank"},
	{"importRanks", "store/x.go", "package store\nimport \"assay.dev/assay/gate\"", "comes later in the flow"},
	{"importRanks", "store/x_test.go", "package store\nimport \"assay.dev/assay/gate\"", "comes later in the flow"},
	{"importRanks", "store/x.go", "package store\nimport \"assay.dev/assay/store/mem\"", "a parent does not know its children"},
	{"importRanks", "store/sqlite/x.go", "package sqlite\nimport \"assay.dev/assay/store/mem\"", "siblings do not meet"},
	{"importRanks", "internal/a/x.go", "package a\nimport \"assay.dev/assay/internal/b\"", "siblings do not meet"},
	{"importRanks", "simulate/x.go", "package simulate\nimport \"assay.dev/assay/act/proxy\"", "names adapters"},
	{"importRanks", "exception/x.go", "package exception\nimport \"assay.dev/assay/gate\"", "equal rank do not meet"},
	{"importRanks", "gate/x.go", "package gate\nimport \"assay.dev/assay/store/mem\"", "names adapters"},
	{"importRanks", "cmd/assay/run.go", "package main\nimport \"assay.dev/assay/store/mem\"", "names adapters"},
	{"importRanks", "gate/x.go", "package gate\nimport \"assay.dev/assay/nowhere\"", "it has no import rank"},
	{"rootStandsAlone", "x.go", "package assay\nimport \"golang.org/x/mod/semver\"", "standard library only"},
	{"importBans", "gate/x.go", "package gate\nimport \"text/template\"", "imports text/template"},
	{"importBans", "gate/x.go", "package gate\nimport _ \"net/http/pprof\"", "default mux"},
	{"importBans", "gate/x.go", "package gate\nimport \"math/rand\"", "math/rand/v2"},
	{"importBans", "gate/x_test.go", "package gate\nimport \"github.com/stretchr/testify/require\"", "imports github.com/stretchr/testify"},
	{"importBans", "gate/x.go", "package gate\nimport \"github.com/prometheus/prometheus/storage/remote\"", "OPA"},
	{"importBans", "gate/x.go", "package gate\nimport \"github.com/prometheus/prometheus/web/api/v1\"", "OPA"},
	{"importBans", "gate/x.go", "package gate\nimport \"github.com/sigstore/cosign/v3/pkg/cosign\"", "sigstore-go"},
	{"importBans", "gate/x.go", "package gate\nimport \"gopkg.in/yaml.v3\"", "unmaintained"},
	{"importBans", "store/util/x.go", "package util", "says nothing"},
	{"importBans", "store/a/b/x.go", "package b", "deeper than two folders"},
	{"pureStaysPure", "gate/x.go", "package gate\nimport \"time\"\nvar t = time.Now()", "time.Now"},
	{"pureStaysPure", "gate/x.go", "package gate\nimport \"time\"\nvar clock = time.Now", "time.Now"},
	{"pureStaysPure", "gate/x.go", "package gate\nimport \"os\"\nvar f = os.Stdin", "imports os"},
	{"pureStaysPure", "x.go", "package assay\nimport \"log/slog\"\nvar l = slog.Info", "imports log/slog"},
	{"pureStaysPure", "evidence/x.go", "package evidence\nimport tm \"time\"\nvar t = tm.Since(z)", "time.Since"},
	{"packageComments", "gate/gate.go", "package gate", "has no package comment"},
	{"packageComments", "gate/gate.go", "// Package gate gates.\npackage gate", "characters"},
	{"packageComments", "gate/gate.go", "// This is the gate of the whole thing, and then some.\npackage gate", "does not start with"},
	{"packageComments", "gate/x.go", "// Package gate has a second comment for no good reason.\npackage gate", "2 package comments"},
	{"packageComments", wiring, "package main", "has no package comment"},
	{"exportedComments", "gate/x.go", "package gate\nfunc Check() {}", "Check is exported"},
	{"exportedComments", "gate/x.go", "package gate\ntype Report struct{}", "Report is exported"},
	{"fileBudgets", "gate/x.go", "package gate\n" + strings.Repeat("\n", 500), "a file may have"},
	{"fileBudgets", "cmd/assay/main.go", "package main\n" + strings.Repeat("\n", 40), "main.go may have"},
	{"fileBudgets", "x.go", "package assay\n" + strings.Repeat("\n", 1_200), "the nouns may have"},
	{"funcBudgets", "gate/x.go", "package gate\nfunc f() {" + strings.Repeat("\n", 60) + "}", "a function may have"},
	{"interfaceBudgets", "gate/x.go", "package gate\ntype P interface { A(); B(); C(); D(); E() }", "has 5 methods"},
	{"forbiddenCode", "gate/x.go", "package gate\nfunc init() {}", "func init"},
	{"forbiddenCode", "gate/x_test.go", "package gate\nfunc init() {}", "func init"},
	{"forbiddenCode", "gate/x.go", "package gate\nimport \"context\"\nvar c = context.TODO()", "context.TODO"},
	{"forbiddenCode", "gate/x.go", "package gate\nimport \"os\"\nfunc f() { os.Exit(1) }", "os.Exit"},
	{"forbiddenCode", "cmd/assay/run.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", "os.Exit"},
	{"forbiddenCode", "gate/x.go", "package gate\nimport \"log\"\nfunc f() { log.Fatal(1) }", "log.Fatal"},
	{"forbiddenCode", "gate/x.go", "package gate\nfunc (t *T) f() { panic(1) }", "gate.T.f"},
	{"sleepingTests", "gate/x_test.go", "package gate\nimport \"time\"\nfunc f() { time.Sleep(1) }", "sleeps"},
	{"sleepingTests", "store/storetest/x.go", "package storetest\nimport (\n\"time\"\n\"testing\"\n)\nfunc f(*testing.T) { time.Sleep(1) }", "sleeps"},
	{"leftovers", "gate/x.go", "package gate\n// " + "TO" + "DO: finish\n", "in a comment"},
	{"decodersAreFuzzed", "gate/x.go", "package gate\nfunc ParseReport(b []byte) error { return nil }", "ParseReport reads"},
	{"decodersAreFuzzed", "internal/a/x.go", "package a\nimport \"io\"\nfunc Decode(r io.Reader) (int, error) { return 0, nil }", "Decode reads"},
	{"decodersAreFuzzed", "gate/x.go", "package gate\nfunc (t *T) UnmarshalText(b []byte) error { return nil }", "T.UnmarshalText reads"},
	{"decodersAreFuzzed", "gate/x.go", "package gate\nfunc LoadPolicy(text string) (int, error) { return 0, nil }", "LoadPolicy reads"},
	{"decodersAreFuzzed", "gate/x.go", "package gate\nfunc OpenBundle(b []byte) (int, error) { return 0, nil }", "OpenBundle reads"},
	{"featureTable", features, "| Q-C1 | a | not yet | |", "no row for S-S4"},
	{"featureTable", features, "| Q-C1 | a | done | |", "has the state"},
	{"featureTable", features, "| Q-C1 | a | works | |", "names no test"},
	{"featureTable", features, "| Q-C1 | a | works | `gate: TestNone` |", "no such test"},
	{"featureTable", features, "| Q-C1 | a | partly | `gone: TestGate` |", "no such package"},
	{"featureTable", features, "| Q-C1 | a | works | `gate: TestSkips` |", "skips itself"},
	{"featureTable", features, "| Q-C1 | a | works | `gate: TestGate/says_yes` |", "called says_yes"},
	{"featureTable", features, "| Q-C1 | a | not yet | `gate: TestGate` |", "names a test all the same"},
	{"featureTable", features, "| Q-C1 | a | not yet | |\n| Q-C1 | a | not yet | |", "second row"},
	{"featureTable", features, "| Q-C99 | a | not yet | |", "does not name"},
	{"foldersAreMapped", "README.md", "`store/` `cmd/` `docs/`", "does not name the folder gate/"},
	{"foldersAreMapped", "ARCHITECTURE.md", "`store/` `gate/` `cmd/` `docs/` `slo/`", "slo/, which does not exist"},
	{"linksResolve", "docs/x.md", "[a](gone.md)", "does not exist"},
	{"linksResolve", "docs/x.md", "[a](../../other.md)", "outside the project"},
	{"linksResolve", "docs/x.md", "[a](../README.md#nothing)", "no such heading"},
	{"documentsNameRules", "docs/x.md", "```\nmake nothing\n```", "make nothing"},
	{"documentsNameRules", "docs/x.md", "run `make nothing`", "make nothing"},
	{"documentsNameRules", "docs/x.md", "    make nothing  # at all", "make nothing"},
	{"limitsAreWritten", "store/x.go", "package store\nconst MaxKeys = 7", "no row for store.MaxKeys"},
	{"limitsAreWritten", limitsDoc, "| `gate.MaxRules` | `2000` |", "the code says 1 << 10"},
	{"limitsAreWritten", limitsDoc, "| `gate.MaxOld` | `2000` |", "the code does not have"},
	{"factsAreWritten", "fact.go", "package assay\nconst FactNew = \"gate.new\"", "no row for gate.new"},
	{"unwatchedTestsRun", "slo/sums_test.go", "//go:build !race\n\npackage slo\n\nfunc TestSums(t *testing.T) {}\n", "is run by nothing: `make test` runs ./slo"},
	{"unwatchedTestsRun", "store/mem/sums_test.go", "//go:build !race\n\npackage mem\n\nfunc TestNothing(t *testing.T) {}\n\nfunc TestSums(t *testing.T) {}\n", "TestSums is run by nothing"},
	{"noMachinePaths", "docs/x.md", "see /" + "home/me/assay", "one machine"},
	{"noMachinePaths", "gate/x.go", "package gate\nvar p = \"/" + "root/x\"", "one machine"},
}

func TestEachRuleCanFail(t *testing.T) {
	failed := map[string]bool{}
	for _, b := range breaches {
		t.Run(b.rule+" "+b.want, func(t *testing.T) {
			files := sound()
			files[b.file] = b.text
			var got []string
			for _, p := range every[b.rule](parse(t, files)) {
				got = append(got, p.String())
			}
			if !strings.Contains(strings.Join(got, "\n"), b.want) {
				t.Errorf("with %s = %q the rule says %q, expected a problem with %q", b.file, b.text, got, b.want)
			}
		})
		failed[b.rule] = true
	}
	for name := range every {
		if !failed[name] {
			t.Errorf("rule %s is never shown to fail", name)
		}
	}
}

func TestFuzzTargetSatisfiesTheDecoderRule(t *testing.T) {
	files := sound()
	files["gate/x.go"] = "package gate\nfunc Parse(b []byte) error { return nil }\nfunc (t *T) UnmarshalText(b []byte) error { return nil }\nfunc Ready(s string) error { return nil }\nfunc LoadDir(dir string, passphrase []byte) error { return nil }"
	files["gate/fuzz_test.go"] = "package gate_test\nimport \"testing\"\nfunc FuzzParse(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { gate.Parse(b); json.Unmarshal(b, new(gate.T)) }) }"
	check(t, decodersAreFuzzed(parse(t, files)))
}

func TestProvedRowsAreAccepted(t *testing.T) {
	for _, shownBy := range []string{"`gate: TestGate`", "`gate: TestGate/says_no`, `gate: TestGate`"} {
		files := sound()
		files[features] = strings.Replace(files[features], "| Q-C3 | a thing | not yet | |", "| Q-C3 | a thing | works | "+shownBy+" |", 1)
		check(t, featureTable(parse(t, files)))
	}
}

func TestAllowancesNeedAReasonAndAUse(t *testing.T) {
	files := sound()
	files["gate/x.go"] = "package gate\nfunc f() { panic(1) }"
	tr := parse(t, files)
	if got := forbiddenCode(tr, map[string]string{"gate.f": "a programmer's fault: the argument is a constant"}); len(got) != 0 {
		t.Errorf("an allowance with a reason does not excuse: %v", got)
	}
	if got := forbiddenCode(tr, map[string]string{"gate.f": "ok"}); len(got) == 0 {
		t.Error("an allowance without a reason excuses")
	}
	if got := forbiddenCode(parse(t, sound()), map[string]string{"gate.f": "a programmer's fault: the argument is a constant"}); len(got) != 1 {
		t.Errorf("an allowance that nothing needs is kept: %v", got)
	}
	files["gate/x.go"] = "package gate\n" + strings.Repeat("\n", fileLinesHard)
	if got := fileBudgets(parse(t, files), map[string]string{"gate/x.go": "generated by hand, cannot be split"}); len(got) == 0 {
		t.Error("an allowance excuses a file above the hard limit")
	}
}

func TestShadowedImportNamesAreNotMistaken(t *testing.T) {
	files := sound()
	files["gate/x.go"] = "package gate\nimport \"time\"\nvar _ time.Time\nfunc f(time clock) { time.Now() }"
	check(t, pureStaysPure(parse(t, files)))
}
