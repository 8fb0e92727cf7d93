package simtest_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"pgregory.net/rapid"
)

const minute = simtest.Duration(time.Minute)

// shop has two regions, a database, classes, tenants and a canary.
func shop(seed uint64) simtest.Config {
	return simtest.Config{
		Seed:      seed,
		Regions:   []simtest.Region{{Name: "eu", Share: 60}, {Name: "us", Share: 40, Detour: simtest.Duration(40 * time.Millisecond)}},
		Databases: []simtest.Database{{Name: "orders", Capacity: 900, Latency: simtest.Duration(4 * time.Millisecond)}},
		Services: []simtest.Service{
			{
				Name: "front", Replicas: 10, Traffic: simtest.Traffic{Rate: 300, Day: 0.5, Noise: 0.2, Bursts: simtest.Bursts{PerHour: 1, Factor: 2, For: 2 * minute}},
				Flows: []simtest.Flow{
					{Class: "pay", Share: 0.2, Priority: 2, Critical: true, Weight: 5}, {Class: "browse", Tenant: "a", Share: 0.5},
					{Class: "browse", Tenant: "b", Share: 0.3}, {Class: "batch", Share: 0.1, Defer: true, Priority: -1},
				},
				Versions: []simtest.Version{{Name: "v1", Share: 90, Errors: 0.002, Burst: 3}, {Name: "v2", Share: 10, Errors: 0.002}},
				Calls:    []simtest.Call{{To: "stock", Times: 0.5}, {To: "orders"}}, Retry: simtest.Retry{Share: 0.8, Budget: 0.2},
				Price: simtest.Price{Replica: 0.1, Request: 1e-6, Cheap: 1e-7, Penalty: 0.1},
			},
			{Name: "stock", Replicas: 4, Calls: []simtest.Call{{To: "orders", Times: 0.3, Timeout: simtest.Duration(time.Second)}}},
		},
		Faults: []simtest.Fault{
			{Kind: simtest.BadDeploy, Service: "front", Version: "v2", At: 5 * minute, Share: 0.05, Factor: 1.5},
			{Kind: simtest.DependencySlow, Target: "orders", At: 10 * minute, For: 5 * minute, Jitter: minute, Factor: 3},
			{Kind: simtest.RegionDown, Region: "us", At: 20 * minute, For: 5 * minute, Share: 0.5, Factor: 4},
			{Kind: simtest.NoisyTenant, Service: "front", Tenant: "b", At: 25 * minute, For: 5 * minute, Factor: 6},
			{Kind: simtest.Attack, Service: "front", At: 30 * minute, For: 5 * minute, Rate: 500, Factor: 2},
			{Kind: simtest.Crash, Service: "stock", At: 40 * minute, For: 3 * minute, Share: 0.5},
			{Kind: simtest.TelemetryLag, At: 42 * minute, For: 2 * minute, By: minute},
			{Kind: simtest.TelemetryLoss, At: 46 * minute, For: 2 * minute, Share: 1},
			{Kind: simtest.TelemetryLoss, At: 49 * minute, For: 2 * minute, Share: 0.3},
			{Kind: simtest.ClockSkew, At: 50 * minute, By: minute},
			{Kind: simtest.ExecutorFailure, At: 52 * minute, Share: 1},
		},
	}
}

