package rollout_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/store/mem"
)

// parted is a stage whose telemetry tells routes and kinds of bad responses apart, for
// whoever asks for them.
type parted struct{ *stage }

// Read implements signal.Source.
func (p parted) Read(ctx context.Context, q signal.Query) (out []assay.Reading, err error) {
	whole, err := p.stage.Read(ctx, q)
	for _, r := range whole {
		cut := []assay.Reading{r}
		if q.Indicator.StratumLabel != "" {
			small, rest := r, r
			small.Stratum, small.Total, small.Good, small.Buckets = "/checkout", r.Total/4, r.Good/4, nil
			rest.Stratum, rest.Total, rest.Good, rest.Buckets = "/", r.Total-small.Total, r.Good-small.Good, nil
			cut = []assay.Reading{rest, small}
		}
		for _, x := range cut {
			if q.Indicator.ClassLabel != "" {
				few := x.Bad() / 4
				x.Classes = []assay.Class{{Name: "late", Count: few}, {Name: "broken", Count: x.Bad() - few}}
			}
			out = append(out, x)
		}
	}
	return out, err
}

func (s *stage) counted(version string, from, to time.Time) (sum assay.Rate) {
	s.t.Helper()
	compiled, err := signal.Compile(errorsSpec())
	if err != nil {
		s.t.Fatal(err)
	}
	readings, err := s.Read(s.t.Context(), signal.Query{Namespace: namespace, Indicator: compiled, Start: from, End: to})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range readings {
		if version == "" || r.Version == version {
			sum.Bad, sum.Total = sum.Bad+r.Bad(), sum.Total+r.Total
		}
	}
	return sum
}

func TestAnActionIsJudgedByAllTheTrafficWhateverPartsItIsToldIn(t *testing.T) {
	for name, change := range map[string]func(*rollout.Proposal){
		"whole":  func(*rollout.Proposal) {},
		"strata": func(p *rollout.Proposal) { p.Indicators[0].Spec.StratumLabel = "route" },
		"classes": func(p *rollout.Proposal) {
			p.Indicators[0].Spec.ClassLabel, p.Plan.Indicators[0].Classes = "kind", []string{"late", "broken"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 70, 0.05)
			s.with(func(c *rollout.Config) { c.Source = parted{s} })
			s.past(time.Minute)
			r := s.run(s.start(plan(), change))
			if r.Status != api.RolloutAborted {
				t.Fatalf("ended %s: %s", r.Status, r.Reason)
			}
			p := payload[rollout.JudgedPayload](t, s.facts(assay.FactRolloutJudged)[0])
			if want := s.counted("v2", r.Began, p.Outcome.Time); p.Canary != want {
				t.Errorf("the canary is judged by %+v; it had %+v", p.Canary, want)
			}
			if share := float64(r.Canary.Bad) / float64(r.Canary.Total); share < 0.03 || share > 0.07 {
				t.Errorf("people see %+v of a version that answers 5 %% badly", r.Canary)
			}
			if share := float64(r.Control.Bad) / float64(r.Control.Total); share < 0.004 || share > 0.02 {
				t.Errorf("people see %+v of a version that answers 1 %% badly", r.Control)
			}
			if r.Outcome.Effect != assay.EffectHelped {
				t.Errorf("the abort is judged %s: %s", r.Outcome.Effect, r.Outcome.Reason)
			}
		})
	}
}

func TestAMirroredVersionIsJudgedByResponsesAndNotByCopies(t *testing.T) {
	t.Run("in its watch", func(t *testing.T) {
		s := newStage(t, 71, 0.05)
		s.behind(newDoor(t))
		s.past(time.Minute)
		id := s.start(plan(), mirroredBy(99))
		if r := s.copies(id, 900, 0.01, 0.01); r.Status != api.RolloutWatching {
			t.Fatalf("status %s: %s", r.Status, r.Reason)
		}
		r := s.run(id)
		if r.Status != api.RolloutReverted {
			t.Fatalf("ended %s: %s", r.Status, r.Reason)
		}
		p := payload[rollout.JudgedPayload](t, s.facts(assay.FactRolloutJudged)[0])
		if want := s.counted("v2", r.Watch.Began, p.Outcome.Time); p.Canary != want || p.After.Total == 0 || r.Outcome.Effect != assay.EffectHelped {
			t.Errorf("judged %s by %+v and %+v afterwards; it had %+v: %s", r.Outcome.Effect, p.Canary, p.After, want, r.Outcome.Reason)
		}
	})
	t.Run("before it has traffic", func(t *testing.T) {
		s := newStage(t, 72, 0.01)
		s.behind(newDoor(t))
		s.past(time.Minute)
		id := s.start(plan(), mirroredBy(50))
		s.copies(id, 100, 0.03, 0.003)
		if r := s.run(id); r.Status != api.RolloutAborted || r.Outcome.Effect != assay.EffectInconclusive || !strings.Contains(r.Outcome.Reason, "copies") {
			t.Errorf("ended %s, judged %s: %s", r.Status, r.Outcome.Effect, r.Outcome.Reason)
		}
	})
}

