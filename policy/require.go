package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxNames is how many entries a list of names in a requirement may have.
const MaxNames = 100

// maxNameBytes is the longest name in a requirement.
const maxNameBytes = 500

// ratedKinds are the kinds whose findings have severities that a gate can bound.
var ratedKinds = []assay.EvidenceKind{
	assay.KindStaticAnalysis, assay.KindVulnerabilities, assay.KindSecrets, assay.KindManifests,
}

// measuredKinds are the kinds whose reports are numbers.
var measuredKinds = []assay.EvidenceKind{assay.KindCoverage, assay.KindPerformance}

// coveredKinds are the kinds whose reports name what they are about.
var coveredKinds = []assay.EvidenceKind{assay.KindSBOM, assay.KindCoverage, assay.KindPerformance}

func joinKinds(kinds []assay.EvidenceKind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func (v *VEXTrust) check(d strict.Document) error {
	if v == nil {
		return nil
	}
	if len(v.Producers) == 0 && !v.TrustUnsigned {
		return d.Errorf([]string{"spec", "vex"}, "trusts nobody; name producers, or leave it out so that no VEX document is applied")
	}
	return checkTexts(d, []string{"spec", "vex", "producers"}, v.Producers)
}

// checkNames checks what a requirement says about whose and which reports it accepts.
func (r Require) checkNames(d strict.Document, in func(...string) []string) error {
	for _, l := range []struct {
		field string
		names []string
	}{{"producers", r.Producers}, {"files", r.Files}, {"covers", r.Covers}} {
		if err := checkTexts(d, in(l.field), l.names); err != nil {
			return err
		}
	}
	if r.PredicateType != "" && r.Kind != assay.KindAttestation {
		return d.Errorf(in("predicateType"), "only applies to kind %s, not to %s", assay.KindAttestation, r.Kind)
	}
	if len(r.Covers) > 0 && !slices.Contains(coveredKinds, r.Kind) {
		return d.Errorf(in("covers"), "only applies to kinds %s, not to %s: its reports do not list what they looked at", joinKinds(coveredKinds), r.Kind)
	}
	return nil
}

// checkTexts checks a list of names that is not empty where it stands.
func checkTexts(d strict.Document, at []string, list []string) error {
	if list != nil && len(list) == 0 {
		return d.Errorf(at, "is empty; it would accept nothing, leave it out to accept anything")
	}
	if len(list) > MaxNames {
		return d.Errorf(at, "has %d entries; at most %d are accepted", len(list), MaxNames)
	}
	for i, s := range list {
		at := append(slices.Clone(at), strconv.Itoa(i))
		switch {
		case s == "" || len(s) > maxNameBytes || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
			return d.Errorf(at, "%q is not 1 to %d bytes of printable characters without outer blanks", s, maxNameBytes)
		case slices.Contains(list[:i], s):
			return d.Errorf(at, "%q is listed twice", s)
		}
	}
	return nil
}

// checkMeasures refuses limits that bound nothing or cannot be met.
func (r Require) checkMeasures(d strict.Document, in func(...string) []string) error {
	if r.MinCoverage != nil {
		if r.Kind != assay.KindCoverage {
			return d.Errorf(in("minCoverage"), "only applies to kind %s, not to %s", assay.KindCoverage, r.Kind)
		}
		if !within(*r.MinCoverage, 0, 1) {
			return d.Errorf(in("minCoverage"), "is %v; expected a ratio from 0 to 1, for example 0.8", *r.MinCoverage)
		}
	}
	if len(r.Limits) > 0 && !slices.Contains(measuredKinds, r.Kind) {
		return d.Errorf(in("limits"), "only applies to kinds %s, not to %s", joinKinds(measuredKinds), r.Kind)
	}
	for i, l := range r.Limits {
		at := in("limits", strconv.Itoa(i))
		if err := checkTexts(d, append(slices.Clone(at), "measure"), []string{l.Measure}); err != nil {
			return d.Errorf(append(at, "measure"), "%q is not the name of a measure", l.Measure)
		}
		if l.Min == nil && l.Max == nil && l.MaxRegression == nil {
			return d.Errorf(at, "bounds nothing; give min, max or maxRegression")
		}
		if l.Min != nil && l.Max != nil && *l.Min > *l.Max {
			return d.Errorf(at, "has a min above its max: nothing could hold it")
		}
		if m := l.MaxRegression; m != nil && !within(*m, 0, 10) {
			return d.Errorf(append(at, "maxRegression"), "is %v; expected a share from 0 to 10, for example 0.05 for 5 %%", *m)
		}
	}
	return nil
}

// checkLikelihood checks the thresholds that ask the lists.
func (r Require) checkLikelihood(d strict.Document, in func(...string) []string) error {
	for field, set := range map[string]bool{"knownExploited": r.KnownExploited != "", "epss": r.EPSS != nil} {
		if set && r.Kind != assay.KindVulnerabilities {
			return d.Errorf(in(field), "only applies to kind %s, not to %s", assay.KindVulnerabilities, r.Kind)
		}
	}
	if r.KnownExploited != "" && r.KnownExploited != DenyExploited {
		return d.Errorf(in("knownExploited"), "%s", strict.OneOf(r.KnownExploited, []string{DenyExploited}))
	}
	if r.EPSS != nil && !within(r.EPSS.Max, 0, 1) {
		return d.Errorf(in("epss", "max"), "is %v; expected a probability from 0 to 1, for example 0.5", r.EPSS.Max)
	}
	return nil
}

func within(v, least, most float64) bool { return !math.IsNaN(v) && v >= least && v <= most }
