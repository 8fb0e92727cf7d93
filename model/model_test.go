package model_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/model"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

const (
	ns   = "default"
	name = "objective/shop/checkout/0/load"
	step = 5 * time.Minute
)

var begin = time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC)

// stand is a model with the store that it is kept in.
type stand struct {
	t     *testing.T
	store store.Store
	m     model.Model
	now   time.Time
	rng   *rand.Rand
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t: t, now: begin, rng: rand.New(rand.NewPCG(1, 2))}
	s.store = mem.New(mem.Config{Now: func() time.Time { return s.now }, Upcasters: store.BuiltinUpcasters()})
	t.Cleanup(func() { s.store.Close() })
	s.m = model.New(ns, "shop", name, model.KindForecast, begin)
	s.put()
	return s
}

func (s *stand) put() {
	s.t.Helper()
	if err := s.tryPut(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) tryPut() error {
	var committed func()
	err := s.store.Update(s.t.Context(), func(tx store.Tx) (err error) {
		committed, err = s.m.Put(tx, "")
		return err
	})
	if err == nil {
		committed()
	}
	return err
}

// run lets the active version err with a spread, the rules with 1 and the shadow with its own.
func (s *stand) run(steps int, active, shadow float64) {
	for range steps {
		s.now = s.now.Add(step)
		e := s.rng.NormFloat64()
		came := decide.Came{Value: 100, Active: 100 - e*active, PIT: math.Erfc(-e/math.Sqrt2) / 2, Rules: 100 + s.rng.NormFloat64(), Shadow: math.NaN()}
		if shadow > 0 {
			came.Shadow = 100 + s.rng.NormFloat64()*shadow
		}
		s.m.Step(decide.DefaultCare(step), came, s.now, model.Ago(s.now, step))
	}
	s.put()
}

func (s *stand) facts() (kinds []string, payloads []model.Payload) {
	s.t.Helper()
	err := s.store.View(s.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: ns, Limit: store.MaxLimit})
		for _, row := range rows {
			var p model.Payload
			if err := json.Unmarshal(row.Fact.Payload, &p); err != nil {
				return err
			}
			kinds, payloads = append(kinds, row.Fact.Kind), append(payloads, p)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return kinds, payloads
}

func TestAVersionIsDemotedRefittedAndPromotedAndEachIsAFact(t *testing.T) {
	s := newStand(t)
	s.run(600, 0.5, 0)
	if v, ok := s.m.Active(); !ok || v.Name != "v1" || s.m.Why() != "" {
		t.Fatalf("%+v decides, %t", v, ok)
	}
	s.run(300, 2, 0)
	if _, ok := s.m.Active(); ok || !strings.HasPrefix(s.m.Why(), "the model was demoted to rules: its errors have risen") {
		t.Fatalf("after errors have risen %s decides: %s", s.m.Care.Active, s.m.Why())
	}
	shadow, ok := s.m.Shadow()
	if drift := begin.Add(600 * step); !ok || shadow.Name != "v2" || shadow.Since.Before(drift.Add(-100*step)) || shadow.Since.After(drift.Add(60*step)) {
		t.Fatalf("what runs beside is %+v, and the world changed at %s", shadow, drift)
	}
	for range 100 {
		if s.run(12, 2, 0.3); s.m.Care.Active == "v2" {
			break
		}
	}
	if v, ok := s.m.Active(); !ok || v.Name != "v2" {
		t.Fatalf("%s decides", s.m.Care.Active)
	}
	kinds, payloads := s.facts()
	want := []string{assay.FactModelRefitted, assay.FactModelDemoted, assay.FactModelRefitted, assay.FactModelPromoted}
	if strings.Join(kinds, " ") != strings.Join(want, " ") {
		t.Fatalf("facts %v", kinds)
	}
	if p := payloads[3]; p.From != decide.ModelRules || p.To != "v2" || p.Model != name || !strings.Contains(p.Reason, "errs less than rules") {
		t.Errorf("%+v", p)
	}
}

func TestAVersionThatDoesNotWinIsReplacedByANewerOne(t *testing.T) {
	s := newStand(t)
	s.run(400, 0.5, 0)
	s.run(100, 3, 0)
	s.run(int(model.Patience/step)+10, 3, 3)
	if v, ok := s.m.Shadow(); !ok || v.Name != "v3" || !strings.Contains(v.Reason, "v2 has not been ahead for 72h0m0s") {
		t.Errorf("%+v, %t", v, ok)
	}
	if s.m.Care.Active != decide.ModelRules {
		t.Errorf("%s decides", s.m.Care.Active)
	}
}

func TestAPersonRollsAModelBackAndNothingIsPromotedUntilItIsRefitted(t *testing.T) {
	s := newStand(t)
	s.run(400, 0.5, 0)
	s.run(100, 3, 0)
	s.run(500, 3, 0.2) // v2 decides
	if s.m.Care.Active != "v2" {
		t.Fatalf("%s decides", s.m.Care.Active)
	}
	m, err := model.Rollback(t.Context(), s.store, ns, name, decide.ModelRules, "ada", "the sale begins", s.now)
	if err != nil || m.Care.Active != decide.ModelRules || m.Pinned != "ada: the sale begins" {
		t.Fatalf("%+v, %v", m, err)
	}
	s.m.Step(decide.DefaultCare(step), decide.Came{Value: 100, Active: 100, Rules: 100, Shadow: math.NaN()}, s.now, model.Ago(s.now, step))
	if err := s.tryPut(); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("what a person said is overwritten: %v", err)
	}
	err = s.store.View(t.Context(), func(r store.Reader) (err error) { s.m, err = s.m.Renew(r); return err })
	if err != nil {
		t.Fatal(err)
	}
	s.run(2000, 0.1, 0.1)
	if s.m.Care.Active != decide.ModelRules {
		t.Errorf("%s decides although a person pinned the rules", s.m.Care.Active)
	}
	if _, err = model.Refit(t.Context(), s.store, ns, name, "ada", "the sale is over", s.now); err != nil {
		t.Fatal(err)
	}
	if m, err = model.Get(t.Context(), s.store, ns, name); err != nil {
		t.Fatal(err)
	}
	if v, ok := m.Shadow(); !ok || v.Name != "v3" || m.Pinned != "" {
		t.Errorf("after it was asked for: %+v", m)
	}
	for _, tc := range []struct {
		model, to string
		code      assay.Code
	}{{name, "v9", assay.CodeInvalid}, {"nothing", "v1", assay.CodeNotFound}} {
		if _, err := model.Rollback(t.Context(), s.store, ns, tc.model, tc.to, "ada", "why", s.now); assay.CodeOf(err) != tc.code {
			t.Errorf("%s to %s: %v", tc.model, tc.to, err)
		}
	}
	kinds, _ := s.facts()
	if !strings.Contains(strings.Join(kinds, " "), assay.FactModelRolledBack) {
		t.Errorf("facts %v", kinds)
	}
	list, err := model.List(context.Background(), s.store, ns)
	if err != nil || len(list) != 1 {
		t.Errorf("%d models, %v", len(list), err)
	}
}

func TestOnlySoManyVersionsAreRememberedAndTheActiveOneAlways(t *testing.T) {
	s := newStand(t)
	for range 2 * model.MaxVersions {
		if _, err := model.Refit(t.Context(), s.store, ns, name, "ada", "again", s.now); err != nil {
			t.Fatal(err)
		}
	}
	m, err := model.Get(t.Context(), s.store, ns, name)
	if err != nil || len(m.Versions) != model.MaxVersions {
		t.Fatalf("%d versions, %v", len(m.Versions), err)
	}
	if v, ok := m.Active(); !ok || v.Name != "v1" {
		t.Errorf("the one that decides is forgotten: %+v", m.Care)
	}
}
