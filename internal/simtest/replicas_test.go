package simtest_test

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"pgregory.net/rapid"
)

// stalling is one service with a version of each kind of failure, and a database that stalls
// for ten seconds in every minute.
func stalling(seed uint64, burst float64) simtest.Config {
	second := simtest.Duration(time.Second)
	return simtest.Config{
		Seed:      seed,
		Databases: []simtest.Database{{Name: "orders", Capacity: 1e6, Latency: second / 100}},
		Services: []simtest.Service{{
			Name: "s", Replicas: 4, Workers: 1000, Traffic: simtest.Traffic{Rate: 400}, Calls: []simtest.Call{{To: "orders", Timeout: second / 10}},
			Versions: []simtest.Version{{Name: "v1", Share: 90, Errors: 0.02, Burst: burst}, {Name: "v2", Share: 10, Errors: 0.02, Burst: burst}},
		}},
		Faults: []simtest.Fault{{Kind: simtest.DependencySlow, Target: "orders", At: minute, For: 10 * second, Every: minute, Factor: 14}},
	}
}

// of is the reading of an indicator of a version of a service in a tick.
func of(t interface {
	Helper()
	Fatalf(string, ...any)
}, r simtest.Report, service, version, indicator string) assay.Reading {
	t.Helper()
	i := slices.IndexFunc(r.Readings, func(x assay.Reading) bool {
		return x.Service == service && x.Version == version && x.Indicator == indicator
	})
	if i < 0 {
		t.Fatalf("no reading of %s of %s", indicator, version)
	}
	return r.Readings[i]
}

// What the replicas counted is what their version did, whatever happens: in regions of which
// one fails, with bursts, clients that go, replicas that are killed and others that start.
func TestReplicasAddUpToTheirVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := shop(rapid.Uint64Range(1, 1000).Draw(t, "seed"))
		c.Services[0].Patience = simtest.Duration(50 * time.Millisecond)
		c.Services[0].Versions[0].Burst = rapid.SampledFrom([]float64{1, 3, 400}).Draw(t, "burst")
		c.Services[0].Versions[0].Errors = rapid.SampledFrom([]float64{0, 0.002, 0.6, 1}).Draw(t, "errors")
		c.Faults = slices.DeleteFunc(c.Faults, func(f simtest.Fault) bool { return f.Kind == simtest.TelemetryLag || f.Kind == simtest.TelemetryLoss })
		for i := range c.Faults {
			c.Faults[i].At /= 10
			c.Faults[i].For /= 10
		}
		w := world(t, c)
		w.Apart("front", "v1", true)
		for range 40 {
			if rapid.Bool().Draw(t, "scale") {
				if _, err := w.Apply(assay.Action{Kind: assay.ActionAdjust, Service: "front", Lever: assay.LeverReplicas, Want: float64(rapid.IntRange(1, 60).Draw(t, "replicas"))}); err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
					t.Fatal(err)
				}
			}
			report := w.Step()
			for _, indicator := range []string{simtest.IndicatorErrors, simtest.IndicatorLatency} {
				all := of(t, report, "front", "v1", indicator)
				sum, name := assay.Reading{Buckets: slices.Clone(all.Buckets)}, ""
				for i := range sum.Buckets {
					sum.Buckets[i].Count = 0
				}
				for _, p := range all.Replicas {
					if p.Name <= name {
						t.Fatalf("%q comes after %q", p.Name, name)
					}
					if err := all.Of(p).Check(); err != nil {
						t.Fatal(err)
					}
					name, sum.Total, sum.Good = p.Name, sum.Total+p.Total, sum.Good+p.Good
					for i, b := range p.Buckets {
						sum.Buckets[i].Count += b.Count
					}
				}
				if len(all.Replicas) > assay.MaxReplicas || sum.Total != all.Total || sum.Good != all.Good || !slices.Equal(sum.Buckets, all.Buckets) {
					t.Fatalf("%d replicas have %d good of %d %s, %v, and their version %d of %d, %v", len(all.Replicas), sum.Good, sum.Total, indicator, sum.Buckets, all.Good, all.Total, all.Buckets)
				}
			}
		}
	})
}

// Who tells replicas apart sees the same world as who does not.
func TestWhoTellsReplicasApartSeesTheSameWorld(t *testing.T) {
	plain, told := world(t, shop(3)), world(t, shop(3))
	if !told.Apart("front", "v1", true) || told.Apart("front", "v3", true) || told.Apart("nobody", "v1", true) {
		t.Fatal("it is not the versions of the world that are told apart")
	}
	n := 0
	for range 400 {
		a, b := plain.Step(), told.Step()
		for i := range b.Readings {
			r := &b.Readings[i]
			if r.Service != "front" || r.Version != "v1" {
				if r.Replicas != nil {
					t.Fatalf("replicas of %s of %s, which nobody asked for", r.Version, r.Service)
				}
				continue
			}
			n += len(r.Replicas)
			r.Replicas = nil
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatal("the world is another one")
		}
	}
	if n == 0 {
		t.Error("no replicas")
	}
}

