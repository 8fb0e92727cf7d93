package infer

import (
	"fmt"
	"math"
	"testing"
)

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
