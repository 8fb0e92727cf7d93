package infer

import (
	"math"
	"slices"

	"assay.dev/assay"
)

// Harm is ln E against "ratio ≤ Harm.Null". Reject when it reaches ln(1/α).
func (k *Comparison) Harm(s State) float64 { return k.harmOf(&s, 0) }

// HarmWithout is Harm if the treated arm had had so many events less, all of them at its
// share of the exposure: what is left when one burst is taken away. For odds, where it
// depends on the block, it is an approximation for rare events.
func (k *Comparison) HarmWithout(s State, events uint64) float64 {
	return k.harmOf(&s, min(events, s.Treated.Events))
}

const (
	// fewSizes is how many sizes of a mixture fit without being allocated: answers are
	// asked for at every look of every rollout.
	fewSizes = 16
	// fewTerms is the same for all beginnings of the usual sizes of harm together.
	fewTerms = (1+lateKept)*6 + 1
)

func (k *Comparison) harmOf(s *State, without uint64) float64 {
	if k.kind == Means {
		return k.won(s, k.harm.null, above)
	}
	var room [fewTerms]float64
	gains, n := room[:], len(k.harm.sizes)
	if terms := (1+len(s.Starts))*n + 1; terms > len(room) {
		gains = make([]float64, terms)
	}
	k.gains(gains[:n], s, &k.harm)
	gains = gains[:n]
	if k.late > 0 {
		for i := range s.Starts {
			to := len(gains)
			gains = gains[:to+n]
			k.since(gains[to:], s, &s.Starts[i])
		}
	}
	k.divide(gains)
	if without > 0 {
		for i := 0; i < len(gains); i += n {
			k.takeAway(gains[i:], s, without)
		}
	}
	if k.late > 0 { // beginnings that are still to come have shown nothing yet: each counts as 1
		gains = append(gains, 0)
	}
	return k.mixture(gains, s)
}

// mixture is ln Σ w·e^gain of the harm side: of the first beginning, then of the later
// ones, then of those still to come.
func (k *Comparison) mixture(gains []float64, s *State) float64 {
	m := greatest(gains)
	if math.IsInf(m, 0) {
		return m
	}
	var room [lanes]float64
	terms := exps(&room, gains, m)
	sum, n := 0.0, len(k.harm.early)
	early, weights := k.harm.early, k.harm.weights[:n]
	for i, e := range terms[:n] {
		sum += early[i] * e
	}
	if k.late == 0 {
		return m + math.Log(sum)
	}
	for b := range s.Starts {
		terms = terms[n:]
		weight := s.Starts[b].Weight
		for i, e := range terms[:n] {
			sum += weight * weights[i] * e
		}
	}
	sum += k.late / float64(doublings(s.Treated, s.Control)+1) * terms[len(terms)-1]
	return m + math.Log(sum)
}

// takeAway lowers the gains of the harm side's sizes by what so many events brought.
func (k *Comparison) takeAway(gains []float64, s *State, events uint64) {
	x, w := float64(events), float64(s.Treated.Exposure)/max(1, float64(s.Treated.Exposure+s.Control.Exposure))
	null := k.ratios[k.harm.null]
	for i, j := range k.harm.sizes {
		norm := math.Log1p(w*(k.ratios[j]-1)) - math.Log1p(w*(null-1))
		gains[i] -= x * (k.harm.spans[i] - norm) / k.phi
	}
}

// since fills out with what each size of the harm side gained, not divided yet, if the evidence
// begins at at.
func (k *Comparison) since(out []float64, s *State, at *Start) {
	x, norms := float64(s.Treated.Events-at.Events), s.LogNorm
	null, sizes := norms[k.harm.null]-at.LogNorm[0], k.harm.sizes
	spans, then := k.harm.spans[:len(sizes)], at.LogNorm[1:]
	out, then = out[:len(sizes)], then[:len(sizes)]
	for i, j := range sizes {
		out[i] = x*spans[i] - (norms[j] - then[i] - null)
	}
}

// divide divides gains by the dispersion, which is usually 1; divisions cost as much as the
// rest.
func (k *Comparison) divide(gains []float64) {
	if k.phi == 1 {
		return
	}
	for i := range gains {
		gains[i] /= k.phi
	}
}

// divided is a gain divided by the dispersion, which is usually 1; a division costs as much
// as the rest.
func (k *Comparison) divided(gain float64) float64 {
	if k.phi == 1 {
		return gain
	}
	return gain / k.phi
}

