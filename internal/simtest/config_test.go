package simtest_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

func TestAWorldThatCannotBeIsRefusedAtItsField(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*simtest.Config)
		field string
	}{
		"no services":             {func(c *simtest.Config) { c.Services = nil }, "services"},
		"two of a name":           {func(c *simtest.Config) { c.Services[1].Name = "front" }, "services"},
		"a tick of a day":         {func(c *simtest.Config) { c.Tick = simtest.Duration(24 * time.Hour) }, "tick"},
		"regions of 90 %":         {func(c *simtest.Config) { c.Regions[0].Share = 50 }, "regions"},
		"a negative price":        {func(c *simtest.Config) { c.Services[0].Price.Request = -1 }, "services.0.price"},
		"versions of 110 %":       {func(c *simtest.Config) { c.Services[0].Versions[0].Share = 100 }, "services.0.versions"},
		"errors above 1":          {func(c *simtest.Config) { c.Services[0].Versions[0].Errors = 1.1 }, "services.0.versions"},
		"the attacker's name":     {func(c *simtest.Config) { c.Services[0].Flows[0].Class = simtest.Attacker }, "services.0.flows"},
		"a service called twice":  {func(c *simtest.Config) { c.Services[0].Calls[0].Times = -2 }, "services.0.calls"},
		"a fault of nothing":      {func(c *simtest.Config) { c.Faults[1].Target = "nobody" }, "faults.1.target"},
		"a fault of no version":   {func(c *simtest.Config) { c.Faults[0].Version = "v9" }, "faults.0.version"},
		"a kind of nothing":       {func(c *simtest.Config) { c.Faults[0].Kind = "rain" }, "faults.0.kind"},
		"a pool held for no time": {func(c *simtest.Config) { c.Services[0].Versions[1].Pool.Size = 4 }, "services.0.versions"},
		"a measure of nothing":    {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x"}) }, "services.0.versions"},
		"a measure of two things": {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Count: 1, Sum: 1}) }, "services.0.versions"},
		"a measure called errors": {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "errors", Count: 1}) }, "services.0.versions"},
		"two measures of a name": {func(c *simtest.Config) {
			measured(c, simtest.Measure{Name: "x", Count: 1}, simtest.Measure{Name: "x", Sum: 1})
		}, "services.0.versions"},
		"a sum in bursts":         {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Sum: 1, Burst: 2}) }, "services.0.versions"},
		"a count with a spread":   {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Count: 1, Spread: 2}) }, "services.0.versions"},
		"a count that keeps":      {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Count: 1, Keep: 0.5}) }, "services.0.versions"},
		"a gauge for ever":        {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Gauge: 1, Keep: 1}) }, "services.0.versions"},
		"a negative count":        {func(c *simtest.Config) { measured(c, simtest.Measure{Name: "x", Count: -1}) }, "services.0.versions"},
		"a version that calls -1": {func(c *simtest.Config) { c.Services[0].Versions[1].Calls = -1 }, "services.0.versions"},
		"a replica too many":      {func(c *simtest.Config) { c.Services[0].Max = 5 }, "services.0.replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			config := shop(1)
			c.spoil(&config)
			_, err := simtest.New(config)
			e, ok := errors.AsType[*assay.Error](err)
			if !ok || e.Code != assay.CodeInvalid || e.Field != c.field {
				t.Errorf("%v at %q, want %q", err, e.Field, c.field)
			}
		})
	}
	config := shop(1)
	config.Services[0], config.Services[1] = config.Services[1], config.Services[0]
	if _, err := simtest.New(config); err == nil || !strings.Contains(err.Error(), "stands after it") {
		t.Errorf("a callee before its caller: %v", err)
	}
}

// measured gives a world's canary measures.
func measured(c *simtest.Config, m ...simtest.Measure) { c.Services[0].Versions[1].Measures = m }

