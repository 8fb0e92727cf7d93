package rego

import (
	"assay.dev/assay"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
)

// mountLists puts the revision's lists about vulnerabilities at data.kev and
// data.epss, where a module speaks of them: the engine's form of all EPSS scores
// takes some hundred megabytes, which nobody should pay for who does not ask.
//
//	data.kev["CVE-2021-44228"]  {name, added, due, ransomware}
//	data.epss["CVE-2021-44228"] {score, percentile}
func (l *loaded) mountLists(rev *policy.Revision) error {
	lists := rev.Lists()
	if lists.Exploited != nil && l.speaksOf("kev") {
		entries := make(map[string]any, len(lists.Exploited))
		for id, e := range lists.Exploited {
			entries[id] = map[string]any{"name": e.Name, "added": e.Added, "due": e.Due, "ransomware": e.Ransomware}
		}
		if err := l.mountList("kev", entries); err != nil {
			return err
		}
	}
	if lists.EPSS == nil || !l.speaksOf("epss") {
		return nil
	}
	scores := make(map[string]any, len(lists.EPSS))
	for id, p := range lists.EPSS {
		scores[id] = map[string]any{"score": float64(p.Score), "percentile": float64(p.Percentile)}
	}
	return l.mountList("epss", scores)
}

func (l *loaded) mountList(name string, entries map[string]any) error {
	if _, taken := l.data[name]; taken {
		return assay.Errorf(assay.CodeInvalid, "a data file gives %q a value, which is where the list of that name is; rename it", name)
	}
	l.data[name] = entries
	return nil
}

// speaksOf reports whether any module refers to data.name, or to data as a whole.
func (l *loaded) speaksOf(name string) bool {
	found := false
	for _, m := range l.modules {
		ast.WalkTerms(m, func(t *ast.Term) bool {
			ref, ok := t.Value.(ast.Ref)
			if !ok || len(ref) == 0 || !ref[0].Equal(ast.DefaultRootDocument) {
				return found
			}
			if len(ref) == 1 {
				found = true
				return true
			}
			key, constant := ref[1].Value.(ast.String)
			found = found || !constant || string(key) == name
			return found
		})
	}
	return found
}
