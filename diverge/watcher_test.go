package diverge

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a source whose truth is a simulated service, with a store and a clock.
type world struct {
	t      *testing.T
	store  store.Store
	now    time.Time
	truth  simulated
	broken error
}

func newWorld(t *testing.T, truth simulated) *world {
	t.Helper()
	w := &world{t: t, truth: truth, now: time.Unix((midnight+day)*60, 0)}
	w.store = mem.New(mem.Config{Now: func() time.Time { return w.now }, Upcasters: store.BuiltinUpcasters()})
	t.Cleanup(func() { w.store.Close() })
	return w
}

// Read implements signal.Source: two versions in each region, and series without one.
func (w *world) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	if w.broken != nil {
		return nil, w.broken
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if q.Indicator.StratumLabel != "region" || q.Namespace != policy.DefaultNamespace {
		w.t.Errorf("asked for %q of %q", q.Indicator.StratumLabel, q.Namespace)
	}
	n := int(q.Start.Unix()/60 - midnight)
	var out []assay.Reading
	for name, c := range w.truth.minute(rand.New(rand.NewPCG(7, uint64(n))), n) {
		r := assay.Reading{Indicator: q.Indicator.Name, Version: "v1", Stratum: name, Start: q.Start, End: q.End, Completeness: 1}
		r.Total, r.Good = c.Exposure/2, c.Exposure/2
		other := r
		other.Version, other.Total, other.Good = "v2", c.Exposure-r.Total, c.Exposure-r.Total-min(c.Events, c.Exposure-r.Total)
		out = append(out, r, other)
	}
	return append(out, assay.Reading{Indicator: q.Indicator.Name, Version: "v1", Start: q.Start, End: q.End, Total: 9, Completeness: 1}), nil
}

func objective(bound float64) slo.Objective {
	return slo.Objective{SLO: "checkout", Service: "shop", Regions: &slo.Regions{Label: "region", Bound: bound, Error: 0.01}, Indicator: slo.Indicator{
		Bad: &slo.Query{Text: `sum(http_requests_total{code="500"})`}, Total: slo.Query{Text: `sum(http_requests_total)`},
	}}
}

func (w *world) watcher(reg prometheus.Registerer) *Watcher {
	w.t.Helper()
	a := New(Config{
		Source: w, Store: w.store, Namespace: policy.DefaultNamespace, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler), Registerer: reg,
	})
	if err := a.SetObjectives([]slo.Objective{objective(0.02)}); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// until lets a watcher work until a minute has settled.
func (w *world) until(a *Watcher, minute int) {
	w.t.Helper()
	for end := time.Unix(int64(midnight+minute)*60, 0).Add(Settle); w.now.Before(end); {
		w.now = w.now.Add(min(10*time.Minute, end.Sub(w.now)))
		for a.Step(w.t.Context(), w.now) {
			continue
		}
	}
}

