package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// The draws below are exact, not approximations: what is claimed of a test at one
// in two thousand must not rest on the world being nearly binomial.

// poisson draws the number of events of a rate, by the gaps between them.
func poisson(r *rand.Rand, mean float64) (n uint64) {
	for left := mean; ; n++ {
		if left -= r.ExpFloat64(); left < 0 {
			return n
		}
	}
}

// binomial draws the successes of n trials, by the gaps between them; its cost
// grows with the rarer outcome.
func binomial(r *rand.Rand, n uint64, p float64) (k uint64) {
	switch {
	case p <= 0 || n == 0:
		return 0
	case p >= 1:
		return n
	case p > 0.5:
		return n - binomial(r, n, 1-p)
	}
	scale := math.Log1p(-p)
	for at := float64(n); ; k++ {
		// Trials up to and with the next success are geometric.
		if at -= 1 + math.Floor(-r.ExpFloat64()/scale); at < 0 {
			return k
		}
	}
}

// Latency is how long a version takes: log-normal, and for a share of the
// requests Slow times longer.
type Latency struct {
	Median time.Duration `json:"median"`
	Spread float64       `json:"spread"` // standard deviation of the logarithm; 0 is constant
	Tail   float64       `json:"tail"`   // share of slow requests, 0 to 1
	Slow   float64       `json:"slow"`   // factor of a slow request, at least 1
}

// below is the probability that a request takes at most d.
func (l Latency) below(d time.Duration) float64 {
	p := l.cdf(float64(d))
	if l.Tail > 0 {
		p = (1-l.Tail)*p + l.Tail*l.cdf(float64(d)/l.Slow)
	}
	return p
}

func (l Latency) cdf(d float64) float64 {
	switch {
	case l.Spread > 0:
		return 0.5 * math.Erfc(-math.Log(d/float64(l.Median))/(l.Spread*math.Sqrt2))
	case d >= float64(l.Median):
		return 1
	}
	return 0
}
