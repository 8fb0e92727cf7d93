package replay

import (
	"math"
	"math/rand/v2"
	"time"

	"assay.dev/assay"
)

// Arm is one version's behaviour in a drawn world.
type Arm struct {
	Version string
	// Rate is requests a second on average; arrivals are Poisson.
	Rate float64
	// Errors is the share of requests that fail, 0 to 1.
	Errors float64
	// Median and Spread shape the latency, log-normal: seconds, and the standard
	// deviation of its logarithm. No latency is drawn if Median is 0.
	Median, Spread float64
}

// World is a service whose readings are drawn instead of measured.
type World struct {
	Service     string
	Environment string
	Errors      string    // name of the error indicator, "" for none
	Latency     string    // name of the latency indicator, "" for none
	Bounds      []float64 // of the latency's buckets, seconds, ascending
	Threshold   float64   // a request is good up to this latency; one of Bounds
	Step        time.Duration
}

// Draw returns the readings of the arms in [start, start+n×Step), one per arm,
// indicator and step. The same seed gives the same readings from the same build.
func (w World) Draw(seed uint64, start time.Time, n int, arms ...Arm) []assay.Reading {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	var out []assay.Reading
	for i := range n {
		from := start.Add(time.Duration(i) * w.Step)
		for _, a := range arms {
			base := assay.Reading{
				Service: w.Service, Environment: w.Environment, Version: a.Version, Completeness: 1,
				Start: from, End: from.Add(w.Step), EventTime: from.Add(w.Step), Ingested: from.Add(w.Step),
			}
			base.Total = poisson(rng, a.Rate*w.Step.Seconds())
			if w.Errors != "" {
				r := base
				r.Indicator, r.Good = w.Errors, r.Total-binomial(rng, r.Total, a.Errors)
				out = append(out, r)
			}
			if w.Latency != "" && a.Median > 0 {
				out = append(out, w.latency(rng, base, a))
			}
		}
	}
	return out
}

func (w World) latency(rng *rand.Rand, r assay.Reading, a Arm) assay.Reading {
	r.Indicator = w.Latency
	// The probability of each bucket is known, so one draw per bucket is enough.
	left, below := r.Total, 0.0
	var cumulative uint64
	for _, bound := range w.Bounds {
		p := logNormal(bound, a)
		if left > 0 && p > below {
			n := binomial(rng, left, (p-below)/(1-below))
			cumulative, left, below = cumulative+n, left-n, p
		}
		r.Buckets = append(r.Buckets, assay.Bucket{LE: bound, Count: cumulative})
		if bound == w.Threshold {
			r.Good = cumulative
		}
	}
	return r
}

// logNormal is the probability of at most x seconds.
func logNormal(x float64, a Arm) float64 {
	if a.Spread == 0 {
		if x >= a.Median {
			return 1
		}
		return 0
	}
	return 0.5 * math.Erfc(-math.Log(x/a.Median)/(a.Spread*math.Sqrt2))
}

// poisson draws a count with the mean; normal above 500, where nobody can tell.
func poisson(rng *rand.Rand, mean float64) uint64 {
	if mean > 500 {
		return uint64(max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
	}
	n, p, limit := uint64(0), 1.0, math.Exp(-mean)
	for {
		if p *= rng.Float64(); p <= limit {
			return n
		}
		n++
	}
}

// binomial draws the successes among n tries, exactly: by the gaps between them.
func binomial(rng *rand.Rand, n uint64, p float64) uint64 {
	switch {
	case p <= 0 || n == 0:
		return 0
	case p >= 1:
		return n
	case p > 0.5:
		return n - binomial(rng, n, 1-p)
	}
	hits, logq := uint64(0), math.Log1p(-p)
	for at := 0.0; ; hits++ {
		at += math.Floor(math.Log(1-rng.Float64())/logq) + 1
		if at > float64(n) {
			return hits
		}
	}
}
