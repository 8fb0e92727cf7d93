package policy

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxFiles is how many files a revision may have.
const MaxFiles = 10_000

// MaxPathBytes is the longest path of a file in a revision.
const MaxPathBytes = 1024

// revisionHeader starts the text that a revision's digest is taken of.
const revisionHeader = "assay-policy-revision/v1\n"

// Class is what a file of a policy repository is for.
type Class string

const (
	// ClassIgnored files are not read: documentation, test data, anything not named below.
	ClassIgnored Class = ""
	// ClassResource files hold YAML resources: *.yaml and *.yml other than data files.
	ClassResource Class = "resource"
	// ClassModule files hold Rego that can decide: *.rego other than tests.
	ClassModule Class = "module"
	// ClassTest files hold Rego unit tests: *_test.rego. They cannot influence a verdict.
	ClassTest Class = "test"
	// ClassData files hold base documents for Rego: data.json, data.yaml, data.yml,
	// mounted at data.<folder>.
	ClassData Class = "data"
	// ClassScenario files hold simulations of strategies and rollouts: *.scenario.yaml
	// and *.scenario.yml, read by package simulate. They cannot influence a verdict.
	ClassScenario Class = "scenario"
	// ClassList files are published lists about vulnerabilities, kept as they are
	// published: known_exploited_vulnerabilities.json and *.kev.json (CISA's catalogue),
	// epss.csv and epss_scores*.csv (FIRST's EPSS scores).
	ClassList Class = "list"
)

// MaxBytes is the largest file of the class.
func (c Class) MaxBytes() int {
	if c == ClassList {
		return MaxListBytes
	}
	return MaxFileBytes
}

// Classify says what a file is for by its slash-separated path alone. Folders
// called testdata, and files and folders starting with a dot, are ignored.
func Classify(p string) Class {
	for part := range strings.SplitSeq(p, "/") {
		if part == "testdata" || strings.HasPrefix(part, ".") {
			return ClassIgnored
		}
	}
	base := path.Base(p)
	switch {
	case isKEV(base) || isEPSS(base):
		return ClassList
	case base == "data.json" || base == "data.yaml" || base == "data.yml":
		return ClassData
	case strings.HasSuffix(base, "_test.rego"):
		return ClassTest
	case strings.HasSuffix(base, ".rego"):
		return ClassModule
	case strings.HasSuffix(base, ".scenario.yaml") || strings.HasSuffix(base, ".scenario.yml"):
		return ClassScenario
	case strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml"):
		return ClassResource
	}
	return ClassIgnored
}

// File is one file of a revision.
type File struct {
	Path    string // slash-separated, relative to the policy repository
	Content []byte // never changed after NewRevision
	Digest  assay.Digest
}

// Revision is an immutable, checked set of policy files. It is safe for
// concurrent use; callers do not change what its methods return.
type Revision struct {
	digest     assay.Digest
	files      map[Class][]File
	gates      []Gate
	policies   []Policy
	rollouts   []Rollout
	strategies []Strategy
	slos       []File   // the resource files that are OpenSLO
	empty      []string // paths of the resource files that hold nothing
	lists      Lists

	exceptionPolicies []ExceptionPolicy
	admissions        []Admission
	calendars         []Calendar
	producers         []Producer
}