func TestFaultsShowInTelemetryAsTheyWouldInProduction(t *testing.T) {
	w := world(t, shop(5))
	var seen []simtest.Report
	for range 330 {
		seen = append(seen, w.Step())
	}
	between := func(from, to time.Duration, get func(simtest.View) float64) (sum float64) {
		n := 0.0
		for _, r := range seen[from/simtest.DefaultTick : to/simtest.DefaultTick] {
			for _, v := range r.Views {
				if v.Service == "front" && v.Region == "" {
					sum += get(v)
					n++
				}
			}
		}
		return sum / n
	}
	latency := func(v simtest.View) float64 { return v.P50 }
	if before, slow := between(5*time.Minute, 10*time.Minute, latency), between(12*time.Minute, 15*time.Minute, latency); slow < 1.2*before {
		t.Errorf("a database three times slower makes the median %v instead of %v", slow, before)
	}
	rate := func(v simtest.View) float64 { return v.Rate() }
	if before, under := between(28*time.Minute, 29*time.Minute, rate), between(31*time.Minute, 34*time.Minute, rate); under < 400 || before <= 0 {
		t.Errorf("an attack of 500 requests/s brings %v", under)
	}
	for i, r := range seen {
		at := time.Duration(i+1) * simtest.DefaultTick
		switch {
		case at > 47*time.Minute && at <= 48*time.Minute && len(r.Views) > 0:
			t.Errorf("views at %s although telemetry is lost", at)
		case at > 43*time.Minute && at < 44*time.Minute:
			for _, v := range r.Views {
				if r.Now.Sub(v.EventTime) < time.Minute {
					t.Errorf("a view at %s is %s old, and the lag is a minute", at, r.Now.Sub(v.EventTime))
				}
			}
		case at > 49*time.Minute+10*time.Second && at < 51*time.Minute:
			for _, v := range r.Views {
				if v.Completeness > 0.71 {
					t.Errorf("completeness %v at %s", v.Completeness, at)
				}
			}
		}
	}
	if _, err := w.Apply(assay.Action{Kind: assay.ActionAdjust, Service: "front", Lever: assay.LeverReplicas, Want: 20}); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("an executor that fails says %v", err)
	}
}

func TestReplicasServeOnlyAfterTheirStart(t *testing.T) {
	w := world(t, calm(1, 100, 2))
	got, err := w.Apply(assay.Action{Kind: assay.ActionAdjust, Service: "s", Lever: assay.LeverReplicas, Want: 5})
	if err != nil || got != 5 {
		t.Fatal(got, err)
	}
	for i := range 8 {
		truth := w.Step().Truth[0]
		if want := map[bool]int{true: 5, false: 2}[i >= 6]; truth.Ready != want || truth.Replicas != 5 {
			t.Errorf("after %d ticks %d of %d replicas are ready, want %d", i+1, truth.Ready, truth.Replicas, want)
		}
	}
}

func TestLeversThatAreNotThereAreRefused(t *testing.T) {
	w := world(t, shop(1))
	for _, a := range []assay.Action{
		{Service: "nobody", Lever: assay.LeverReplicas, Want: 1}, {Service: "front", Lever: "gravity", Want: 1},
		{Service: "front", Lever: assay.LeverRegion, Scope: "mars", Want: 1}, {Service: "front", Version: "v9", Weight: 10},
		{Service: "front", Lever: assay.LeverClass, Scope: "nobody", Want: 1}, {Service: "front", Lever: assay.LeverReplicas, Want: -1},
		{Service: "orders", Lever: assay.LeverRetention, Want: 0},
	} {
		a.Kind = assay.ActionAdjust
		if _, err := w.Apply(a); assay.CodeOf(err) != assay.CodeNotFound && assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func FuzzUnmarshalText(f *testing.F) {
	for _, s := range []string{"10s", "-1s", "1d", "", "9999999h", "1.5h"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d, again simtest.Duration
		if d.UnmarshalText(text) != nil {
			return
		}
		out, err := d.MarshalText()
		if err != nil || d < 0 || again.UnmarshalText(out) != nil || again != d {
			t.Fatalf("%q is %v and then %v", text, d, again)
		}
	})
}

// The shares are of Erlang's loss formula with ten connections, from published tables: 1 % of
// 4.46 erlangs find none free, 10 % of 7.51 and 50 % of 18.3.
func TestAPoolFailsByTheLoadOfItsVersionAlone(t *testing.T) {
	const rate = 400
	for _, c := range []struct{ erlangs, share, blocked float64 }{
		{4.46, 100, 0.01}, {7.511, 100, 0.10}, {18.27, 100, 0.50}, {44.6, 10, 0.01}, {0.5, 10, 0},
	} {
		config := simtest.Config{Seed: 1, Services: []simtest.Service{{
			Name: "shop", Traffic: simtest.Traffic{Rate: rate}, Replicas: 20,
			Versions: []simtest.Version{{Name: "v1", Share: 100 - c.share}, {Name: "v2", Share: c.share, Pool: simtest.Pool{
				Size: 10, Hold: simtest.Duration(c.erlangs / rate * float64(time.Second)),
			}}},
		}}}
		w := world(t, config)
		bad := map[string]float64{}
		total := map[string]float64{}
		for range 600 {
			for _, r := range w.Step().Readings {
				if r.Indicator == simtest.IndicatorErrors {
					bad[r.Version] += float64(r.Bad())
					total[r.Version] += float64(r.Total)
				}
			}
		}
		got := bad["v2"] / total["v2"]
		if math.Abs(got-c.blocked) > 0.1*c.blocked+0.001 || bad["v1"] > 0 {
			t.Errorf("%.4f of the requests of v2 fail at %v erlangs and %v %%, want %v; %v of v1", got, c.erlangs, c.share, c.blocked, bad["v1"])
		}
	}
}