// Safe is ln E against "ratio ≥ Safe.Null". Reject when it reaches ln(1/β).
func (k *Comparison) Safe(s State) float64 {
	if k.kind == Means {
		return k.won(&s, k.safe.null, below)
	}
	n := len(k.safe.sizes)
	var room [fewSizes]float64
	gains := room[:]
	if n > len(room) {
		gains = make([]float64, n)
	}
	gains = gains[:n]
	k.gains(gains, &s, &k.safe)
	k.divide(gains)
	return logMeanExp(gains, k.safe.weights)
}

// gains fills out, which is nothing yet, with what each size of one side gained, not divided yet.
func (k *Comparison) gains(out []float64, s *State, d *side) {
	if len(s.LogNorm) == 0 {
		return
	}
	x, norms := float64(s.Treated.Events), s.LogNorm
	null, sizes := norms[d.null], d.sizes
	spans := d.spans[:len(sizes)]
	out = out[:len(sizes)]
	for i, j := range sizes {
		out[i] = x*spans[i] - (norms[j] - null)
	}
}

// components appends the log terms of one side's mixture to out, which is empty.
func (k *Comparison) components(out []float64, s *State, d *side) []float64 {
	out = append(out, d.logw...)
	if len(s.LogNorm) == 0 {
		return out
	}
	x, norms := float64(s.Treated.Events), s.LogNorm
	null, sizes := norms[d.null], d.sizes
	spans, terms := d.spans[:len(sizes)], out[:len(sizes)]
	for i, j := range sizes {
		terms[i] += k.divided(x*spans[i] - (norms[j] - null))
	}
	return out
}

// Posterior is the weight of each size of harm given that there is harm, in the
// order of Harm.Sizes: the components of the harm mixture, normalised.
func (k *Comparison) Posterior(s State) []Size { return k.AppendPosterior(nil, &s) }

// AppendPosterior appends Posterior to out.
func (k *Comparison) AppendPosterior(out []Size, s *State) []Size {
	if k.kind == Means {
		return out // bets say that there is harm, and not how much
	}
	var room [fewSizes]float64
	c := k.components(room[:0], s, &k.harm)
	total, sizes := logSumExp(c), k.harm.sizes[:len(c)]
	for i, v := range c {
		out = append(out, Size{Ratio: k.ratios[sizes[i]], Weight: math.Exp(v - total)})
	}
	return out
}

