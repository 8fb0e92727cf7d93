//go:build !race

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
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// Days of simulated time in one goroutine: the race detector would make them ten times as
// long and has nothing to watch in them. `make test` runs the package with it, which leaves
// this file out, and without.

func TestLoadIsForecastByTheClocksOfItsPeopleAcrossDaylightSaving(t *testing.T) {
	w := newWorld(t, "  zone: Europe/Berlin\n  events: [{name: sale, kind: event, start: 2026-10-27T13:00:00Z, end: 2026-10-27T14:00:00Z, factor: 2}]\n")
	berlin := w.rev.Zone("default", "checkout")
	const days = 15 // the clocks go back on the 25th, the 14th day
	r := rand.New(rand.NewPCG(7, 8))
	for n := range days*24*60 + 13*60 {
		w.set(n, minuteOf{total: uint64(daily(begin.Add(time.Duration(n)*time.Minute).In(berlin)) + 20*r.Float64())})
	}
	a := w.watcher()
	w.now = begin.Add((days*24*60 + 13*60) * time.Minute) // 13:00 UTC: all of it is the past
	for a.Step(t.Context(), w.now) {
	}
	s, err := a.Service("checkout")
	if err != nil {
		t.Fatal(err)
	}
	load := s.Objectives[0].Load
	if !load.Trusted || load.Skill <= 0 || len(load.Steps) != 24 || s.Zone != "Europe/Berlin" {
		t.Fatalf("the forecast is %+v", load)
	}
	for _, step := range load.Steps {
		want := daily(step.Time.In(berlin)) + 10
		if !step.Time.Before(time.Date(2026, 10, 27, 13, 0, 0, 0, time.UTC)) && step.Time.Before(time.Date(2026, 10, 27, 14, 0, 0, 0, time.UTC)) {
			want *= 2
		}
		if step.Mean < 0.93*want || step.Mean > 1.07*want || step.Low > step.Mean || step.High < step.Mean {
			t.Errorf("%s: %.0f (%.0f to %.0f), want about %.0f", step.Time, step.Mean, step.Low, step.High, want)
		}
	}
	if got := w.found(); len(got) > 0 {
		t.Errorf("found in the past, or in the change of clocks: %+v", got[0])
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

// What is kept of bands is bounded, and what does not fit the notebook is not taken.
func TestBandsAreKeptForTwoDaysAndGoWithTheirNotebook(t *testing.T) {
	w := newWorld(t, "")
	const days = 4
	w.usual(days * 24 * 60)
	a := w.watcher()
	w.until(a, days*24*60)
	page := func() (v store.Value) {
		t.Helper()
		err := w.store.View(t.Context(), func(r store.Reader) (err error) {
			v, err = r.Get(store.Key{Namespace: policy.DefaultNamespace, Bucket: "anomaly-bands", Name: "checkout/checkout/0"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := page()
	if len(v.Data) > 50_000 {
		t.Errorf("%d bytes are kept of one objective", len(v.Data))
	}
	f, err := a.Foreseen("checkout", "checkout/0", w.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Past) > 576 {
		t.Errorf("%d slots are shown", len(f.Past))
	}
	for name, broken := range map[string]string{
		"cut off":           string(v.Data[:len(v.Data)/2]),
		"no numbers":        strings.Replace(string(v.Data), `"deciles":"`, `"deciles":"AAA`, 1),
		"of other slots":    strings.Replace(string(v.Data), `"until":`, `"until":1`, 1),
		"of another series": strings.Replace(string(v.Data), `"fingerprint":"`, `"fingerprint":"x`, 1),
	} {
		err := w.store.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Put(v.Key, []byte(broken), store.AnyVersion)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		b := w.watcher()
		b.Step(t.Context(), w.now)
		got, err := b.Foreseen("checkout", "checkout/0", w.now)
		if err != nil || got.Calibration == nil || len(got.Past) == 0 {
			t.Fatalf("%s: the notebook is lost with the bands: %v", name, err)
		}
		for _, s := range got.Past[:500] {
			if len(s.Deciles) > 0 {
				t.Fatalf("%s: taken all the same", name)
			}
		}
	}
}
