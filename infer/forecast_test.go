package infer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// seasonal is n steps of a day of 24 steps with noise.
func seasonal(n int, noise float64) []float64 {
	r := rand.New(rand.NewPCG(7, 8))
	out := make([]float64, n)
	for i := range out {
		out[i] = 100 + 30*math.Sin(2*math.Pi*float64(i%24)/24) + noise*r.NormFloat64()
	}
	return out
}

func TestAForecastRepeatsWhatRepeats(t *testing.T) {
	y := seasonal(24*30, 0)
	p, err := infer.Predict(y, infer.ForecastConfig{Horizon: 24, Seasons: [2]int{24, 168}})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range p.Mean {
		if want := y[k]; math.Abs(v-want) > 1e-3 {
			t.Errorf("step %d is %v, want %v", k, v, want)
		}
	}
}

func TestPhasesFollowTheClocksAndNotTheSteps(t *testing.T) {
	// The last week's clocks run an hour behind: what repeats is the hour on the wall.
	y := make([]float64, 24*28)
	hour := func(i int) int {
		if i >= 24*21 {
			return (i + 23) % 24
		}
		return i % 24
	}
	for i := range y {
		y[i] = float64(100 + hour(i)*hour(i))
	}
	cfg := infer.ForecastConfig{Horizon: 24, Seasons: [2]int{24, 0}, Phase: func(i int) [2]int { return [2]int{hour(i), 0} }}
	p, err := infer.Predict(y, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range p.Mean {
		if want := float64(100 + hour(len(y)+k)*hour(len(y)+k)); math.Abs(v-want) > 1 {
			t.Errorf("step %d is %.1f, want %.1f", k, v, want)
		}
	}
}

func TestForecastsAreOrderedNumbersForAnySeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.Just(math.NaN()), rapid.Float64()), 0, 120).Draw(t, "y")
		cfg := infer.ForecastConfig{
			Horizon: rapid.IntRange(1, 20).Draw(t, "horizon"),
			Seasons: [2]int{rapid.SampledFrom([]int{0, 4, 7}).Draw(t, "day"), rapid.SampledFrom([]int{0, 28}).Draw(t, "week")},
		}
		p, err := infer.Predict(y, cfg)
		if err != nil {
			if assay.CodeOf(err) != assay.CodeInvalid {
				t.Fatalf("%v", err)
			}
			return
		}
		sum := 0.0
		for _, m := range p.Models {
			sum += m.Weight
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("weights sum to %v", sum)
		}
		for k := range p.Mean {
			low, mid, high := p.Quantile(k, 0.05), p.Quantile(k, 0.5), p.Quantile(k, 0.95)
			if !(low <= mid && mid <= high) || math.IsInf(low, 0) || math.IsInf(high, 0) {
				t.Fatalf("step %d: %v %v %v", k, low, mid, high)
			}
		}
	})
}

func TestTooLittleIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		y   []float64
		cfg infer.ForecastConfig
	}{
		"nothing":             {nil, infer.ForecastConfig{Horizon: 1}},
		"two points":          {[]float64{1, 2}, infer.ForecastConfig{Horizon: 1}},
		"no horizon":          {seasonal(100, 1), infer.ForecastConfig{}},
		"a longer horizon":    {seasonal(100, 1), infer.ForecastConfig{Horizon: 90}},
		"gaps and no numbers": {[]float64{1, math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}, infer.ForecastConfig{Horizon: 1}},
		"seasons reversed":    {seasonal(100, 1), infer.ForecastConfig{Horizon: 1, Seasons: [2]int{24, 7}}},
	} {
		if _, err := infer.Predict(c.y, c.cfg); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a day is like shows once it has begun. Whoever forecasts the other half of it at noon has
// to hold what was forecast at noon on other days against what came, and not what was forecast
// after midnight, when nobody knew.
func TestAForecastOfHalfADayIsCheckedAtTheSameTimeOfOtherDays(t *testing.T) {
	const day, at = 96, 12 * 4
	held, all := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		level, near := 0.0, 0.0
		var y []float64
		for i := range 21*day + at + 4 {
			if i%day == 0 {
				level = 0.15 * r.NormFloat64()
			}
			near = 0.6*near + 0.04*r.NormFloat64()
			hour := float64(i%day) / 4
			work := 1 / (1 + math.Exp((8.5-hour)/0.7)) / (1 + math.Exp((hour-17)/0.8))
			y = append(y, (30+65*work)*math.Exp(level+near))
		}
		known := y[:21*day+at]
		p, err := infer.Predict(known, infer.ForecastConfig{Horizon: 46, Seasons: [2]int{day, 7 * day}})
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range y[len(known):] {
			d := p.Deciles(k)
			if all++; v >= d[0] && v <= d[len(d)-1] {
				held++
			}
		}
	}
	if share := float64(held) / float64(all); share < 0.7 {
		t.Errorf("80 %% intervals held %.0f %% of the next hour", 100*share)
	}
}
