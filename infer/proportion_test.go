package infer

import (
	"math"
	"testing"
)

// Intervals stand in recorded decisions, which are made again to the byte: what is kept
// between the steps of the bisection must not change a bit of them.
func TestClopperPearsonIsToTheBitWhatItsDefinitionGives(t *testing.T) {
	atMost := func(k, n uint64, p float64) float64 {
		sum := 0.0
		for x := range k + 1 {
			sum += math.Exp(logChoose(n, x) + float64(x)*math.Log(p) + float64(n-x)*math.Log1p(-p))
		}
		return min(sum, 1)
	}
	for _, n := range []uint64{1, 2, 7, 100, 5_000, 123_456, 1 << 40} {
		for _, k := range []uint64{0, 1, 3, 10, 63, 64, 90} {
			if k > n/2 {
				continue
			}
			for _, confidence := range []float64{0.5, 0.95, 0.998} {
				tail, wantLow, wantHigh := (1-confidence)/2, 0.0, 1.0
				wantHigh = bisect(func(p float64) bool { return atMost(k, n, p) > tail })
				if k > 0 {
					wantLow = bisect(func(p float64) bool { return 1-atMost(k-1, n, p) < tail })
				}
				if low, high := ClopperPearson(k, n, confidence); low != wantLow || high != wantHigh {
					t.Errorf("%d of %d at %v: %v to %v, want %v to %v", k, n, confidence, low, high, wantLow, wantHigh)
				}
			}
		}
	}
}
