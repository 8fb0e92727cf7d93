//go:build !race

package archtest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// ranks orders the packages by the flow of the work. A package imports only
// lower ranks; packages of equal rank do not know each other. A folder below a
// ranked one is its child and shares the rank.
var ranks = map[string]int{
	"":          0,
	"internal":  1,
	"infer":     1,
	"peer":      1,
	"decide":    2,
	"store":     2,
	"evidence":  3,
	"policy":    3,
	"slo":       3,
	"analyze":   3,
	"signal":    3,
	"model":     3,
	"gate":      4,
	"exception": 4,
	"advisory":  4,
	"budget":    4,
	"anomaly":   4,
	"diverge":   4,
	"halt":      4,
	"notify":    4,
	"attest":    5,
	"ledger":    6,
	"registry":  6,
	"artifact":  7,
	"enforce":   7,
	"act":       8,
	"inventory": 8,
	"admit":     8,
	"api":       8,
	"rollout":   9,
	"mitigate":  9,
	"report":    9,
	"control":   10,
	"simulate":  10,
	"server":    11,
	"client":    11,
	"ui":        11,
	"gameday":   12,
	"cmd/assay": 13,
	"docs":      14,
}

// wiring is the one file that may name adapters.
const wiring = "cmd/assay/wire.go"

// simulated are the adapters that are worlds in memory; simulate exists to run the
// loop on them and may name them.
var simulated = []string{"act/sim", "signal/replay", "store/mem"}

// forbiddenImports are import paths (or path prefixes ending in "/") and why.
var forbiddenImports = map[string]string{
	"text/template": "it does not escape: write pages with html/template and text with fmt",
	"github.com/prometheus/prometheus/storage/remote": "it does not compile together with OPA 1.22 (two majors of gobwas/glob); decode prompb ourselves",
	"github.com/prometheus/prometheus/web/api/v1":     "it does not compile together with OPA 1.22 (two majors of gobwas/glob); call the promql engine ourselves",
	"github.com/stretchr/testify/":                    "plain comparisons and tables read better and need no module",
	"net/http/pprof":                                  "importing it registers handlers on the default mux; serve runtime/pprof on a mux of our own",
	"math/rand":                                       "use math/rand/v2 with a seed that is recorded, or crypto/rand",
	"gopkg.in/yaml.v2":                                "unmaintained; use internal/strict",
	"gopkg.in/yaml.v3":                                "unmaintained; use internal/strict",
	"github.com/sigstore/cosign/":                     "it brings cloud SDKs and its own flags; use sigstore-go",
	"github.com/golang/mock/":                         "in-memory adapters are real; mocks of our own ports are not",
	"go.uber.org/mock/":                               "in-memory adapters are real; mocks of our own ports are not",
	"io/ioutil":                                       "deprecated; use io and os",
}

// forbiddenNames are package names that say nothing.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "pkg", "types", "core", "base", "shared", "misc", "lib"}

// parent is the ranked folder that p belongs to, and whether p is below it.
func parent(p string) (folder string, child, ok bool) {
	if _, ok := ranks[p]; ok {
		return p, false, true
	}
	for folder := range ranks {
		if folder != "" && strings.HasPrefix(p, folder+"/") {
			return folder, true, true
		}
	}
	return "", false, false
}

// importRanks checks who may know whom.
func importRanks(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		if _, _, ok := parent(p.path); !ok {
			out = append(out, problem{p.path, "has no import rank", "add it to ranks in internal/archtest/imports_test.go, at its place in the flow"})
			continue
		}
		for _, f := range p.all() {
			for _, target := range slices.Sorted(maps.Values(f.imports)) {
				rel, ours := within(target)
				if !ours || rel == p.path {
					continue
				}
				if what := t.refuse(p, f, rel); what != "" {
					out = append(out, problem{f.path, "imports " + modulePath + "/" + rel + ": " + what, "see the ranks in ARCHITECTURE.md"})
				}
			}
		}
	}
	return out
}

// refuse says why a file of p may not import our package rel, "" if it may.
func (t *tree) refuse(p *pkg, f *file, rel string) string {
	isTest := strings.HasSuffix(f.name, "_test.go")
	from, fromChild, _ := parent(p.path)
	to, toChild, ok := parent(rel)
	target := t.pkg(rel)
	switch {
	case !ok:
		return "it has no import rank"
	case target != nil && target.testSupport() && !isTest && !p.testSupport():
		return "it exists for tests and must not be shipped"
	case from == to && fromChild && !toChild:
		return "" // a child knows its parent
	case ranks[to] > ranks[from]:
		return "it comes later in the flow"
	case isTest:
		return ""
	case ranks[to] == ranks[from] && !toChild:
		return "packages of equal rank do not meet"
	case ranks[to] == ranks[from] && to == from && !fromChild:
		return "a parent does not know its children"
	case ranks[to] == ranks[from]:
		return "siblings do not meet"
	case from == "simulate" && slices.Contains(simulated, rel):
		return ""
	case toChild && to != "internal" && f.path != wiring && !p.testSupport():
		return "only " + wiring + " names adapters"
	}
	return ""
}

