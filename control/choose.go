package control

import (
	"fmt"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
)

// choose finds a resource of the policy for a caller: the named one, or the only
// one there is. A policy directory may serve many namespaces; a caller can use, and
// is told of, the resources of its own alone. A name may be written "namespace/name".
func choose[T any](kind, flag, namespace, name string, list []T, of func(T) policy.Metadata) (none T, err error) {
	var own []T
	var known []string
	for _, v := range list {
		m := of(v)
		if m.Namespace != namespace {
			continue
		}
		if m.Name == name || m.Namespace+"/"+m.Name == name {
			return v, nil
		}
		own, known = append(own, v), append(known, m.Name)
	}
	word := strings.ToLower(kind)
	e := &assay.Error{Code: assay.CodeNotFound}
	switch {
	case name == "" && len(own) == 1:
		return own[0], nil
	case len(list) == 0:
		e.Msg = "the policy has no " + word
		e.Hint = "write one; its form: assay policy schema " + kind
	case len(own) == 0:
		// That other namespaces have some is told, which and whose is not.
		e.Msg = fmt.Sprintf("the policy has no %s for namespace %q", word, namespace)
		e.Hint = fmt.Sprintf("a %s belongs to the namespace in its metadata, %s if it names none; on local files --namespace chooses", word, policy.DefaultNamespace)
	case name == "":
		e.Code = assay.CodeInvalid
		e.Msg = fmt.Sprintf("namespace %q has %d %ss: %s", namespace, len(own), word, strings.Join(known, ", "))
		e.Hint = "say which with " + flag
	default:
		e.Msg = fmt.Sprintf("namespace %q has no %s %q; it has %s", namespace, word, name, strings.Join(known, ", "))
		if near := strict.Suggest(name, known); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return none, e
}
