package control

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/inventory"
)

// namer is an engine that knows what rules the packages of its policies have.
type namer interface {
	// Rules are those of a package; all is false where there may be others.
	Rules(pkg string) (names []string, all bool)
}

// checkRules refuses rules that nothing in a namespace objects by: whoever approves an
// exception for one would believe that something passes by it. Rules whose names cannot be
// told before they object are let pass.
func checkRules(pol Policy, namespace string, rules []string) error {
	if pol.Revision == nil {
		return nil // an installation without a policy
	}
	known, open := rulesOf(pol, namespace)
	if len(known) == 1 && len(open) == 0 {
		return nil // nothing of the policy is for the namespace: it is judged elsewhere
	}
	for i, rule := range rules {
		whose, _, whole := strings.Cut(rule, "/")
		if !whole || known[rule] || open[whose] || formed(rule, known) || strings.ContainsAny(rule, "*?[]{} ") {
			continue // a name without its policy, and a pattern, have their own errors
		}
		e := &assay.Error{Code: assay.CodeInvalid, Field: fmt.Sprintf("scope.rules[%d]", i),
			Msg:  fmt.Sprintf("%q is no rule of the policy for namespace %q and would excuse nothing", rule, namespace),
			Hint: "its rules are: " + someOf(slices.Sorted(maps.Keys(known)))}
		if near := strict.Suggest(rule, slices.Sorted(maps.Keys(known))); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return e
	}
	return nil
}

// Rules are the whole names of those that the gates, doors and policies of a namespace object
// by, sorted, as far as they can be told before they object.
func Rules(pol Policy, namespace string) []string {
	known, _ := rulesOf(pol, namespace)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(r string) bool { return strings.Contains(r, "*") })
}

// formed reports whether a rule may be one whose name is put together, with a * for each part
// that is put in.
func formed(rule string, known map[string]bool) bool {
	for form := range known {
		if !strings.Contains(form, "*") {
			continue
		}
		parts := strings.Split(form, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if like, err := regexp.Compile("^" + strings.Join(parts, ".*") + "$"); err == nil && like.MatchString(rule) {
			return true
		}
	}
	return false
}

// maxNamed is how many rules an error names.
const maxNamed = 12

// someOf names as many of a list as one reads.
func someOf(names []string) string {
	if more := len(names) - maxNamed; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// rulesOf are the rules that a namespace's gates, policies and doors object by, and those of
// its policies of which not all are known.
func rulesOf(pol Policy, namespace string) (known, open map[string]bool) {
	known, open = map[string]bool{inventory.LateRule: true}, map[string]bool{}
	add := func(rules ...string) {
		for _, r := range rules {
			known[r] = true
		}
	}
	for _, g := range pol.Revision.Gates() {
		if g.Metadata.Namespace == namespace {
			for _, r := range g.Spec.Requires {
				add(gate.RulesOf(r)...)
			}
		}
	}
	for _, d := range pol.Revision.Admissions() {
		if d.Metadata.Namespace == namespace {
			add(admit.RulesOf(d)...)
		}
	}
	names, told := pol.Engine.(namer)
	for _, p := range pol.Revision.Policies() {
		if p.Metadata.Namespace != namespace {
			continue
		}
		all := false
		if told {
			var list []string
			list, all = names.Rules(p.Spec.Package)
			for _, r := range list {
				add(p.Metadata.Name + "/" + r)
			}
		}
		if !all {
			open[p.Metadata.Name] = true
		}
	}
	return known, open
}
