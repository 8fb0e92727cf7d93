package infer

import (
	"math"
	"slices"

	"assay.dev/assay"
)

// Bound is one bound of a cumulative histogram: Count observations are at most LE.
type Bound struct {
	LE    float64
	Count uint64
}

// Threshold is a frozen bound. Observations above it are events, so a shift of a
// distribution becomes a comparison of counts.
type Threshold struct {
	LE float64 `json:"le"`
	// Quantile is the share of the baseline at or below LE: at least the one asked for.
	Quantile float64 `json:"quantile"`
}

// Freeze picks, for each quantile, the lowest histogram bound that holds at least
// that share of a baseline of total observations, and the greatest bound at most
// limit (a promised maximum; 0 is none). Counts exist only at histogram bounds,
// so thresholds are bounds, not interpolated values; quantiles that share a bound
// give one threshold. A quantile above the last bound cannot be watched and is
// left out. The baseline must be older than everything the thresholds are then
// used on: that is what makes them fixed. CodeInvalid if there is no baseline.
func Freeze(bounds []Bound, total uint64, quantiles []float64, limit float64) ([]Threshold, error) {
	if total == 0 || len(bounds) == 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "no baseline: %d observations in %d bounds", total, len(bounds))
	}
	for i, b := range bounds {
		if b.Count > total || math.IsNaN(b.LE) || i > 0 && (b.LE <= bounds[i-1].LE || b.Count < bounds[i-1].Count) {
			return nil, assay.Errorf(assay.CodeInvalid, "histogram bound %d (%v) does not ascend", i, b.LE)
		}
	}
	var out []Threshold
	add := func(b Bound) {
		if !slices.ContainsFunc(out, func(t Threshold) bool { return t.LE == b.LE }) {
			out = append(out, Threshold{LE: b.LE, Quantile: float64(b.Count) / float64(total)})
		}
	}
	for _, q := range quantiles {
		if !(q > 0 && q < 1) {
			return nil, assay.Errorf(assay.CodeInvalid, "quantile %v is not between 0 and 1", q)
		}
		if i := slices.IndexFunc(bounds, func(b Bound) bool { return float64(b.Count) >= q*float64(total) }); i >= 0 {
			add(bounds[i])
		}
	}
	if limit > 0 {
		for _, b := range slices.Backward(bounds) {
			if b.LE <= limit {
				add(b)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b Threshold) int {
		if a.LE < b.LE {
			return -1
		}
		return 1
	})
	return out, nil
}
