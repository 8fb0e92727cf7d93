package anomaly_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/decide"
	"assay.dev/assay/model"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
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

func TestALoadThatIsAsEverKeepsItsModel(t *testing.T) {
	w := drifting(t, 8, 1<<30)
	a := w.watcher()
	w.hours(a, 8*24*60-60)
	if m := w.model(); m.Care.Active != "v1" || len(m.Versions) != 1 || m.Care.Steps < 1500 {
		t.Errorf("%s decides after %d steps: %+v", m.Care.Active, m.Care.Steps, m.Care.Past)
	}
	if f := w.load(a); f.Version != "v1" || len(f.Steps) == 0 {
		t.Errorf("%+v", f)
	}
}

func TestALoadWhoseForecastNoLongerHoldsIsDemotedToRulesAndRefitted(t *testing.T) {
	const drift = 6 * 24 * 60
	w := drifting(t, 12, drift)
	a := w.watcher()
	w.hours(a, drift)
	if m := w.model(); m.Care.Active != "v1" {
		t.Fatalf("%s decides before anything drifts: %+v", m.Care.Active, m.Care.Past)
	}
	for n := drift; w.model().Care.Active == "v1"; n += 60 {
		if n > drift+24*60 {
			t.Fatal("a day after the load changed for good its model still decides")
		}
		w.hours(a, n)
	}
	f := w.load(a)
	if f.Trusted || f.Version != decide.ModelRules || !strings.HasPrefix(f.Reason, "reactive: the model was demoted to rules: ") {
		t.Fatalf("%+v", f)
	}
	demoted := w.model()
	if v, ok := demoted.Shadow(); !ok || v.Name != "v2" || v.Since.Before(begin.Add((drift-24*60)*time.Minute)) {
		t.Fatalf("what runs beside: %+v, %t", v, ok)
	}
	a = w.watcher()
	w.hours(a, 12*24*60-60)
	m := w.model()
	if v, ok := m.Active(); !ok || v.Name == "v1" {
		t.Fatalf("%s decides after days that its shadow saw: %+v", m.Care.Active, m.Care.Past)
	}
	if f := w.load(a); f.Version != m.Care.Active {
		t.Errorf("the forecast is of %s, and %s decides", f.Version, m.Care.Active)
	}
	var kinds []string
	err := w.store.View(t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: policy.DefaultNamespace, Kinds: []string{assay.FactModelDemoted, assay.FactModelPromoted}, Limit: store.MaxLimit})
		for _, row := range rows {
			kinds = append(kinds, row.Fact.Kind)
		}
		return err
	})
	if err != nil || len(kinds) < 2 || kinds[0] != assay.FactModelDemoted || kinds[1] != assay.FactModelPromoted {
		t.Errorf("facts %v, %v", kinds, err)
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

// What benchmarks play again is cared for as what a watcher sees.
func TestARehearsedLoadIsCaredForAsAWatchedOne(t *testing.T) {
	const drift = 6 * 24 * 60
	r := rand.New(rand.NewPCG(9, 10))
	play := func(a *anomaly.Rehearsal, from, to, drift int) {
		for n := from; n < to; n++ {
			at := begin.Add(time.Duration(n) * time.Minute)
			v := daily(at)
			if n >= drift {
				v = 3 * daily(at.Add(12*time.Hour))
			}
			a.Minute(at, v*(1+0.25*math.Sin(2.4*float64(n/(24*60))))*(1+0.05*r.NormFloat64()))
		}
	}
	as := anomaly.Rehearse(time.UTC)
	play(as, 0, drift, drift)
	other := as.Fork()
	play(as, drift, drift+24*60, 1<<30)
	if as.Decides() != "v1" || len(as.Demoted) > 0 || !as.Trusted.Fit() || as.Trusted.Slots < 500 {
		t.Errorf("as ever: %s decides, %+v, %+v", as.Decides(), as.Trusted, as.Demoted)
	}
	play(other, drift, drift+3*24*60, drift)
	if len(other.Demoted) == 0 || other.Demoted[0].From != "v1" || other.Demoted[0].Time.Sub(begin) > (drift+24*60)*time.Minute {
		t.Fatalf("a day after the load changed for good: %+v", other.Demoted)
	}
	if after := other.Demoted[0].After; after.Slots != 24*12 {
		t.Errorf("it was followed for %d slots, want a day: %+v", after.Slots, after)
	}
}

// Its own past does not know yet that a load has become four times as noisy. The intervals that
// a forecast gives hold on the second day all the same.
func TestTheIntervalsOfALoadThatBecameNoisyHoldOnTheNextDay(t *testing.T) {
	const change = 5 * 24 * 60
	r, a := rand.New(rand.NewPCG(61, 62)), anomaly.Rehearse(time.UTC)
	var first anomaly.Tally
	for n := range change + 2*24*60 {
		at, noise := begin.Add(time.Duration(n)*time.Minute), 0.1
		if n >= change {
			noise = 0.4
		}
		if n == change+24*60 {
			first = a.Decided
		}
		a.Minute(at, max(0, daily(at)*(1+noise*r.NormFloat64())))
	}
	if got := a.Decided.Since(first); len(a.Demoted) == 0 && (got.Cover() < 0.75 || got.Slots < 200) {
		t.Errorf("%.2f of %d slots lay within their 80 %% intervals", got.Cover(), got.Slots)
	}
	if a.Decides() != "v1" {
		t.Logf("%s decides: %+v", a.Decides(), a.Demoted)
	}
}