func world(t interface {
	Helper()
	Fatal(...any)
}, c simtest.Config) *simtest.World {
	t.Helper()
	w, err := simtest.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// hands moves a lever now and then.
func hands(t *testing.T, w *simtest.World, tick int) {
	t.Helper()
	moves := map[int]assay.Action{
		30:  {Lever: assay.LeverReplicas, Want: 14},
		50:  {Lever: assay.LeverClass, Scope: "batch", Want: 20},
		60:  {Version: "v2", Weight: 0},
		90:  {Lever: assay.LeverRateLimit, Want: 280},
		130: {Lever: assay.LeverRegion, Scope: "us", Want: 10},
		150: {Lever: assay.LeverQuota, Scope: "b", Want: 90},
		190: {Lever: assay.LeverQuarantine, Scope: simtest.Attacker, Want: 1},
		200: {Lever: assay.LeverClass, Scope: "batch", Want: 100},
		210: {Lever: assay.LeverCostClass, Scope: "batch", Want: 1},
		220: {Lever: assay.LeverConcurrency, Want: 100},
		230: {Lever: assay.LeverSpend, Want: 0.5},
		240: {Lever: assay.LeverReplicas, Scope: "us", Want: 1},
	}
	if a, ok := moves[tick]; ok {
		a.Kind, a.Service = assay.ActionAdjust, "front"
		if _, err := w.Apply(a); err != nil {
			t.Fatalf("tick %d: %v", tick, err)
		}
	}
}

func TestSameSeedGivesTheSameBytes(t *testing.T) {
	run := func(seed uint64) string {
		w := world(t, shop(seed))
		var all []simtest.Report
		for i := range 300 {
			hands(t, w, i)
			all = append(all, w.Step())
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one := run(1)
	if run(1) != one {
		t.Error("two runs of one seed differ")
	}
	if run(2) == one {
		t.Error("two seeds give the same world")
	}
}

func TestNoRequestIsLostOrInvented(t *testing.T) {
	w := world(t, shop(3))
	waiting := map[string]int{}
	arrived := 0
	for i := range 330 {
		hands(t, w, i)
		for _, truth := range w.Step().Truth {
			for j, f := range truth.Flows {
				key := truth.Service + truth.Region + string(rune('a'+j))
				if f.Arrived+waiting[key] != f.Good+f.Bad+f.Dropped+f.Cheap+f.Waiting || min(f.Good, f.Bad, f.Dropped, f.Cheap, f.Waiting) < 0 {
					t.Fatalf("tick %d: %s/%s %+v does not follow from %d waiting", i, truth.Service, truth.Region, f, waiting[key])
				}
				waiting[key] = f.Waiting
				arrived += f.Arrived
			}
		}
	}
	if arrived < 500_000 {
		t.Errorf("only %d requests in 55 minutes", arrived)
	}
}

func TestTelemetryIsCountsThatCanBe(t *testing.T) {
	w := world(t, shop(4))
	for i := range 330 {
		hands(t, w, i)
		r := w.Step()
		for _, reading := range r.Readings {
			if err := reading.Check(); err != nil {
				t.Fatalf("tick %d: %v", i, err)
			}
		}
		for _, v := range r.Views {
			if v.Answered < v.Errors || v.Answered < v.Slow || v.P50 > v.P95 || v.P95 > v.P99 || math.IsNaN(v.P99+v.InFlight+v.Utilisation) {
				t.Fatalf("tick %d: %+v", i, v)
			}
		}
	}
}

// calm is one service that answers without errors, so that everything bad is for
// want of capacity.
func calm(seed uint64, rate float64, replicas int) simtest.Config {
	return simtest.Config{Seed: seed, Services: []simtest.Service{{
		Name: "s", Replicas: replicas, Traffic: simtest.Traffic{Rate: rate, Noise: 0.3, Bursts: simtest.Bursts{PerHour: 4, Factor: 3, For: 2 * minute}},
	}}}
}

func bad(w *simtest.World, ticks int) (dropped, all int) {
	for range ticks {
		for _, truth := range w.Step().Truth {
			for _, f := range truth.Flows {
				dropped += f.Dropped
				all += f.Dropped + f.Bad
			}
		}
	}
	return dropped, all
}

func TestMoreCapacityIsNeverWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, rate := rapid.Uint64().Draw(t, "seed"), rapid.Float64Range(1, 2000).Draw(t, "rate")
		few := rapid.IntRange(1, 20).Draw(t, "replicas")
		more := few + rapid.IntRange(1, 20).Draw(t, "more")
		dropFew, badFew := bad(world(t, calm(seed, rate, few)), 60)
		dropMore, badMore := bad(world(t, calm(seed, rate, more)), 60)
		// Draws of answers differ between the runs: five standard deviations of them.
		slack := 20 + int(5*math.Sqrt(float64(badFew)))
		if dropMore > dropFew+slack/5 || badMore > badFew+slack {
			t.Fatalf("%d replicas: %d dropped, %d bad; %d replicas: %d dropped, %d bad", few, dropFew, badFew, more, dropMore, badMore)
		}
	})
}