func within(importPath string) (rel string, ours bool) {
	if importPath == modulePath {
		return "", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// rootStandsAlone checks that the nouns import the standard library only.
func rootStandsAlone(t *tree) (out []problem) {
	root := t.pkg("")
	if root == nil {
		return []problem{{".", "has no root package", ""}}
	}
	for _, f := range root.files {
		for _, target := range slices.Sorted(maps.Values(f.imports)) {
			if strings.Contains(strings.Split(target, "/")[0], ".") {
				out = append(out, problem{f.path, "imports " + target + ", but the nouns use the standard library only", "move the behaviour into the stage that needs it"})
			}
		}
	}
	return out
}

// importBans checks forbidden imports and package names, and the depth of the tree.
func importBans(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		if slices.Contains(forbiddenNames, p.name) {
			out = append(out, problem{p.path, "package " + p.name + " has a name that says nothing", "name it after what it provides"})
		}
		if strings.Count(p.path, "/") > 1 {
			out = append(out, problem{p.path, "is deeper than two folders", "a stage and its adapters is all the depth there is"})
		}
		for _, f := range p.all() {
			for _, target := range slices.Sorted(maps.Values(f.imports)) {
				if why, banned := bannedImport(target); banned {
					out = append(out, problem{f.path, "imports " + target, why})
				}
			}
		}
	}
	return out
}

func bannedImport(target string) (why string, banned bool) {
	if why, ok := forbiddenImports[target]; ok {
		return why, true
	}
	for prefix, why := range forbiddenImports {
		if strings.HasSuffix(prefix, "/") && strings.HasPrefix(target+"/", prefix) {
			return why, true
		}
	}
	return "", false
}

// purity lists packages that decide and must not do. A pure package reads no
// clock; one that is also sealed imports nothing that reaches outside.
var purity = map[string]struct{ sealed bool }{
	"":            {sealed: true},
	"gate":        {sealed: true},
	"slo":         {sealed: true},
	"infer":       {sealed: true},
	"decide":      {sealed: true},
	"peer":        {sealed: true},
	"evidence":    {sealed: false}, // readers take now; they may take an *os.File
	"policy":      {sealed: false},
	"policy/rego": {sealed: false}, // time is an input of the evaluation
	"exception":   {sealed: false},
	"attest":      {sealed: false}, // the age of a statement is judged at an instant that is handed in
}

// outside are imports that reach outside the process or its inputs.
var outside = []string{"os", "os/exec", "os/signal", "io/ioutil", "net", "net/http", "syscall", "log", "log/slog", "crypto/rand", "math/rand/v2", "database/sql", "testing"}

// pureStaysPure checks clocks and I/O of the packages that only decide.
func pureStaysPure(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		rule, pure := purity[p.path]
		if !pure {
			continue
		}
		for _, f := range p.files {
			out = append(out, clocks(t, f)...)
			if !rule.sealed {
				continue
			}
			for _, target := range slices.Sorted(maps.Values(f.imports)) {
				if slices.Contains(outside, target) {
					out = append(out, problem{f.path, "imports " + target + ", but " + p.label() + " only decides", "take the value as a parameter"})
				}
			}
		}
	}
	return out
}

// clocks finds every use of the wall clock, called or passed on as a value.
func clocks(t *tree, f *file) (out []problem) {
	for _, name := range []string{"Now", "Since", "Until", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc", "Sleep"} {
		for _, n := range f.selectors("time", name) {
			out = append(out, problem{t.at(n), "uses time." + name + " in a package that only decides", "take now as a parameter"})
		}
	}
	return out
}

func TestImportsFollowTheFlow(t *testing.T)               { check(t, importRanks(loadModule(t))) }
func TestRootPackageUsesStandardLibraryOnly(t *testing.T) { check(t, rootStandsAlone(loadModule(t))) }
func TestForbiddenImportsAndNamesAreAbsent(t *testing.T)  { check(t, importBans(loadModule(t))) }
func TestPackagesThatDecideDoNothingElse(t *testing.T)    { check(t, pureStaysPure(loadModule(t))) }
