package mitigate_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/mitigate"
)

// seasonal is the example of the law with a forecast of other seasons.
func seasonal(t *testing.T, forecast string) *rig {
	t.Helper()
	return declared(t, strings.Replace(readExample(t, "scale"), "forecast: {step: 5m, past: 14d, zone: Europe/Vienna}", "forecast: "+forecast, 1))
}

func TestALoadMayRepeatItselfAfterAnyTime(t *testing.T) {
	for _, c := range []struct {
		forecast string
		step     time.Duration
		season   time.Duration
		refresh  time.Duration
	}{
		{"{step: 1m, past: 72h, seasons: [1h, 24h]}", time.Minute, time.Hour, time.Minute},
		{"{step: 5m, past: 14d}", 5 * time.Minute, 24 * time.Hour, 10 * time.Minute},
		{"{step: 2m, past: 14d, seasons: [12h]}", 2 * time.Minute, 12 * time.Hour, 5 * time.Minute},
		{"{step: 10s, past: 4h, seasons: [24m]}", 10 * time.Second, 24 * time.Minute, 10 * time.Second},
		{"{step: 500ms, past: 24m, seasons: [48s]}", 500 * time.Millisecond, 48 * time.Second, time.Second},
	} {
		t.Run(c.forecast, func(t *testing.T) {
			r := seasonal(t, c.forecast)
			r.s.Spec.Scale.Lead = "10s"
			if got := mitigate.Refresh(r.s); got != c.refresh {
				t.Errorf("it is made anew every %s; expected %s", got, c.refresh)
			}
			end := time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)
			wave := func(at time.Time) float64 {
				return 500 + 300*math.Sin(2*math.Pi*float64(at.UnixNano()%int64(c.season))/float64(c.season))
			}
			past := make([]float64, int(r.s.Spec.Scale.Forecast.Past.Value()/c.step))
			draw, level := rand.New(rand.NewPCG(7, 7)), 0.0
			for i := range past {
				level = 0.9*level + 12*draw.NormFloat64()
				past[i] = wave(end.Add(time.Duration(i-len(past))*c.step)) + level
			}
			fc, err := mitigate.Foresee(r.s, past, end)
			if err != nil || len(fc.Mean) == 0 || !fc.Trusted {
				t.Fatalf("%v: %d steps, %s", err, len(fc.Mean), fc.Why)
			}
			for i, m := range fc.Mean {
				if want := wave(end.Add(time.Duration(i) * c.step)); math.Abs(m-want) > 70 {
					t.Errorf("step %d of %d: %.0f is forecast; expected about %.0f", i, len(fc.Mean), m, want)
				}
			}
		})
	}
}

func TestASeasonIsPlacedByTheClocksOfItsZone(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 10, 26, 7, 0, 0, 0, vienna) // the clocks were put back the day before
	for _, c := range []struct{ forecast, about string }{
		{"{step: 10m, past: 14d, zone: Europe/Vienna}", "a day and a week"},
		{"{step: 10m, past: 14d, zone: Europe/Vienna, seasons: [12h, 24h]}", "half a day and a day"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := seasonal(t, c.forecast)
			r.s.Spec.Scale.Lead = "2h"
			open := func(at time.Time) float64 { // from eight to twelve in the morning and in the evening, by the clock
				if h := at.In(vienna).Hour() % 12; h >= 8 {
					return 900
				}
				return 100
			}
			past := make([]float64, 14*144)
			draw := rand.New(rand.NewPCG(7, 7))
			for i := range past {
				past[i] = open(end.Add(time.Duration(i-len(past))*10*time.Minute)) + 10*draw.NormFloat64()
			}
			fc, err := mitigate.Foresee(r.s, past, end)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range fc.Mean {
				at := end.Add(time.Duration(i) * 10 * time.Minute)
				if want := open(at); math.Abs(m-want) > 200 {
					t.Errorf("%s: %.0f is forecast; expected about %.0f", at.Format("15:04"), m, want)
				}
			}
		})
	}
}
