package decide

import (
	"math"

	"assay.dev/assay/infer"
)

// arrival is when safety will be shown, in canary requests from now: the median and
// the interval that holds it with a probability of 80 %. A median of −1 is never.
type arrival struct {
	median, low, high float64
}

// later is the arrival of two that must both come: that of the slower one.
func (a arrival) later(b arrival) arrival {
	switch {
	case a.median < 0:
		return a
	case b.median < 0 || b.median > a.median:
		return b
	}
	return a
}

// times is the arrival in another unit.
func (a arrival) times(scale float64) arrival {
	if a.median < 0 || scale == 1 {
		return a
	}
	return arrival{a.median * scale, a.low * scale, a.high * scale}
}

const (
	// etaPrior is how many bursts' worth (of events that come alone: events' worth) of
	// "the new version is like the old one" is added to what was seen: few say little
	// about what is to come.
	etaPrior = 20
	// etaWalk and etaRate are squared coefficients of variation: of the walk of the
	// evidence per nat that is missing, and of its drift per burst.
	etaWalk = 1.7
	etaRate = 4
	// z80 is the normal quantile that leaves a tenth on either side.
	z80 = 1.2816
)

// arrival predicts when the test shows safety. The evidence is a walk whose drift is
// that of the rates seen so far, drawn towards equality; its first passage is taken
// to be lognormal; safe is the evidence now, phi the dispersion of the counts with their tail and calm what
// safety is divided by: the smaller of the two lets the walk stray further. Calibrated:
// bench/detect prints how often the interval holds.
func (t *test) arrival(s *infer.State, safe, at, phi, calm float64) arrival {
	missing := at - safe
	if missing <= 0 {
		return arrival{}
	}
	mean := t.safely.MeanUntilSafe(*s, at, etaPrior*phi)
	if t.ceiling != nil {
		// Either half suffices; each is given the threshold plus ln 2.
		mean = t.safely.MeanUntilSafe(*s, at+math.Ln2, etaPrior*phi)
		if n, ok := t.ceiling.Until(s.Treated, at+math.Ln2); ok && s.Treated.Exposure > 0 && (mean < 0 || n < mean) {
			mean = n
		}
	}
	if mean < 0 {
		return arrival{median: -1}
	}
	missing = max(missing, 0.01)
	seen := float64(s.Treated.Events)
	if t.comparison.Bets() {
		seen = float64(s.Pairs)
	}
	spread := math.Log1p(etaWalk*phi/calm/missing + etaRate/(seen/phi+etaPrior))
	median := mean / math.Exp(spread/2)
	width := math.Exp(z80 * math.Sqrt(spread))
	return arrival{median: median, low: median / width, high: median * width}
}
