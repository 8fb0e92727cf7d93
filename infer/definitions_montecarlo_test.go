//go:build !race

package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// See montecarlo_test.go for why.

// The one-sample and two-sample grids reproduce the mean delays of the published
// study that they were taken from (10,000 to 20,000 runs there, alpha 1 %).
func TestMeanDelayAgreesWithPublishedFigures(t *testing.T) {
	grid := []Size{{1.1, 1}, {1.25, 1}, {1.5, 1}, {2, 1}, {3, 1}, {5, 1}, {10, 1}, {30, 1}}
	const runs, seed = 4000, 20262
	for _, c := range []struct {
		name          string
		p0, p1, w     float64
		want, percent float64
	}{
		{"one sample, 0.1 to 0.5 %", .001, .005, 1, 1554, 6},
		{"one sample, 1 to 2 %", .01, .02, 1, 1533, 6},
		{"two samples, 0.1 to 0.5 %, w 0.5", .001, .005, .5, 3903, 6},
		{"two samples, 0.1 to 0.5 %, w 0.1", .001, .005, .1, 1826, 6},
		{"two samples, 1 to 2 %, w 0.1", .01, .02, .1, 1782, 6},
	} {
		rng := rand.New(rand.NewPCG(seed, 4))
		total := 0.0
		for range runs {
			total += delay(rng, grid, c.p0, c.p1, c.w)
		}
		got := total / runs
		t.Logf("%s: mean %.0f, published %.0f, seed %d", c.name, got, c.want, seed)
		if math.Abs(got/c.want-1) > c.percent/100 {
			t.Errorf("%s: mean delay %.0f, published %.0f", c.name, got, c.want)
		}
	}
}

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
