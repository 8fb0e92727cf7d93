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
	tail := (1 - confidence) / 2
	if events > n/2 {
		low, high = ClopperPearson(n-events, n, confidence)
		return 1 - high, 1 - low
	}
	high = 1
	if events < n {
		high = bisect(func(p float64) bool { return atMost(events, n, p) > tail })
	}
	if events > 0 {
		low = bisect(func(p float64) bool { return 1-atMost(events-1, n, p) < tail })
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

// atMost is the probability of k or fewer events in n trials.
func atMost(k, n uint64, p float64) float64 {
	sum := 0.0
	for x := range k + 1 {
		sum += math.Exp(logChoose(n, x) + float64(x)*math.Log(p) + float64(n-x)*math.Log1p(-p))
	}
	return min(sum, 1)
}
