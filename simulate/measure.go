package simulate

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/policy"
)

// measureOf is the kind of measure that a rollout's indicator watches; "" for errors and
// latency. What the indicator is called says which measure; its queries are not read.
func measureOf(i policy.RolloutIndicator) simtest.MeasureKind {
	switch {
	case i.Gauge != "":
		return simtest.MeasureGauge
	case i.Sum != "":
		return simtest.MeasureSum
	case i.Count != "" && i.Total == "":
		return simtest.MeasurePerHour
	case i.Count != "":
		return simtest.MeasureCount
	}
	return ""
}

// watches says whether both versions have what a rollout's indicators watch.
func watches(r policy.Rollout, use RolloutUse, o simtest.Service) error {
	for _, i := range r.Spec.Indicators {
		kind := measureOf(i)
		if kind == "" {
			continue
		}
		for _, v := range o.Versions {
			if v.Name != use.Canary && v.Name != use.Control {
				continue
			}
			if !slices.ContainsFunc(v.Measures, func(m simtest.Measure) bool { return m.Name == i.Name && m.Kind() == kind }) {
				return assay.Errorf(assay.CodeInvalid, "%s: indicator %s watches a measure of that name with a %s, and version %s of service %s has %s",
					use.File, clip(i.Name), kind, clip(v.Name), clip(o.Name), has(v.Measures))
			}
		}
	}
	return nil
}

// has says which measures there are.
func has(list []simtest.Measure) string {
	if len(list) == 0 {
		return "none"
	}
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = clip(m.Name) + " (" + string(m.Kind()) + ")"
	}
	return strings.Join(out, ", ")
}

// shows reports whether a reading of the world is what an indicator watches.
func shows(i policy.RolloutIndicator, x *assay.Reading) bool {
	if measureOf(i) != "" {
		return x.Indicator == i.Name
	}
	if i.Histogram() {
		return x.Indicator == simtest.IndicatorLatency
	}
	return x.Indicator == simtest.IndicatorErrors
}

// measured is a measure's reading as telemetry would have it for an indicator: of a gauge,
// what its samples are above the declared minimum.
func measured(i decide.Indicator, x assay.Reading) assay.Reading {
	if i.Kind == decide.KindGauge {
		x.Sum = max(0, x.Sum-float64(x.Total)*i.Min)
	}
	return x
}

// Of the old version's measures so much is studied, as in production, if there is enough.
const (
	pastTime    = 6 * time.Hour
	studiedFrom = 12 // slots
)

// lately are the readings that end after a time; they are in its order.
func lately(list []assay.Reading, old time.Time) []assay.Reading {
	n := 0
	for n < len(list) && !list[n].End.After(old) {
		n++
	}
	if n < len(list)/2 { // they are moved seldom
		return list
	}
	return append(list[:0], list[n:]...)
}

// study learns from the old version's past how far its measures come in bursts, and how far
// gauges hang together in time.
func (r *roll) study(now time.Time) error {
	for n := range r.plan.Indicators {
		i := &r.plan.Indicators[n]
		if measureOf(r.rule.Spec.Indicators[n]) == "" || r.plan.Certainty == assay.Exact {
			continue
		}
		history := r.slots(i)
		if len(history) < studiedFrom {
			continue
		}
		seed := uint64(now.UnixMilli())
		learned, err := decide.Calibrate(r.plan, i.Name, history, decide.Draws{Seed: seed, Next: rand.New(rand.NewPCG(seed, 0)).Float64})
		if err != nil {
			return err
		}
		if stated := i.Dispersion; stated > 0 { // it was measured elsewhere
			learned.Dispersion = max(learned.Dispersion, stated)
			learned.SafeDispersion = min(max(learned.SafeDispersion, stated), learned.Dispersion)
		}
		*i = learned
	}
	r.past = nil
	return nil
}

// slots are an indicator's past: readings as they came, of a gauge put together to what makes
// one value of it.
func (r *roll) slots(i *decide.Indicator) (out [][]assay.Reading) {
	open := false
	for _, x := range r.past {
		if x.Indicator != i.Name {
			continue
		}
		if open {
			sum := &out[len(out)-1][0]
			if sum.Total == 0 || x.Least < sum.Least {
				sum.Least = x.Least
			}
			sum.End, sum.Greatest = x.End, max(sum.Greatest, x.Greatest)
			sum.Total, sum.Good, sum.Sum = sum.Total+x.Total, sum.Good+x.Good, sum.Sum+x.Sum
		} else {
			out = append(out, []assay.Reading{x})
		}
		last := out[len(out)-1][0]
		open = i.Kind == decide.KindGauge && last.End.Sub(last.Start) < i.Every
	}
	return out
}
