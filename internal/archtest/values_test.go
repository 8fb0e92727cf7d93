//go:build !race

package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	limitsDoc = "docs/limits.md"
	factsDoc  = "docs/facts.md"
)

// limitName is how a limit is called: an exported constant.
var limitName = regexp.MustCompile(`^Max[A-Z]`)

// constants yields every exported constant of the shipped packages with the
// text of its expression.
func (t *tree) constants(yield func(p *pkg, name, expr string)) {
	for _, p := range t.pkgs {
		if p.testSupport() || p.name == "main" || strings.HasPrefix(p.path, "internal/") && !t.shipped(p) {
			continue
		}
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				gen, ok := d.(*ast.GenDecl)
				if !ok || gen.Tok != token.CONST {
					continue
				}
				for _, s := range gen.Specs {
					vs := s.(*ast.ValueSpec)
					for i, v := range vs.Values {
						if vs.Names[i].IsExported() {
							yield(p, vs.Names[i].Name, t.source(v))
						}
					}
				}
			}
		}
	}
}

// shipped reports whether a part of the program that users run imports p.
func (t *tree) shipped(p *pkg) bool {
	return slices.ContainsFunc(t.pkgs, func(q *pkg) bool {
		return !q.testSupport() && slices.ContainsFunc(q.files, func(f *file) bool { return f.uses(modulePath + "/" + p.path) })
	})
}

// source is the text of a node.
func (t *tree) source(n ast.Node) string {
	from, to := t.fset.Position(n.Pos()), t.fset.Position(n.End())
	return t.text[from.Filename][from.Offset:to.Offset]
}

// limitsAreWritten checks that docs/limits.md states every limit with its value.
func limitsAreWritten(t *tree) (out []problem) {
	have := map[string]string{}
	t.constants(func(p *pkg, name, expr string) {
		if limitName.MatchString(name) {
			have[strings.TrimPrefix(p.label()+"."+name, "assay (root).")] = expr
		}
	})
	return append(out, t.compareTable(limitsDoc, have)...)
}

// factsAreWritten checks that docs/facts.md lists every kind of fact by its constant.
func factsAreWritten(t *tree) (out []problem) {
	have := map[string]string{}
	t.constants(func(p *pkg, name, expr string) {
		if kind, err := strconv.Unquote(expr); p.path == "" && strings.HasPrefix(name, "Fact") && err == nil {
			have[kind] = name
		}
	})
	return append(out, t.compareTable(factsDoc, have)...)
}

// compareTable holds the first two cells of a document's tables against want.
func (t *tree) compareTable(doc string, want map[string]string) (out []problem) {
	seen := map[string]bool{}
	for _, r := range rows(t.text[doc]) {
		key := strings.Trim(r.cells[0], "`")
		if key == r.cells[0] || len(r.cells) < 2 {
			continue // not code: a heading, or the line below it
		}
		seen[key] = true
		value, known := want[key]
		where := fmt.Sprintf("%s:%d", doc, r.line)
		if !known {
			out = append(out, problem{where, "lists " + key + ", which the code does not have", "delete the row"})
		} else if got := strings.Trim(r.cells[1], "`"); got != value {
			out = append(out, problem{where, "says " + key + " is " + got + ", the code says " + value, ""})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !seen[key] {
			out = append(out, problem{doc, fmt.Sprintf("has no row for %s", key), fmt.Sprintf("add | `%s` | `%s` | what it means |", key, want[key])})
		}
	}
	return out
}

func TestLimitsAreWrittenDown(t *testing.T) { check(t, limitsAreWritten(loadModule(t))) }
func TestFactsAreWrittenDown(t *testing.T)  { check(t, factsAreWritten(loadModule(t))) }
