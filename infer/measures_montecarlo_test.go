//go:build !race

// See montecarlo_test.go for why.

package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Counts of which one request has many are compared at every look with the promised error,
// at any rate and both ways round, and whatever the intensity does as long as both versions
// have it.
func TestFalseAlarmsOfCountsStayBelowAlpha(t *testing.T) {
	const alpha, runs, looks = 0.05, 4000, 60
	poisson := func(rng *rand.Rand, mean float64) uint64 { return bursts(rng, mean, 1) }
	turned := func(s []Size) (out []Size) {
		for _, z := range s {
			out = append(out, Size{1 / z.Ratio, z.Weight})
		}
		return out
	}
	more := Config{Kind: Counts, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Late: 0.03}
	less := Config{Kind: Counts, Less: true, Harm: Side{1, turned(HarmSizes())}, Safe: Side{0.5, turned(SafeSizes())}, Late: 0.03}
	for _, c := range []struct {
		name   string
		config Config
		rate   float64
		ratio  float64
		safe   bool
	}{
		{"0.3 a request", more, 0.3, 1, false},
		{"6 a request", more, 6, 1, false},
		{"6 a request, less is worse", less, 6, 1, false},
		{"twice 2 a request is safe", more, 2, 2, true},
		{"half of 2 a request is safe", less, 2, 0.5, true},
	} {
		k, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		answer := k.Harm
		if c.safe {
			answer = k.Safe
		}
		alarms := uint64(0)
		for run := range runs {
			rng := rand.New(rand.NewPCG(71, uint64(run)))
			var s State
			for look := range looks {
				swing := 1 + 0.8*math.Sin(float64(look)/5)
				s = update(t, k, s, Pair{Count{poisson(rng, c.ratio*c.rate*swing), 1}, Count{poisson(rng, 4*c.rate*swing), 4}})
				if answer(s) >= -math.Log(alpha) {
					alarms++
					break
				}
			}
		}
		if low, _ := ClopperPearson(alarms, runs, 0.99); low > alpha {
			t.Errorf("%s: %d of %d runs alarmed, want at most %v", c.name, alarms, runs, alpha)
		}
	}
}

// Counts that come in bursts of three to nine are divided by what the old version's past
// says: at most one in a hundred rollouts of a version that is the same is stopped, and one
// that does twice the work is.
func TestFalseAlarmsOfCountsInBurstsAreAsCalibrated(t *testing.T) {
	const alpha, runs, looks, past = 0.01, 2000, 120, 90
	k, err := New(Config{Kind: Counts, Harm: Side{1, HarmSizes()}, Safe: Side{2, SafeSizes()}, Late: 0.03})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{1, 3, 5, 9} {
		aborted := func(ratio float64, runs int) (n uint64) {
			for run := range runs {
				rng := rand.New(rand.NewPCG(72+size, uint64(run)))
				var d Dispersion
				for range past {
					if d, err = d.ObserveCounts(Slot{{bursts(rng, 90, size), 30}}); err != nil {
						t.Fatal(err)
					}
				}
				calm := k.Deflated(d.Factor())
				var s State
				for range looks {
					s = update(t, calm, s, Pair{Count{bursts(rng, ratio*9, size), 3}, Count{bursts(rng, 81, size), 27}})
					if calm.Harm(s) >= -math.Log(alpha) {
						n++
						break
					}
				}
			}
			return n
		}
		wrong := aborted(1, runs)
		if low, _ := ClopperPearson(wrong, runs, 0.95); low > alpha {
			t.Errorf("bursts of %d: %d of %d good versions stopped", size, wrong, runs)
		}
		found := aborted(2, 200)
		t.Logf("bursts of %d: %d of %d good versions stopped, %d of 200 with twice the work", size, wrong, runs, found)
		if found < 190 {
			t.Errorf("bursts of %d: only %d of 200 versions with twice the work were stopped", size, found)
		}
	}
}

// Values of gauges, whatever they look like: the bets alarm as seldom as they say where
// blocks are independent, and as calibrated where they hang together.
func TestFalseAlarmsOfGaugesStayBelowAlpha(t *testing.T) {
	const runs, looks, past = 1500, 240, 180
	k := betting(t, 1, 2)
	const assumed = 3 // of what decide assumes as long as nothing is known
	type gauge struct {
		name  string
		keep  float64 // of the value before
		known bool    // the old version has a past
		alpha float64
		draw  func(mean, noise float64, rng *rand.Rand) float64
		power int // at least so many of 100 that are twice as great are stopped within 240 blocks
	}
	clip := func(v float64) float64 { return min(max(v, 0), 1) }
	narrow := func(mean, noise float64, _ *rand.Rand) float64 { return clip(mean + 0.05*noise) }
	wide := func(mean, noise float64, _ *rand.Rand) float64 { return clip(mean + 0.15*noise) }
	coin := func(mean, _ float64, rng *rand.Rand) float64 {
		if rng.Float64() < mean {
			return 1
		}
		return 0
	}
	for _, g := range []gauge{
		{"narrow", 0, true, 0.01, narrow, 100},
		{"0 or 1", 0, true, 0.01, coin, 95},
		{"narrow, hanging together a little", 0.5, true, 0.01, narrow, 80},
		{"narrow, hanging together much", 0.8, true, 0.01, narrow, 30},
		{"wide, hanging together", 0.5, true, 0.01, wide, 70},
		{"wide, hanging together much", 0.8, true, 0.01, wide, 25},
		{"wide, nothing known", 0, false, 0.01, wide, 95},
		{"wide, hanging together, nothing known", 0.5, false, 0.01, wide, 80},
	} {
		run := func(ratio float64, n int) uint64 {
			alarm, base := false, 0.3
			rng := rand.New(rand.NewPCG(73, uint64(n)))
			noise := [2]float64{rng.NormFloat64(), rng.NormFloat64()}
			next := func(arm int, mean float64) Count {
				noise[arm] = g.keep*noise[arm] + math.Sqrt(1-g.keep*g.keep)*rng.NormFloat64()
				return Values(g.draw(mean, noise[arm], rng), 1)
			}
			var d Wander
			for range past {
				d = d.Observe(next(1, base))
			}
			calm, s := k.Deflated(assumed), State{}
			if g.known {
				calm = k.Deflated(d.Factor())
			}
			for range looks {
				s = update(t, calm, s, Pair{next(0, ratio*base), next(1, base)})
				if alarm = calm.Harm(s) >= -math.Log(g.alpha); alarm {
					return 1
				}
			}
			return 0
		}
		alarms, found := uint64(0), uint64(0)
		for n := range runs {
			alarms += run(1, n)
		}
		for n := range 100 {
			found += run(2, n)
		}
		t.Logf("%s: %d of %d good versions stopped, %d of 100 that are twice as great", g.name, alarms, runs, found)
		if low, _ := ClopperPearson(alarms, runs, 0.95); low > g.alpha {
			t.Errorf("%s: %d of %d good versions stopped", g.name, alarms, runs)
		}
		if found < uint64(g.power) {
			t.Errorf("%s: only %d of 100 that are twice as great were stopped", g.name, found)
		}
	}
}