func TestAPromotionWhoseRuleStaysIsNotRecordedAsRefused(t *testing.T) {
	for _, code := range []assay.Code{assay.CodeConflict, assay.CodeDenied, assay.CodeInvalid, assay.CodeUnavailable} {
		t.Run(string(code), func(t *testing.T) {
			s := newStage(t, 73, 0.01)
			d := &awkward{memoryDoor: newDoor(t)}
			s.front(d)
			s.past(time.Minute)
			id := s.start(plan(), mirroredBy(50))
			s.tell(id, api.CommandPromote)
			d.refuse = code
			if err := s.ctl.Step(t.Context(), namespace, id); err == nil {
				t.Error("the step says nothing")
			}
			if r := s.rollout(id); r.Status.Ended() || s.share("v2") != 100 || !strings.Contains(r.Reason, "keeps its rule") {
				t.Errorf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
			}
			d.refuse = ""
			r := s.pass(id, time.Second)
			if r.Status == api.RolloutFailed || r.Weight != 100 || d.route().Mirror != nil || len(s.facts(assay.FactRolloutRefused)) != 0 {
				t.Errorf("then status %s at %d %% with the mirror %+v: %s", r.Status, r.Weight, d.route().Mirror, r.Reason)
			}
		})
	}
}

// A version that fails no more often and is taken out for something else: only that can say
// whether taking it out helped.
func TestAnAbortIsJudgedByWhatItWasTakenFor(t *testing.T) {
	t.Run("work", func(t *testing.T) {
		s, r := worked(t)
		if r = s.untilWorked(r.ID, 300, 2, nil); r.Status != api.RolloutAborted {
			t.Fatalf("%s: %s", r.Status, r.Reason)
		}
		for n := 0; r.Outcome == nil && n < 600; n++ {
			s.works(2, false)
			r = s.pass(r.ID, 0)
		}
		p := payload[rollout.JudgedPayload](t, s.facts(assay.FactRolloutJudged)[0])
		if p.Outcome.Effect != assay.EffectHelped || p.Indicator != "queries" || !strings.HasPrefix(p.Outcome.Reason, "queries: 3 per request since, 6 per request with the new version: -3, 99 % between -3.") {
			t.Errorf("by %s %s: %s", p.Indicator, p.Outcome.Effect, p.Outcome.Reason)
		}
		if p.Canary.Bad != 6*p.Canary.Total || p.After.Bad != 3*p.After.Total || p.After.Total == 0 {
			t.Errorf("canary %+v, after %+v", p.Canary, p.After)
		}
	})
	t.Run("latency", func(t *testing.T) {
		s := slowStage(t)
		s.past(time.Minute)
		r := s.run(s.start(plan(), func(p *rollout.Proposal) {
			p.Plan.Indicators = append(p.Plan.Indicators, decide.Indicator{Name: sim.IndicatorLatency, Weight: 1})
			p.Indicators = append(p.Indicators, rollout.Indicator{Spec: signal.Spec{Service: "shop", Name: sim.IndicatorLatency, Buckets: "latency_bucket"}, Quantiles: []float64{0.5, 0.9}})
		}))
		if r.Status != api.RolloutAborted {
			t.Fatalf("%s: %s", r.Status, r.Reason)
		}
		p := payload[rollout.JudgedPayload](t, s.facts(assay.FactRolloutJudged)[0])
		if p.Outcome.Effect != assay.EffectHelped || p.Indicator != sim.IndicatorLatency || p.Bound <= 0 || !strings.HasPrefix(p.Outcome.Reason, "latency: ") {
			t.Errorf("by %s above %v %s: %s", p.Indicator, p.Bound, p.Outcome.Effect, p.Outcome.Reason)
		}
	})
}

// slowStage has two versions with 1 % errors, of which the new one takes three times as long.
func slowStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, 74, 0.01)
	usual := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	slow := sim.Latency{Median: 30 * time.Millisecond, Spread: 0.3}
	var err error
	s.world, err = sim.New(sim.Config{Seed: 74, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: 1500, Versions: []sim.Version{{Name: "v1", Weight: 100, Errors: 0.01, Latency: usual}, {Name: "v2", Errors: 0.01, Latency: slow}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s.store, s.actuator = mem.New(mem.Config{Now: s.world.Now}), s.world
	s.restart()
	return s
}

// A version that fails no more often than the old one, and does more work from the day it has
// all the traffic: its promotion is judged by that as well.
func TestAPromotionIsJudgedByWhateverThePlanWatches(t *testing.T) {
	for name, tc := range map[string]struct {
		times     float64
		effect    assay.Effect
		indicator string
		words     string
	}{
		"as much work":         {1, assay.EffectNone, sim.IndicatorErrors, "points"},
		"four times the work":  {4, assay.EffectHarmed, "queries", "queries: 12 per request since, 3 per request with the old version: +9, 99.5 % between +8."},
		"half as much again":   {1.5, assay.EffectNone, sim.IndicatorErrors, "points"},
		"less than half of it": {0.4, assay.EffectNone, sim.IndicatorErrors, "points"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := worked(t)
			s.pass(r.ID, 0)
			if r = s.untilWorked(r.ID, 20, 1, nil); r.Status.Ended() {
				t.Fatalf("%s: %s", r.Status, r.Reason)
			}
			for s.tell(r.ID, api.CommandPromote); !r.Status.Ended(); r = s.pass(r.ID, 0) {
				s.works(1, false)
			}
			for n := 0; r.Outcome == nil && n < 600; n++ {
				s.works(tc.times, false)
				r = s.pass(r.ID, 0)
			}
			p := payload[rollout.JudgedPayload](t, s.facts(assay.FactRolloutJudged)[0])
			if r.Status != api.RolloutPromoted || p.Outcome.Effect != tc.effect || p.Indicator != tc.indicator || !strings.Contains(p.Outcome.Reason, tc.words) {
				t.Errorf("%s, by %q %s: %s", r.Status, p.Indicator, p.Outcome.Effect, p.Outcome.Reason)
			}
		})
	}
}
