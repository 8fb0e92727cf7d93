package rego

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Rules names the rules of a bound package as its objections name them, those that stand as
// texts in its deny and warn sets, sorted. all is false where there may be others: where a
// name is put together or comes from elsewhere.
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
			text, ok := name.Value.(ast.String)
			if ok {
				found[string(text)] = true
			}
			known = known && ok
		}
		return false
	})
	return known && objects > 0
}
