package infer

import "math"

// logs replaces some of v, the first ones, by the logarithms of what they are over a
// number. What is in v behind them is not defined. All are above 0 and normal, as polynomials
// are here: a processor with vectors takes the steps of math.Log without asking, so that the
// same bits come out.
func logs(v *[lanes]float64, some int, over float64) {
	if hasVectors {
		logsVectors(v, over)
		return
	}
	for i, x := range v[:some] {
		v[i] = math.Log(x / over)
	}
}

// negligible is the logarithm of a term, relative to the greatest, below which it does
// not reach the last bit of a sum.
const negligible = -40

// exps are e to the power of what lies between each of x and top, of which none is above it, and
// 0 where that is negligible. They are in room, if it has as many places. A processor with
// vectors takes the steps of math.Exp without asking what those have no special answer for.
func exps(room *[lanes]float64, x []float64, top float64) []float64 {
	if hasVectors && len(x) <= len(room) {
		copy(room[:], x)
		expsVectors(room, (len(x)+3)/4, top, negligible)
		return room[:len(x)]
	}
	out := room[:0]
	for _, v := range x {
		e := 0.0
		if v -= top; v > negligible {
			e = math.Exp(v)
		}
		out = append(out, e)
	}
	return out
}
