package rego

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules names the rules of a bound package as its objections name them, those that stand as
// texts in its deny and warn sets, sorted; of a name that is put together by sprintf what
// stands for itself, with a * for what is put in. all is false where there may be others: where
// a name comes from elsewhere.
func (s *Snapshot) Rules(pkg string) (names []string, all bool) {
	q := s.queries[pkg]
	if q == nil {
		return nil, false
	}
	found := map[string]bool{}
	all = true
	for set, rules := range map[string][]*ast.Rule{"deny": q.deny, "warn": q.warn} {
		for _, r := range rules {
			all = named(r, set, found) && all
		}
	}
	return slices.Sorted(maps.Keys(found)), all
}

// named collects the names that one member of a set may have; false if there may be others.
func named(r *ast.Rule, set string, found map[string]bool) bool {
	key := r.Head.Key
	if key == nil {
		return false
	}
	if _, text := key.Value.(ast.String); text {
		found[set] = true
		return true
	}
	known, objects := true, 0
	ast.WalkTerms(r, func(t *ast.Term) bool {
		o, ok := t.Value.(ast.Object)
		if !ok {
			return false
		}
		if name := o.Get(ast.StringTerm("rule")); name != nil {
			objects++
			text, ok := nameOf(r, name)
			if ok {
				found[text] = true
			}
			known = known && ok
		}
		return false
	})
	return known && objects > 0
}

// nameOf is what is known of a name: the text, or the form that it is put together by. A
// compiler puts calls before what they stand in: __local1__ = __local2__, and before that
// sprintf(form, values, __local2__).
func nameOf(r *ast.Rule, name *ast.Term) (text string, ok bool) {
	if v, is := name.Value.(ast.String); is {
		return string(v), true
	}
	for followed := map[string]bool{}; !followed[name.String()]; {
		followed[name.String()] = true
		ast.WalkExprs(r, func(e *ast.Expr) bool {
			call, is := e.Terms.([]*ast.Term)
			switch {
			case ok || !is:
			case len(call) == 4 && call[3].Equal(name):
				text, ok = formOf(call)
			case len(call) == 3 && e.IsEquality() && call[1].Equal(name):
				name = call[2]
				return true
			}
			return ok
		})
	}
	return text, ok
}

// verb is where sprintf puts something in.
var verb = regexp.MustCompile(`%[-+# 0]*[0-9]*(\.[0-9]+)?[a-zA-Z]`)

// formOf is the form of sprintf(form, values, name) with a * for each value; false for any
// other call, and for one whose form is no plain text.
func formOf(call []*ast.Term) (string, bool) {
	if call[0].String() != ast.Sprintf.Name {
		return "", false
	}
	form, ok := call[1].Value.(ast.String)
	if !ok || strings.Contains(string(form), "*") || strings.Contains(string(form), "%%") {
		return "", false
	}
	return verb.ReplaceAllString(string(form), "*"), true
}