// limited is a service in front of a database that bears 900 requests a second.
func limited(t *testing.T, rate, concurrency float64) *simtest.World {
	return world(t, simtest.Config{
		Databases: []simtest.Database{{Name: "db", Capacity: 900, Latency: simtest.Duration(10 * time.Millisecond)}},
		Services: []simtest.Service{{
			Name: "s", Replicas: 10, Workers: 40, Work: simtest.Duration(20 * time.Millisecond), Queue: 20000, Concurrency: concurrency,
			Within: simtest.Duration(300 * time.Millisecond), Traffic: simtest.Traffic{Rate: rate}, Calls: []simtest.Call{{To: "db"}},
		}},
	})
}

// 700 requests a second are 700·(20 + 45) ms = 46 at once: of 89 that may be inside some
// are always free, although 800 a second would fill the limit.
func TestALimitTurnsAwayByWorkersThatAreBusy(t *testing.T) {
	if dropped, all := bad(limited(t, 700, 89), 60); dropped > 400 || all > 1000 {
		t.Errorf("%d dropped and %d bad of 420,000 below the limit", dropped, all)
	}
	// Half as much again is turned away, and who is let in does not wait for anybody.
	dropped, all := bad(limited(t, 1200, 89), 60)
	if got := float64(dropped) / 720_000; got < 0.3 || got > 0.37 {
		t.Errorf("%.3f of 1,200 a second are turned away, of which 800 are managed", got)
	}
	if late := float64(all-dropped) / 480_000; late > 0.02 {
		t.Errorf("%.3f of those who were let in are late", late)
	}
}

func TestTheUseOfADatabaseIsThatOfTheLastTick(t *testing.T) {
	w := limited(t, 700, 0)
	use := func() float64 { return w.Step().Views[0].DBUse }
	if before := use(); before < 0.7 || before > 0.85 {
		t.Fatalf("700 of 900 a second are %.2f", before)
	}
	if _, err := w.Apply(assay.Action{Kind: assay.ActionAdjust, Service: "s", Lever: assay.LeverRateLimit, Want: 90}); err != nil {
		t.Fatal(err)
	}
	if after := use(); after > 0.11 {
		t.Errorf("90 of 900 a second are %.2f: of a tick ago", after)
	}
}

func TestArrivalsDoNotDependOnWhatIsDone(t *testing.T) {
	count := func(replicas int) (list []int) {
		w := world(t, calm(9, 200, replicas))
		for range 200 {
			list = append(list, w.Step().Truth[0].Flows[0].Arrived)
		}
		return list
	}
	few, many := count(1), count(50)
	for i := range few {
		if few[i] != many[i] {
			t.Fatalf("tick %d: %d arrive with one replica, %d with fifty", i, few[i], many[i])
		}
	}
}

func BenchmarkServiceHours(b *testing.B) {
	const hours = 24
	ticks := int(hours * time.Hour / simtest.DefaultTick)
	services := 0
	for i := 0; b.Loop(); i++ {
		c := shop(uint64(i))
		w := world(b, c)
		services = len(c.Services)
		for range ticks {
			w.Step()
		}
	}
	b.ReportMetric(float64(services*hours*b.N)/b.Elapsed().Minutes(), "service-hours/min")
	b.ReportMetric(float64(services), "services")
	b.ReportMetric(hours, "hours")
}
