package mitigate

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/model"
)

// effects takes actions that each take away what gone says, an hour apart.
func effects(r *record, at *time.Time, n int, gone func() float64) {
	o := decide.Option{
		Action: assay.Action{Kind: assay.ActionAdjust, Service: "shop", Lever: assay.LeverReplicas, Now: 2, Want: 4},
		Gone:   map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.7, SD: 0.2}},
	}
	for range n {
		*at = at.Add(time.Hour)
		v, learns := r.cared.effects.Active()
		l := r.learned(v)
		p := decide.Problem{Options: []decide.Option{o}, Learned: l, Clues: []decide.Clue{{Name: "load", LogLR: map[decide.Hypothesis]float64{decide.Overload: 3}}}, Cap: 3}
		g := r.expect(Record{Now: *at, Mitigation: decide.Mitigation{Problem: p, Decision: assay.Decision{Action: o.Action}}})
		if g == nil || g.Hypothesis != decide.Overload || learns != (r.cared.effects.Care.Active != decide.ModelRules) {
			panic("nothing is expected of the action")
		}
		x := decide.Result{Service: "shop", Action: o.Action, Hypothesis: g.Hypothesis, Effect: assay.EffectHelped, Gone: gone(), Time: *at}
		if x.Gone < 0 {
			x.Effect = assay.EffectHarmed
		}
		r.Learned, _ = r.Learned.Learn(x)
		r.weighed(g, x)
	}
}

func newEffects() (*record, time.Time) {
	at := time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC)
	r := &record{Namespace: "default", Name: "shop-scale", Learned: decide.NewLearned()}
	r.Strategy.Spec.Service = "shop"
	m := model.New("default", "shop", "strategy/shop-scale/effects", model.KindEffects, at)
	r.cared.effects = &m
	return r, at
}

func TestWhatActionsDoIsDemotedWhenItIsNoLongerSoAndHarmIsNotForgotten(t *testing.T) {
	r, at := newEffects()
	rng := rand.New(rand.NewPCG(31, 32))
	effects(r, &at, 40, func() float64 { return 0.7 + 0.05*rng.NormFloat64() })
	if m := r.cared.effects; m.Care.Active != "v1" || m.Care.Steps != 40 {
		t.Fatalf("%s decides after %d actions: %s", m.Care.Active, m.Care.Steps, m.Why())
	}
	effects(r, &at, 12, func() float64 { return -0.2 + 0.05*rng.NormFloat64() })
	m := r.cared.effects
	if m.Care.Active != decide.ModelRules || !strings.Contains(m.Why(), "its errors have risen") {
		t.Fatalf("%s decides: %s", m.Care.Active, m.Why())
	}
	v, ok := m.Shadow()
	if !ok || v.Name != "v2" {
		t.Fatalf("nothing runs beside: %+v", m.Care)
	}
	o := decide.Option{Action: assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas}, Gone: map[decide.Hypothesis]decide.Size{decide.Overload: {Mean: 0.7, SD: 0.2}}}
	fresh, old := r.learned(v).Guess(o, decide.Overload, "shop", at), r.Learned.Guess(o, decide.Overload, "shop", at)
	if fresh.Mean >= old.Mean {
		t.Errorf("what is learned from now on expects %.2f, what was learned from all %.2f", fresh.Mean, old.Mean)
	}
	harms := func(l decide.Learned) (n float64) {
		for _, k := range l.Lessons {
			n += k.Harmed
		}
		return n
	}
	if got, want := harms(r.learned(v)), harms(r.Learned); want < 11 || got < 0.99*want {
		t.Errorf("the new version knows of %.1f harms of %.1f", got, want)
	}
}

func TestActionsThatDoWhatIsExpectedKeepTheirModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	for run := range 20 {
		r, at := newEffects()
		effects(r, &at, 200, func() float64 { return 0.6 + 0.2*rng.NormFloat64() })
		if m := r.cared.effects; m.Care.Active != "v1" {
			t.Errorf("run %d: %s", run, m.Why())
		}
	}
}
