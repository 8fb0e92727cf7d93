package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// coverageMeasures are what minCoverage is held against: the first that a report has.
var coverageMeasures = []string{"lines", "statements"}

// uncovered says which of the names in r.Covers no accepted report is about.
func uncovered(r policy.Require, accepted []assay.Evidence) string {
	var lacking []string
	for _, name := range r.Covers {
		covered := slices.ContainsFunc(accepted, func(e assay.Evidence) bool {
			return slices.ContainsFunc(e.Components, func(c assay.Component) bool { return isPackage(name, c) }) ||
				slices.ContainsFunc(e.Measures, func(m assay.Measure) bool { return m.Name == name })
		})
		if !covered {
			lacking = append(lacking, name)
		}
	}
	if len(lacking) == 0 {
		return ""
	}
	return "no report covers " + joinSome(lacking, 5)
}

// unmeasured says which measure that r bounds is in no accepted report, or in none of the baseline.
func (c *check) unmeasured(r policy.Require, accepted []assay.Evidence) string {
	if r.MinCoverage != nil {
		for _, e := range accepted {
			if _, ok := coverage(e); !ok {
				return fmt.Sprintf("%s has neither of the measures %s", e.Source, strings.Join(coverageMeasures, ", "))
			}
		}
	}
	for _, l := range r.Limits {
		if !slices.ContainsFunc(accepted, func(e assay.Evidence) bool { _, ok := find(e, l); return ok }) {
			return fmt.Sprintf("no report has the measure %s", title(l))
		}
		if l.MaxRegression == nil {
			continue
		}
		if _, _, ok := c.baseline(r.Kind, l); !ok {
			return fmt.Sprintf("no baseline has the measure %s, so how much it changed is unknown", title(l))
		}
	}
	return ""
}

// measures records the violations of limits.
func (c *check) measures(r policy.Require, accepted []assay.Evidence) {
	for _, e := range accepted {
		if m, ok := coverage(e); ok && r.MinCoverage != nil && m.Value < *r.MinCoverage {
			c.violations = append(c.violations, measureViolation(r, "coverage", e, fmt.Sprintf("%s covers %s of the %s; at least %s is required",
				e.Source, percent(m.Value), m.Name, percent(*r.MinCoverage)), "test what is not covered yet"))
		}
		for _, l := range r.Limits {
			if m, ok := find(e, l); ok {
				c.limit(r, l, e, m)
			}
		}
	}
}

// limit holds one measure to its limit.
func (c *check) limit(r policy.Require, l policy.Limit, e assay.Evidence, m assay.Measure) {
	add := func(threshold, message, remedy string) {
		c.violations = append(c.violations, measureViolation(r, threshold, e, message, remedy))
	}
	if l.Min != nil && m.Value < *l.Min {
		add("min", fmt.Sprintf("%s is %s; at least %s is required", m.Name, amount(m.Value, m.Unit), amount(*l.Min, m.Unit)), "")
	}
	if l.Max != nil && m.Value > *l.Max {
		add("max", fmt.Sprintf("%s is %s; at most %s is accepted", m.Name, amount(m.Value, m.Unit), amount(*l.Max, m.Unit)), "")
	}
	if l.MaxRegression == nil {
		return
	}
	before, source, ok := c.baseline(r.Kind, l)
	if !ok || before.Unit != m.Unit {
		if ok {
			add("regression", fmt.Sprintf("%s is in %s, and in %s in the baseline %s", m.Name, m.Unit, before.Unit, source), "measure both the same way")
		}
		return
	}
	if worse := regression(before, m); worse > *l.MaxRegression+1e-9 { // 1.1 is not quite 10 % above 1 in binary
		add("regression", fmt.Sprintf("%s went from %s to %s, %s worse; at most %s is accepted",
			m.Name, amount(before.Value, m.Unit), amount(m.Value, m.Unit), percent(worse), percent(*l.MaxRegression)),
			"find what made it worse, or make a new baseline if that is intended")
	}
}

// regression is by which share a measure is worse than before, 0 if it is not.
func regression(before, after assay.Measure) float64 {
	worse := before.Value - after.Value
	if after.Lower {
		worse = -worse
	}
	switch {
	case worse <= 0:
		return 0
	case before.Value == 0:
		return math.MaxFloat64 // from nothing to something: no share is large enough
	}
	return worse / math.Abs(before.Value)
}

// baseline finds a measure among the baselines of a kind. Of several the worst is
// kept back: the best one counts, so that adding a bad baseline does not widen the limit.
func (c *check) baseline(kind assay.EvidenceKind, l policy.Limit) (best assay.Measure, source string, found bool) {
	for _, e := range c.in.Baseline {
		if e.Kind != kind {
			continue
		}
		m, ok := find(e, l)
		if ok && (!found || (m.Value < best.Value) == m.Lower && m.Value != best.Value) {
			best, source, found = m, e.Source, true
		}
	}
	return best, source, found
}

// coverage is the measure that minCoverage is about.
func coverage(e assay.Evidence) (assay.Measure, bool) {
	for _, name := range coverageMeasures {
		if m, ok := find(e, policy.Limit{Measure: name, Unit: "ratio"}); ok {
			return m, true
		}
	}
	return assay.Measure{}, false
}

// find returns the measure of a report that a limit is about; of several of that name the worst.
func find(e assay.Evidence, l policy.Limit) (worst assay.Measure, found bool) {
	for _, m := range e.Measures {
		if m.Name != l.Measure || l.Unit != "" && m.Unit != l.Unit {
			continue
		}
		if !found || (m.Value > worst.Value) == m.Lower && m.Value != worst.Value {
			worst, found = m, true
		}
	}
	return worst, found
}

func measureViolation(r policy.Require, threshold string, e assay.Evidence, message, remedy string) assay.Violation {
	return assay.Violation{
		Rule: r.Name + "/" + threshold, Severity: assay.SeverityHigh, Kind: r.Kind, Mode: assay.ModeEnforce,
		Message: message, Remedy: remedy, Location: assay.Location{File: e.Source},
	}
}

func title(l policy.Limit) string {
	if l.Unit != "" {
		return l.Measure + " in " + l.Unit
	}
	return l.Measure
}

// amount writes a value with its unit.
func amount(v float64, unit string) string {
	if unit == "ratio" {
		return percent(v)
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'g', 6, 64) + " " + unit)
}

func percent(v float64) string {
	if v == math.MaxFloat64 {
		return "infinitely"
	}
	return strconv.FormatFloat(math.Round(v*1000)/10, 'f', -1, 64) + " %"
}
