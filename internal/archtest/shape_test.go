//go:build !race

package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Budgets. Above the first number an allowance with a reason is needed; above
// the hard one there is none.
const (
	fileLines, fileLinesHard = 500, 800
	funcLines, funcLinesHard = 60, 100
	interfaceMethods         = 4
	mainLines                = 40
	rootLines                = 1_200 // of the whole root package
	packageCommentChars      = 40
)

// allowances are the exceptions from the rules, each with its reason. The key
// is a file path, or "package.Func", "package.Type.Method", "package.Interface".
type allowances struct {
	longFiles, longFuncs, wideInterfaces, panics, sleeps map[string]string
}

// allowed may only shrink.
var allowed = allowances{
	longFiles:      map[string]string{},
	longFuncs:      map[string]string{},
	wideInterfaces: map[string]string{},
	panics: map[string]string{
		"proxy.mirror.forward": "passes on a panic that is not its own, after telling the reverse proxy's way of breaking off apart",
	},
	sleeps: map[string]string{},
}

// excuses hands out allowances and remembers which were needed.
type excuses struct {
	list map[string]string
	used []string
}

func (e *excuses) excuse(key string) bool {
	reason, ok := e.list[key]
	if ok {
		e.used = append(e.used, key)
	}
	return ok && len(reason) >= 10
}

// stale reports allowances that nothing needs any more.
func (e *excuses) stale() (out []problem) {
	for key := range e.list {
		if !slices.Contains(e.used, key) {
			out = append(out, problem{key, "has an allowance that it no longer needs", "delete it from internal/archtest/shape_test.go"})
		}
	}
	return out
}

// packageComments checks that each package states its one job.
func packageComments(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		if len(p.files) == 0 {
			continue
		}
		var docs []string
		for _, f := range p.files {
			if f.ast.Doc != nil {
				docs = append(docs, strings.TrimSpace(f.ast.Doc.Text()))
			}
		}
		switch {
		case len(docs) == 0:
			out = append(out, problem{p.label(), "has no package comment", "say its one job and its mental model above the package clause of one file"})
		case len(docs) > 1:
			out = append(out, problem{p.label(), fmt.Sprintf("has %d package comments", len(docs)), "keep one"})
		case len(docs[0]) < packageCommentChars:
			out = append(out, problem{p.label(), fmt.Sprintf("has a package comment of %d characters", len(docs[0])), "say its one job and its mental model"})
		case p.name != "main" && !strings.HasPrefix(docs[0], "Package "+p.name+" "):
			out = append(out, problem{p.label(), "has a package comment that does not start with \"Package " + p.name + " \"", ""})
		}
	}
	return out
}

// exportedComments checks that exported functions and types say what they are.
func exportedComments(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Name.IsExported() && d.Recv == nil && d.Doc == nil {
						out = append(out, problem{t.at(d), d.Name.Name + " is exported and has no comment", "say who calls it and what they may rely on"})
					}
				case *ast.GenDecl:
					for _, s := range d.Specs {
						ts, ok := s.(*ast.TypeSpec)
						if ok && ts.Name.IsExported() && ts.Doc == nil && d.Doc == nil {
							out = append(out, problem{t.at(ts), ts.Name.Name + " is exported and has no comment", "say what it is, in which units and shape"})
						}
					}
				}
			}
		}
	}
	return out
}

// fileBudgets checks the length of files, main.go and the root package.
func fileBudgets(t *tree, allow map[string]string) (out []problem) {
	ex := &excuses{list: allow}
	root := 0
	for _, p := range t.pkgs {
		for _, f := range p.files {
			if p.path == "" {
				root += f.lines
			}
			if p.name == "main" && f.name == "main.go" && f.lines > mainLines {
				out = append(out, problem{f.path, fmt.Sprintf("has %d lines, main.go may have %d", f.lines, mainLines), "move the work below run"})
			}
			if f.lines > fileLinesHard || f.lines > fileLines && !ex.excuse(f.path) {
				out = append(out, problem{f.path, fmt.Sprintf("has %d lines, a file may have %d", f.lines, fileLines), "split it by what changes together"})
			}
		}
	}
	if root > rootLines {
		out = append(out, problem{"assay (root)", fmt.Sprintf("has %d lines, the nouns may have %d", root, rootLines), "behaviour belongs into a stage"})
	}
	return append(out, ex.stale()...)
}

// funcBudgets checks the length of functions outside tests.
func funcBudgets(t *tree, allow map[string]string) (out []problem) {
	ex := &excuses{list: allow}
	t.funcs(func(p *pkg, f *file, d *ast.FuncDecl) {
		n := t.span(d)
		if n > funcLinesHard || n > funcLines && !ex.excuse(p.name+"."+funcName(d)) {
			out = append(out, problem{t.at(d), fmt.Sprintf("%s has %d lines, a function may have %d", funcName(d), n, funcLines), "give its parts names"})
		}
	})
	return append(out, ex.stale()...)
}

// interfaceBudgets checks that ports are as small as their callers' need.
func interfaceBudgets(t *tree, allow map[string]string) (out []problem) {
	ex := &excuses{list: allow}
	for _, p := range t.pkgs {
		for _, f := range p.files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				ts, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				it, ok := ts.Type.(*ast.InterfaceType)
				if !ok {
					return true
				}
				own := 0
				for _, m := range it.Methods.List {
					own += len(m.Names)
				}
				if own > interfaceMethods && !ex.excuse(p.name+"."+ts.Name.Name) {
					out = append(out, problem{t.at(ts), fmt.Sprintf("interface %s has %d methods, a port may have %d", ts.Name.Name, own, interfaceMethods), "split it by caller; optional ability = one-method interface"})
				}
				return true
			})
		}
	}
	return append(out, ex.stale()...)
}

