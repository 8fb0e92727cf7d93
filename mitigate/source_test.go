package mitigate_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
)

// senders are what two senders say of one thing, by query.
type senders struct {
	*board
	of map[string][]signal.Gauge // of which Time is the age
}

func (s senders) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	for _, g := range s.of[q.Expr] {
		out = append(out, signal.Gauge{Scope: g.Scope, Value: g.Value, Completeness: g.Completeness, Time: q.Time.Add(-time.Duration(g.Time.UnixNano()))})
	}
	return out, nil
}

// old is a number that is so old and comes from so many of its senders.
func old(scope string, value float64, age time.Duration, completeness float64) signal.Gauge {
	return signal.Gauge{Scope: scope, Value: value, Time: time.Unix(0, int64(age)), Completeness: completeness}
}

func TestASecondSourceIsReadWhileTheFirstIsOfNoUse(t *testing.T) {
	fresh, stale := 5*time.Second, 10*time.Minute
	for name, c := range map[string]struct {
		first, second []signal.Gauge
		want          float64 // replicas; 5 is where they stand
		instead       string  // in the reasons; "" that the second is not spoken of
		unknown       string
	}{
		"both are fresh":                {first: []signal.Gauge{old("", 130, fresh, 1)}, second: []signal.Gauge{old("", 2000, fresh, 1)}, want: 5},
		"the first is stale":            {first: []signal.Gauge{old("", 130, stale, 1)}, second: []signal.Gauge{old("", 2000, fresh, 1)}, want: 10, instead: "load is read from its second source: load is 10m0s old, and at most 30s is fresh"},
		"the first is gone":             {second: []signal.Gauge{old("", 2000, fresh, 1)}, want: 10, instead: "load is read from its second source: load has no data"},
		"the first is incomplete":       {first: []signal.Gauge{old("", 130, fresh, 0.5)}, second: []signal.Gauge{old("", 2000, fresh, 1)}, want: 10, instead: "load has 50 % of its sources, and 90 % are needed"},
		"the first is no number":        {first: []signal.Gauge{old("", math.NaN(), fresh, 1)}, second: []signal.Gauge{old("", 2000, fresh, 1)}, want: 10, instead: "load has 0 % of its sources"},
		"both are stale":                {first: []signal.Gauge{old("", 130, stale, 1)}, second: []signal.Gauge{old("", 2000, stale, 1)}, want: 5, unknown: "load is 10m0s old"},
		"the second is stale":           {first: []signal.Gauge{old("", 130, fresh, 1)}, second: []signal.Gauge{old("", 2000, stale, 1)}, want: 5},
		"neither has ever had any data": {want: 5, unknown: "load has no data"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, "scale", replicas)
			b.s.Spec.Scale.Forecast = nil
			b.s.Spec.Signals = slices.DeleteFunc(slices.Clone(b.s.Spec.Signals), func(x policy.StrategySignal) bool { return x.Name != "load" })
			b.s.Spec.Signals[0].Fallback = "another sender's"
			b.ctl = b.controller(b.declared, func(cfg *mitigate.Config) {
				cfg.Gauges = senders{b, map[string][]signal.Gauge{b.s.Spec.Signals[0].Query: c.first, "another sender's": c.second}}
			})
			if err := b.ctl.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := b.step(10 * time.Second)
			if got := b.at(assay.LeverReplicas); got != c.want {
				t.Errorf("%v replicas, expected %v: %s %q", got, c.want, s.Decision.Words, s.Decision.Reasons)
			}
			said := strings.Join(s.Decision.Reasons, "\n")
			if !strings.Contains(said, c.instead) || c.instead == "" && strings.Contains(said, "second source") {
				t.Errorf("it says %q, expected %q", said, c.instead)
			}
			for _, x := range s.Decision.Signals {
				if x.Indicator == "load" && ((x.Instead != "") != (c.instead != "") || x.Known != (c.unknown == "") || !strings.Contains(x.Reason, c.unknown)) {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// Parts of two sources do not compare: they may count differently.
func TestScopesOfTwoSourcesAreNeverMixed(t *testing.T) {
	fresh, stale := 5*time.Second, 10*time.Minute
	b := newBoard(t, "divert")
	b.s.Spec.Signals = slices.Clone(b.s.Spec.Signals)
	of := map[string][]signal.Gauge{}
	for i := range b.s.Spec.Signals {
		x := &b.s.Spec.Signals[i]
		x.Fallback = "second " + x.Name
		of[x.Query] = []signal.Gauge{old("eu", 900, fresh, 1), old("us", 900, stale, 1)}
		of[x.Fallback] = []signal.Gauge{old("eu", 9, fresh, 1), old("us", 9, fresh, 1)}
	}
	b.ctl = b.controller(b.declared, func(cfg *mitigate.Config) { cfg.Gauges = senders{b, of} })
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.step(10 * time.Second)
	_, law := b.newest()
	r, identical, err := mitigate.Replay(law)
	if err != nil || !identical {
		t.Fatalf("the decision comes out the same: %t, %v", identical, err)
	}
	in := r.Inputs
	if len(in.Values) == 0 || len(in.Second) != len(b.s.Spec.Signals) {
		t.Fatalf("%+v", in)
	}
	for _, v := range in.Values {
		if v.Value != 9 {
			t.Errorf("%+v is of the first source beside the second's", v)
		}
	}
}

// What an action did is not told by a change of the sender: the second source counts a hundred
// times as much as the first had.
func TestWhatAnActionDidIsNotJudgedByTheSecondSourceOfItsObjective(t *testing.T) {
	b, list := judgedBy(t, true, 5*time.Minute, "the first has told nothing since noon")
	for _, p := range list {
		if p.Outcome.Effect != assay.EffectInconclusive {
			t.Errorf("%s %s: %s", p.Outcome.Action.Kind, p.Outcome.Effect, p.Outcome.Reason)
		}
	}
	said := strings.Join(b.step(time.Second).Decision.Reasons, "\n")
	if want := "the burn of checkout is read from its second source: the first has told nothing since noon"; !strings.Contains(said, want) {
		t.Errorf("it says %q, not %q", said, want)
	}
	if len(b.facts(assay.FactMitigationActed)) == 0 {
		t.Error("it never acted")
	}
	replayAll(t, b)
}
