package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"
)

func TestClopperPearsonAgreesWithTheBetaQuantiles(t *testing.T) {
	for _, c := range [][2]uint64{{0, 10}, {1, 10}, {5, 10}, {10, 10}, {37, 10_000}, {9_990, 10_000}} {
		k, n := float64(c[0]), float64(c[1])
		low, high := 0.0, 1.0
		if k > 0 {
			low = mathext.InvRegIncBeta(k, n-k+1, 0.025)
		}
		if k < n {
			high = mathext.InvRegIncBeta(k+1, n-k, 0.975)
		}
		if a, b := ClopperPearson(c[0], c[1], 0.95); math.Abs(a-low) > 1e-9 || math.Abs(b-high) > 1e-9 {
			t.Errorf("%v: %v to %v, want %v to %v", c, a, b, low, high)
		}
	}
	if a, b := ClopperPearson(2, 1, 0.95); a != 0 || b != 1 {
		t.Errorf("two of one: %v to %v", a, b)
	}
}

// binomial jumps from event to event.
func binomial(rng *rand.Rand, n uint64, p float64) (x uint64) {
	if p > 0.5 {
		return n - binomial(rng, n, 1-p)
	}
	for i := -1.0; ; x++ {
		if i += 1 + math.Floor(math.Log1p(-rng.Float64())/math.Log1p(-p)); i >= float64(n) {
			return x
		}
	}
}

// alarms is in how many of runs logE ever reaches at during blocks of 100 requests.
func alarms(t *testing.T, k *Comparison, logE func(State) float64, at float64, runs, blocks int, treated, control func(block int) float64, seed uint64) int {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2106))
	n := 0
	for range runs {
		var s State
		for b := range blocks {
			m := binomial(rng, 100, 0.2) // what was routed, not what was intended
			p := Pair{Count{binomial(rng, m, treated(b)), m}, Count{binomial(rng, 100-m, control(b)), 100 - m}}
			s = update(t, k, s, p)
			if logE(s) >= at {
				n++
				break
			}
		}
	}
	return n
}

// delay is the treated requests until a grid rejects at 1 %, with w 1 for a known
// control rate. It jumps from event to event; harm evidence only grows at them.
func delay(rng *rand.Rand, grid []Size, p0, p1, w float64) float64 {
	q := w*p1 + (1-w)*p0
	n, x, y := 0.0, 0.0, 0.0
	for {
		n += math.Floor(math.Log1p(-rng.Float64())/math.Log1p(-q)) + 1
		if rng.Float64() < w*p1/q {
			x++
		} else {
			y++
		}
		e := 0.0
		for _, z := range grid {
			log := x*math.Log(z.Ratio) + (n-x)*(math.Log1p(-z.Ratio*p0)-math.Log1p(-p0))
			if w < 1 {
				log = x*math.Log(z.Ratio) - (x+y)*math.Log1p(w*(z.Ratio-1))
			}
			e += math.Exp(log) / float64(len(grid))
		}
		if e >= 100 {
			return n * w
		}
	}
}

func TestFloorsAgreeWithPublishedFigures(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"kl 0.1 to 0.5 %", KL(.005, .001), .004055},
		{"kl 1 to 5 %", KL(.05, .01), .041291},
		{"Wald 0.1 to 0.5 %", WaldFloor(.001, .005, .01, .05), 1030},
		{"Wald 1 to 2 %", WaldFloor(.01, .02, .01, .05), 1067},
		{"Wald to accept, 1 to 2 %", WaldFloor(.02, .01, .05, .01), 933},
		{"power one 0.1 to 0.5 %", PowerOneFloor(.001, .005, .01), 1136},
		{"power one 5 to 6 %", PowerOneFloor(.05, .06, .01), 4642},
		{"two samples 0.1 to 0.5 %, w 0.5", TwoSampleFloor(.001, .005, .5, .01), 3155},
		{"two samples 0.1 to 0.5 %, w 0.1", TwoSampleFloor(.001, .005, .1, .01), 1377},
		{"two samples 1 to 2 %, w 0.05", TwoSampleFloor(.01, .02, .05, .01), 1256},
		{"clean 0.1 to 0.5 %", CleanFloor(.001, .005, .05), 747},
		{"clean 1 to 2 %, 1 %", CleanFloor(.01, .02, .01), 454},
	} {
		if math.Abs(c.got/c.want-1) > 2e-3 {
			t.Errorf("%s: %v, published %v", c.name, c.got, c.want)
		}
	}
	for _, v := range []float64{KL(2, .5), KL(.5, 0), KL(math.NaN(), .5)} {
		if !math.IsNaN(v) {
			t.Errorf("a rate that is none gives %v", v)
		}
	}
}
