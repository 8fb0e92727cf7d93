package infer

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Garwood is the exact two-sided confidence interval of the mean of a Poisson count, of
// which events were seen. With a confidence that is none it is everything.
// Source: Garwood, Fiducial limits for the Poisson distribution, Biometrika 28, 1936.
func Garwood(events uint64, confidence float64) (low, high float64) {
	if !(confidence > 0 && confidence < 1) {
		return 0, math.Inf(1)
	}
	tail := (1 - confidence) / 2
	if events > 0 {
		low = mathext.GammaIncRegInv(float64(events), tail)
	}
	return low, mathext.GammaIncRegCompInv(float64(events)+1, tail)
}

// ClopperPearson is the exact two-sided confidence interval of a probability after
// events in n trials, for example of false alarms in a simulation. Without trials,
// or with more events than trials, it is everything: 0 to 1. Its cost grows with
// events, or with n−events if that is less.
func ClopperPearson(events, n uint64, confidence float64) (low, high float64) {
	if n == 0 || events > n || !(confidence > 0 && confidence < 1) {
		return 0, 1
	}
	if events > n/2 {
		low, high = ClopperPearson(n-events, n, confidence)
		return 1 - high, 1 - low
	}
	var few [heldTerms]float64
	t, tail := binomialsOf(few[:0], events, n), (1-confidence)/2
	high = 1
	if events < n {
		from, to := t.near(events, tail)
		high = bisect(func(p float64) bool {
			return p <= from || p < to && t.atMost(events, p, func(sum float64) bool { return sum > tail })
		})
	}
	if events > 0 {
		low = bisect(func(p float64) bool { return t.atMost(events-1, p, func(sum float64) bool { return 1-sum < tail }) })
	}
	return low, high
}

// bisect finds where below turns false between 0 and 1.
func bisect(below func(p float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// Terms of the binomial distribution whose logarithms of n over x are kept: on the stack,
// and at most. Those above are reckoned each time.
const (
	heldTerms = 64
	keptTerms = 1 << 16
)

const (
	// nearWidth is how far, relative to it, near looks on both sides of what it found, and
	// nearSure by how much, relative to the level, the sums must be on their side there. In
	// their range, up to heldTerms events in nearTrials, rounding moves them by a tenth of it.
	nearWidth  = 1e-11
	nearSure   = 3e-12
	nearTrials = 1 << 32
	nearSteps  = 20
)

// near is where the probability of k or fewer events falls to a level below a half: it is
// surely above it up to from, and surely below it from to on, so that a bisection need not
// reckon there. By Newton's method in ln(1−p), of which the logarithm of that probability is
// a concave function. Where it cannot be sure it is everything, 0 to 1.
func (b binomials) near(k uint64, level float64) (from, to float64) {
	if k >= heldTerms || b.n > nearTrials {
		return 0, 1
	}
	x, n := float64(k+1), float64(b.n)
	u := -math.Log1p(-min((x+2*math.Sqrt(x)+2)/(n+1), x/(x+1))) // beyond it, for the usual levels
	for range nearSteps {
		sum, last := b.sum(k, -math.Expm1(-u))
		step := math.Log(sum/level) * sum / ((n - float64(k)) * last)
		u += step
		if math.Abs(step) <= nearWidth/10*u {
			break
		}
	}
	p := -math.Expm1(-u)
	from, to = p*(1-nearWidth), p*(1+nearWidth)
	above, _ := b.sum(k, from)
	below, _ := b.sum(k, to)
	if !(above > level*(1+nearSure) && below < level*(1-nearSure) && to < 1) {
		return 0, 1
	}
	return from, to
}

// sum is the probability of k or fewer events, and that of k.
func (b binomials) sum(k uint64, p float64) (sum, last float64) {
	yes, no := math.Log(p), math.Log1p(-p)
	for x := range k + 1 {
		last = math.Exp(b.ways[x] + float64(x)*yes + float64(b.n-x)*no)
		sum += last
	}
	return sum, last
}

// binomials are the numbers of ways to have 0, 1, 2 … events in n trials, as logarithms:
// the same at every probability that a bisection tries.
type binomials struct {
	n    uint64
	ways []float64
}

// binomialsOf are those up to events; room is where they are kept if it is large enough.
func binomialsOf(room []float64, events, n uint64) binomials {
	for x := range min(events+1, keptTerms) {
		room = append(room, logChoose(n, x))
	}
	return binomials{n, room}
}

// atMost reports whether the probability of k or fewer events is enough. What is enough
// stays enough with more, so it stops there.
func (b binomials) atMost(k uint64, p float64, enough func(sum float64) bool) bool {
	sum, yes, no := 0.0, math.Log(p), math.Log1p(-p)
	for x := range k + 1 {
		ways := 0.0
		if x < uint64(len(b.ways)) {
			ways = b.ways[x]
		} else {
			ways = logChoose(b.n, x)
		}
		if sum += math.Exp(ways + float64(x)*yes + float64(b.n-x)*no); enough(min(sum, 1)) {
			return true
		}
	}
	return false
}
