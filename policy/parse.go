package policy

import (
	"errors"
	"fmt"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxFileBytes is the largest policy file, of any class, that is accepted.
const MaxFileBytes = 1 << 20

// MaxResources is how many resources one YAML file may hold.
const MaxResources = 1000

// Resources are the documents of one YAML file, in the order written.
type Resources struct {
	Gates    []Gate
	Policies []Policy
}

// Parse decodes a YAML stream of resources and checks each by itself; what
// resources say about each other is checked by NewRevision. Defaults are filled
// in: namespace "default", mode "enforce". The path is used in errors only.
func Parse(path string, data []byte) (Resources, error) {
	if len(data) > MaxFileBytes {
		return Resources{}, tooLarge(path, len(data))
	}
	docs, err := strict.Documents(data)
	if err != nil {
		return Resources{}, inFile(path, err)
	}
	if len(docs) > MaxResources {
		e := assay.Errorf(assay.CodeTooLarge, "holds %d resources; at most %d fit in one file", len(docs), MaxResources)
		return Resources{}, e.In(path)
	}
	var res Resources
	for _, d := range docs {
		if err := res.add(path, d); err != nil {
			return Resources{}, inFile(path, err)
		}
	}
	return res, nil
}

func (r *Resources) add(path string, d strict.Document) error {
	if v := d.String("apiVersion"); v != assay.APIVersion {
		return d.Errorf([]string{"apiVersion"}, "%q is not known here; write %s", v, assay.APIVersion)
	}
	kind := d.String("kind")
	switch kind {
	case "Gate":
		g := Gate{Place: Place{path, d.Line()}}
		if err := d.Decode(&g); err != nil {
			return err
		}
		g.defaults()
		r.Gates = append(r.Gates, g)
		return g.check(d)
	case "Policy":
		p := Policy{Place: Place{path, d.Line()}}
		if err := d.Decode(&p); err != nil {
			return err
		}
		p.defaults()
		r.Policies = append(r.Policies, p)
		return p.check(d)
	case "":
		return d.Errorf(nil, "has no kind; write kind: %s", strings.Join(Kinds, " or kind: "))
	}
	e := d.Errorf([]string{"kind"}, "%q is not known here; known: %s", kind, strings.Join(Kinds, ", "))
	if s := strict.Suggest(kind, Kinds); s != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", s)
	}
	return e
}

func (g *Gate) defaults() {
	if g.Metadata.Namespace == "" {
		g.Metadata.Namespace = DefaultNamespace
	}
	if g.Spec.Mode == "" {
		g.Spec.Mode = assay.ModeEnforce
	}
}

func (p *Policy) defaults() {
	if p.Metadata.Namespace == "" {
		p.Metadata.Namespace = DefaultNamespace
	}
	if p.Spec.Mode == "" {
		p.Spec.Mode = assay.ModeEnforce
	}
}

func inFile(path string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.In(path)
	}
	return assay.Errorf(assay.CodeInvalid, "%w", err).In(path)
}

func tooLarge(path string, size int) error {
	return assay.Errorf(assay.CodeTooLarge, "is %d bytes; a policy file has at most %d", size, MaxFileBytes).In(path)
}