// NewRevision parses and checks files and names the result. It takes the
// contents over: the caller must not change them. Digests of files are computed
// here; files of ClassIgnored are dropped.
//
// The revision's digest is the SHA-256 of this text: the line
// "assay-policy-revision/v1", then for each resource, module, data and list file
// (not tests), sorted by path in byte order, the line of 64 hexadecimal digits of the
// content's SHA-256, two spaces and the path. Every line ends in one line feed.
// So `(echo assay-policy-revision/v1; sha256sum $sorted_files) | sha256sum`
// gives the same digits.
func NewRevision(files []File) (*Revision, error) {
	if len(files) > MaxFiles {
		return nil, assay.Errorf(assay.CodeTooLarge, "a policy revision has at most %d files; found %d", MaxFiles, len(files))
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	r := &Revision{files: map[Class][]File{}}
	h := sha256.New()
	io.WriteString(h, revisionHeader)
	for i, f := range files {
		if err := checkPath(f.Path); err != nil {
			return nil, err
		}
		if i > 0 && files[i-1].Path == f.Path {
			return nil, assay.Errorf(assay.CodeInvalid, "is given twice").In(f.Path)
		}
		class := Classify(f.Path)
		if class == ClassIgnored {
			continue
		}
		if len(f.Content) > class.MaxBytes() {
			return nil, tooLarge(f.Path, len(f.Content))
		}
		f.Digest = assay.DigestOf(sha256.Sum256(f.Content))
		r.files[class] = append(r.files[class], f)
		if class != ClassTest && class != ClassScenario {
			fmt.Fprintf(h, "%s  %s\n", f.Digest.Hex(), f.Path)
		}
	}
	r.digest = assay.DigestOf([32]byte(h.Sum(nil)))
	return r, r.parse()
}

func checkPath(p string) error {
	bad := strings.ContainsFunc(p, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\\' })
	if bad || !fs.ValidPath(p) || p == "." || !utf8.ValidString(p) || len(p) > MaxPathBytes {
		return assay.Errorf(assay.CodeInvalid,
			"policy file %q is not a clean relative path of at most %d bytes without control characters and backslashes", p, MaxPathBytes)
	}
	return nil
}

func (r *Revision) parse() error {
	for _, f := range r.files[ClassResource] {
		if err := r.parseFile(f); err != nil {
			return err
		}
	}
	if err := unique("Gate", r.gates, func(g Gate) (Metadata, Place) { return g.Metadata, g.Place }); err != nil {
		return err
	}
	if err := unique("Policy", r.policies, func(p Policy) (Metadata, Place) { return p.Metadata, p.Place }); err != nil {
		return err
	}
	if err := unique("Strategy", r.strategies, func(o Strategy) (Metadata, Place) { return o.Metadata, o.Place }); err != nil {
		return err
	}
	if err := unique("Calendar", r.calendars, func(c Calendar) (Metadata, Place) { return c.Metadata, c.Place }); err != nil {
		return err
	}
	if err := oneZone(r.calendars); err != nil {
		return err
	}
	if err := ordered(r.strategies); err != nil {
		return err
	}
	if err := unique("Rollout", r.rollouts, func(o Rollout) (Metadata, Place) { return o.Metadata, o.Place }); err != nil {
		return err
	}
	if err := r.uniqueExceptionPolicies(); err != nil {
		return err
	}
	if err := unique("Producer", r.producers, func(p Producer) (Metadata, Place) { return p.Metadata, p.Place }); err != nil {
		return err
	}
	if err := r.uniqueAdmissions(); err != nil {
		return err
	}
	for _, f := range r.files[ClassList] {
		if err := r.lists.add(f); err != nil {
			return err
		}
	}
	for _, g := range r.gates {
		if _, err := r.PoliciesOf(g); err != nil {
			return err
		}
		if err := r.lists.serve(g); err != nil {
			return err
		}
		if err := r.produced(g); err != nil {
			return err
		}
	}
	return nil
}

func (r *Revision) parseFile(f File) error {
	docs, err := strict.Documents(f.Content)
	if err != nil {
		return inFile(f.Path, err)
	}
	if len(docs) == 0 {
		r.empty = append(r.empty, f.Path)
	}
	slo, err := isOpenSLO(docs)
	if err != nil {
		return inFile(f.Path, err)
	}
	if slo {
		r.slos = append(r.slos, f)
		return nil
	}
	res, err := resources(f.Path, docs)
	if err != nil {
		return err
	}
	r.gates = append(r.gates, res.Gates...)
	r.policies = append(r.policies, res.Policies...)
	r.rollouts = append(r.rollouts, res.Rollouts...)
	r.strategies = append(r.strategies, res.Strategies...)
	r.exceptionPolicies = append(r.exceptionPolicies, res.ExceptionPolicies...)
	r.producers = append(r.producers, res.Producers...)
	r.admissions = append(r.admissions, res.Admissions...)
	r.calendars = append(r.calendars, res.Calendars...)
	return nil
}

func unique[T any](kind string, list []T, of func(T) (Metadata, Place)) error {
	seen := map[string]Place{}
	for _, v := range list {
		m, at := of(v)
		key := m.Namespace + "/" + m.Name
		if first, ok := seen[key]; ok {
			e := assay.Errorf(assay.CodeInvalid, "%s %q of namespace %s is declared twice; first at %s:%d",
				kind, m.Name, m.Namespace, first.File, first.Line)
			e.File, e.Line, e.Column, e.Field = at.File, at.Line, 1, "metadata.name"
			return e
		}
		seen[key] = at
	}
	return nil
}

// Digest names the revision.
func (r *Revision) Digest() assay.Digest { return r.digest }

// Ref is the revision as a verdict names it; uri says where it is kept.
func (r *Revision) Ref(uri string) assay.PolicyRef {
	return assay.PolicyRef{URI: uri, Digest: r.digest}
}

// Files returns the files of a class, sorted by path.
func (r *Revision) Files(c Class) []File { return slices.Clone(r.files[c]) }

// Gates returns all gates, in the order of their files.
func (r *Revision) Gates() []Gate { return slices.Clone(r.gates) }

// Policies returns all policies, in the order of their files.
func (r *Revision) Policies() []Policy { return slices.Clone(r.policies) }

// Rollouts returns all rollouts, in the order of their files.
func (r *Revision) Rollouts() []Rollout { return slices.Clone(r.rollouts) }

// Strategies returns all strategies, in the order of their files.
func (r *Revision) Strategies() []Strategy { return slices.Clone(r.strategies) }

// Lists returns the lists about vulnerabilities, empty where the revision has none.
func (r *Revision) Lists() Lists { return r.lists }

// Objectives returns the files that hold OpenSLO documents, sorted by path.
// They are resource files like any other and part of the digest; package slo
// reads them, and nothing but their form as YAML has been checked.
func (r *Revision) Objectives() []File { return slices.Clone(r.slos) }

// Acted returns the services of a namespace that a rollout or a strategy acts on, sorted.
func (r *Revision) Acted(namespace string) (out []string) {
	for _, o := range r.rollouts {
		if o.Metadata.Namespace == namespace {
			out = append(out, o.Spec.Service)
		}
	}
	for _, s := range r.strategies {
		if s.Metadata.Namespace == namespace {
			out = append(out, s.Spec.Service)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Empty returns the paths of the resource files that hold no resource: nothing at all, or
// comments alone.
func (r *Revision) Empty() []string { return slices.Clone(r.empty) }

// Gate finds a gate by "name", or by "namespace/name" where two namespaces use
// the same name. The error is CodeNotFound, or CodeInvalid if the name is ambiguous.
func (r *Revision) Gate(name string) (Gate, error) {
	return find("gate", name, r.gates, func(g Gate) Metadata { return g.Metadata })
}

// Rollout finds a rollout as Gate finds a gate.
func (r *Revision) Rollout(name string) (Rollout, error) {
	return find("rollout", name, r.rollouts, func(o Rollout) Metadata { return o.Metadata })
}

func find[T any](kind, name string, list []T, of func(T) Metadata) (none T, err error) {
	var found []T
	var known []string
	for _, v := range list {
		m := of(v)
		if m.Name == name || m.Namespace+"/"+m.Name == name {
			found = append(found, v)
		}
		known = append(known, m.Name)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(known) == 0 {
			return none, assay.Errorf(assay.CodeNotFound, "%s %q does not exist: the policy declares no %[1]s", kind, name)
		}
		return none, assay.Errorf(assay.CodeNotFound, "%s %s", kind, strict.OneOf(name, known))
	}
	e := assay.Errorf(assay.CodeInvalid, "%s %q exists in several namespaces", kind, name)
	e.Hint = fmt.Sprintf("write %s/%s", of(found[0]).Namespace, name)
	return none, e
}

// PoliciesOf returns the policies that a gate names, in its order. It fails
// with the gate's place if one does not exist in the gate's namespace.
func (r *Revision) PoliciesOf(g Gate) ([]Policy, error) {
	var out []Policy
	for i, name := range g.Spec.Policies {
		var known []string
		n := len(out)
		for _, p := range r.policies {
			if p.Metadata.Namespace != g.Metadata.Namespace {
				continue
			}
			known = append(known, p.Metadata.Name)
			if p.Metadata.Name == name {
				out = append(out, p)
			}
		}
		if len(out) == n {
			e := assay.Errorf(assay.CodeInvalid, "names Policy %q, which is not declared in namespace %s", name, g.Metadata.Namespace)
			e.File, e.Line, e.Column, e.Field = g.Place.File, g.Place.Line, 1, fmt.Sprintf("spec.policies[%d]", i)
			if s := strict.Suggest(name, known); s != "" {
				e.Hint = fmt.Sprintf("did you mean %q?", s)
			}
			return nil, e
		}
	}
	return out, nil
}
