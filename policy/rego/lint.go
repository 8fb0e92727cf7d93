package rego

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
)

// Level says whether a Problem stops a revision from being used.
type Level string

const (
	// LevelError means that the revision does not compile or can give an unreadable answer.
	LevelError Level = "error"
	// LevelWarning means that the revision works and something in it is doubtful.
	LevelWarning Level = "warning"
)

// Problem is one thing that lint found.
type Problem struct {
	Level Level `json:"level"`
	// Rule names the check: compile, unbound-package, near-miss, metadata, objection-shape or no-tests.
	Rule string `json:"rule"`
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // 1-based, 0 if unknown
	// Column is 1-based, 0 if unknown.
	Column int    `json:"column,omitempty"`
	Msg    string `json:"msg"`
	Hint   string `json:"hint,omitempty"`
}

// Err is the problem in the words of every other error.
func (p Problem) Err() *assay.Error {
	return &assay.Error{Code: assay.CodeInvalid, File: p.File, Line: p.Line, Column: p.Column, Msg: p.Msg, Hint: p.Hint}
}

// Lint reports what is wrong or doubtful in a revision's Rego, sorted by place.
// Its compile is stricter than Compile's: unused variables and imports are errors.
func Lint(rev *policy.Revision) []Problem {
	l, err := load(rev, false)
	if err != nil {
		return sorted(problems("compile", err))
	}
	c := newCompiler(true)
	if c.Compile(l.modules); c.Failed() {
		return sorted(problems("compile", l.errors(c.Errors)))
	}
	var out []Problem
	out = append(out, problems("compile", joined(l.undefined(c)))...)
	return sorted(append(out, l.lintPackages(rev, c)...))
}

func (l *loaded) lintPackages(rev *policy.Revision, c *ast.Compiler) []Problem {
	var out []Problem
	bound, can := map[string]bool{}, map[string]bool{}
	for _, p := range rev.Policies() {
		bound[p.Spec.Package] = true
	}
	tested := testedPackages(rev)
	for _, file := range sortedKeys(l.modules) {
		m := l.modules[file]
		pkg := packageName(m.Package.Path)
		switch {
		case bound[pkg]:
			out = append(out, lintModule(m, c, pkg)...)
			if objects(m) && !tested[pkg] {
				out = append(out, problem(LevelWarning, "no-tests", m.Package.Location, "package "+pkg+" has no tests",
					"add "+strings.TrimSuffix(file, ".rego")+"_test.rego with rules named test_…"))
			}
		case objects(m):
			out = append(out, problem(LevelWarning, "unbound-package", m.Package.Location,
				"package "+pkg+" has deny or warn rules, but no Policy binds it, so no gate asks it",
				"declare a Policy with spec.package: "+pkg))
		}
		can[pkg] = can[pkg] || objects(m)
	}
	for _, p := range rev.Policies() {
		if err := l.canObject(p, can[p.Spec.Package]); err != nil {
			out = append(out, problems("compile", err)...)
		}
	}
	return out
}

func problem(level Level, rule string, loc *ast.Location, msg, hint string) Problem {
	p := Problem{Level: level, Rule: rule, Msg: msg, Hint: hint}
	if loc != nil {
		p.File, p.Line, p.Column = loc.File, loc.Row, loc.Col
	}
	return p
}

// problems flattens an error as Compile gives it.
func problems(rule string, err error) []Problem {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Problem
		for _, e := range many.Unwrap() {
			out = append(out, problems(rule, e)...)
		}
		return out
	}
	p := Problem{Level: LevelError, Rule: rule, Msg: err.Error()}
	if e, ok := errors.AsType[*assay.Error](err); ok {
		p.File, p.Line, p.Column, p.Msg, p.Hint = e.File, e.Line, e.Column, e.Msg, e.Hint
	}
	return []Problem{p}
}

// objects reports whether a module has a deny or warn rule.
func objects(m *ast.Module) bool {
	return slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool { return ruleName(r) == "deny" || ruleName(r) == "warn" })
}

