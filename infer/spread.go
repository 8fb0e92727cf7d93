package infer

import (
	"math"
	"slices"
)

const (
	// spreadRounds is how often errors and their spread are fitted by turns: a third time
	// changes little.
	spreadRounds = 2
	// calmest is the least spread of a window, as a share of the mean of all: a past that
	// stood still for an hour does not say that nothing can move.
	calmest = 0.25
	// sweeps bound the search for the coefficients of a spread.
	sweeps = 500
)

// spread is by how much a prediction errs from a window on, in the mean. An action is taken
// at an extreme, and errors that follow one are larger than most: the noise of a load grows
// with its level, and what has just jumped goes on moving. So it is linear in how far the
// window's last steps are from the middle, and in how far from the steps before them, with
// coefficients of at least zero.
type spread struct {
	middle float64
	by     [3]float64
	least  float64
}

func (s spread) row(w around) [3]float64 {
	return [3]float64{1, math.Abs(w.last - s.middle), math.Abs(w.last - w.before)}
}

func (s spread) of(w around) (out float64) {
	for i, x := range s.row(w) {
		out += s.by[i] * x
	}
	return max(out, s.least)
}

// spreadOf fits the sizes of a prediction's errors by least squares.
func spreadOf(windows []around, f fitted) spread {
	s := spread{middle: middle(windows)}
	var xx [3][3]float64
	var xy [3]float64
	for _, w := range windows {
		x, e := s.row(w), math.Abs(w.after-f.predict(w))
		for i := range x {
			for j := range x {
				xx[i][j] += x[i] * x[j]
			}
			xy[i] += x[i] * e
		}
		s.least += calmest * e / float64(len(windows))
	}
	for range sweeps { // one coefficient after the other: the least of a convex sum
		before := s.by
		for i := range s.by {
			rest := xy[i]
			for j := range s.by {
				if j != i {
					rest -= xx[i][j] * s.by[j]
				}
			}
			if s.by[i] = 0; xx[i][i] > 0 {
				s.by[i] = max(0, rest/xx[i][i])
			}
		}
		if s.by == before {
			break
		}
	}
	return s
}

// even fits the regression, the windows and the target having weights by the spread of
// their errors.
func even(windows []around, target *around) (f fitted, ok bool) {
	f, ok = regress(windows)
	for range spreadRounds {
		if !ok {
			break
		}
		s := spreadOf(windows, f)
		if !(s.least > 0) || math.IsInf(s.least, 0) { // it predicts exactly, or not at all
			break
		}
		for i, w := range windows {
			windows[i].scale = s.of(w)
		}
		target.scale = s.of(*target)
		f, ok = regress(windows)
	}
	return f, ok
}

// uneven takes the weights back.
func uneven(windows []around, target *around) {
	for i := range windows {
		windows[i].scale = 1
	}
	target.scale = 1
}

// middle is the median of what the windows began with.
func middle(windows []around) float64 {
	sorted := slices.Sorted(slices.Values(lasts(windows)))
	return sorted[len(sorted)/2]
}
