package anomaly

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

const (
	indicatorRuns     = "gate runs"
	indicatorFailures = "gate failures"
	// gateSlot is the length of time that runs of gates are counted in.
	gateSlot = 10 * time.Minute
)

// gates watches the verification's own telemetry: how many gates ran, and what share
// did not pass.
type gates struct {
	runs, failures *line
	s              gatesState
	saved          int64
	fresh          bool    // the notebook was not looked at yet
	pending        []Found // that are not written yet; only Step uses them
}

// gatesState is the gates' page of the notebook, beside their lines.
type gatesState struct {
	After    int64   `json:"after"`            // commit of the newest fact that was counted
	Learnt   int64   `json:"learnt,omitempty"` // the minutes before were learnt from
	Open     int64   `json:"open"`             // number of the slot that is being counted, since 1970
	Ran      float64 `json:"ran"`              // in it
	Failed   float64 `json:"failed"`
	Pooled   float64 `json:"pooled"` // runs that the next share is taken of
	PoolFail float64 `json:"pool_fail"`
}

type keptGates struct {
	Runs     lineState  `json:"runs"`
	Failures lineState  `json:"failures"`
	State    gatesState `json:"state"`
}

func newGates() *gates {
	return &gates{runs: newLine(indicatorRuns, time.UTC), failures: newLine(indicatorFailures, time.UTC), fresh: true}
}

// ran is a verdict as it is counted.
type ran struct {
	at     time.Time
	passed bool
}

// watchGates counts the verdicts that were recorded since it last did, and judges the
// slots that have ended.
func (w *Watcher) watchGates(ctx context.Context, now time.Time) (more bool, err error) {
	if w.gates.fresh {
		if err := w.openGates(ctx, now); err != nil {
			return false, err
		}
	}
	g := w.gates
	verdicts, after, err := w.verdicts(ctx, g.s.After)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	var found []Found
	for _, v := range verdicts {
		found = append(found, g.until(v.at)...)
		g.s.Ran++
		if !v.passed {
			g.s.Failed++
		}
	}
	g.s.After = after
	more = len(verdicts) == store.MaxLimit
	if !more {
		found = append(found, g.until(now.Add(-Settle))...)
	}
	page, err := json.Marshal(keptGates{g.runs.state(), g.failures.state(), g.s})
	open, saved := g.s.Open, g.saved
	w.mu.Unlock()
	if err != nil {
		return false, assay.Errorf(assay.CodeInternal, "the page of gates cannot be written: %w", err)
	}
	g.pending = append(g.pending, timely(found, g.s.Learnt, now.Unix())...)
	if len(g.pending) == 0 && open-saved < keepEvery/10 {
		return more, nil
	}
	if err := w.write(ctx, map[store.Key][]byte{w.servicePage(gatesPage): page}, g.pending, noModels); err != nil {
		return false, err
	}
	w.mu.Lock()
	g.saved, g.pending = open, nil
	w.mu.Unlock()
	return more, nil
}

func (w *Watcher) openGates(ctx context.Context, now time.Time) error {
	var k keptGates
	ok := false
	err := w.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		ok, err = readPage(r, w.servicePage(gatesPage), &k)
		return err
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gates.fresh, w.gates.s.Learnt = false, now.Unix()/60
	if g := newGates(); ok && g.runs.restore(k.Runs) && g.failures.restore(k.Failures) {
		g.s, g.saved, g.fresh = k.State, k.State.Open, false
		w.gates = g
	}
	return nil
}

// verdicts are the verdicts recorded after a commit, in that order.
func (w *Watcher) verdicts(ctx context.Context, after int64) (out []ran, newest int64, err error) {
	newest = after
	err = w.cfg.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: w.cfg.Namespace, Kinds: []string{assay.FactVerdict}, After: after, Limit: store.MaxLimit})
		for _, row := range rows {
			var payload struct {
				Outcome assay.Outcome `json:"outcome"`
			}
			_ = json.Unmarshal(row.Fact.Payload, &payload) // a payload that is no longer kept is a run all the same
			out = append(out, ran{row.Fact.Recorded, payload.Outcome == assay.OutcomePass || payload.Outcome == ""})
			newest = row.Commit
		}
		return err
	})
	return out, newest, err
}

// until judges the slots that ended before an instant, the open one first.
func (g *gates) until(at time.Time) (found []Found) {
	n := at.Unix() / int64(gateSlot/time.Second)
	if g.s.Open == 0 {
		g.s.Open = n
	}
	for g.s.Open < n {
		end := time.Unix(g.s.Open*int64(gateSlot/time.Second), 0).UTC()
		share := math.NaN()
		g.s.Pooled += g.s.Ran
		g.s.PoolFail += g.s.Failed
		if g.s.Pooled >= shareFrom {
			share = g.s.PoolFail / g.s.Pooled
			g.s.Pooled, g.s.PoolFail = 0, 0
		}
		for _, f := range []*Found{first(g.runs.observe(end, g.s.Ran, false)), first(g.failures.observe(end, share, false))} {
			if f != nil {
				found = append(found, *f)
			}
		}
		g.s.Ran, g.s.Failed = 0, 0
		g.s.Open++
	}
	return found
}

func first(f *Found, _ float64) *Found { return f }

// noModels is for pages without models: gates have none.
func noModels(store.Tx) ([]func(), error) { return nil, nil }
