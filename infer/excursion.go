package infer

import (
	"fmt"
	"math"
	"slices"
)

// excursion is how a series that was never as extreme before came to be so, held against
// the excursions of its past. Those were smaller; what is compared is how old they were, and
// by which share they went back.
type excursion struct {
	middle float64
	side   float64 // 1 upwards, -1 downwards
	age    int     // steps since it was at least half as far
	// back are the shares by which untreated windows went back whose excursion was as old.
	back []float64
}

func excursionOf(y []float64, windows []around, target around) excursion {
	sorted := slices.Sorted(slices.Values(lasts(windows)))
	n := len(sorted)
	x, far := excursion{middle: sorted[n/2], side: 1}, sorted[n-1-n/10] // a tenth of the windows began beyond it
	if target.last < x.middle {
		far, x.side = sorted[n/10], -1
	}
	x.age = x.old(y, target)
	for _, w := range windows {
		if x.side*(w.last-far) >= 0 && w.last != x.middle && x.old(y, w) >= x.age {
			x.back = append(x.back, x.share(w))
		}
	}
	slices.Sort(x.back)
	return x
}

// old is for how many measured steps the series had been at least half as far out as it was
// when a window began.
func (x excursion) old(y []float64, w around) (steps int) {
	for i := w.at - 1; i >= 0; i-- {
		switch {
		case math.IsNaN(y[i]):
		case x.side*(y[i]-x.middle) < x.side*(w.last-x.middle)/2:
			return steps
		default:
			steps++
		}
	}
	return steps
}

// share is by how much a window went back, of how far it had come: 1 is all the way.
func (x excursion) share(w around) float64 { return (w.last - w.after) / (w.last - x.middle) }

// alone is the share of excursions as old that went back by themselves at least as far as
// the target, the target counted with them. 0 means that it had outlasted each of them: it
// is of another kind, of which nothing is known.
func (x excursion) alone(target around) float64 {
	if len(x.back) == 0 {
		return 0
	}
	less, _ := slices.BinarySearch(x.back, x.share(target))
	return float64(1+len(x.back)-less) / float64(1+len(x.back))
}

// changes are what came less what would have been: as the prediction says, and, if excursions
// as old went back by themselves, had this one done so by a share of which one in ten of
// theirs was less, or more.
func (x excursion) changes(predicted float64, target around) []float64 {
	out := []float64{predicted}
	if len(x.back) > 0 {
		for _, p := range []float64{tenth, 1 - tenth} {
			out = append(out, target.after-target.last+quantile(x.back, p)*(target.last-x.middle))
		}
	}
	return out
}

func steps(n int) string {
	if n == 1 {
		return "one step"
	}
	return fmt.Sprintf("%d steps", n)
}
