//go:build !race

package archtest

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// missionIDs are the capabilities, measures, failures, breakages, use cases and
// scenarios that the project promises: prefix and how many there are, from 1.
var missionIDs = []struct {
	prefix string
	count  int
}{
	{"Q-C", 19}, {"S-C", 21}, {"C-", 10},
	{"Q-M", 10}, {"S-M", 10},
	{"Q-F", 8}, {"S-F", 7},
	{"Q-B", 5}, {"S-B", 5},
	{"Q-U", 10}, {"S-U", 10},
	{"Q-S", 4}, {"S-S", 4},
}

// featureStates are what a row of docs/features.md may claim.
var featureStates = []string{"works", "partly", "not yet"}

// row is one line of a Markdown table.
type row struct {
	line  int
	cells []string
}

// rows reads the tables of a Markdown text. Fenced code is left out.
func rows(text string) (out []row) {
	for n, line := range prose(text) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|"); ok {
			cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			out = append(out, row{n + 1, cells})
		}
	}
	return out
}

const features = "docs/features.md"

// featureTable checks that docs/features.md has each id once, with an honest
// state, and that what is claimed names tests that exist and run.
func featureTable(t *tree) (out []problem) {
	ids := map[string]bool{}
	for _, m := range missionIDs {
		for i := range m.count {
			ids[fmt.Sprintf("%s%d", m.prefix, i+1)] = false
		}
	}
	for _, r := range rows(t.text[features]) {
		id := strings.Trim(r.cells[0], "`*")
		seen, known := ids[id]
		where := fmt.Sprintf("%s:%d", features, r.line)
		switch {
		case !known && !strings.ContainsAny(id, "0123456789"):
			continue // a heading or the line below it
		case !known:
			out = append(out, problem{where, "has a row for " + id + ", which the mission does not name", ""})
			continue
		case seen:
			out = append(out, problem{where, "has a second row for " + id, "keep one"})
		case len(r.cells) != 4:
			out = append(out, problem{where, fmt.Sprintf("has %d cells, expected id, what, state, shown by", len(r.cells)), ""})
		default:
			out = append(out, t.claim(where, id, r.cells[2], r.cells[3])...)
		}
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if !ids[id] {
			out = append(out, problem{features, "has no row for " + id, "add it, if only as \"not yet\""})
		}
	}
	return out
}

// proof is a test as docs/features.md names it: "package: TestName" or
// "package: TestName/subtest", the root package being "assay".
var proof = regexp.MustCompile("`([a-z][a-z0-9/]*): ((?:Test|Fuzz)[A-Za-z0-9_]*)(?:/([^`]+))?`")

// claim checks one row's state against its proofs.
func (t *tree) claim(where, id, state, shownBy string) (out []problem) {
	if !slices.Contains(featureStates, state) {
		return []problem{{where, fmt.Sprintf("%s has the state %q", id, state), "one of " + strings.Join(featureStates, ", ")}}
	}
	proofs := proof.FindAllStringSubmatch(shownBy, -1)
	if state == "not yet" {
		if len(proofs) > 0 {
			out = append(out, problem{where, id + " is not yet there and names a test all the same", "say partly, and what is missing"})
		}
		return out
	}
	if len(proofs) == 0 {
		out = append(out, problem{where, id + " claims " + state + " and names no test", "write `package: TestName`"})
	}
	for _, m := range proofs {
		dir := m[1]
		if dir == "assay" {
			dir = ""
		}
		if why := t.unproved(dir, m[2], m[3]); why != "" {
			out = append(out, problem{where, id + " names " + m[0] + ", " + why, ""})
		}
	}
	return out
}

// unproved says why a test proves nothing, "" if it runs.
func (t *tree) unproved(dir, name, sub string) string {
	p := t.pkg(dir)
	if p == nil {
		return "but there is no such package"
	}
	for _, f := range p.tests {
		for _, d := range f.ast.Decls {
			fd, ok := d.(*ast.FuncDecl)
			if !ok || fd.Name.Name != name || fd.Recv != nil {
				continue
			}
			if skips(fd) {
				return "which skips itself"
			}
			if sub != "" && !t.hasSubtest(p, sub) {
				return "but nothing there is called " + sub
			}
			return ""
		}
	}
	return "but there is no such test"
}

// skips reports whether a test calls Skip on its own parameter.
func skips(fd *ast.FuncDecl) bool {
	if len(fd.Type.Params.List) == 0 || len(fd.Type.Params.List[0].Names) == 0 {
		return false
	}
	param := fd.Type.Params.List[0].Names[0].Name
	found := false
	ast.Inspect(fd.Body, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if ok && strings.HasPrefix(sel.Sel.Name, "Skip") && sel.Sel.Name != "Skipped" {
			x, ok := sel.X.(*ast.Ident)
			found = found || ok && x.Name == param
		}
		return true
	})
	return found
}

// hasSubtest looks for a script of that name or a text literal in the tests.
func (t *tree) hasSubtest(p *pkg, sub string) bool {
	for _, ext := range []string{".txtar", ".txt"} {
		for name := range t.text {
			if strings.HasPrefix(name, path.Join(p.path, "testdata")+"/") && path.Base(name) == sub+ext {
				return true
			}
		}
	}
	for _, f := range p.tests {
		found := false
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			found = found || ok && strings.ReplaceAll(strings.Trim(lit.Value, "\"`"), " ", "_") == sub
			return true
		})
		if found {
			return true
		}
	}
	return false
}

func TestFeatureTableIsCompleteAndProved(t *testing.T) { check(t, featureTable(loadModule(t))) }
