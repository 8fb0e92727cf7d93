package infer

import "math"

// HarmSizes is the mixture that the harm side uses unless told otherwise: equal
// weights, because a newcomer can check them, at sizes chosen by simulation so that
// regressions from 1.5 to 30 times cost about the same against their floors.
func HarmSizes() []Size {
	return []Size{{1.5, 1}, {2, 1}, {3, 1}, {5, 1}, {10, 1}, {30, 1}}
}

// SafeSizes is the mixture that the safety side uses unless told otherwise, for
// a null of 1+margin.
func SafeSizes() []Size { return []Size{{0.5, 1}, {0.8, 1}, {1, 4}, {1.25, 1}} }

// DefaultLattice are the ratios 1/32 to 32 in steps of a quarter octave.
func DefaultLattice() []float64 {
	var out []float64
	for i := -20; i <= 20; i++ {
		out = append(out, math.Exp2(float64(i)/4))
	}
	return out
}
