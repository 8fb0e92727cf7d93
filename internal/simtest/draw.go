package simtest

import (
	"math"
	"math/rand/v2"
)

// exactBelow is the mean from which counts are drawn from the normal distribution.
const exactBelow = 100

// poisson draws the number of events of a rate.
func poisson(r *rand.Rand, mean float64) int {
	if !(mean > 0) {
		return 0
	}
	if mean >= exactBelow {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n := 0
	for left := mean; ; n++ {
		if left -= r.ExpFloat64(); left < 0 {
			return n
		}
	}
}

// binomial draws the successes of n trials.
func binomial(r *rand.Rand, n int, p float64) int {
	switch {
	case !(p > 0) || n <= 0:
		return 0
	case p >= 1:
		return n
	case p > 0.5:
		return n - binomial(r, n, 1-p)
	}
	if mean := float64(n) * p; mean >= exactBelow {
		return min(n, max(0, int(math.Round(mean+math.Sqrt(mean*(1-p))*r.NormFloat64()))))
	}
	scale := math.Log1p(-p)
	k := 0
	for at := float64(n); ; k++ {
		// Trials up to and with the next success are geometric.
		if at -= 1 + math.Floor(-r.ExpFloat64()/scale); at < 0 {
			return k
		}
	}
}

// clustered draws failures of n trials that come in clusters of burst on average.
func clustered(r *rand.Rand, n int, p, burst float64) int {
	if burst <= 1 {
		return binomial(r, n, p)
	}
	return min(n, bunched(r, float64(n)*p, burst))
}

// bunched draws events of a mean that come in clusters of burst on average.
func bunched(r *rand.Rand, mean, burst float64) int {
	if burst <= 1 {
		return poisson(r, mean)
	}
	clusters := poisson(r, mean/burst)
	if clusters >= exactBelow {
		// Sizes are geometric: their variance is burst²-burst.
		mean := float64(clusters) * burst
		return max(0, int(math.Round(mean+math.Sqrt(float64(clusters)*burst*(burst-1))*r.NormFloat64())))
	}
	k, scale := 0, math.Log1p(-1/burst)
	for range clusters {
		k += 1 + int(-r.ExpFloat64()/scale)
	}
	return k
}

// deal divides k, at most the sum of sizes, among parts without replacement,
// near enough to the hypergeometric distribution. It adds to got and returns it.
func deal(r *rand.Rand, k int, sizes, got []int) []int {
	left := 0
	for _, n := range sizes {
		left += n
	}
	for i, n := range sizes {
		if k <= 0 || left <= 0 {
			break
		}
		x := n
		if left > n {
			x = binomial(r, k, float64(n)/float64(left))
		}
		x = min(n, k, max(x, k-(left-n)))
		got[i] += x
		k, left = k-x, left-n
	}
	return got
}

// apportion divides n among parts by their weights, in whole numbers, at most
// limits[i] each (nil is no limit), by largest remainders. Without limits the parts
// add up to n if any weight is positive.
func apportion(n int, weights []float64, limits []int) []int {
	out := make([]int, len(weights))
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if !(sum > 0) || n <= 0 {
		return out
	}
	given, up := 0, 0.0
	for i, w := range weights {
		// Running totals are rounded, so that errors do not add up.
		up += float64(n) * w / sum
		out[i] = max(0, int(math.Round(up))-given)
		given += out[i]
	}
	if limits == nil {
		return out
	}
	over := 0
	for i := range out {
		if out[i] > limits[i] {
			over += out[i] - limits[i]
			out[i] = limits[i]
		}
	}
	for i := range out {
		more := min(over, limits[i]-out[i])
		out[i] += more
		over -= more
	}
	return out
}
