package main

import (
	"math"
	"math/rand/v2"
)

// count is what one arm served in a stretch of time.
type count struct {
	bad, total uint64
}

// served draws what an arm serves: rate requests are expected, the share p of them
// fails. Failures come in bursts of a geometric length with the variance-to-mean ratio
// phi, 1 for independent ones; a burst is a client's retries, so it brings its own
// requests. Good requests are independent.
func served(rng *rand.Rand, rate, p, phi float64) count {
	good := poisson(rng, rate*(1-p))
	mean := (phi + 1) / 2 // of a burst
	bad := poisson(rng, rate*p/mean)
	if phi > 1 && bad > 0 {
		// A sum of geometric lengths is negative binomial, which is Poisson mixed over a gamma.
		bad += poisson(rng, gamma(rng, float64(bad))*(mean-1))
	}
	return count{bad, good + bad}
}

// poisson counts arrivals for small means and uses Hörmann's transformed rejection
// (PTRS, 1993) otherwise. Both are exact.
func poisson(rng *rand.Rand, mean float64) uint64 {
	if !(mean > 0) {
		return 0
	}
	if mean < 10 {
		limit, product, n := math.Exp(-mean), rng.Float64(), uint64(0)
		for product > limit {
			product *= rng.Float64()
			n++
		}
		return n
	}
	b := 0.931 + 2.53*math.Sqrt(mean)
	a := -0.059 + 0.02483*b
	inverse := 1.1239 + 1.1328/(b-3.4)
	v0 := 0.9277 - 3.6224/(b-2)
	for {
		u, v := rng.Float64()-0.5, 1-rng.Float64()
		us := 0.5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + mean + 0.43)
		if us >= 0.07 && v <= v0 {
			return uint64(k)
		}
		if k < 0 || us < 0.013 && v > us {
			continue
		}
		lg, _ := math.Lgamma(k + 1)
		if math.Log(v)+math.Log(inverse)-math.Log(a/(us*us)+b) <= k*math.Log(mean)-mean-lg {
			return uint64(k)
		}
	}
}

// gamma draws from Gamma(shape, 1) for a shape of at least 1 (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - rng.Float64(); math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
