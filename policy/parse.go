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
	Rollouts []Rollout
	// Strategies own standing objectives.
	Strategies []Strategy

	ExceptionPolicies []ExceptionPolicy
	Producers         []Producer
	Admissions        []Admission
	Calendars         []Calendar
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
	return resources(path, docs)
}

func resources(path string, docs []strict.Document) (Resources, error) {
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
	case "Rollout":
		ro := newRollout(path, d)
		if err := d.Decode(&ro); err != nil {
			return err
		}
		ro.defaults()
		r.Rollouts = append(r.Rollouts, ro)
		return ro.check(d)
	case "Strategy":
		return r.addStrategy(path, d)
	case "Producer":
		p := Producer{Place: Place{path, d.Line()}}
		if err := d.Decode(&p); err != nil {
			return err
		}
		p.defaults()
		r.Producers = append(r.Producers, p)
		return p.check(d)
	}
	return r.addRest(path, d, kind)
}

// addRest takes the kinds that no gate or rollout needs.
func (r *Resources) addRest(path string, d strict.Document, kind string) error {
	switch kind {
	case "ExceptionPolicy":
		x := ExceptionPolicy{Place: Place{path, d.Line()}}
		if err := d.Decode(&x); err != nil {
			return err
		}
		x.defaults()
		r.ExceptionPolicies = append(r.ExceptionPolicies, x)
		return x.check(d)
	case "Admission":
		a := Admission{Place: Place{path, d.Line()}}
		if err := d.Decode(&a); err != nil {
			return err
		}
		a.defaults()
		r.Admissions = append(r.Admissions, a)
		return a.check(d)
	case "Calendar":
		c := Calendar{Place: Place{path, d.Line()}}
		if err := d.Decode(&c); err != nil {
			return err
		}
		c.defaults()
		r.Calendars = append(r.Calendars, c)
		return c.check(d)
	}
	return unknownKind(d, kind)
}

func (r *Resources) addStrategy(path string, d strict.Document) error {
	st := Strategy{Place: Place{path, d.Line()}, doc: d}
	if err := d.Decode(&st); err != nil {
		return err
	}
	st.defaults()
	r.Strategies = append(r.Strategies, st)
	return st.check(d)
}

func unknownKind(d strict.Document, kind string) error {
	if kind == "" {
		return d.Errorf(nil, "has no kind; write kind: %s", strings.Join(Kinds, " or kind: "))
	}
	e := d.Errorf([]string{"kind"}, "%q is not known here; known: %s", kind, strings.Join(Kinds, ", "))
	if s := strict.Suggest(kind, Kinds); s != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", s)
	}
	return e
}

// isOpenSLO reports whether a file's documents are OpenSLO's, which package slo
// reads. A file that holds both kinds is refused: each kind has its own reader.
func isOpenSLO(docs []strict.Document) (bool, error) {
	ours, theirs := 0, 0
	for _, d := range docs {
		for _, item := range d.Items() {
			if strings.HasPrefix(item.String("apiVersion"), openSLOPrefix) {
				theirs++
			} else {
				ours++
			}
			if ours > 0 && theirs > 0 {
				e := item.Errorf([]string{"apiVersion"}, "%q stands in a file with resources of another kind", item.String("apiVersion"))
				e.Hint = "a file holds either OpenSLO documents or Assay resources; split it"
				return false, e
			}
		}
	}
	return theirs > 0, nil
}

// openSLOPrefix starts the apiVersion of every OpenSLO version; which of them
// is read is for package slo to say.
const openSLOPrefix = "openslo"

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
	return assay.Errorf(assay.CodeTooLarge, "is %d bytes; a policy file has at most %d", size, Classify(path).MaxBytes()).In(path)
}
