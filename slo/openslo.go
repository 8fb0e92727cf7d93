package slo

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxFileBytes is the largest OpenSLO file that is accepted.
const MaxFileBytes = 1 << 20

// MaxResources is how many resources one OpenSLO file may hold.
const MaxResources = 1000

// APIVersion is the OpenSLO version that is read.
const APIVersion = "openslo/v1"

// Kinds are the OpenSLO kinds that are read.
var Kinds = []string{"SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"}

// Set is what OpenSLO files say, resource by resource, in the order written.
type Set struct {
	Services   []Service
	Sources    []DataSource
	Policies   []AlertPolicy
	Conditions []Condition
	Targets    []string // names of AlertNotificationTargets
	Notes      []string // what is accepted and deserves a second look

	slos []sloDoc
	slis []sliDoc
}

// Parse reads one OpenSLO v1 file: YAML documents or lists, or JSON, of
// resources. The path is used in errors only.
//
// A resource that is wrong, or that uses what is not supported yet, is left out
// and named in the error, which joins one *assay.Error per resource; the set
// holds the others. Who wants all or nothing looks at the error alone. A file
// that cannot be taken apart at all gives a nil set.
func Parse(path string, data []byte) (*Set, error) {
	if len(data) > MaxFileBytes {
		return nil, assay.Errorf(assay.CodeTooLarge, "is %d bytes; an OpenSLO file may have %d", len(data), MaxFileBytes).In(path)
	}
	docs, err := strict.Documents(data)
	if err != nil {
		return nil, inFile(path, err)
	}
	var items []strict.Document
	for _, d := range docs {
		items = append(items, d.Items()...)
	}
	if len(items) == 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "holds no OpenSLO resource").In(path)
	}
	if len(items) > MaxResources {
		return nil, assay.Errorf(assay.CodeTooLarge, "holds %d resources; at most %d fit in one file", len(items), MaxResources).In(path)
	}
	set := &Set{}
	var problems []error
	for _, d := range items {
		if err := set.add(path, d); err != nil {
			problems = append(problems, inFile(path, err))
		}
	}
	return set, errors.Join(problems...)
}

func inFile(path string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.In(path)
	}
	return err
}

func (s *Set) add(path string, d strict.Document) error {
	switch v := d.String("apiVersion"); {
	case v == APIVersion:
	case strings.HasPrefix(v, "openslo.com/v2"):
		e := d.Errorf([]string{"apiVersion"}, "%q is a draft that still changes and is not read", v)
		e.Hint = "write the resource as " + APIVersion
		return e
	default:
		return d.Errorf([]string{"apiVersion"}, "%q is not known here; write %s", v, APIVersion)
	}
	switch kind := d.String("kind"); kind {
	case "SLO":
		return s.addSLO(path, d)
	case "SLI":
		return s.addSLI(path, d)
	case "Service":
		return s.addService(d)
	case "DataSource":
		return s.addSource(d)
	case "AlertPolicy":
		return s.addPolicy(d)
	case "AlertCondition":
		c, err := readCondition(d)
		if err == nil {
			s.Conditions = append(s.Conditions, c)
		}
		return err
	case "AlertNotificationTarget":
		return s.addTarget(d)
	default:
		return d.Errorf([]string{"kind"}, "%s", strict.OneOf(kind, Kinds))
	}
}

// nameForm is RFC 1123's label.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const maxDescription = 1050 // characters, as the OpenSLO specification says

func (m metadata) check(d strict.Document, at ...string) error {
	name := append(at, "metadata", "name")
	if m.Name == "" {
		return d.Errorf(name, "is missing")
	}
	if !nameForm.MatchString(m.Name) {
		return d.Errorf(name, "%q is not 1 to 63 lower-case letters, digits and dashes", m.Name)
	}
	return nil
}

func checkDescription(d strict.Document, text string, at ...string) error {
	if n := len([]rune(text)); n > maxDescription {
		return d.Errorf(append(at, "description"), "has %d characters; at most %d are allowed", n, maxDescription)
	}
	return nil
}

