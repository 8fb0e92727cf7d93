package infer

import (
	"math"
)

// Floors are what no test of the stated kind can beat, in mean treated exposure.
// All rates are in (0, 1) and errors in (0, ½); outside, the answer is NaN.

// KL is the divergence of Bernoulli(p) from Bernoulli(q), in nats per observation.
func KL(p, q float64) float64 {
	if !(p >= 0 && p <= 1 && q > 0 && q < 1) {
		return math.NaN()
	}
	return xlogy(p, p/q) + xlogy(1-p, (1-p)/(1-q))
}

func xlogy(x, y float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(y)
}

// WaldFloor bounds the mean sample of any test of the known p0 against p1, under
// p1, with error probabilities alpha (false alarm) and beta (miss).
func WaldFloor(p0, p1, alpha, beta float64) float64 {
	return KL(1-beta, alpha) / KL(p1, p0)
}

// PowerOneFloor is the same for a test that never accepts: ln(1/α)/kl(p1‖p0).
func PowerOneFloor(p0, p1, alpha float64) float64 { return -math.Log(alpha) / KL(p1, p0) }

// TwoSampleFloor is PowerOneFloor when p0 is unknown and learned from control
// arm's traffic: w is the treated share. It counts treated exposure only.
func TwoSampleFloor(p0, p1, w, alpha float64) float64 {
	q := w*p1 + (1-w)*p0
	return w * -math.Log(alpha) / (w*KL(p1, q) + (1-w)*KL(p0, q))
}

// CleanFloor is how much exposure without any event excludes the rate p1 at error
// beta, against p0.
func CleanFloor(p0, p1, beta float64) float64 {
	return math.Log(beta) / (math.Log1p(-p1) - math.Log1p(-p0))
}
