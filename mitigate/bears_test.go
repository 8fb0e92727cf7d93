package mitigate_test

import (
	"testing"
	"time"

	"assay.dev/assay"
)

// calmDatabase is a service of 300 requests a second in front of a database that 900 would
// fill: each takes 20 ms besides it, and is 10.5 of 300 that are inside.
func calmDatabase(t testing.TB) *rig {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.lever(assay.LeverConcurrency, "", 0)
	for class, rate := range map[string]float64{"orders": 60, "search": 150, "reports": 90} {
		r.set("demand", class, rate)
	}
	for name, v := range map[string]float64{"latency": 0.05, "samples": 18000, "inflight": 10.5, "queue_depth": 0, "queue_age": 0, "db_utilisation": 1.0 / 3} {
		r.set(name, "", v)
	}
	r.run(5*time.Minute, 10*time.Second)
	if len(r.log) > 0 {
		t.Fatalf("moved although nothing is wrong: %+v", r.log)
	}
	return r
}

// At 89 % of 900 requests a second, each in there for 20 + 90 ms, 88 are inside.
func TestALimitIsSetWhereTheDatabaseIsKnownToBearItBeforeItIsFull(t *testing.T) {
	r := calmDatabase(t)
	for _, use := range []float64{0.5, 0.65, 0.8} {
		if len(r.log) > 0 {
			t.Fatalf("moved before two rises said where it goes: %+v", r.log)
		}
		r.set("db_utilisation", "", use)
		r.step(10 * time.Second)
	}
	if got := r.at(assay.LeverConcurrency, ""); got < 87 || got > 90 || len(r.log) != 1 {
		t.Errorf("the limit is %v after %d moves: %s", got, len(r.log), r.last.Words)
	}
	// While the database is nearly full, what it bears is not exceeded to try whether it does.
	r.set("db_utilisation", "", 0.85)
	r.set("samples", "", 45900)
	r.set("inflight", "", 80)
	r.run(10*time.Minute, 10*time.Second)
	if len(r.log) != 1 {
		t.Errorf("nothing changed: %+v", r.log[1:])
	}
}

func TestARiseThatEndsSetsNoLimit(t *testing.T) {
	r := calmDatabase(t)
	for _, use := range []float64{0.5, 0.65, 0.65, 0.8, 0.8, 0.7, 0.85, 0.6} {
		r.set("db_utilisation", "", use)
		r.step(10 * time.Second)
	}
	if len(r.log) > 0 {
		t.Errorf("it never rose twice to where the next look would be above the budget: %+v", r.log)
	}
}

func TestADatabaseThatBecameSlowerBearsLess(t *testing.T) {
	r := calmDatabase(t)
	r.set("db_utilisation", "", 0.9)
	r.set("inflight", "", 400)
	r.set("latency", "", 10)
	r.step(10 * time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got < 87 || got > 90 {
		t.Fatalf("the first cut is to %v, not to what is known: %s", got, r.last.Words)
	}
	r.set("samples", "", 3600) // 60 a second at the same use: five times slower
	r.run(90*time.Second, 10*time.Second)
	// 0.62 of 60 ⁄ 0.9 requests a second, in there for 20 + 130 ms and a little: the least that may be.
	if got := r.at(assay.LeverConcurrency, ""); got != 10 {
		t.Errorf("the limit is %v: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

// Before a minute is over its count still holds what was answered before: that it falls
// twice while the database stays full says that it is slower by that much or more.
func TestFewerAnswersFromAFullDatabaseSayAtOnceThatItIsSlower(t *testing.T) {
	r := calmDatabase(t)
	r.set("db_utilisation", "", 0.9)
	r.set("inflight", "", 400)
	for _, answered := range []float64{15600, 13200} {
		r.set("samples", "", answered)
		r.step(10 * time.Second)
	}
	// 3.7 times: 0.68 of 245 requests a second, in there for 20 + 37 + 80 ms.
	if got := r.at(assay.LeverConcurrency, ""); got < 20 || got > 26 {
		t.Errorf("the limit is %v: %s", got, r.last.Words)
	}
}

func TestWhatWasMeasuredBeforeACutCutsNothingMore(t *testing.T) {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.set("latency", "", 0.1)
	r.set("db_utilisation", "", 0.97)
	r.step(10 * time.Second)
	cut := r.at(assay.LeverConcurrency, "")
	if cut >= 190 {
		t.Fatalf("the limit is %v: %s", cut, r.last.Words)
	}
	old := r.now
	for range 3 {
		r.now = r.now.Add(10 * time.Second)
		r.fresh()
		for i := range r.in.Values {
			if r.in.Values[i].Name == "db_utilisation" {
				r.in.Values[i].Time = old
			}
		}
		if r.decide(); r.at(assay.LeverConcurrency, "") != cut {
			t.Fatalf("cut again for what it was before: %s", r.last.Words)
		}
	}
	r.step(10 * time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got >= cut {
		t.Errorf("it is as full as before, measured anew, and the limit stays at %v: %s", got, r.last.Words)
	}
}

// A quantile over a minute shows the time before a cut for a minute.
func TestAnOldLatencyDoesNotOverruleADatabaseThatIsRelieved(t *testing.T) {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.set("latency", "", 0.1)
	r.set("db_utilisation", "", 0.97)
	r.step(10 * time.Second)
	cut := r.at(assay.LeverConcurrency, "")
	r.set("latency", "", 1)
	r.set("db_utilisation", "", 0.85)
	r.run(50*time.Second, 10*time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got != cut {
		t.Errorf("the limit went from %v to %v: %s", cut, got, r.last.Words)
	}
	r.run(2*time.Minute, 10*time.Second)
	if got := r.at(assay.LeverConcurrency, ""); got >= cut {
		t.Errorf("it has been late for minutes since, and the limit is still %v: %s", got, r.last.Words)
	}
}
