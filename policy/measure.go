package policy

import (
	"slices"

	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
)

// RolloutWorse says which way round a count, sum or gauge is worse.
type RolloutWorse string

const (
	WorseMore RolloutWorse = "more" // the default
	WorseLess RolloutWorse = "less"
)

var rolloutWorse = []RolloutWorse{WorseMore, WorseLess}

// TestsOf are indicators as a plan tests them.
func TestsOf(list []RolloutIndicator) (out []decide.Indicator) {
	for _, i := range list {
		one := decide.Indicator{Name: i.Name, Bounds: slices.Clone(i.Bounds), Tolerable: i.Tolerable, Dispersion: i.Dispersion}
		if i.Weight != nil {
			one.Weight = *i.Weight
		}
		one.Required = i.Required == nil || *i.Required
		i.measure(&one)
		if i.Classes != nil {
			one.Classes = slices.Clone(i.Classes.Values)
		}
		out = append(out, one)
	}
	return out
}

// measures reports whether the indicator is a count, sum or gauge.
func (i RolloutIndicator) measures() bool { return i.Count != "" || i.Sum != "" || i.Gauge != "" }

// WholeTraffic reports whether the indicator has no parts by strata: gauges and counts per
// time are of a version, and not of its requests.
func (i RolloutIndicator) WholeTraffic() bool { return i.Gauge != "" || i.Count != "" && i.Total == "" }

// ByReplica reports whether the indicator may be told apart by replicas: a rate or a latency.
func (i RolloutIndicator) ByReplica() bool { return !i.measures() }

// measure fills in what a plan says of a count, sum or gauge, and the indicator's margins.
func (i RolloutIndicator) measure(to *decide.Indicator) {
	to.Margin, to.Accept = i.Margin, i.Accept
	if !i.measures() {
		return
	}
	to.Less, to.Expected, to.WarmUp = i.Worse == WorseLess, i.Expect, i.WarmUp.Value()
	switch {
	case i.Count != "":
		to.Kind, to.PerTime = decide.KindCount, i.Total == ""
	case i.Sum != "":
		to.Kind, to.Max = decide.KindValue, i.Max
	default:
		to.Kind, to.Min, to.Max, to.Every = decide.KindGauge, i.Min, i.Max, decide.DefaultEvery
		if i.Every != "" {
			to.Every = i.Every.Value()
		}
	}
}

// checkMeasure refuses what does not go together with a count, sum or gauge.
func (i RolloutIndicator) checkMeasure(d strict.Document, in func(...string) []string) error {
	kinds := []string{}
	for _, f := range []struct{ name, text string }{{"count", i.Count}, {"sum", i.Sum}, {"gauge", i.Gauge}, {"bad", i.Bad}, {"good", i.Good}} {
		if f.text != "" {
			kinds = append(kinds, f.name)
		}
	}
	if len(kinds) > 1 {
		return d.Errorf(in(kinds[1]), "stands beside %s; expected one kind of counters, or a gauge", kinds[0])
	}
	bounded := i.Sum != "" || i.Gauge != ""
	for _, f := range []struct {
		name  string
		wrong bool
		words string
	}{
		{"total", i.Sum != "" && i.Total == "", "is missing: a sum is compared per request"},
		{"total", i.Gauge != "" && i.Total != "", "stands beside a gauge, of which samples are looked at"},
		{"max", i.Sum != "" && !(i.Max > 0), "is missing: the greatest value that one request can have"},
		{"max", i.Gauge != "" && !(i.Max > i.Min), "is not above min: a gauge is compared between declared bounds"},
		{"max", !bounded && i.Max != 0, "belongs to a sum or gauge; a count has no greatest value"},
		{"min", i.Gauge == "" && i.Min != 0, "belongs to a gauge"},
		{"every", i.Gauge == "" && i.Every != "", "belongs to a gauge"},
		{"tolerable", i.Tolerable != 0, "is a rate of bad requests; give the indicator an accept above 1 instead"},
		{"classes", i.Classes != nil, "are of bad events"},
		{"quantiles", i.Quantiles != nil, "belongs to a histogram; give buckets instead"},
		{"bounds", i.Bounds != nil, "belongs to a histogram; give buckets instead"},
		{"limit", i.Limit != 0, "belongs to a histogram; give buckets instead"},
		{"threshold", i.Threshold != 0, "belongs to a histogram; give buckets instead"},
	} {
		if f.wrong {
			return d.Errorf(in(f.name), "%s", f.words)
		}
	}
	if i.Worse != "" && !slices.Contains(rolloutWorse, i.Worse) {
		return oneOf(d, in("worse"), i.Worse, rolloutWorse)
	}
	if i.WarmUp != "" {
		if _, err := parseDuration(string(i.WarmUp)); err != nil {
			return d.Errorf(in("warmUp"), "%v", err)
		}
	}
	if i.Every != "" {
		if v, err := parseDuration(string(i.Every)); err != nil || v <= 0 {
			return d.Errorf(in("every"), "%q is not a duration above 0, for example 10s", i.Every)
		}
	}
	return nil
}

// onlyMeasures finds what belongs to a count, sum or gauge where there is none.
func (i RolloutIndicator) onlyMeasures(d strict.Document, in func(...string) []string) error {
	for _, f := range []struct {
		name string
		used bool
	}{{"min", i.Min != 0}, {"max", i.Max != 0}, {"worse", i.Worse != ""}, {"every", i.Every != ""}, {"warmUp", i.WarmUp != ""}, {"expect", i.Expect != 0}} {
		if f.used {
			return d.Errorf(in(f.name), "belongs to a count, sum or gauge")
		}
	}
	return nil
}
