package rollout

import (
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
)

// tally adds the histograms that a decision folded into its evidence to those that
// people see, so that the picture and the evidence speak of the same requests.
func (rec *record) tally(r decide.Record) {
	for i, ind := range r.Plan.Indicators {
		before, after := r.Before.Watches[i].Through, r.After.Watches[i].Through
		if !after.After(before) {
			continue
		}
		for _, one := range r.Readings {
			if one.Indicator == ind.Name && len(one.Buckets) > 0 && !one.Start.Before(before) && !one.End.After(after) {
				rec.Rollout.Latencies = addLatency(rec.Rollout.Latencies, one, one.Version == r.Plan.Canary)
			}
		}
	}
}

// addLatency adds a reading to the distributions. One with other bounds than before
// begins anew: counts of different buckets cannot be added.
func addLatency(list []api.Latency, r assay.Reading, canary bool) []api.Latency {
	bounds := make([]float64, len(r.Buckets))
	for i, b := range r.Buckets {
		bounds[i] = b.LE
	}
	at := slices.IndexFunc(list, func(l api.Latency) bool { return l.Indicator == r.Indicator })
	if at < 0 {
		list, at = append(list, api.Latency{Indicator: r.Indicator}), len(list)
	}
	l := list[at]
	if !slices.Equal(l.Bounds, bounds) {
		l = api.Latency{Indicator: r.Indicator, Bounds: bounds, Canary: make([]uint64, len(bounds)), Control: make([]uint64, len(bounds))}
	}
	into, total := l.Control, &l.ControlTotal
	if canary {
		into, total = l.Canary, &l.CanaryTotal
	}
	for i, b := range r.Buckets {
		into[i] += b.Count
	}
	*total += r.Total
	list[at] = l
	return list
}
