package rego

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/open-policy-agent/opa/v1/ast"
)

// v0Hint is for files that would parse as the old dialect.
const v0Hint = "this is Rego v0; in v1 write `deny contains msg if { … }` and `allow if { … }`"

func inFile(file string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.In(file)
	}
	return assay.Errorf(assay.CodeInvalid, "%w", err).In(file)
}

// joined returns nil, the only error, or all of them joined.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// placed is an error at a place in a module.
func placed(loc *ast.Location, format string, args ...any) *assay.Error {
	e := assay.Errorf(assay.CodeInvalid, format, args...)
	if loc != nil {
		e.File, e.Line, e.Column = loc.File, loc.Row, max(1, loc.Col) // the engine has no column at the end of a file
	}
	return e
}

func parseError(file string, src []byte, err error) error {
	list, ok := errors.AsType[ast.Errors](err)
	if !ok || len(list) == 0 {
		return assay.Errorf(assay.CodeInvalid, "is not Rego: %v", err).In(file)
	}
	_, v0 := ast.ParseModuleWithOpts(file, string(src), ast.ParserOptions{RegoVersion: ast.RegoV0})
	// What follows the first mistake mostly follows from it; of two messages for
	// one place the longer says more.
	first := list[0]
	for _, a := range list[1:] {
		if a.Location != nil && a.Location.Equal(first.Location) && len(a.Message) > len(first.Message) {
			first = a
		}
	}
	e := placed(first.Location, "%s", first.Message)
	e.File = file
	if v0 == nil {
		e.Hint = v0Hint
	}
	return e
}

// errors turns the compiler's errors into ours, with suggestions.
func (l *loaded) errors(list ast.Errors) error {
	var errs []error
	for _, a := range list {
		if a.Location == nil && a.Message == "error limit reached" {
			continue
		}
		errs = append(errs, l.convert(a))
	}
	return joined(errs)
}

var (
	undefinedFunction = regexp.MustCompile(`^undefined function (\S+)`)
	unsafeVar         = regexp.MustCompile(`^var (\S+) is unsafe`)
)

func (l *loaded) convert(a *ast.Error) *assay.Error {
	e := placed(a.Location, "%s", a.Message)
	pkg := ""
	if m := l.modules[e.File]; m != nil {
		pkg = packageName(m.Package.Path)
	}
	if m := undefinedFunction.FindStringSubmatch(a.Message); m != nil {
		return l.undefinedFunction(e, m[1], pkg)
	}
	if m := unsafeVar.FindStringSubmatch(a.Message); m != nil {
		e.Msg = fmt.Sprintf("%s is not defined, or nothing gives it a value", m[1])
		e.Hint = didYouMean(m[1], l.words(e.File, pkg))
		return e
	}
	if d, ok := a.Details.(*ast.RefErrInvalidDetail); ok && d.Pos < len(d.Ref) {
		e.Msg = fmt.Sprintf("%s does not exist", d.Ref[:d.Pos+1])
		var known []string
		for _, v := range d.OneOf {
			if s, ok := v.(ast.String); ok {
				known = append(known, string(s))
			}
		}
		if s, ok := d.Ref[d.Pos].Value.(ast.String); ok {
			e.Hint = didYouMean(string(s), known)
		}
	}
	return e
}

func (l *loaded) undefinedFunction(e *assay.Error, name, pkg string) *assay.Error {
	if why, ok := forbidden(name); ok {
		e.Msg = fmt.Sprintf("function %s is not available in policies: %s", name, why)
		return e
	}
	var known []string
	for _, b := range AllowedBuiltins {
		if !strings.HasPrefix(b, "internal.") {
			known = append(known, b)
		}
	}
	for p, names := range l.rules {
		for _, n := range names {
			if p == pkg {
				known = append(known, n)
			}
			known = append(known, "data."+p+"."+n)
		}
	}
	slices.Sort(known)
	e.Msg = fmt.Sprintf("function %s does not exist", name)
	if s := strict.Suggest(name, known); s != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", s)
	}
	return e
}

// words lists what a bare name in a file can mean.
func (l *loaded) words(file, pkg string) []string {
	words := append([]string{"input", "data"}, l.rules[pkg]...)
	if m := l.modules[file]; m != nil {
		for _, i := range m.Imports {
			words = append(words, string(i.Name()))
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// undefined finds references to rules and documents that do not exist. The
// engine lets them be undefined, which turns a misspelt rule into one that never objects.
func (l *loaded) undefined(c *ast.Compiler) []error {
	var errs []error
	for _, file := range sortedKeys(c.Modules) {
		ast.WalkTerms(c.Modules[file], func(t *ast.Term) bool {
			ref, ok := t.Value.(ast.Ref)
			if !ok || len(ref) < 2 || !ref[0].Equal(ast.DefaultRootDocument) || len(errs) >= maxErrors {
				return false
			}
			if at, known := l.resolve(c, ref); at > 0 {
				e := placed(t.Location, "%s does not exist", ref[:at+1])
				if s, ok := ref[at].Value.(ast.String); ok {
					e.Hint = didYouMean(string(s), known)
				}
				errs = append(errs, e)
			}
			return false
		})
	}
	return errs
}

// resolve follows the constant part of a reference through rules and data. It
// returns the position that leads nowhere and what would have, or 0.
func (l *loaded) resolve(c *ast.Compiler, ref ast.Ref) (int, []string) {
	node, data := c.RuleTree.Child(ref[0].Value), l.data
	for i := 1; i < len(ref); i++ {
		key, ok := ref[i].Value.(ast.String)
		if !ok {
			return 0, nil // only known at run time
		}
		var known []string
		var next *ast.TreeNode
		if node != nil {
			next = node.Child(key)
			for _, k := range node.Sorted {
				if s, ok := k.(ast.String); ok {
					known = append(known, string(s))
				}
			}
		}
		value, inData := data[string(key)]
		if next == nil && !inData {
			known = append(known, sortedKeys(data)...)
			return i, known
		}
		if next != nil && len(next.Values) > 0 {
			return 0, nil // a rule; what it holds is the type checker's business
		}
		var object bool
		if data, object = value.(map[string]any); !object && next == nil {
			return 0, nil
		}
		node = next
	}
	return 0, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
