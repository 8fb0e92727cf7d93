package policy

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// SLSALevels lists the SLSA levels that a gate may grant; "FAILED" is never granted.
var SLSALevels = []string{
	"SLSA_BUILD_LEVEL_UNEVALUATED", "SLSA_BUILD_LEVEL_0", "SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_2", "SLSA_BUILD_LEVEL_3",
	"SLSA_SOURCE_LEVEL_1", "SLSA_SOURCE_LEVEL_2", "SLSA_SOURCE_LEVEL_3", "SLSA_SOURCE_LEVEL_4",
}

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	levelForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:/-]{0,127}$`)
	packageForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*$`)
)

var severities = []assay.Severity{
	assay.SeverityLow, assay.SeverityUnknown, assay.SeverityMedium, assay.SeverityHigh, assay.SeverityCritical,
}

func (m Metadata) check(d strict.Document) error {
	if m.Name == "" {
		return d.Errorf([]string{"metadata", "name"}, "is missing")
	}
	if !nameForm.MatchString(m.Name) {
		return d.Errorf([]string{"metadata", "name"}, "%q is not 1 to 63 lower-case letters, digits and dashes", m.Name)
	}
	if !nameForm.MatchString(m.Namespace) {
		return d.Errorf([]string{"metadata", "namespace"}, "%q is not 1 to 63 lower-case letters, digits and dashes", m.Namespace)
	}
	return nil
}

func (p Policy) check(d strict.Document) error {
	if err := p.Metadata.check(d); err != nil {
		return err
	}
	if err := oneOf(d, []string{"spec", "mode"}, p.Spec.Mode, assay.Modes); err != nil {
		return err
	}
	if p.Metadata.Name == "absent" {
		return d.Errorf([]string{"metadata", "name"}, "\"absent\" is reserved for rules about missing evidence")
	}
	at := []string{"spec", "package"}
	if p.Spec.Package == "" {
		return d.Errorf(at, "is missing; name the Rego package, for example release")
	}
	if rest, ok := strings.CutPrefix(p.Spec.Package, "data."); ok {
		return d.Errorf(at, "%q starts with \"data.\"; write %s", p.Spec.Package, rest)
	}
	if !packageForm.MatchString(p.Spec.Package) {
		return d.Errorf(at, "%q is not a Rego package path such as release or team.release", p.Spec.Package)
	}
	return nil
}

func (g Gate) check(d strict.Document) error {
	if err := g.Metadata.check(d); err != nil {
		return err
	}
	s := g.Spec
	if err := oneOf(d, []string{"spec", "mode"}, s.Mode, assay.Modes); err != nil {
		return err
	}
	if s.ResourceURI != "" {
		if u, err := url.Parse(s.ResourceURI); err != nil || u.Scheme == "" {
			return d.Errorf([]string{"spec", "resourceUri"}, "%q is not a URI; write for example pkg:generic/assay", s.ResourceURI)
		}
	}
	if err := checkLevels(d, s.Levels); err != nil {
		return err
	}
	if err := checkWords(d, "environments", s.Environments); err != nil {
		return err
	}
	if err := checkWords(d, "policies", s.Policies); err != nil {
		return err
	}
	if err := s.VEX.check(d); err != nil {
		return err
	}
	if len(s.Requires) == 0 {
		return d.Errorf([]string{"spec", "requires"}, "is empty; a gate that requires nothing passes on nothing")
	}
	seen := map[string]bool{}
	for i, r := range s.Requires {
		at := []string{"spec", "requires", strconv.Itoa(i)}
		if seen[r.Name] {
			return d.Errorf(append(at, "name"), "%q is used twice", r.Name)
		}
		seen[r.Name] = true
		if slices.Contains(s.Policies, r.Name) {
			return d.Errorf(append(at, "name"), "%q is also a policy of this gate; their rules could not be told apart", r.Name)
		}
		if err := r.check(d, at); err != nil {
			return err
		}
	}
	return nil
}