func (s *Set) addService(d strict.Document) error {
	var doc serviceDoc
	if err := d.Decode(&doc); err != nil {
		return err
	}
	if err := errors.Join(doc.Metadata.check(d), checkDescription(d, doc.Spec.Description, "spec")); err != nil {
		return err
	}
	s.Services = append(s.Services, Service{doc.Metadata.Name, doc.Metadata.DisplayName, doc.Spec.Description})
	return nil
}

func (s *Set) addSource(d strict.Document) error {
	var doc dataSourceDoc
	if err := d.Decode(&doc); err != nil {
		return err
	}
	if err := errors.Join(doc.Metadata.check(d), checkDescription(d, doc.Spec.Description, "spec")); err != nil {
		return err
	}
	if doc.Spec.Type == "" {
		return d.Errorf([]string{"spec", "type"}, "is missing")
	}
	s.Sources = append(s.Sources, DataSource{doc.Metadata.Name, doc.Spec.Type})
	return nil
}

func (s *Set) addTarget(d strict.Document) error {
	var doc targetDoc
	if err := d.Decode(&doc); err != nil {
		return err
	}
	if err := errors.Join(doc.Metadata.check(d), checkDescription(d, doc.Spec.Description, "spec")); err != nil {
		return err
	}
	if doc.Spec.Target == "" {
		return d.Errorf([]string{"spec", "target"}, "is missing")
	}
	s.Targets = append(s.Targets, doc.Metadata.Name)
	return nil
}

func (s *Set) addSLI(path string, d strict.Document) error {
	doc := sliDoc{doc: d, path: path}
	if err := d.Decode(&doc); err != nil {
		return err
	}
	if err := doc.Metadata.check(d); err != nil {
		return err
	}
	if err := doc.Spec.check(d, "spec"); err != nil {
		return err
	}
	for _, other := range s.slis {
		if other.Metadata.Name == doc.Metadata.Name {
			return d.Errorf([]string{"metadata", "name"}, "%q is used by an earlier SLI", doc.Metadata.Name)
		}
	}
	s.slis = append(s.slis, doc)
	return nil
}

func (s *Set) addSLO(path string, d strict.Document) error {
	doc := sloDoc{doc: d, path: path}
	if err := d.Decode(&doc); err != nil {
		return err
	}
	notes, err := doc.check()
	if err != nil {
		return err
	}
	for _, other := range s.slos {
		if other.Metadata.Name == doc.Metadata.Name {
			return d.Errorf([]string{"metadata", "name"}, "%q is used by an earlier SLO", doc.Metadata.Name)
		}
	}
	for _, n := range notes {
		s.Notes = append(s.Notes, fmt.Sprintf("%s:%d: SLO %s: %s", path, d.Line(), doc.Metadata.Name, n))
	}
	s.slos = append(s.slos, doc)
	return nil
}

// Resolve turns the SLOs of all sets into objectives, in the order written,
// with the indicators they refer to. The error joins one *assay.Error per SLO
// whose reference leads nowhere or whose name another set uses too.
func Resolve(sets ...*Set) ([]Objective, error) {
	slis := map[string]sliDoc{}
	var problems []error
	for _, s := range sets {
		for _, sli := range s.slis {
			if _, twice := slis[sli.Metadata.Name]; twice {
				problems = append(problems, inFile(sli.path, sli.doc.Errorf([]string{"metadata", "name"}, "%q is used by an SLI of another file", sli.Metadata.Name)))
				continue
			}
			slis[sli.Metadata.Name] = sli
		}
	}
	var out []Objective
	seen := map[string]bool{}
	for _, s := range sets {
		for _, doc := range s.slos {
			objectives, err := doc.objectives(slis)
			if err == nil && seen[doc.Metadata.Name] {
				err = doc.doc.Errorf([]string{"metadata", "name"}, "%q is used by an SLO of another file", doc.Metadata.Name)
			}
			if err != nil {
				problems = append(problems, inFile(doc.path, err))
				continue
			}
			seen[doc.Metadata.Name] = true
			out = append(out, objectives...)
		}
	}
	return out, errors.Join(problems...)
}
