package mitigate

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"assay.dev/assay/signal"
)

// How the past of a version is looked at for moments of other load.
const (
	// lookFar is how far before a change: a day has each load that comes every day.
	lookFar = 24 * time.Hour
	// lookEvery is the time between two moments.
	lookEvery = 15 * time.Minute
	// alike is how many times as many requests are still about as many.
	alike = 1.1
)

// Was is what the signals said of a version at a moment of its past.
type Was struct {
	Time  time.Time
	Bad   float64
	Total float64
}

// LikeLoad chooses from the past of a version, newest moment first, the one that another
// version with total requests is held against, ok unless there is none. What fails with
// the load fails in both versions, and steeply once something is full: so it is the moment
// with the most like load of those that had as much, or if none had, the one with the
// most. The newest is taken as it is if it had as much and hardly more. Bad is not looked
// at, so the choice favours neither.
func LikeLoad(past []Was, total float64) (w Was, ok bool) {
	for i, p := range past {
		switch {
		case !(p.Total > 0):
			continue
		case i == 0 && p.Total >= total && p.Total <= alike*total:
			return p, true
		case !ok, w.Total < total && p.Total > w.Total, p.Total >= total && p.Total < w.Total:
			w, ok = p, true
		}
	}
	return w, ok
}

// pasts remember what was read before changes: it does not change any more, unless history
// is imported, and is asked for at each look while a version is suspected. One past for each
// strategy.
type pasts struct {
	sync.Mutex
	of map[string]remembering
}

type remembering struct {
	version string
	queries string // of the sources that were read
	before  time.Time
	imports uint64 // of history, until it was read
	list    []Was
}

// before is what the law's signals said of version at the moment of a change and in the
// day before it, newest first. What cannot be read is an error, and nothing is remembered.
func (c *Controller) before(ctx context.Context, s Strategy, version string, at time.Time) ([]Was, error) {
	key := s.Namespace + "/" + s.Name
	c.pasts.Lock()
	kept, known := c.pasts.of[key]
	c.pasts.Unlock()
	imports := c.imports.Load()
	var sources strings.Builder
	for _, sig := range s.Spec.Signals {
		sources.WriteString(sig.Query + "\n")
	}
	queries := sources.String()
	if known && kept.version == version && kept.queries == queries && kept.before.Equal(at) && kept.imports == imports {
		return kept.list, nil
	}
	kept = remembering{version: version, queries: queries, before: at, imports: imports}
	for back := time.Duration(0); back <= lookFar; back += lookEvery {
		w, err := c.was(ctx, s, version, at.Add(-back))
		if err != nil {
			return nil, err
		}
		if w.Total > 0 {
			kept.list = append(kept.list, w)
		}
	}
	c.pasts.Lock()
	defer c.pasts.Unlock()
	if c.pasts.of == nil {
		c.pasts.of = map[string]remembering{}
	}
	c.pasts.of[key] = kept
	return kept.list, nil
}

// was is what the signals said of a version at a moment; nothing if they said nothing.
func (c *Controller) was(ctx context.Context, s Strategy, version string, at time.Time) (w Was, err error) {
	w.Time = at.UTC()
	for _, sig := range s.Spec.Signals {
		if sig.Name != "bad" && sig.Name != "total" {
			continue
		}
		list, err := c.cfg.Gauges.Gauge(ctx, signal.GaugeQuery{Namespace: s.Namespace, Expr: sig.Query, By: sig.By, Time: at, MaxAge: s.Spec.MaxAge.Value()})
		if err != nil {
			return w, err
		}
		for _, g := range list {
			if g.Scope != version || !(g.Value >= 0) || math.IsInf(g.Value, 0) {
				continue
			}
			if sig.Name == "bad" {
				w.Bad = g.Value
			} else {
				w.Total = g.Value
			}
		}
	}
	return w, nil
}
