package slo

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay/internal/strict"
)

// Annotations of an SLO that declare that its indicator is compared between regions.
const (
	annotations = "assay.dev/"
	// AnnotationRegions is the label of the series that tells regions, clusters or clouds apart.
	AnnotationRegions = annotations + "regions"
	// AnnotationDivergence is by how many percentage points a region may be worse than the rest.
	AnnotationDivergence = annotations + "divergence"
	// AnnotationDivergenceError is the probability a day of saying so of any region wrongly.
	AnnotationDivergenceError = annotations + "divergence-error"
)

var ourAnnotations = []string{AnnotationRegions, AnnotationDivergence, AnnotationDivergenceError}

const (
	// DefaultDivergence is the bound of Regions, as a share.
	DefaultDivergence = 0.02
	// DefaultDivergenceError is the error of Regions.
	DefaultDivergenceError = 0.01
)

// Regions says that an objective's indicator is compared between the regions, clusters or
// clouds that its series name.
type Regions struct {
	Label string `json:"label"` // of the series
	// Bound is by how much the bad share of a region may be above that of the rest, 0.02 is 2 percentage points.
	Bound float64 `json:"bound"`
	// Error is the probability a day that any region is said to be above the bound that is not.
	Error float64 `json:"error"`
}

var regionLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// regions reads the annotations; nil without any. One of ours that is not known is refused:
// a slip would silently switch the comparison off.
func (m metadata) regions(d strict.Document) (*Regions, error) {
	at := func(name string) []string { return []string{"metadata", "annotations", name} }
	for _, name := range slices.Sorted(maps.Keys(m.Annotations)) {
		if strings.HasPrefix(name, annotations) && !slices.Contains(ourAnnotations, name) {
			return nil, d.Errorf(at(name), "%s", strict.OneOf(name, ourAnnotations))
		}
	}
	label, has := m.Annotations[AnnotationRegions]
	if !has {
		for _, name := range ourAnnotations[1:] {
			if _, has := m.Annotations[name]; has {
				return nil, d.Errorf(at(name), "needs %s: the label that tells regions apart", AnnotationRegions)
			}
		}
		return nil, nil
	}
	if !regionLabel.MatchString(label) {
		return nil, d.Errorf(at(AnnotationRegions), "%q is not the name of a label, for example region or cluster", label)
	}
	out := &Regions{Label: label, Bound: DefaultDivergence, Error: DefaultDivergenceError}
	for _, f := range []struct {
		name  string
		into  *float64
		most  float64
		words string
	}{
		{AnnotationDivergence, &out.Bound, 0.5, "a share above 0 and at most 50 %, for example 2%"},
		{AnnotationDivergenceError, &out.Error, 0.1, "a probability above 0 and at most 10 %, for example 1%"},
	} {
		text, has := m.Annotations[f.name]
		if !has {
			continue
		}
		number, isPercent := strings.CutSuffix(text, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if isPercent {
			v /= 100
		}
		if err != nil || !(v >= 1e-6 && v <= f.most) {
			return nil, d.Errorf(at(f.name), "%q is not %s", text, f.words)
		}
		*f.into = v
	}
	return out, nil
}
