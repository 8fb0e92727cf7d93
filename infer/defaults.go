package infer

import "math"

// HarmSizes is the mixture that the harm side uses unless told otherwise. Sizes and
// weights were chosen by simulation so that regressions of 2 to 10 times cost about
// the same against their floors; 1.5 and 30 times are there to be seen, not to be
// fast.
func HarmSizes() []Size {
	return []Size{{1.5, 0.8}, {2, 2.4}, {3, 2}, {5, 2}, {11, 3.4}, {30, 0.4}}
}

// SafeSizes is the mixture that the safety side uses unless told otherwise, for
// a null of 1+margin.
func SafeSizes() []Size { return []Size{{0.5, 1}, {0.8, 1}, {1, 4}, {1.25, 1}} }

// DefaultLattice are the ratios 1/32 to 32 in steps of half an octave, of a quarter
// between 1/4 and 4, where most answers lie.
func DefaultLattice() []float64 {
	var out []float64
	for i := -20; i <= 20; i++ {
		if i%2 == 0 || i > -8 && i < 8 {
			out = append(out, math.Exp2(float64(i)/4))
		}
	}
	return out
}
