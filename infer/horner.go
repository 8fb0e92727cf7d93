package infer

// lanes is how many ratios one call evaluates a polynomial at: as many as the usual tests have.
const lanes = 36

// evaluate fills out with the polynomial at some of ratios, the first ones, by Horner's rule
// side by side: each step waits for the one before it, and not for its neighbours. What is in
// out behind them is not defined. A processor with vectors does the same products and sums in
// the same order, so that the same bits come out.
func evaluate(terms []float64, ratios *[lanes]float64, some int, out *[lanes]float64) {
	if hasVectors {
		evaluateVectors(&terms[0], len(terms), ratios, out)
		return
	}
	for i := 0; i < some; i += twelve {
		evaluateTwelve(terms, (*[twelve]float64)(ratios[i:]), (*[twelve]float64)(out[i:]))
	}
}

// twelve is how many lanes fit into the registers of a processor without vectors.
const twelve = 12

// evaluateTwelve fills out with the polynomial at twelve ratios.
func evaluateTwelve(terms []float64, r, out *[twelve]float64) {
	n := len(terms) - 1
	top := terms[n]
	if n == 0 {
		for j := range out {
			out[j] = top
		}
		return
	}
	a, b, c, d, e, f := top, top, top, top, top, top
	g, h, i, k, l, m := top, top, top, top, top, top
	// What a step begins with is used in it alone, and not after the loop: so the ratios are
	// read where they are multiplied, and not one step earlier.
	for j := n - 1; ; j-- {
		t := terms[j]
		a, b, c, d, e, f = a*r[0]+t, b*r[1]+t, c*r[2]+t, d*r[3]+t, e*r[4]+t, f*r[5]+t
		g, h, i, k, l, m = g*r[6]+t, h*r[7]+t, i*r[8]+t, k*r[9]+t, l*r[10]+t, m*r[11]+t
		if j == 0 {
			break
		}
	}
	*out = [twelve]float64{a, b, c, d, e, f, g, h, i, k, l, m}
}
