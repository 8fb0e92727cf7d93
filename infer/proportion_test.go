package infer

import (
	"fmt"
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
	for _, n := range []uint64{1, 2, 3, 7, 31, 100, 128, 777, 5_000, 123_456, 1 << 32, 1<<32 + 1, 1 << 40} {
		for _, k := range []uint64{0, 1, 2, 3, 5, 10, 17, 50, 62, 63, 64, 90} {
			if k > n/2 {
				continue
			}
			for _, confidence := range []float64{0.001, 0.5, 0.95, 0.998, 1 - 1e-9} {
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

// A strategy asks for several at every look.
func BenchmarkClopperPearson(b *testing.B) {
	for _, events := range []uint64{0, 3, 20, 50} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ClopperPearson(events, 5_000, 0.95)
			}
		})
	}
}

func TestGarwoodIsTheIntervalOfAPoissonMean(t *testing.T) {
	for _, c := range []struct {
		events    uint64
		low, high float64 // Garwood 1936, and Ulm 1990
	}{{0, 0, 3.689}, {1, 0.025, 5.572}, {5, 1.623, 11.668}, {10, 4.795, 18.390}, {100, 81.364, 121.627}} {
		low, high := Garwood(c.events, 0.95)
		if math.Abs(low-c.low) > 1e-3 || math.Abs(high-c.high) > 1e-3 {
			t.Errorf("%d events: %v to %v, want %v to %v", c.events, low, high, c.low, c.high)
		}
	}
	if low, high := Garwood(3, 1); low != 0 || !math.IsInf(high, 1) {
		t.Errorf("without a confidence: %v to %v", low, high)
	}
}
