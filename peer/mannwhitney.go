package peer

import (
	"errors"
	"math"
	"slices"
)

// errTied is what the interval is when no order can be told.
var errTied = errors.New("cannot compute confidence interval when all observations are tied")

// Shift is the Mann-Whitney interval of how far one sample lies above another, with
// the Hodges-Lehmann estimate, in the samples' unit.
type Shift struct {
	Low, High, Estimate float64
}

// MannWhitney is the location shift of x against y at a confidence, 0.98 for Kayenta.
// It ports MannWhitney.scala of spinnaker/kayenta, which follows R's wilcox.test
// (asymptotic, two samples): the statistic is a step function, so the tolerance of
// the root finder decides where on a step the answer lies. The estimate carries the
// continuity correction, unlike R's. The error says that all values are tied; both
// samples need at least one value and no NaN.
func MannWhitney(x, y []float64, confidence float64) (Shift, error) {
	w := wilcoxon{x: slices.Sorted(slices.Values(x)), y: slices.Sorted(slices.Values(y))}
	n, m := len(w.x), len(w.y)
	least, most := w.x[0]-w.y[m-1], w.x[n-1]-w.y[0]
	fLeast, err := w.at(least)
	if err != nil {
		return Shift{}, err
	}
	fMost, err := w.at(most)
	if err != nil {
		return Shift{}, err
	}
	z := upperQuantile(1 - confidence)
	root := func(q float64) float64 {
		switch {
		case fLeast-q <= 0:
			return least
		case fMost-q >= 0:
			return most
		}
		return w.root(least, most, fLeast-q, fMost-q, q)
	}
	s := Shift{Low: root(z), High: root(-z), Estimate: w.root(least, most, fLeast, fMost, 0)}
	return s, w.err
}

// upperQuantile is z with P(|Z| > z) = alpha, to the last place: on a step of the
// statistic the root moves with it. One Newton step corrects the library's inverse.
func upperQuantile(alpha float64) float64 {
	p := math.Round(alpha*1e12) / 2e12
	z := math.Sqrt2 * math.Erfcinv(2*p)
	density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	return z + (math.Erfc(z/math.Sqrt2)/2-p)/density
}

// wilcoxon is the standardised rank sum of x shifted down by mu, among y.
type wilcoxon struct {
	x, y []float64 // ascending
	err  error     // the first one inside a root
}

// at merges the two sorted samples: equal values share their mean rank.
func (w *wilcoxon) at(mu float64) (float64, error) {
	n, m := float64(len(w.x)), float64(len(w.y))
	rankSum, ties := 0.0, 0.0
	for i, j := 0, 0; i < len(w.x) || j < len(w.y); {
		v := math.Inf(1)
		if i < len(w.x) {
			v = w.x[i] - mu
		}
		if j < len(w.y) {
			v = min(v, w.y[j])
		}
		before, i0 := float64(i+j), i
		for i < len(w.x) && w.x[i]-mu == v {
			i++
		}
		for j < len(w.y) && w.y[j] == v {
			j++
		}
		t := float64(i+j) - before
		rankSum += float64(i-i0) * (before + (t+1)/2)
		ties += t*t*t - t
	}
	dz := rankSum - n*(n+1)/2 - n*m/2
	sigma := math.Sqrt((n * m / 12) * ((n + m + 1) - ties/((n+m)*(n+m-1))))
	if !(sigma > 0) {
		return 0, errTied
	}
	correction := 0.0
	if dz != 0 {
		correction = math.Copysign(0.5, dz)
	}
	return (dz - correction) / sigma, nil
}

// root finds where the statistic is q, with R's zeroin (Brent 1973): tolerance 1e-4,
// at most 1001 steps. fa and fb are the values at a and b.
func (w *wilcoxon) root(a, b, fa, fb, q float64) float64 {
	const tolerance, epsilon, steps = 1e-4, 2.220446049250313e-16, 1001
	if fa == 0 {
		return a
	}
	if fb == 0 {
		return b
	}
	c, fc := a, fa
	for range steps {
		last := b - a
		if math.Abs(fc) < math.Abs(fb) { // b is the best approximation
			a, b, c = b, c, b
			fa, fb, fc = fb, fc, fb
		}
		tol := 2*epsilon*math.Abs(b) + tolerance/2
		step := (c - b) / 2
		if math.Abs(step) <= tol || fb == 0 {
			return b
		}
		if math.Abs(last) >= tol && math.Abs(fa) > math.Abs(fb) {
			step = interpolate(a, b, c, fa, fb, fc, tol, last, step)
		}
		if math.Abs(step) < tol {
			step = math.Copysign(tol, step)
			if step == 0 {
				step = -tol
			}
		}
		a, fa = b, fb
		b += step
		v, err := w.at(b)
		if err != nil {
			w.err = err
			return b
		}
		if fb = v - q; fb > 0 && fc > 0 || fb < 0 && fc < 0 {
			c, fc = a, fa
		}
	}
	return b
}

// interpolate is Brent's secant or inverse quadratic step where it stays inside the
// bracket and shrinks fast enough, otherwise the bisection.
func interpolate(a, b, c, fa, fb, fc, tol, last, bisection float64) float64 {
	var p, q float64
	cb := c - b
	if a == c {
		t := fb / fa
		p, q = cb*t, 1-t
	} else {
		t1, t2 := fb/fc, fb/fa
		q = fa / fc
		p = t2 * (cb*q*(q-t1) - (b-a)*(t1-1))
		q = (q - 1) * (t1 - 1) * (t2 - 1)
	}
	if p > 0 {
		q = -q
	} else {
		p = -p
	}
	if p < 0.75*cb*q-math.Abs(tol*q)/2 && p < math.Abs(last*q/2) {
		return p / q
	}
	return bisection
}
