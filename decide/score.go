package decide

import (
	"math"

	"assay.dev/assay"
)

// score puts a decision on a scale for people who think in scores: 0 when harm is
// shown, 100 when safety is shown, 50 when nothing is known. It is made of how far the
// evidence has come to its thresholds, and decides nothing.
func score(d *assay.Decision) int {
	way := func(e, at float64) float64 {
		if math.IsNaN(e / at) {
			return 0
		}
		return min(max(e/at, 0), 1)
	}
	return int(math.Round((1 - way(d.Harm, d.AbortAt)) * (50 + 50*way(d.Safe, d.ShipAt))))
}

// diverge fills in how far the versions are apart: for rates in percentage points at
// the old version's rate, for bounds in relative latency.
func diverge(values []assay.TestValue, tests []test) {
	out := make([]assay.Divergence, 0, len(values)) // each is pointed to
	var room [fewTests]float64
	odds := logOdds(room[:0], values)
	for i := range values {
		v := &values[i]
		if v.Measure != "" {
			v.Divergence = apart(v)
			continue
		}
		if v.Canary.Bad == 0 || v.Control.Bad == 0 || v.Canary.Total == 0 || v.Control.Total == 0 {
			continue
		}
		x, y := rate(v.Canary), rate(v.Control)
		if v.Bound == 0 {
			out = append(out, assay.Divergence{Value: 100 * (x - y), Low: 100 * y * (v.RatioLow - 1), Unit: "points"})
			v.Divergence = &out[len(out)-1]
			if v.RatioHigh > 0 {
				v.Divergence.High = 100 * y * (v.RatioHigh - 1)
			}
			continue
		}
		slope, ok := slope(values, tests, odds, i)
		if !ok || x >= 1 || y >= 1 {
			continue
		}
		shift := func(odds float64) float64 { return math.Expm1(slope * math.Log(odds)) }
		out = append(out, assay.Divergence{Value: shift(x / (1 - x) / (y / (1 - y))), Low: -1, Unit: "relative"})
		v.Divergence = &out[len(out)-1]
		if v.RatioLow > 0 {
			v.Divergence.Low = shift(v.RatioLow)
		}
		if v.RatioHigh > 0 {
			v.Divergence.High = shift(v.RatioHigh)
		}
	}
}

// apart is how far the versions are apart in what is measured, nil before both have some.
// Of values of which less is worse it is their distance from the best that is compared.
func apart(v *assay.TestValue) *assay.Divergence {
	if v.Ratio == 0 {
		return nil
	}
	out := &assay.Divergence{Value: v.Ratio - 1, Low: v.RatioLow - 1, Unit: "more"}
	if v.RatioHigh > 0 {
		out.High = v.RatioHigh - 1
	}
	if v.Less && (v.Measure == assay.MeasureValue || v.Measure == assay.MeasureGauge) {
		out.Unit = "further"
	}
	return out
}

// logOdds appends ln of the odds of the old version's rate, of every test; where the rate is 0
// or 1, what is no number or infinite.
func logOdds(out []float64, values []assay.TestValue) []float64 {
	for i := range values {
		if p := rate(values[i].Control); values[i].Bound != 0 {
			out = append(out, math.Log(p/(1-p)))
		} else {
			out = append(out, 0) // nobody asks
		}
	}
	return out
}

func rate(r assay.Rate) float64 { return float64(r.Bad) / float64(r.Total) }

// slope is by how much the logarithm of the old version's latency grows when the odds
// of being above it fall by one unit of their logarithm, at the bound of test i: read
// from the neighbouring bounds of the same indicator. False with fewer than two.
func slope(values []assay.TestValue, tests []test, odds []float64, i int) (float64, bool) {
	low, high := i, i
	for low > 0 && tests[low-1].indicator == tests[i].indicator && low > i-1 {
		low--
	}
	for high+1 < len(tests) && tests[high+1].indicator == tests[i].indicator && high < i+1 {
		high++
	}
	a, b := rate(values[low].Control), rate(values[high].Control)
	if low == high || !(b > 0 && a > b && a < 1) {
		return 0, false
	}
	return math.Log(values[high].Bound/values[low].Bound) / (odds[low] - odds[high]), true
}