func checkLevels(d strict.Document, levels []string) error {
	tracks := map[string]string{}
	for i, l := range levels {
		at := []string{"spec", "levels", strconv.Itoa(i)}
		switch {
		case l == "FAILED":
			return d.Errorf(at, "\"FAILED\" cannot be granted")
		case strings.HasPrefix(l, "SLSA_"):
			if !slices.Contains(SLSALevels, l) {
				return d.Errorf(at, "%s; own levels must not start with SLSA_", strict.OneOf(l, SLSALevels))
			}
			track, _, _ := strings.Cut(l, "_LEVEL_")
			if first := tracks[track]; first != "" {
				return d.Errorf(at, "%q and %q are levels of the same track; grant one", first, l)
			}
			tracks[track] = l
		case !levelForm.MatchString(l):
			return d.Errorf(at, "%q is not a word of letters, digits and _.:/-", l)
		case slices.Contains(levels[:i], l):
			return d.Errorf(at, "%q is listed twice", l)
		}
	}
	return nil
}

func checkWords(d strict.Document, field string, words []string) error {
	for i, w := range words {
		at := []string{"spec", field, strconv.Itoa(i)}
		if !nameForm.MatchString(w) {
			return d.Errorf(at, "%q is not 1 to 63 lower-case letters, digits and dashes", w)
		}
		if slices.Contains(words[:i], w) {
			return d.Errorf(at, "%q is listed twice", w)
		}
	}
	return nil
}

func (r Require) check(d strict.Document, at []string) error {
	in := func(field ...string) []string { return append(slices.Clone(at), field...) }
	if !nameForm.MatchString(r.Name) {
		return d.Errorf(in("name"), "%q is not 1 to 63 lower-case letters, digits and dashes", r.Name)
	}
	if r.Name == "absent" {
		return d.Errorf(in("name"), "\"absent\" is reserved for rules about missing evidence")
	}
	if err := oneOf(d, in("kind"), r.Kind, assay.EvidenceKinds); err != nil {
		return err
	}
	for i, o := range r.Origins {
		if err := oneOf(d, in("origins", strconv.Itoa(i)), o, []assay.Origin{assay.OriginLive, assay.OriginRecorded}); err != nil {
			return err
		}
	}
	if r.Origins != nil && len(r.Origins) == 0 {
		return d.Errorf(in("origins"), "is empty; name live, recorded or both, or leave it out for live")
	}
	if _, err := parseDuration(string(r.MaxAge)); err != nil {
		return d.Errorf(in("maxAge"), "%v", err)
	}
	if r.MaxSeverity != "" {
		if err := oneOf(d, in("maxSeverity"), r.MaxSeverity, severities); err != nil {
			return err
		}
	}
	if err := r.checkNames(d, in); err != nil {
		return err
	}
	if err := r.checkMeasures(d, in); err != nil {
		return err
	}
	return r.checkThresholds(d, in)
}

// checkThresholds refuses a threshold that can never apply to its kind: it
// would look like a check and check nothing.
func (r Require) checkThresholds(d strict.Document, in func(...string) []string) error {
	for _, t := range []struct {
		name  string
		value *int
		least int
		kind  assay.EvidenceKind
	}{
		{"minTests", r.MinTests, 1, assay.KindTests},
		{"maxFailed", r.MaxFailed, 0, assay.KindTests},
		{"minComponents", r.MinComponents, 1, assay.KindSBOM},
	} {
		if t.value == nil {
			continue
		}
		if r.Kind != t.kind {
			return d.Errorf(in(t.name), "only applies to kind %s, not to %s", t.kind, r.Kind)
		}
		if *t.value < t.least {
			return d.Errorf(in(t.name), "is %d; expected at least %d", *t.value, t.least)
		}
	}
	if r.MaxSeverity != "" && !slices.Contains(ratedKinds, r.Kind) {
		return d.Errorf(in("maxSeverity"), "only applies to kinds %s, not to %s", joinKinds(ratedKinds), r.Kind)
	}
	return r.checkLikelihood(d, in)
}

func oneOf[T ~string](d strict.Document, at []string, found T, known []T) error {
	if slices.Contains(known, found) {
		return nil
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	return d.Errorf(at, "%s", strict.OneOf(string(found), words))
}