// scatter is the variance-to-mean ratio of the failures of replicas around their share of each
// tick's, and of their sum around its share of all ticks'.
func scatter(t *testing.T, c simtest.Config, ticks int) (beside, inTime float64) {
	t.Helper()
	w := world(t, c)
	w.Apart("s", "v1", false)
	chance, bad, total := 0.0, []float64{}, []float64{}
	for range ticks {
		all := of(t, w.Step(), "s", "v1", simtest.IndicatorErrors)
		bad, total = append(bad, float64(all.Bad())), append(total, float64(all.Total))
		for _, p := range all.Replicas {
			share := float64(p.Total) / float64(all.Total)
			away := float64(p.Total-p.Good) - float64(all.Bad())*share
			beside, chance = beside+away*away, chance+float64(all.Bad())*share*(1-share)
		}
	}
	badSum, totalSum := 0.0, 0.0
	for i := range bad {
		badSum, totalSum = badSum+bad[i], totalSum+total[i]
	}
	for i := range bad {
		want := badSum * total[i] / totalSum
		inTime += (bad[i] - want) * (bad[i] - want) / want
	}
	return beside / chance, inTime / float64(ticks-1)
}

// A database that stalls hits all replicas alike, and they differ as independent failures do;
// failures that come together are of one replica, and they differ by as much as bursts make.
func TestReplicasDifferByTheirBurstsAndNotByWhatHitsAllOfThem(t *testing.T) {
	for _, burst := range []float64{1, 4, 12} {
		c := stalling(11, burst)
		shared, inTime := scatter(t, c, 900)
		c.Faults = nil
		alone, calm := scatter(t, c, 900)
		want := 2*burst - 1
		t.Logf("bursts of %v: %.2f side by side and %.1f in time; without stalls %.2f and %.1f", burst, shared, inTime, alone, calm)
		if math.Abs(alone/want-1) > 0.2 || math.Abs(calm/want-1) > 0.2 {
			t.Errorf("bursts of %v: replicas differ by %v and ticks by %v, want %v", burst, alone, calm, want)
		}
		// A third of a replica's requests fail in a stall, so that their number varies by less than their mean.
		if shared > 1.2*want || shared < 0.6*want || inTime < 20*want {
			t.Errorf("bursts of %v and stalls: replicas differ by %v, want %v to %v, and ticks by %v, want at least %v", burst, shared, 0.6*want, 1.2*want, inTime, 20*want)
		}
	}
}

// Of telemetry that is lost the replicas lose their part; a second source tells all of them.
func TestReplicasLoseTheirPartOfTelemetry(t *testing.T) {
	c := stalling(2, 1)
	c.Faults = []simtest.Fault{{Kind: simtest.TelemetryLoss, At: 0, Share: 0.5, Source: simtest.FirstSource}}
	w := world(t, c)
	w.Apart("s", "v1", true)
	report := w.Step()
	for _, indicator := range []string{simtest.IndicatorErrors, simtest.IndicatorLatency} {
		first := of(t, report, "s", "v1", indicator)
		report := report
		report.Readings = report.Second.Readings
		second := of(t, report, "s", "v1", indicator)
		for i, p := range first.Replicas {
			if q := second.Replicas[i]; p.Total != q.Total/2 || p.Good != q.Good/2 || len(q.Buckets) > 0 && p.Buckets[6].Count != q.Buckets[6].Count/2 {
				t.Errorf("of %+v half is left as %+v", q, p)
			}
		}
	}
}

// A fault that comes again is on for its time, each time, and calm in between.
func TestAFaultComesAgain(t *testing.T) {
	c := calm(1, 100, 2)
	c.Faults = []simtest.Fault{{Kind: simtest.BadDeploy, Service: "s", At: minute, For: minute / 6, Every: minute, Share: 0.5}}
	w := world(t, c)
	for tick := range 60 {
		want := tick >= 6 && tick%6 == 0
		if got := len(w.Active()) > 0; got != want {
			t.Errorf("at tick %d it is on: %t, want %t", tick, got, want)
		}
		near := tick >= 5 && tick%6 != 2 && tick%6 != 3 && tick%6 != 4
		if got := w.Near(0, simtest.DefaultTick, simtest.DefaultTick); got != near {
			t.Errorf("at tick %d it is near: %t, want %t", tick, got, near)
		}
		w.Step()
	}
	for _, wrong := range []simtest.Fault{
		{Kind: simtest.BadDeploy, Service: "s", Every: minute}, {Kind: simtest.BadDeploy, Service: "s", For: minute, Every: minute},
		{Kind: simtest.Preemption, By: minute, For: minute, Every: 2 * minute},
	} {
		c.Faults = []simtest.Fault{wrong}
		if e, ok := c.Check().(*assay.Error); !ok || e.Field != "faults.0.every" {
			t.Errorf("%+v: %v", wrong, c.Check())
		}
	}
}
