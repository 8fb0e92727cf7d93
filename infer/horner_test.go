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
