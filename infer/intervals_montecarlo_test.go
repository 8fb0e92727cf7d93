//go:build !race

package infer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// See montecarlo_test.go for why.

// Residuals of neighbours go together: an interval that takes them for independent is too
// narrow. The bounds leave three standard errors of 400 runs.
func TestIntervalsOfResampledPastsHoldWhatTheySayWhereErrorsGoTogether(t *testing.T) {
	for _, phi := range []float64{0, 0.5, 0.8} {
		for _, triggered := range []bool{false, true} {
			c := coverage(t, 31, 700, phi, triggered)
			t.Logf("autocorrelation %.1f, after an extreme %v: %.1f %% and %.1f %%, by ranks %.1f %% and %.1f %%", phi, triggered, c.in95, c.in80, c.was95, c.was80)
			if c.in95 < 91 || c.in80 < 73.5 || c.in80 > 86.5 {
				t.Errorf("autocorrelation %.1f, after an extreme %v: 95 %% hold %.1f %%, 80 %% hold %.1f %%", phi, triggered, c.in95, c.in80)
			}
		}
	}
}

// In an hour of minutes there are some ten windows that do not overlap: what they show of
// the errors' spread is itself uncertain, and only the resampled pasts say so.
func TestAShortPastMakesIntervalsOfResampledPastsWiderThanItsOwnRanks(t *testing.T) {
	c := coverage(t, 33, 60, 0.8, true)
	t.Logf("%+v", c)
	if c.in95 < c.was95+2 || c.in80 < c.was80+3 {
		t.Errorf("resampled %.1f %% and %.1f %%, by ranks %.1f %% and %.1f %%", c.in95, c.in80, c.was95, c.was80)
	}
}

// The noise of a load grows with its level, and an action is taken when the level is high:
// most of the past was calmer than what follows. The series is called extreme as an alarm
// would, by its last step.
func TestAnActionWithoutEffectIsSeldomCalledOneWhereNoiseGrowsWithTheLevel(t *testing.T) {
	const past, runs = 714, 400
	for name, tc := range map[string]struct {
		noise func(level float64) float64
		lasts float64 // autocorrelation of the level's logarithm, minute by minute
	}{
		"in proportion": {func(level float64) float64 { return level / 8 }, 0.995},
		"as its root":   {func(level float64) float64 { return math.Sqrt(level) }, 0.995},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(51, 52))
			wrong, in95, in80, found := 0, 0, 0, 0
			for n := 0; n < runs; {
				y, v := make([]float64, past+606), rng.NormFloat64()
				for i := range y {
					v = tc.lasts*v + math.Sqrt(1-tc.lasts*tc.lasts)*rng.NormFloat64()
					level := 50 * math.Exp(1.5*v)
					y[i] = max(0, level+tc.noise(level)*rng.NormFloat64())
				}
				at := past
				for at < past+600 && !extreme(y[at-past:at]) {
					at++
				}
				if at == past+600 {
					continue
				}
				n++
				a := infer.Aftermath{Series: y[at-past : at+6], At: past, Dead: 1, Window: 5, Hold: 2, Paths: 199, Seed: uint64(n)}
				got, err := infer.Attribute(a)
				if err != nil {
					t.Fatal(err)
				}
				if got.P <= 0.025 || got.PHarm <= 0.025 {
					wrong++
				}
				if got.Low <= 0 && 0 <= got.High {
					in95++
				}
				if got.Low80 <= 0 && 0 <= got.High80 {
					in80++
				}
				for i := past + 1; i < len(a.Series); i++ {
					a.Series[i] *= 0.3
				}
				a.Paths = 0 // the verdict needs none
				if got, _ = infer.Attribute(a); got.Effect == assay.EffectHelped {
					found++
				}
			}
			t.Logf("of %d: %d wrong, 95 %% hold %d, 80 %% hold %d, %d of those found that took seven tenths", runs, wrong, in95, in80, found)
			if float64(wrong) > 0.05*runs+3*math.Sqrt(0.05*0.95*runs) {
				t.Errorf("%d of %d actions without effect are called one", wrong, runs)
			}
			if float64(in95) < 0.92*runs || float64(in80) < 0.74*runs {
				t.Errorf("95 %% hold %d, 80 %% hold %d of %d", in95, in80, runs)
			}
			if float64(found) < 0.55*runs {
				t.Errorf("%d of %d are found that took seven tenths", found, runs)
			}
		})
	}
}

// An action that does nothing, taken when the series is extreme and about to go back by
// itself, is called an effect in at most 5 % of the cases.
func TestAnActionWithoutEffectIsSeldomCalledOne(t *testing.T) {
	const runs = 400
	for name, w := range map[string]walk{
		"independent":                  {phi: 0},
		"autocorrelated 0.5":           {phi: 0.5},
		"autocorrelated 0.9":           {phi: 0.9},
		"spikes that pass":             {phi: 0.5, heavy: true},
		"controls under the same load": {phi: 0.8, shared: 0.8, controls: 3},
		"controls under their own":     {phi: 0.8, controls: 3},
	} {
		w.rng = rand.New(rand.NewPCG(1, 2))
		t.Run(name, func(t *testing.T) {
			got, n := attributions(t, w, runs, 0)
			wrong := got[assay.EffectHelped] + got[assay.EffectHarmed]
			t.Logf("%d of %d wrong: %v", wrong, n, got)
			if float64(wrong) > 0.05*runs+3*math.Sqrt(0.05*0.95*runs) {
				t.Errorf("%d of %d actions without effect are called one", wrong, n)
			}
		})
	}
}

func TestARealEffectIsFound(t *testing.T) {
	const runs = 200
	for name, tc := range map[string]struct {
		walk   walk
		effect float64
		want   assay.Effect
		share  float64
	}{
		"two standard deviations better":      {walk{phi: 0.5}, -2, assay.EffectHelped, 0.95},
		"two standard deviations worse":       {walk{phi: 0.5}, 2, assay.EffectHarmed, 0.95},
		"one and a half, spikes that pass":    {walk{phi: 0.5, heavy: true}, -2.5, assay.EffectHelped, 0.8},
		"one, with controls of the same load": {walk{phi: 0.8, shared: 0.9, controls: 4}, -1, assay.EffectHelped, 0.8},
	} {
		tc.walk.rng = rand.New(rand.NewPCG(3, 4))
		t.Run(name, func(t *testing.T) {
			got, n := attributions(t, tc.walk, runs, tc.effect)
			t.Logf("%v of %d", got, n)
			if float64(got[tc.want]) < tc.share*runs {
				t.Errorf("%d of %d found, want %.0f %%", got[tc.want], n, 100*tc.share)
			}
		})
	}
}

func TestIntervalsOfAForecastHoldWhatTheySay(t *testing.T) {
	const horizon, runs = 12, 60
	held := 0
	r := rand.New(rand.NewPCG(9, 10))
	for range runs {
		y := seasonal(24*20+horizon, 0)
		for i := range y {
			y[i] += 5 * r.NormFloat64()
		}
		past, future := y[:len(y)-horizon], y[len(y)-horizon:]
		p, err := infer.Predict(past, infer.ForecastConfig{Horizon: horizon, Seasons: [2]int{24, 0}})
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range future {
			if p.Quantile(k, 0.05) <= v && v <= p.Quantile(k, 0.95) {
				held++
			}
		}
	}
	if share := float64(held) / (runs * horizon); share < 0.86 || share > 0.97 {
		t.Errorf("90 %% intervals held %.1f %% of what came", 100*share)
	}
}
