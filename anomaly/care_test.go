package anomaly_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/anomaly"
	"assay.dev/assay/decide"
	"assay.dev/assay/model"
	"assay.dev/assay/policy"
)

const loadModel = "objective/checkout/checkout/0/load"

// drifting is a world of days whose load follows the clocks, each day at a level of its
// own, until a minute, and from then on the same curve half a day later, three times as high.
func drifting(t *testing.T, days, drift int) *world {
	t.Helper()
	w := newWorld(t, "")
	r := rand.New(rand.NewPCG(9, 10))
	for n := range days * 24 * 60 {
		at := begin.Add(time.Duration(n) * time.Minute)
		v := daily(at)
		if n >= drift {
			v = 3 * daily(at.Add(12*time.Hour))
		}
		v *= 1 + 0.25*math.Sin(2.4*float64(n/(24*60)))
		w.set(n, minuteOf{total: uint64(v * (1 + 0.05*r.NormFloat64()))})
	}
	return w
}

func (w *world) model() model.Model {
	w.t.Helper()
	m, err := model.Get(w.t.Context(), w.store, policy.DefaultNamespace, loadModel)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) load(a *anomaly.Watcher) anomaly.Forecast {
	w.t.Helper()
	s, err := a.Service("checkout")
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Objectives[0].Load
}

// hours lets a watcher work until minute n, an hour at a time.
func (w *world) hours(a *anomaly.Watcher, n int) {
	w.t.Helper()
	for at := int(w.now.Sub(begin) / time.Minute); at < n; at += 60 {
		w.now = begin.Add(time.Duration(at+60)*time.Minute + anomaly.Settle)
		for a.Step(w.t.Context(), w.now) {
		}
	}
}

func TestAModelThatAPersonRolledBackIsReactiveAtTheNextForecast(t *testing.T) {
	w := drifting(t, 5, 1<<30)
	a := w.watcher()
	w.hours(a, 4*24*60)
	if _, err := model.Rollback(t.Context(), w.store, policy.DefaultNamespace, loadModel, decide.ModelRules, "ada", "a sale begins", w.now); err != nil {
		t.Fatal(err)
	}
	w.until(a, 4*24*60+66)
	if f := w.load(a); f.Trusted || f.Version != decide.ModelRules || !strings.Contains(f.Reason, "ada rolled it back") {
		t.Errorf("%+v", f)
	}
	if m := w.model(); m.Pinned != "ada: a sale begins" {
		t.Errorf("what a person said is lost: %+v", m)
	}
}
