package mitigate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"assay.dev/assay/decide"
	"assay.dev/assay/model"
	"assay.dev/assay/policy"
)

// Three weeks of a load whose days differ, as they do, and then one more day of it: whoever looks
// half a day ahead believes in the forecast from morning to night, and no interval is stretched
// far. The day lasts 24 seconds, for all that is said of a season holds for one of any length.
func TestAForecastOfHalfADayIsBelievedOnADayLikeOthers(t *testing.T) {
	const day, step = 96, 250 * time.Millisecond
	rng := rand.New(rand.NewPCG(24, 96))
	level, near := 0.0, 0.0
	var load []float64
	for i := range 22 * day {
		if i%day == 0 {
			level = 0.15 * rng.NormFloat64()
		}
		near = 0.6*near + 0.04*rng.NormFloat64()
		hour := float64(i%day) / 4
		work := 1 / (1 + math.Exp((8.5-hour)/0.7)) / (1 + math.Exp((hour-17)/0.8))
		load = append(load, (30+65*work)*math.Exp(level+near))
	}
	first := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	r := &record{Namespace: "default", Name: "shop-scale"}
	r.Strategy.Spec.Service = "shop"
	r.Strategy.Spec.Scale = &policy.ScaleLaw{PerReplica: 15, Lead: "4s", Max: 8, Forecast: &policy.ForecastSpec{Step: "250ms", Past: "504s", Seasons: []policy.Duration{"24s", "168s"}}}
	r.Strategy.Spec.Damping = &policy.Damping{Relax: &policy.Pace{Window: "3s", Step: 4, Period: "1s"}}
	m := model.New("default", "shop", "strategy/shop-scale/load", model.KindForecast, first)
	r.cared.load = &m
	care := decide.SeasonCare(step, day*step)
	for known := 21 * day; known < len(load); known += 4 {
		end := first.Add(time.Duration(known) * step)
		fc, err := r.forecast(load[known-21*day:known], end)
		if err != nil {
			t.Fatal(err)
		}
		if why := m.Care.Doubt(care); !fc.Trusted || why != "" || m.Care.Active == decide.ModelRules || m.Care.Stretched() > 1.5 {
			t.Errorf("after %s: trusted %t (%s), stretched %.1f times, doubted: %q, %s decides", end.Sub(first)-21*day*step, fc.Trusted, fc.Why, m.Care.Stretched(), why, m.Care.Active)
		}
	}
}