// funcs yields every function declaration outside tests.
func (t *tree) funcs(yield func(p *pkg, f *file, d *ast.FuncDecl)) {
	for _, p := range t.pkgs {
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				if fd, ok := d.(*ast.FuncDecl); ok {
					yield(p, f, fd)
				}
			}
		}
	}
}

// funcName is "Func" or "Type.Method".
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	return baseType(d.Recv.List[0].Type) + "." + d.Name.Name
}

// baseType is the name of a type without pointers, packages and type arguments.
func baseType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return baseType(e.X)
	case *ast.IndexExpr:
		return baseType(e.X)
	case *ast.IndexListExpr:
		return baseType(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// calls that a stage may not make, with the one file that may. Whoever calls
// them takes a decision that belongs to main.
var bannedCalls = []struct{ pkg, name, except, hint string }{
	{"os", "Exit", "cmd/assay/main.go", "return an error; main alone ends the process"},
	{"log", "Fatal", "", "return an error; main alone ends the process"},
	{"log", "Fatalf", "", "return an error; main alone ends the process"},
	{"log", "Fatalln", "", "return an error; main alone ends the process"},
}

// forbiddenCode checks constructs that hide control flow or end the process.
func forbiddenCode(t *tree, allowPanic map[string]string) (out []problem) {
	ex := &excuses{list: allowPanic}
	for _, p := range t.pkgs {
		for _, f := range p.all() {
			for _, d := range f.ast.Decls {
				if fd, ok := d.(*ast.FuncDecl); ok && fd.Recv == nil && fd.Name.Name == "init" {
					out = append(out, problem{t.at(fd), "declares func init", "build it in a constructor that wire.go calls"})
				}
			}
			for _, n := range f.selectors("context", "TODO") {
				out = append(out, problem{t.at(n), "uses context.TODO", "pass the caller's context on"})
			}
		}
		for _, f := range p.files {
			f.calls(func(call *ast.CallExpr, target, name string) {
				for _, b := range bannedCalls {
					if target == b.pkg && name == b.name && f.path != b.except {
						out = append(out, problem{t.at(call), "calls " + target + "." + name, b.hint})
					}
				}
			})
			if !p.testSupport() { // a conformance suite has to show what a panic does
				out = append(out, t.panics(p, f, ex)...)
			}
		}
	}
	return append(out, ex.stale()...)
}

// panics finds calls of the builtin outside tests.
func (t *tree) panics(p *pkg, f *file, ex *excuses) (out []problem) {
	for _, d := range f.ast.Decls {
		ast.Inspect(d, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			id, ok := call.Fun.(*ast.Ident)
			if !ok || id.Name != "panic" || id.Obj != nil {
				return true
			}
			key := p.name
			if fd, ok := d.(*ast.FuncDecl); ok {
				key += "." + funcName(fd)
			}
			if !ex.excuse(key) {
				out = append(out, problem{t.at(call), "panics", "return an error; for a fault that only a programmer can make, allow " + strconv.Quote(key) + " with the reason"})
			}
			return true
		})
	}
	return out
}

// selectors finds pkg.name, called or not, where pkg is the import.
func (f *file) selectors(importPath, name string) (out []ast.Node) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil && f.imports[x.Name] == importPath {
			out = append(out, sel)
		}
		return true
	})
	return out
}

// sleepingTests finds tests that wait for a duration instead of for an event.
func sleepingTests(t *tree, allow map[string]string) (out []problem) {
	ex := &excuses{list: allow}
	for _, p := range t.pkgs {
		for _, f := range p.all() {
			if !strings.HasSuffix(f.name, "_test.go") && !p.testSupport() {
				continue
			}
			for _, n := range f.selectors("time", "Sleep") {
				if !ex.excuse(f.path) {
					out = append(out, problem{t.at(n), "sleeps", "wait for the event, or use testing/synctest"})
				}
			}
		}
	}
	return append(out, ex.stale()...)
}

// leftovers finds notes to oneself in comments.
func leftovers(t *tree) (out []problem) {
	for _, p := range t.pkgs {
		for _, f := range p.all() {
			for _, g := range f.ast.Comments {
				for word := range strings.FieldsFuncSeq(g.Text(), func(r rune) bool { return r < 'A' || r > 'Z' }) {
					if word == "TODO" || word == "FIXME" || word == "XXX" {
						out = append(out, problem{t.at(g), "has a " + word + " in a comment", "do it, or say in a document that it is not done"})
					}
				}
			}
		}
	}
	return out
}

func TestPackagesStateTheirJob(t *testing.T)     { check(t, packageComments(loadModule(t))) }
func TestExportedNamesHaveComments(t *testing.T) { check(t, exportedComments(loadModule(t))) }
func TestFilesStayWithinBudget(t *testing.T) {
	check(t, fileBudgets(loadModule(t), allowed.longFiles))
}
func TestFunctionsStayWithinBudget(t *testing.T) {
	check(t, funcBudgets(loadModule(t), allowed.longFuncs))
}
func TestInterfacesStayWithinBudget(t *testing.T) {
	check(t, interfaceBudgets(loadModule(t), allowed.wideInterfaces))
}
func TestForbiddenCodeIsAbsent(t *testing.T) { check(t, forbiddenCode(loadModule(t), allowed.panics)) }
func TestTestsDoNotSleep(t *testing.T)       { check(t, sleepingTests(loadModule(t), allowed.sleeps)) }
func TestNoNotesAreLeftBehind(t *testing.T)  { check(t, leftovers(loadModule(t))) }
