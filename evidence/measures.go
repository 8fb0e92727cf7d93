package evidence

import (
	"fmt"
	"math"
	"slices"

	"assay.dev/assay"
)

// unitCount is the unit of measures that count things.
const unitCount = "1"

// unitRatio is the unit of measures between 0 and 1.
const unitRatio = "ratio"

// measure adds one number of a report; what is no finite number is noted and left out.
func (r *report) measure(m assay.Measure) error {
	if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
		r.note("%s has no finite value and was left out", m.Name)
		return nil
	}
	if len(r.ev.Measures) >= MaxMeasures {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d measures", MaxMeasures)
	}
	r.ev.Measures = append(r.ev.Measures, m)
	return nil
}

// count adds how many of something a report lists.
func (r *report) count(name string, n int) {
	r.ev.Measures = append(r.ev.Measures, assay.Measure{Name: name, Unit: unitCount, Value: float64(n)})
}

// ratio adds covered of all, unless there is nothing to cover.
func (r *report) ratio(name string, covered, all int64) error {
	if covered < 0 || all <= 0 {
		return nil
	}
	if covered > all {
		return assay.Errorf(assay.CodeInvalid, "says that %d of %d %s are covered", covered, all, name)
	}
	return r.measure(assay.Measure{Name: name, Unit: unitRatio, Value: float64(covered) / float64(all)})
}

// measureOf returns the value of a measure, 0 if e has none of that name.
func measureOf(e assay.Evidence, name string) float64 {
	i := slices.IndexFunc(e.Measures, func(m assay.Measure) bool { return m.Name == name })
	if i < 0 {
		return 0
	}
	return e.Measures[i].Value
}

// median of values, which it sorts: the middle one, or the mean of the middle two.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return values[n/2-1]/2 + values[n/2]/2
}

// quantity is a number for people: "1234567", "0.0125".
func quantity(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.6g", v)
}
