package infer

import (
	"math"
	"slices"

	"assay.dev/assay"
)

// Harm is ln E against "ratio ≤ Harm.Null". Reject when it reaches ln(1/α).
func (k *Comparison) Harm(s State) float64 { return logSumExp(k.components(s, k.harm)) }

// Safe is ln E against "ratio ≥ Safe.Null". Reject when it reaches ln(1/β).
func (k *Comparison) Safe(s State) float64 { return logSumExp(k.components(s, k.safe)) }

// components are the log terms of one side's mixture.
func (k *Comparison) components(s State, d side) []float64 {
	out := slices.Clone(d.logw)
	if len(s.LogNorm) == 0 {
		return out
	}
	for i, j := range d.sizes {
		out[i] += k.gain(s, j, d.null)
	}
	return out
}

// gain is the log likelihood ratio of node j against node null.
func (k *Comparison) gain(s State, j, null int) float64 {
	x := float64(s.Treated.Events)
	return (x*(k.nodes[j]-k.nodes[null]) - (s.LogNorm[j] - s.LogNorm[null])) / k.phi
}

// Posterior is the weight of each size of harm given that there is harm, in the
// order of Harm.Sizes: the components of the harm mixture, normalised.
func (k *Comparison) Posterior(s State) []Size {
	c := k.components(s, k.harm)
	total := logSumExp(c)
	out := make([]Size, len(c))
	for i := range c {
		out[i] = Size{Ratio: k.ratios[k.harm.sizes[i]], Weight: math.Exp(c[i] - total)}
	}
	return out
}

// Certainty is what the answers rest on, with the assumptions in one sentence.
func (k *Comparison) Certainty() (assay.Certainty, string) {
	switch {
	case k.phi > 1:
		return assay.Calibrated, "counts divided by the dispersion that the plan states; the error bound holds as far as that was measured"
	case k.kind == Odds:
		return assay.Exact, "Ville's inequality for independent requests: Fisher's conditional test per block, any rate, the rate may differ between blocks"
	default:
		return assay.Exact, "Ville's inequality for independent requests: conditional on the events of both arms, any common rate that both arms share over a block"
	}
}

// Interval is every ratio that the two-sided test at level alpha does not reject,
// now or at any earlier or later look together with probability 1−alpha. A bound
// outside the lattice is open: 0 below, +Inf above.
type Interval struct {
	Low, High float64
}

// Interval inverts a two-sided mixture with equal weights on the lattice. Between
// lattice points ln E is convex in ln ratio, so lines through outer neighbours
// bound it from below, and the interval is only ever too wide.
func (k *Comparison) Interval(s State, alpha float64) Interval {
	open := Interval{0, math.Inf(1)}
	if len(s.LogNorm) == 0 || len(k.lattice) < 2 {
		return open
	}
	u := make([]float64, len(k.lattice))
	f := make([]float64, len(k.lattice)) // ln E with the lattice point as the null
	terms := make([]float64, len(k.lattice))
	for i, j := range k.lattice {
		u[i] = k.nodes[j]
		f[i] = -k.gain(s, j, k.harm.null)
		terms[i] = -f[i] - math.Log(float64(len(k.lattice)))
	}
	m := logSumExp(terms)
	for i := range f {
		f[i] += m + math.Log(alpha)
	}
	open.High = upperBound(u, f)
	ru, rf := slices.Clone(u), slices.Clone(f)
	for i := range ru {
		ru[i] = -ru[i]
	}
	slices.Reverse(ru)
	slices.Reverse(rf)
	if h := upperBound(ru, rf); !math.IsInf(h, 1) {
		open.Low = 1 / h
	}
	return open
}

// upperBound finds e^u beyond which the convex f, known at the points u, is surely
// at least 0; +Inf if that is beyond the last point.
func upperBound(u, f []float64) float64 {
	least := 0
	for i := range f {
		if f[i] < f[least] {
			least = i
		}
	}
	for i := least; i < len(f); i++ {
		if f[i] < 0 {
			continue
		}
		if i == least && i+1 == len(f) {
			break // rejected on the whole lattice: the ratio is beyond its end
		}
		if i == least {
			return math.Exp(u[i+1]) // or between two of its points
		}
		if i+1 == len(f) || f[i+1] <= f[i] {
			return math.Exp(u[i])
		}
		slope := (f[i+1] - f[i]) / (u[i+1] - u[i])
		return math.Exp(max(u[i-1], u[i]-f[i]/slope))
	}
	return math.Inf(1)
}

// UntilHarm is how much more treated exposure it takes until Harm reaches
// threshold if everything goes on in the proportions seen so far; 0 if it already
// has, and false if it never will.
func (k *Comparison) UntilHarm(s State, threshold float64) (float64, bool) {
	return k.until(s, k.harm, threshold)
}

// UntilSafe is the same for Safe.
func (k *Comparison) UntilSafe(s State, threshold float64) (float64, bool) {
	return k.until(s, k.safe, threshold)
}

func (k *Comparison) until(s State, d side, threshold float64) (float64, bool) {
	gains := k.components(s, d)
	for i := range gains {
		gains[i] -= d.logw[i]
	}
	return stretch(d.logw, gains, float64(s.Treated.Exposure), threshold)
}

// stretch finds how much more exposure lifts a mixture to threshold, when the gain
// of each component grows in proportion to the exposure.
func stretch(logw, gains []float64, exposure, threshold float64) (float64, bool) {
	terms := make([]float64, len(gains))
	at := func(scale float64) float64 {
		for i, g := range gains {
			terms[i] = logw[i] + scale*g
		}
		return logSumExp(terms)
	}
	if at(1) >= threshold {
		return 0, true
	}
	if exposure == 0 || slices.Max(gains) <= 0 {
		return 0, false
	}
	low, high := 1.0, 2.0
	for at(high) < threshold {
		if low, high = high, high*2; high > 1e9 {
			return 0, false
		}
	}
	for range 60 {
		if mid := (low + high) / 2; at(mid) < threshold {
			low = mid
		} else {
			high = mid
		}
	}
	return (high - 1) * exposure, true
}

// logSumExp is ln Σ e^x without overflow; −Inf for nothing.
func logSumExp(x []float64) float64 {
	if len(x) == 0 {
		return math.Inf(-1)
	}
	m := slices.Max(x)
	if math.IsInf(m, 0) {
		return m
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum)
}