func (w *world) said() []Recorded {
	w.t.Helper()
	list, err := List(w.t.Context(), w.store, policy.DefaultNamespace, "shop", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// failing is a service one of whose regions is bad for five hours of the second day.
func failing() simulated {
	return simulated{regions: 3, load: 300, burst: 1, rate: func(region, n int) float64 {
		if region == 1 && n >= day+120 && n < day+420 {
			return 0.08
		}
		return 0.01
	}}
}

func TestAVerdictIsAFactThatCanBeMadeAgain(t *testing.T) {
	w := newWorld(t, failing())
	a := w.watcher(nil)
	w.until(a, day+600)
	list := w.said()
	if len(list) != 2 || list[0].Judgement.Verdict != Ends || list[1].Judgement.Verdict != Begins {
		t.Fatalf("said %+v", list)
	}
	for _, r := range list {
		if !r.Identical || !r.Same || r.Input.Region != "region-01" || r.Input.SLO != "checkout" || r.Judgement.Difference == nil || r.Input.Regions != 3 {
			t.Errorf("%+v", r)
		}
	}
	payload, err := list[1].Judged.encode()
	if err != nil {
		t.Fatal(err)
	}
	forged := []byte(strings.Replace(string(payload), `"bound":0.02`, `"bound":0.5`, 1))
	if again, err := Replay(forged); err != nil || again.Identical || again.Same {
		t.Errorf("another input gives the same: %+v, %v", again, err)
	}
	if other, err := List(t.Context(), w.store, policy.DefaultNamespace, "other", 0); err != nil || len(other) != 0 {
		t.Errorf("of another service: %v, %v", other, err)
	}
}

// What a process knew is known to the next: the verdicts and where each region stands are
// those of one that never ended, and nothing is said twice.
func TestARestartKeepsWhatWasSaid(t *testing.T) {
	whole := newWorld(t, failing())
	never := whole.watcher(nil)
	whole.until(never, day+600)
	w := newWorld(t, failing())
	for _, minute := range []int{day + 3, day + 127, day + 200, day + 421, day + 600} {
		w.until(w.watcher(nil), minute)
	}
	last := w.watcher(nil)
	w.until(last, day+620)
	whole.until(never, day+620)
	a, err := never.Service("shop")
	if err != nil {
		t.Fatal(err)
	}
	b, err := last.Service("shop")
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%v\nnever ended: %+v\nended: %+v", err, a, b)
	}
	x, y := whole.said(), w.said()
	if len(x) != len(y) {
		t.Fatalf("said %d and %d times", len(x), len(y))
	}
	for i := range x {
		if !reflect.DeepEqual(x[i].Judged, y[i].Judged) {
			t.Errorf("never ended: %+v\nended: %+v", x[i].Judged, y[i].Judged)
		}
	}
}

// What was before anybody watched is learnt from, and nobody's news.
func TestThePastOfAServiceIsNobodysNews(t *testing.T) {
	w := newWorld(t, simulated{regions: 2, load: 300, burst: 1, rate: func(region, n int) float64 {
		if region == 0 && n < day-60 {
			return 0.3
		}
		return 0.01
	}})
	a := w.watcher(nil)
	if list, err := a.Service("shop"); err != nil || len(list) != 1 || !strings.Contains(list[0].Trouble, "no minute has been judged") {
		t.Errorf("before the first minute: %+v, %v", list, err)
	}
	w.until(a, day+30)
	if list := w.said(); len(list) != 0 {
		t.Errorf("said %+v", list)
	}
	list, err := a.Service("shop")
	if err != nil || len(list) != 1 || len(list[0].Regions) != 2 || list[0].Trouble != "" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestWhereRegionsStandIsCounted(t *testing.T) {
	w := newWorld(t, failing())
	reg := prometheus.NewRegistry()
	a := w.watcher(reg)
	w.until(a, day+200)
	want := `
# HELP assay_divergence_regions Regions that are compared, by where they stand.
# TYPE assay_divergence_regions gauge
assay_divergence_regions{service="shop",slo="checkout",state="alike"} 2
assay_divergence_regions{service="shop",slo="checkout",state="diverges"} 1
assay_divergence_regions{service="shop",slo="checkout",state="unheard"} 0
assay_divergence_regions{service="shop",slo="checkout",state="unsure"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "assay_divergence_regions"); err != nil {
		t.Error(err)
	}
}

func TestASourceThatFailsIsSaidAndWaitedFor(t *testing.T) {
	w := newWorld(t, failing())
	a := w.watcher(nil)
	w.until(a, day+30)
	w.broken = assay.Errorf(assay.CodeUnavailable, "the series are away")
	w.until(a, day+60)
	if list, err := a.Service("shop"); err != nil || !strings.Contains(list[0].Trouble, "the series are away") {
		t.Errorf("%+v, %v", list, err)
	}
	w.broken = nil
	w.until(a, day+600)
	if list := w.said(); len(list) != 2 {
		t.Errorf("said %+v", list)
	}
}

func TestOnlyWhatNamesItsRegionsIsCompared(t *testing.T) {
	w := newWorld(t, failing())
	a := w.watcher(nil)
	plain := objective(0.02)
	plain.Regions = nil
	if err := a.SetObjectives([]slo.Objective{plain}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Service("shop"); assay.CodeOf(err) != assay.CodeNotFound || !strings.Contains(err.Error(), "assay.dev/regions") {
		t.Errorf("%v", err)
	}
	many := make([]slo.Objective, MaxCompared+1)
	for i := range many {
		many[i] = objective(0.02)
	}
	if err := a.SetObjectives(many); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("%v", err)
	}
}

func FuzzDecodeJudged(f *testing.F) {
	s := failing()
	s.play(f, 7, 2, 0.02, 0.01, func(_ int, j Judged) bool {
		data, err := j.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		return true
	})
	f.Add([]byte(`{"input":{"service":"s","slo":"s","region":"r","time":"2026-01-01T00:00:00Z","dispersion":1,"spans":[{"span":"1h","here":{"events":9,"exposure":3},"worst":{"events":5,"exposure":9},"weighted":1e300,"spread":1e-300}]},"judgement":{"verdict":"begins"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := DecodeJudged(data)
		if err != nil {
			return
		}
		a, b := Judge(j.Input), Judge(j.Input)
		if !reflect.DeepEqual(a, b) {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			if string(x) != string(y) || len(x) == 0 {
				t.Errorf("judged twice: %+v and %+v", a, b)
			}
		}
		if d := a.Difference; d != nil && !(d.Low >= -100 && d.High <= 100) {
			t.Errorf("%+v", d)
		}
		_, _ = Replay(data)
	})
}