// Certainty is what the answers rest on, with the assumptions in one sentence.
func (k *Comparison) Certainty() (assay.Certainty, string) {
	switch {
	case k.phi > 1:
		return assay.Calibrated, "counts divided by the dispersion that the plan states; the error bound holds as far as that was measured"
	case k.gather > 0:
		return assay.Calibrated, "independent events; small blocks are looked at while they grow: false aborts measured by bench/detect"
	case k.kind == Means:
		return assay.Exact, "Ville's inequality for bets on bounded values: given what came before, the two versions' means of a block are as far apart as the null says, whatever they are and however they vary"
	case k.kind == Counts:
		return assay.Exact, "Ville's inequality for independent events: conditional on the events of both arms, any common intensity that both arms share over a block"
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

// fewNodes is how many points of a lattice fit without being allocated.
const fewNodes = 64

// Interval inverts a two-sided mixture with equal weights on the lattice. Between
// lattice points ln E is convex in ln ratio, so lines through outer neighbours
// bound it from below, and the interval is only ever too wide.
func (k *Comparison) Interval(s State, alpha float64) Interval {
	open := Interval{0, math.Inf(1)}
	if len(s.LogNorm) == 0 || len(k.lattice) < 2 {
		return open
	}
	if k.kind == Means {
		return k.meansInterval(&s, alpha)
	}
	n := len(k.lattice)
	var room [fewNodes]float64
	f := room[:] // ln E with the lattice point as the null
	if n > len(room) {
		f = make([]float64, n)
	}
	f = f[:n]
	most := k.onLattice(f, &s)
	// ln E with a point as the null is level less what is at it.
	level := logSum(f, most) + math.Log(alpha/float64(n))
	first, last, lowest := 0, n-1, level-most // of the least ones, which are neighbours
	for level-f[first] > lowest {
		first++
	}
	for level-f[last] > lowest {
		last--
	}
	open.High = upperBound(k.points, f, level, first, 1)
	if h := upperBound(k.points, f, level, last, -1); !math.IsInf(h, 1) {
		open.Low = 1 / h
	}
	return open
}

// onLattice fills out with what each point of the lattice gained against harm's null, and
// returns the most.
func (k *Comparison) onLattice(out []float64, s *State) float64 {
	x, null, spans := float64(s.Treated.Events), s.LogNorm[k.harm.null], k.spans[:len(out)]
	norms, most := s.LogNorm, math.Inf(-1)
	for i, j := range k.lattice[:len(out)] {
		gain := x*spans[i] - (norms[j] - null)
		if out[i] = gain; gain > most {
			most = gain
		}
	}
	k.divide(out)
	return k.divided(most)
}

// upperBound finds e^u beyond which the convex level − f, f known at the points u and
// greatest at one of them, is surely at least 0; +Inf if that is beyond the last point. With
// a sign of −1 it goes the other way: over the points −u, from the last one on.
func upperBound(u, f []float64, level float64, greatest, sign int) float64 {
	end := len(f)
	if sign < 0 {
		end = -1
	}
	point := func(i int) float64 { return float64(sign) * u[i] }
	for i := greatest; i != end; i += sign {
		v := level - f[i]
		if v < 0 {
			continue
		}
		next := i + sign
		if i == greatest && next == end {
			break // rejected on the whole lattice: the ratio is beyond its end
		}
		if i == greatest {
			return math.Exp(point(next)) // or between two of its points
		}
		if next == end || level-f[next] <= v {
			return math.Exp(point(i))
		}
		slope := (level - f[next] - v) / (point(next) - point(i))
		return math.Exp(max(point(i-sign), point(i)-v/slope))
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
	if k.kind == Means {
		return k.untilWon(&s, d, threshold)
	}
	var room [fewSizes]float64
	gains := k.components(room[:0], &s, &d)
	for i := range gains {
		gains[i] -= d.logw[i]
	}
	return stretch(d.logw, gains, float64(s.Treated.Exposure), threshold)
}

// stretch finds how much more exposure lifts a mixture to threshold, when the gain
// of each component grows in proportion to the exposure.
func stretch(logw, gains []float64, exposure, threshold float64) (float64, bool) {
	if e, _ := along(logw, gains, 1); e >= threshold {
		return 0, true
	}
	if exposure == 0 || slices.Max(gains) <= 0 {
		return 0, false
	}
	scale := reach(logw, gains, threshold)
	if scale < 0 || scale > 1e9 {
		return 0, false
	}
	return max(0, scale-1) * exposure, true
}

// along is ln Σ exp(from + t·drift) and its slope in t.
func along(from, drift []float64, t float64) (value, slope float64) {
	most := math.Inf(-1)
	for i := range from {
		most = max(most, from[i]+t*drift[i])
	}
	sum := 0.0
	for i := range from {
		if d := from[i] + t*drift[i] - most; d > negligible {
			e := math.Exp(d)
			sum += e
			slope += e * drift[i]
		}
	}
	return most + math.Log(sum), slope / sum
}

// reach is when ln Σ exp(from + t·drift) reaches threshold, 0 if it already has and −1
// if it never will.
func reach(from, drift []float64, threshold float64) float64 {
	// The fastest component alone arrives at latest. From there Newton's steps never
	// go too far back, because the curve is convex.
	t := math.Inf(1)
	for i := range from {
		if drift[i] > 0 {
			t = min(t, max(0, threshold-from[i])/drift[i])
		}
	}
	if math.IsInf(t, 1) || t > 1e15 {
		return -1
	}
	for range 60 {
		e, slope := along(from, drift, t)
		if e <= threshold || slope <= 0 {
			break
		}
		step := (e - threshold) / slope
		t = max(0, t-step)
		if step <= 1e-12*t {
			break
		}
	}
	return t
}

// logSumExp is ln Σ e^x without overflow; −Inf for nothing.
func logSumExp(x []float64) float64 {
	if len(x) == 0 {
		return math.Inf(-1)
	}
	return logSum(x, greatest(x))
}

// logSum is ln Σ e^x, of which m is the greatest x. On a lattice most of what lies to the left
// and to the right is negligible.
func logSum(x []float64, m float64) float64 {
	if math.IsInf(m, 0) {
		return m
	}
	for x[0]-m <= negligible {
		x = x[1:]
	}
	for x[len(x)-1]-m <= negligible {
		x = x[:len(x)-1]
	}
	var room [lanes]float64
	sum := 0.0
	for _, e := range exps(&room, x, m) {
		sum += e
	}
	return m + math.Log(sum)
}

// logMeanExp is ln Σ w·e^x without overflow, for weights that sum to 1.
func logMeanExp(x, weights []float64) float64 {
	m := greatest(x)
	if math.IsInf(m, 0) {
		return m
	}
	var room [lanes]float64
	sum := 0.0
	for i, e := range exps(&room, x, m) {
		sum += weights[i] * e
	}
	return m + math.Log(sum)
}

// greatest is the maximum of x, which has no NaN: slices.Max looks for one.
func greatest(x []float64) float64 {
	m := x[0]
	for _, v := range x[1:] {
		if v > m {
			m = v
		}
	}
	return m
}
