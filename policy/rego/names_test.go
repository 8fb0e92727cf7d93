package rego

import (
	"slices"
	"testing"

	"assay.dev/assay/policy"
)

func TestRulesAreNamedAsTheirObjectionsNameThem(t *testing.T) {
	for name, c := range map[string]struct {
		rules string
		want  []string
		all   bool
	}{
		"objects": {`
deny contains {"rule": "b", "msg": "b"} if input.subject.name == "b"
deny contains v if {
	input.subject.name == "a"
	v := {"rule": "a", "msg": "a"}
}
warn contains {"rule": "c", "msg": "c"} if input.subject.name == "c"`, []string{"a", "b", "c"}, true},
		"a text": {`deny contains "no" if input.subject.name == "a"`, []string{"deny"}, true},
		"a name that is put together": {`
deny contains {"rule": "a", "msg": "a"} if input.subject.name == "a"
deny contains {"rule": sprintf("of-%s", [input.subject.name]), "msg": "b"} if input.subject.name == "b"
deny contains {"rule": name, "msg": "c"} if {
	name := sprintf("%s-has-%03d", [input.subject.name, 7])
	input.subject.name == "c"
}`, []string{"*-has-*", "a", "of-*"}, true},
		"a name that nothing tells of": {`
deny contains {"rule": concat("-", ["of", input.subject.name]), "msg": "a"} if input.subject.name == "a"
deny contains {"rule": sprintf(input.subject.name, [7]), "msg": "b"} if input.subject.name == "b"
deny contains {"rule": "b", "msg": "b"} if input.subject.name == "b"`, []string{"b"}, false},
		"a member from elsewhere": {`
others contains {"rule": "a", "msg": "a"} if input.subject.name == "a"
deny contains v if some v in others`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			rev, err := policy.NewRevision([]policy.File{
				{Path: "p.yaml", Content: []byte("apiVersion: assay.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {package: p}\n")},
				{Path: "p.rego", Content: []byte("package p\n" + c.rules + "\n")},
			})
			if err != nil {
				t.Fatal(err)
			}
			s, err := Compile(t.Context(), rev)
			if err != nil {
				t.Fatal(err)
			}
			if got, all := s.Rules("p"); !slices.Equal(got, c.want) || all != c.all {
				t.Errorf("%q, all %t; want %q, %t", got, all, c.want, c.all)
			}
		})
	}
	if got, all := (&Snapshot{}).Rules("none"); got != nil || all {
		t.Errorf("of a package that nothing binds: %q, %t", got, all)
	}
}
