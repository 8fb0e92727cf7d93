package sim_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/acttest"
	"assay.dev/assay/act/sim"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// shop is a world with v1 and v2; v2 fails more and is slow at times.
func shop(seed uint64, canary int) sim.Config {
	fast := sim.Latency{Median: 20 * time.Millisecond, Spread: 0.5}
	slow := fast
	slow.Tail, slow.Slow = 0.05, 20
	return sim.Config{Seed: seed, Start: start, Services: []sim.Service{{
		Name: acttest.Service, Rate: 1000, Within: 250 * time.Millisecond,
		Versions: []sim.Version{
			{Name: acttest.V1, Weight: 100 - canary, Errors: 0.01, Latency: fast},
			{Name: acttest.V2, Weight: canary, Errors: 0.04, Latency: slow},
		},
	}}}
}

func world(t interface {
	Helper()
	Fatal(...any)
}, c sim.Config) *sim.World {
	t.Helper()
	w, err := sim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func steps(t interface {
	Helper()
	Fatal(...any)
}, w *sim.World, n int, d time.Duration) (out []assay.Reading) {
	t.Helper()
	for range n {
		r, err := w.Step(d)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r...)
	}
	return out
}

func TestSimKeepsTheContractOfLevers(t *testing.T) {
	acttest.RunLevers(t, func(t *testing.T) acttest.LeverWorld {
		c := shop(1, 0)
		c.Services[0].Levers = []act.LeverAt{{Lever: assay.LeverReplicas, Value: 5}}
		return acttest.LeverWorld{Actuator: world(t, c), Lever: assay.LeverReplicas, Rest: 5, Unknown: assay.LeverSpend}
	})
}

func TestSimKeepsTheContractOfActuators(t *testing.T) {
	acttest.Run(t, func(t *testing.T) acttest.World { return acttest.World{Actuator: world(t, shop(1, 0))} })
}

func TestSameSeedGivesTheSameWorld(t *testing.T) {
	run := func(seed uint64) string {
		w := world(t, shop(seed, 10))
		out := steps(t, w, 20, time.Second)
		if _, err := w.Apply(t.Context(), assay.Action{Kind: assay.ActionAdvance, Service: "shop", Version: "v2", From: 10, Weight: 25, Key: "k", Fence: 1}); err != nil {
			t.Fatal(err)
		}
		out = append(out, steps(t, w, 20, time.Second)...)
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := run(7)
	if again := run(7); again != first {
		t.Error("two runs of one seed differ")
	}
	if run(8) == first {
		t.Error("two seeds give the same world")
	}
}

func TestCountsFollowTheRulesOfTheWorld(t *testing.T) {
	c := shop(3, 10)
	sums := map[string]assay.Reading{}
	for _, r := range steps(t, world(t, c), 400, time.Second) {
		s := sums[r.Version+r.Indicator]
		s.Good, s.Total = s.Good+r.Good, s.Total+r.Total
		sums[r.Version+r.Indicator] = s
	}
	// 400 s at 1000/s. The limits are five standard deviations; the seed is fixed.
	near := func(what string, got uint64, trials, p float64) {
		t.Helper()
		want := trials * p
		if math.Abs(float64(got)-want) > 5*math.Sqrt(want*(1-p)) {
			t.Errorf("%s: %d, want about %.0f", what, got, want)
		}
	}
	v1, v2 := sums["v1errors"], sums["v2errors"]
	near("requests of v2", v2.Total, float64(v1.Total+v2.Total), 0.1)
	near("errors of v1", v1.Bad(), float64(v1.Total), 0.01)
	near("errors of v2", v2.Bad(), float64(v2.Total), 0.04)
	if n := float64(v1.Total + v2.Total); math.Abs(n-400_000) > 5*math.Sqrt(400_000) {
		t.Errorf("%v requests in all, want about 400000", n)
	}
	// Beyond 250 ms: of v2's slow twentieth, whose median is 400 ms, P(ln X > ln 250/400) = P(Z > -0.94) = 0.826.
	l2 := sums["v2latency"]
	near("slow requests of v2", l2.Bad(), float64(l2.Total), 0.05*0.8264)
	if l1 := sums["v1latency"]; float64(l1.Bad()) > 0.001*float64(l1.Total) {
		t.Errorf("%d of %d requests of v1 are slow", l1.Bad(), l1.Total)
	}
}

func TestLateFaultBeginsInTime(t *testing.T) {
	c := shop(5, 100)
	c.Services[0].Versions[1].Errors = 0
	c.Services[0].Changes = []sim.Change{{After: 10 * time.Second, Version: "v2", Errors: 1, Latency: c.Services[0].Versions[1].Latency}}
	for _, r := range steps(t, world(t, c), 20, time.Second) {
		if r.Version == "v2" && r.Indicator == sim.IndicatorErrors {
			late := !r.Start.Before(start.Add(10 * time.Second))
			if late && r.Good != 0 || !late && r.Bad() != 0 {
				t.Errorf("in the interval from %s v2 had %d errors of %d", r.Start.Sub(start), r.Bad(), r.Total)
			}
		}
	}
}

func TestReadingsOfTheWorldAreSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := shop(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 100).Draw(t, "canary"))
		c.Services[0].Rate = rapid.Float64Range(0, 500).Draw(t, "rate")
		c.Services[0].Versions[1].Errors = rapid.Float64Range(0, 1).Draw(t, "errors")
		c.Services[0].Versions[1].Latency.Spread = rapid.Float64Range(0, 3).Draw(t, "spread")
		w := world(t, c)
		for _, r := range steps(t, w, 5, time.Second) {
			if err := r.Check(); err != nil {
				t.Fatal(err)
			}
			share := c.Services[0].Versions[0].Weight
			if r.Version == "v2" {
				share = 100 - share
			}
			if share == 0 && r.Total != 0 {
				t.Fatalf("version %s has no traffic and %d requests", r.Version, r.Total)
			}
		}
		if w.Now() != start.Add(5*time.Second) {
			t.Fatalf("after five seconds it is %s", w.Now())
		}
	})
}

func TestWorldsThatCannotBeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*sim.Config){
		"weights":        func(c *sim.Config) { c.Services[0].Versions[0].Weight = 1 },
		"probability":    func(c *sim.Config) { c.Services[0].Versions[0].Errors = math.NaN() },
		"no latency":     func(c *sim.Config) { c.Services[0].Versions[0].Latency = sim.Latency{} },
		"fast tail":      func(c *sim.Config) { c.Services[0].Versions[1].Latency.Slow = 0.5 },
		"rate":           func(c *sim.Config) { c.Services[0].Rate = math.Inf(1) },
		"twice":          func(c *sim.Config) { c.Services = append(c.Services, c.Services[0]) },
		"bounds":         func(c *sim.Config) { c.Bounds = []time.Duration{2, 1} },
		"within":         func(c *sim.Config) { c.Services[0].Within = 3 * time.Millisecond },
		"unknown change": func(c *sim.Config) { c.Services[0].Changes = []sim.Change{{Version: "v9"}} },
	} {
		c := shop(1, 10)
		change(&c)
		if _, err := sim.New(c); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v; want invalid", name, err)
		}
	}
	c := shop(1, 10)
	c.Services[0].Rate = 1e9
	if _, err := world(t, c).Step(time.Hour); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a step of 3.6e12 requests: %v; want too large", err)
	}
}

func BenchmarkStep(b *testing.B) {
	w := world(b, shop(1, 10))
	for b.Loop() {
		if _, err := w.Step(time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
