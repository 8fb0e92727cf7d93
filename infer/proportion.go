package infer

import "math"

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
		high = bisect(func(p float64) bool { return t.atMost(events, p, func(sum float64) bool { return sum > tail }) })
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
