package mitigate

import (
	"math"

	"assay.dev/assay/infer"
)

// confidence of the intervals that shares are judged by.
const confidence = 0.95

// exactUpTo is how many of the rarer outcome the exact interval is reckoned for: its
// cost grows with them, and beyond it the score interval differs by less than a
// twentieth of the width.
const exactUpTo = 50

// interval is the confidence interval of a share, of counts that may be estimates.
// Without any trials it is everything: 0 to 1.
func interval(events, total float64) (low, high float64) {
	n := math.Round(max(total, events))
	k := min(math.Round(events), n)
	if n == 0 {
		return 0, 1
	}
	if min(k, n-k) <= exactUpTo && n < 1e15 {
		return infer.ClopperPearson(uint64(k), uint64(n), confidence)
	}
	const z = 1.959963984540054
	p, mid := k/n, (k+z*z/2)/(n+z*z)
	half := z / (n + z*z) * math.Sqrt(n*p*(1-p)+z*z/4)
	return max(0, mid-half), min(1, mid+half)
}
