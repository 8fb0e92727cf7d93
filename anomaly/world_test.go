package anomaly_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the tests do not depend on the machine's zones

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// begin is the first minute of the worlds here.
var begin = time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC)

// minuteOf is what a service did in one minute.
type minuteOf struct {
	total, bad uint64
	version    string // "v1" if ""
	complete   float64
}

// world is a source whose truth is a table of minutes, with the store and the clock
// that a watcher needs.
type world struct {
	t        *testing.T
	store    store.Store
	now      time.Time
	rev      *policy.Revision
	changing string
	broken   error // of reads from brokenAt on
	brokenAt time.Time

	reads   int
	mu      sync.Mutex
	minutes map[int64]minuteOf
}

func newWorld(t *testing.T, calendar string) *world {
	t.Helper()
	var files []policy.File
	if calendar != "" {
		files = append(files, policy.File{Path: "c.yaml", Content: []byte("apiVersion: assay.dev/v1alpha1\nkind: Calendar\nmetadata: {name: shop}\nspec:\n" + calendar)})
	}
	rev, err := policy.NewRevision(files)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: begin, rev: rev, minutes: map[int64]minuteOf{}}
	w.store = mem.New(mem.Config{Now: func() time.Time { return w.now }, Upcasters: store.BuiltinUpcasters()})
	t.Cleanup(func() { w.store.Close() })
	return w
}

func (w *world) watcher() *anomaly.Watcher {
	w.t.Helper()
	a := anomaly.New(anomaly.Config{
		Source: w, Store: w.store, Namespace: policy.DefaultNamespace, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
		Policy:   func() (*policy.Revision, error) { return w.rev, nil },
		Changing: func(context.Context, string) (string, error) { return w.changing, nil },
	})
	if err := a.SetObjectives([]slo.Objective{objective()}); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func objective() slo.Objective {
	return slo.Objective{SLO: "checkout", Name: "checkout works", Service: "checkout", Indicator: slo.Indicator{
		Bad: &slo.Query{Text: `sum(http_requests_total{code="500"})`}, Total: slo.Query{Text: `sum(http_requests_total)`},
	}}
}

// set writes minute n since begin.
func (w *world) set(n int, m minuteOf) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.minutes[begin.Unix()/60+int64(n)] = m
}

// usual is n minutes of noise without end or trouble.
func (w *world) usual(n int) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		w.set(i, minuteOf{total: uint64(600 + r.IntN(40)), bad: uint64(3 + r.IntN(4))})
	}
}

// Read implements signal.Source.
func (w *world) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if w.broken != nil && !q.Start.Before(w.brokenAt) {
		return nil, w.broken
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	out := assay.Reading{Indicator: q.Indicator.Name, Version: "v1", Start: q.Start, End: q.End, EventTime: q.End, Completeness: 1}
	known := false
	for at := q.Start.Unix() / 60; at < q.End.Unix()/60; at++ {
		m, ok := w.minutes[at]
		if !ok {
			continue
		}
		known = true
		out.Total += m.total
		out.Good += m.total - m.bad
		if m.version != "" {
			out.Version = m.version
		}
		if m.complete > 0 {
			out.Completeness = m.complete
		}
	}
	if !known {
		return nil, nil
	}
	return []assay.Reading{out}, nil
}

// until lets a watcher work until minute n since begin has settled, ten minutes at a time.
func (w *world) until(a *anomaly.Watcher, n int) {
	w.t.Helper()
	end := begin.Add(time.Duration(n)*time.Minute + anomaly.Settle)
	for w.now.Before(end) {
		w.now = w.now.Add(10 * time.Minute)
		if w.now.After(end) {
			w.now = end
		}
		for a.Step(w.t.Context(), w.now) {
		}
	}
}

func (w *world) found() []anomaly.Found {
	w.t.Helper()
	list, err := anomaly.List(w.t.Context(), w.store, policy.DefaultNamespace, "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []anomaly.Found
	for i := len(list) - 1; i >= 0; i-- {
		out = append(out, list[i].Found)
	}
	return out
}

// since are the alarms of minutes from n on.
func (w *world) since(n int) (out []anomaly.Found) {
	for _, f := range w.found() {
		if !f.Time.Before(begin.Add(time.Duration(n) * time.Minute)) {
			out = append(out, f)
		}
	}
	return out
}

// verdict records a run of a gate.
func (w *world) verdict(outcome assay.Outcome) {
	w.t.Helper()
	payload, err := json.Marshal(map[string]assay.Outcome{"outcome": outcome})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.store.Update(w.t.Context(), func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{Kind: assay.FactVerdict, Version: 1, Namespace: policy.DefaultNamespace, Actor: "ci", Retention: assay.RetainAudit, Payload: payload})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// daily is the load of a service whose people live by clocks.
func daily(at time.Time) float64 {
	day := float64(at.Hour()) + float64(at.Minute())/60
	return 600 + 400*math.Sin(2*math.Pi*(day-9)/24)
}