func testedPackages(rev *policy.Revision) map[string]bool {
	tested := map[string]bool{}
	for _, f := range rev.Files(policy.ClassTest) {
		m, err := parseModule(f.Path, f.Content)
		if err != nil {
			continue // Test reports it
		}
		pkg := packageName(m.Package.Path)
		tested[pkg], tested[strings.TrimSuffix(pkg, "_test")] = true, true
	}
	return tested
}

func lintModule(m *ast.Module, c *ast.Compiler, pkg string) []Problem {
	var out []Problem
	documented := map[int]bool{}
	for _, a := range m.Annotations {
		if r, ok := annotated(a, m); ok && a.Scope != "package" && (a.Title != "" || a.Description != "") {
			documented[r] = true
		}
	}
	seen := map[string]bool{}
	for _, r := range m.Rules {
		name := ruleName(r)
		if name != "deny" && name != "warn" {
			if near := strict.Suggest(name, []string{"deny", "warn"}); near != "" && r.Head.DocKind() == ast.PartialSetDoc && !seen[name] && !used(c, pkg, name) {
				out = append(out, problem(LevelWarning, "near-miss", r.Loc(), fmt.Sprintf("set %s.%s is used by nothing", pkg, name),
					fmt.Sprintf("is it meant to be %q?", near)))
			}
			seen[name] = true
			continue
		}
		if r.Head.DocKind() != ast.PartialSetDoc {
			out = append(out, problem(LevelError, "compile", r.Loc(), fmt.Sprintf("rule %s.%s is not a set", pkg, name),
				fmt.Sprintf("write `%s contains v if { … }`", name)))
			continue
		}
		if !documented[r.Loc().Row] {
			out = append(out, problem(LevelWarning, "metadata", r.Loc(), fmt.Sprintf("a %s rule without a METADATA comment", name),
				"put `# METADATA` and `# title: …` above it, so that reports and reviewers know what it is for"))
		}
		out = append(out, lintShape(r, pkg, name)...)
	}
	return out
}

// annotated finds the row of the rule that an annotation stands above: the
// first one that starts after it.
func annotated(a *ast.Annotations, m *ast.Module) (row int, ok bool) {
	for _, r := range m.Rules {
		if r.Loc().Row > a.Location.Row && (!ok || r.Loc().Row < row) {
			row, ok = r.Loc().Row, true
		}
	}
	return row, ok
}

// used reports whether anything refers to a rule.
func used(c *ast.Compiler, pkg, name string) bool {
	want := packageRef(pkg).Append(ast.StringTerm(name))
	found := false
	for _, m := range c.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			found = found || r.HasPrefix(want)
			return found
		})
	}
	return found
}

// lintShape reads the objects that a rule writes out, before any of them is ever produced.
func lintShape(r *ast.Rule, pkg, name string) []Problem {
	var out []Problem
	check := func(t *ast.Term) {
		if t == nil {
			return
		}
		switch v := t.Value.(type) {
		case ast.Object:
			for _, key := range []string{"rule", "msg"} {
				if v.Get(ast.StringTerm(key)) == nil {
					out = append(out, problem(LevelError, "objection-shape", t.Location,
						fmt.Sprintf("rule %s.%s gives an object without %q", pkg, name, key), shape))
				}
			}
			v.Foreach(func(k, _ *ast.Term) {
				if s, ok := k.Value.(ast.String); ok && !slices.Contains(objectionKeys, string(s)) {
					out = append(out, problem(LevelError, "objection-shape", k.Location,
						fmt.Sprintf("rule %s.%s gives an object with the key %q", pkg, name, string(s)), didYouMean(string(s), objectionKeys)))
				}
			})
		case ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set:
			out = append(out, problem(LevelError, "objection-shape", t.Location,
				fmt.Sprintf("rule %s.%s gives %s", pkg, name, ast.ValueName(v)), shape))
		}
	}
	check(r.Head.Key)
	key, isVar := r.Head.Key.Value.(ast.Var)
	if !isVar {
		return out
	}
	for _, expr := range r.Body {
		if expr.IsAssignment() && len(expr.Operands()) == 2 && expr.Operand(0).Value.Compare(key) == 0 {
			check(expr.Operand(1))
		}
	}
	return out
}

func sorted(list []Problem) []Problem {
	slices.SortFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(list)
}
