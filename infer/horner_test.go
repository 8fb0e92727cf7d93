package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A record is made again to the byte whether or not the processor has vectors: both ways of
// evaluating a polynomial come to the same bits.
func TestVectorsEvaluateToTheSameBits(t *testing.T) {
	if !hasVectors {
		t.Skip("this processor has no vectors")
	}
	rng := rand.New(rand.NewPCG(36, 12))
	for n := 1; n <= shortSupport+1; n++ {
		for range 20 {
			terms := make([]float64, n)
			for i := range terms {
				terms[i] = math.Exp(40*rng.Float64() - 20)
			}
			var ratios, got, want [lanes]float64
			for i := range ratios {
				ratios[i] = math.Exp(8*rng.Float64() - 4)
			}
			evaluateVectors(&terms[0], n, &ratios, &got)
			for i := 0; i < lanes; i += twelve {
				evaluateTwelve(terms, (*[twelve]float64)(ratios[i:]), (*[twelve]float64)(want[i:]))
			}
			for i := range got {
				direct := terms[n-1]
				for j := n - 2; j >= 0; j-- {
					direct = float64(direct*ratios[i]) + terms[j]
				}
				if got[i] != want[i] || got[i] != direct {
					t.Fatalf("%d terms at %v: %v with vectors, %v without, %v alone", n, ratios[i], got[i], want[i], direct)
				}
			}
		}
	}
}

// The same of logarithms: those of vectors are math.Log's, from the least number that a
// polynomial over its sum may be to the greatest, and on both sides of where its steps part.
func TestVectorsTakeLogarithmsToTheSameBits(t *testing.T) {
	if !hasVectors {
		t.Skip("this processor has no vectors")
	}
	rng := rand.New(rand.NewPCG(36, 13))
	parting := []float64{1, math.Sqrt2 / 2, math.Sqrt2, 2, 0x1p-1022, math.MaxFloat64}
	draw := func(n int) float64 {
		x := parting[n%len(parting)]
		switch n % 4 {
		case 0:
			return x
		case 1:
			return max(math.Nextafter(x, 0), 0x1p-1022)
		case 2:
			return min(math.Nextafter(x, math.Inf(1)), math.MaxFloat64)
		}
		return math.Exp((1 - 2*rng.Float64()) * []float64{700, 10, 0.1, 1e-6}[rng.IntN(4)])
	}
	for n := range 20_000 {
		over := 1.0
		if n%2 == 1 {
			over = math.Exp(300 * rng.Float64())
		}
		var v, got [lanes]float64
		for i := range v {
			if v[i] = draw(n + i); over != 1 {
				v[i] = math.Exp(300 * rng.Float64())
			}
		}
		got = v
		logsVectors(&got, over)
		for i, x := range v {
			if want := math.Log(x / over); got[i] != want {
				t.Fatalf("ln of %v over %v: %v with vectors, %v without", x, over, got[i], want)
			}
		}
	}
}
