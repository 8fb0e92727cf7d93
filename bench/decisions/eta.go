package main

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
)

const (
	etaAsked = 15 * time.Minute // into the rollout
	etaLimit = 96 * time.Hour   // after which a run counts as never decided
)

// etaCells are healthy settings whose traffic is too thin for an hour.
func etaCells() []cell {
	return []cell{
		{steady, 1, 0.01, 1, 1, 0.1},
		{steady, 2, 0.005, 1, 1, 0.1},
		{steady, 10, 0.001, 1, 1, 0.1},
		{steady, 3, 0.01, 1, 5, 0.1},
	}
}

// eta is how good the announced number of canary requests was in one cell.
type eta struct {
	cell
	runs      int       // that were held when asked and were decided within the limit
	never     int       // that were not decided, or whose answer was "never"
	predicted []float64 // canary requests in all, as announced
	needed    []float64 // as it turned out
	covered   int       // in the announced 80 % interval
}

// forecast plays the healthy cell until it goes on, and asks once how long it will take.
func (b board) forecast(c cell, runs, offset int) (eta, error) {
	type answer struct {
		predicted, low, high, needed float64
		held, never                  bool
	}
	answers := make([]answer, runs)
	err := parallel(runs, func(run int) error {
		w := newWorld(c, b.traces, stream(b.seed, offset, 0, run))
		w.known = b.known[c].of(run)
		k, err := beginWaiting(w)
		if err != nil {
			return err
		}
		o, a, total := k.(*ours), &answers[run], 0.0
		for t := time.Duration(0); t < etaLimit; {
			d := step(t)
			canary, _, rest := w.arms(t, d, w.Weight, false)
			total += float64(canary.total)
			t += d
			if _, _, err := o.look(t, &canary, &rest); err != nil {
				return err
			}
			if kind := o.last.Action.Kind; kind != assay.ActionHold && kind != assay.ActionAsk {
				a.needed = total
				return nil
			}
			if t == etaAsked {
				a.held, a.never = true, o.last.Remaining < 0
				a.predicted = total + o.last.Remaining
				a.low, a.high = total+o.last.RemLow, total+o.last.RemHigh
			}
		}
		a.never = true
		return nil
	})
	out := eta{cell: c}
	for _, a := range answers {
		switch {
		case !a.held:
		case a.never:
			out.never++
		default:
			out.runs++
			out.predicted, out.needed = append(out.predicted, a.predicted), append(out.needed, a.needed)
			if a.needed >= a.low && a.needed <= a.high {
				out.covered++
			}
		}
	}
	return out, err
}

// coverage is the share of runs in the announced interval; one without an answer is not.
func (e eta) coverage() float64 {
	return float64(e.covered) / math.Max(1, float64(e.runs+e.never))
}

// medianError is how far the median of what was announced lies from the median of
// what was needed, as a share of the latter.
func (e eta) medianError() float64 {
	return result.Median(e.predicted)/result.Median(e.needed) - 1
}

// quantile of the needed requests, for the page.
func (e eta) quantile(p float64) float64 {
	if len(e.needed) == 0 {
		return math.NaN()
	}
	return result.Percentile(slices.Clone(e.needed), p)
}
