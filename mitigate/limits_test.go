package mitigate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// The bound of the backlog rests on the queue alone.
func TestAFullBacklogSendsClassesAwayWhateverElseIsKnown(t *testing.T) {
	gone := func(names ...string) func(*rig) {
		return func(r *rig) {
			r.in.Values = slices.DeleteFunc(r.in.Values, func(v mitigate.Value) bool { return slices.Contains(names, v.Name) })
		}
	}
	for name, spoil := range map[string]func(*rig){
		"all is known": func(*rig) {},
		"nothing is declared to be inside": func(r *rig) {
			gone("inflight")(r)
			r.s.Spec.Signals = slices.DeleteFunc(r.s.Spec.Signals, func(s policy.StrategySignal) bool { return s.Name == "inflight" })
		},
		"nothing is inside at the moment": func(r *rig) { r.set("inflight", "", 0) },
		"what is inside is not known":     gone("inflight"),
		"the latency is not known":        gone("latency"),
		"the demand is not known":         gone("demand"),
	} {
		t.Run(name, func(t *testing.T) {
			r := example(t, "throttle")
			throttleTrouble(r)
			spoil(r)
			r.set("queue_depth", "", 50000)
			r.run(2*time.Minute, 10*time.Second)
			for class, want := range map[string]float64{"orders": 100, "search": 0, "reports": 0} {
				if got := r.at(assay.LeverClass, class); got != want {
					t.Errorf("%s is let in at %v %%: %s %v", class, got, r.last.Words, r.last.Reasons)
				}
			}
		})
	}
}

// A queue with an end turns away what comes, so that one that is full does not grow.
func TestAQueueThatIsFullCountsAsOneThatGrows(t *testing.T) {
	for name, c := range map[string]struct {
		depth float64
		cut   bool
	}{
		"above its bound, and never longer than before": {depth: 5900, cut: true},
		"shorter each time, below its bound":            {depth: 4900, cut: false},
	} {
		t.Run(name, func(t *testing.T) {
			r := example(t, "throttle")
			throttleTrouble(r)
			r.set("latency", "", 0.2)
			r.set("db_utilisation", "", 0.5)
			r.set("queue_age", "", 10)
			for i := range 30 {
				r.set("queue_depth", "", c.depth-float64(i))
				r.run(10*time.Second, 10*time.Second)
			}
			if got := r.at(assay.LeverConcurrency, ""); (got < 200) != c.cut {
				t.Errorf("the limit is %v after five minutes: %s %v", got, r.last.Words, r.last.Reasons)
			}
		})
	}
}

func TestClassesComeBackWhenNothingIsInside(t *testing.T) {
	r := example(t, "throttle")
	throttleTrouble(r)
	r.set("latency", "", 0.1)
	r.set("queue_age", "", 0.1)
	r.set("inflight", "", 0)
	for _, c := range []string{"search", "reports"} {
		r.lever(assay.LeverClass, c, 0)
	}
	r.run(time.Hour, 10*time.Second)
	if got := r.at(assay.LeverClass, "search"); got != 100 {
		t.Errorf("nothing is in use, and search is let in at %v %%: %s %v", got, r.last.Words, r.last.Reasons)
	}
}

// A strategy that keeps every source that it ever cut off cannot be stored one day.
func TestSourcesThatWereLetInAreForgotten(t *testing.T) {
	r := example(t, "contain")
	for i := range 40 {
		ip := fmt.Sprintf("10.2.0.%d", i)
		r.in.Values, r.in.Settings = nil, nil
		sources(r)
		r.set("anomaly", ip, 0.97)
		r.set("evidence", ip, 1)
		r.set("share", ip, 0.01)
		r.lever(assay.LeverQuarantine, ip, 0)
		r.run(time.Minute, 10*time.Second)
		if i%2 == 0 { // the others are let in by the door itself
			r.set("anomaly", ip, 0.1)
			r.run(3*time.Minute, 10*time.Second)
		}
	}
	if len(r.log) < 50 {
		t.Fatalf("%d moves", len(r.log))
	}
	r.run(70*time.Minute, 10*time.Second)
	if n := len(r.st.Dampers); n != 1 { // the last is cut off still
		t.Errorf("an hour after the last of 40 sources %d are remembered", n)
	}
}
