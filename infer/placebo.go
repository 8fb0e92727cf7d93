package infer

import (
	"cmp"
	"math"
	"slices"
)

func lasts(windows []around) []float64 {
	out := make([]float64, len(windows))
	for i, w := range windows {
		out[i] = w.last
	}
	return out
}

// squares is the mean square.
func squares(y []float64) (sum float64) {
	for _, v := range y {
		sum += v * v / float64(len(y))
	}
	return sum
}

// alike are the residuals of the windows that began as extreme as the target, in the same
// direction: at least half as far from the median.
func alike(placebos []around, residuals []float64, target around) (out []float64) {
	sorted := slices.Sorted(slices.Values(lasts(placebos)))
	middle := sorted[len(sorted)/2]
	half := (target.last - middle) / 2
	for i, w := range placebos {
		if d := w.last - middle; cmp.Compare(d, 0) == cmp.Compare(half, 0) && math.Abs(d) >= math.Abs(half) {
			out = append(out, residuals[i])
		}
	}
	return out
}

// rank is the share of residuals at most, and at least, t, the target counted with them.
func rank(residuals []float64, t float64) (lower, upper float64) {
	below, above := 1.0, 1.0
	for _, r := range residuals {
		if r <= t {
			below++
		}
		if r >= t {
			above++
		}
	}
	n := float64(len(residuals)) + 1
	return below / n, above / n
}

// ended is the share of untreated windows whose last steps are above the window's mean by at least
// as much as the target's, the target counted with them: the last steps are few, and those of a
// help that stays are above half of it by chance too.
func (a Aftermath) ended(placebos []around, target around) float64 {
	above, ratio := 1.0, max(1, a.unseen(placebos, target))
	for _, w := range placebos {
		if (w.end-w.after)/w.scale >= (target.end-target.after)/(target.scale*ratio) {
			above++
		}
	}
	return above / float64(len(placebos)+1)
}
