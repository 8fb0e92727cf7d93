//go:build !race

// The race detector would make these sums of one goroutine six times as long and has nothing
// to watch in them: `make test` runs the package with it, which leaves this file out, and
// without.

package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Under the null, looked at after every block, the share of runs that ever alarm is
// at most alpha: its exact interval does not lie above it. Rates go up to 50 %, and
// in one case swing from block to block.
func TestFalseAlarmsStayBelowAlphaAtEveryRate(t *testing.T) {
	const alpha, runs, seed = 0.05, 10_000, 20261
	at := -math.Log(alpha)
	flat := func(p float64) func(int) float64 { return func(int) float64 { return p } }
	swing := func(b int) float64 { return []float64{.02, .6, .3}[b%3] }
	for _, c := range []struct {
		name             string
		kind             Kind
		treated, control func(int) float64
		safe             bool
	}{
		{"ratio, harm, 2 %", Ratio, flat(.02), flat(.02), false},
		{"ratio, harm, 50 %", Ratio, flat(.5), flat(.5), false},
		{"ratio, safe, twice 4 %", Ratio, flat(.08), flat(.04), true},
		{"odds, harm, 5 %", Odds, flat(.05), flat(.05), false},
		{"odds, harm, 50 %", Odds, flat(.5), flat(.5), false},
		{"odds, harm, swinging", Odds, swing, swing, false},
		{"odds, safe, twice the odds of 50 %", Odds, flat(2. / 3), flat(.5), true},
	} {
		k, err := New(Config{Kind: c.kind, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}})
		if err != nil {
			t.Fatal(err)
		}
		logE := k.Harm
		if c.safe {
			logE = k.Safe
		}
		n := alarms(t, k, logE, at, runs, 20, c.treated, c.control, seed)
		low, high := ClopperPearson(uint64(n), runs, 0.95)
		t.Logf("%s: %d of %d alarms, %.2f %% [%.2f %%, %.2f %%], alpha %.0f %%, seed %d", c.name, n, runs, 100*float64(n)/runs, 100*low, 100*high, 100*alpha, seed)
		if low > alpha {
			t.Errorf("%s: false alarms are above alpha", c.name)
		}
		if n == 0 && c.kind == Odds { // at 50 % Ratio is valid and has no power left
			t.Errorf("%s: no alarm at all: the test is not doing anything", c.name)
		}
	}
}

// With later beginnings the sum is an e-process too: its expectation over all outcomes
// of two blocks is 1 at the null and at most 1 on its side, also when the second block
// is one that began again.
func TestLaterBeginningsKeepTheExpectation(t *testing.T) {
	for _, kind := range []Kind{Ratio, Odds} {
		k, err := New(Config{Kind: kind, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Late: 0.3})
		if err != nil {
			t.Fatal(err)
		}
		const n = 18
		for _, rates := range [][2]float64{{0.95, 0.95}, {0.9, 0.9}, {0.85, 0.95}} {
			sum, began := 0.0, 0.0
			for x := range uint64(n + 1) {
				for y := range uint64(n + 1) {
					s := update(t, k, State{}, Pair{Count{x, n}, Count{y, n}})
					p := pmf(n, x, rates[0]) * pmf(n, y, rates[1])
					if len(s.Starts) > 0 {
						began += p
					}
					for a := range uint64(n + 1) {
						for b := range uint64(n + 1) {
							q := p * pmf(n, a, rates[0]) * pmf(n, b, rates[1])
							sum += q * math.Exp(k.Harm(update(t, k, s, Pair{Count{a, n}, Count{b, n}})))
						}
					}
				}
			}
			if sum > 1+1e-9 || rates[0] == rates[1] && kind == Odds && sum < 1-1e-9 {
				t.Errorf("%s at %v: expectation %.12f", kind, rates, sum)
			}
			if began < 0.2 {
				t.Errorf("%s at %v: began again with probability %.2f only: the test shows nothing", kind, rates, began)
			}
		}
	}
}

// The interval may be looked at after every event: it misses the truth at any look in no
// more than alpha of the runs.
func TestADifferenceHoldsTheTruthAtEveryLook(t *testing.T) {
	const runs, events, alpha = 1000, 3000, 0.05
	for _, rates := range [][2]float64{{0.002, 0.002}, {0.05, 0.03}, {0.5, 0.2}, {0.97, 0.01}} {
		missed := uint64(0)
		for run := range runs {
			r := rand.New(rand.NewPCG(41, uint64(run)))
			var arms [2]Arm
			for n := 1; n <= events; n++ {
				arm := r.IntN(3) / 2 // one has twice the traffic
				arms[arm].Exposure++
				if r.Float64() < rates[arm] {
					arms[arm].Events++
				}
				if n&(n-1) != 0 && n%50 != 0 { // looks: each power of two and each fiftieth
					continue
				}
				if low, high := Difference(arms[0], arms[1], 1, alpha); rates[0]-rates[1] < low || rates[0]-rates[1] > high {
					missed++
					break
				}
			}
		}
		if low, _ := ClopperPearson(missed, runs, 0.99); low > alpha {
			t.Errorf("rates %v: %d of %d runs missed the difference at some look, want at most %v", rates, missed, runs, alpha)
		}
	}
}
