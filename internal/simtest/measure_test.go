package simtest_test

import (
	"math"
	"reflect"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// plain is one service of two versions, of which both have measures.
func plain(m ...simtest.Measure) simtest.Config {
	return simtest.Config{Seed: 3, Services: []simtest.Service{{
		Name: "shop", Replicas: 20, Traffic: simtest.Traffic{Rate: 100},
		Versions: []simtest.Version{{Name: "v1", Share: 90, Measures: m}, {Name: "v2", Share: 10, Measures: m}},
	}}}
}

// Counts come in the bursts that they were given, sums and gauges have the mean and the
// spread that they were given, and a gauge keeps what it was told to.
func TestMeasuresAreAsTheyWereGiven(t *testing.T) {
	const ticks = 4000
	w := world(t, plain(
		simtest.Measure{Name: "queries", Count: 3}, simtest.Measure{Name: "retries", Count: 0.5, Burst: 4}, simtest.Measure{Name: "restarts", PerHour: 90},
		simtest.Measure{Name: "bytes", Sum: 200, Spread: 0.8}, simtest.Measure{Name: "flat", Sum: 7}, simtest.Measure{Name: "memory", Gauge: 5, Spread: 0.4, Keep: 0.7},
	))
	per := map[string][]float64{}
	for range ticks {
		for _, r := range w.Step().Readings {
			if err := r.Check(); err != nil {
				t.Fatal(err)
			}
			if r.Version != "v2" || r.Total == 0 {
				continue
			}
			switch r.Indicator {
			case "queries", "retries":
				per[r.Indicator] = append(per[r.Indicator], float64(r.Count)/math.Sqrt(float64(r.Total)))
				per[r.Indicator+" mean"] = append(per[r.Indicator+" mean"], float64(r.Count)/float64(r.Total))
			case "restarts":
				per[r.Indicator] = append(per[r.Indicator], float64(r.Count)*360)
			case "bytes", "flat", "memory":
				per[r.Indicator] = append(per[r.Indicator], r.Sum/float64(r.Total))
			}
		}
	}
	moments := func(x []float64) (mean, variance float64) {
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance
	}
	near := func(name string, got, want, within float64) {
		t.Helper()
		if !(math.Abs(got-want) <= within*want) {
			t.Errorf("%s: %v, want about %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{"queries mean": 3, "retries mean": 0.5, "restarts": 90, "bytes": 200, "flat": 7, "memory": 5} {
		mean, _ := moments(per[name])
		near(name, mean, want, 0.06)
	}
	// Of events in bursts the variance is about 2 Burst - 1 times the mean; that of √n times a mean hardly varies with n.
	_, bursts := moments(per["retries"])
	near("variance of bursts", bursts/0.5, 7, 0.35)
	_, v := moments(per["memory"])
	near("spread of a gauge", math.Sqrt(v), 0.4, 0.1)
	together, m := 0.0, per["memory"]
	for i := range m[1:] {
		together += (m[i] - 5) * (m[i+1] - 5) / float64(len(m)-1)
	}
	near("what a gauge keeps", together/v, 0.7, 0.1)
	if _, v := moments(per["flat"]); v > 1e-18 {
		t.Errorf("values without a spread have a variance of %v", v)
	}
}

// Who has no measures draws what was drawn before there were any, and who has them changes
// nothing else of the world.
func TestMeasuresChangeNothingElse(t *testing.T) {
	with, without := shop(7), shop(7)
	measured(&with, simtest.Measure{Name: "queries", Count: 3, Burst: 2}, simtest.Measure{Name: "memory", Gauge: 1, Spread: 1})
	a, b := world(t, with), world(t, without)
	for range 300 {
		x, y := a.Step(), b.Step()
		var left []assay.Reading
		for _, r := range x.Readings {
			if r.Indicator == simtest.IndicatorErrors || r.Indicator == simtest.IndicatorLatency {
				left = append(left, r)
			}
		}
		if !reflect.DeepEqual(left, append([]assay.Reading(nil), y.Readings...)) || !reflect.DeepEqual(x.Truth, y.Truth) || !reflect.DeepEqual(x.Views, y.Views) {
			t.Fatalf("at %s the worlds differ", x.Now)
		}
	}
}

// A version that calls twice as often fills the database by its share of the traffic.
func TestAVersionThatCallsTwiceAsOftenFillsItsDatabase(t *testing.T) {
	use := func(share, calls float64) float64 {
		c := plain()
		c.Databases = []simtest.Database{{Name: "db", Capacity: 1000, Latency: 1e6}}
		c.Services[0].Calls = []simtest.Call{{To: "db", Times: 2}}
		c.Services[0].Versions[0].Share, c.Services[0].Versions[1].Share, c.Services[0].Versions[1].Calls = 100-share, share, calls
		w, sum := world(t, c), 0.0
		for range 200 {
			for _, v := range w.Step().Views {
				sum += v.DBUse / 200
			}
		}
		return sum
	}
	for _, c := range []struct{ share, calls, want float64 }{{10, 1, 0.2}, {10, 2, 0.22}, {100, 2, 0.4}, {50, 3, 0.4}} {
		if got := use(c.share, c.calls); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%v %% of the traffic calls %v times as often: the database is %v used, want %v", c.share, c.calls, got, c.want)
		}
	}
}
