package diverge

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/pause"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"assay.dev/assay/store"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// MaxCompared is how many SLOs one Watcher compares by region.
	MaxCompared = 100
	// Settle is how long after its end a minute is read: what comes later is not seen.
	Settle = 30 * time.Second
	// past is how far back a watcher without a notebook learns from, and at most how much
	// of an outage of its own it makes up for.
	past = 24 * 60
	// keepEvery is after how many minutes the notebook is kept though nothing was said.
	keepEvery = 10
	// stepMinutes are how many minutes of a comparison one step takes.
	stepMinutes = 120
	// tick is how often a Watcher looks whether a minute has settled.
	tick = 5 * time.Second
	// pace is the least time between two steps while there is past to read.
	pace = 250 * time.Millisecond
	// bucket holds a page of the notebook for each comparison.
	bucket = "divergence"
)

// Config is what a Watcher is made of.
type Config struct {
	Source signal.Source
	Store  store.Store
	// Namespace is whose series are read, and who may see what is found.
	Namespace  string
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
}

// Watcher compares the regions of one namespace's SLOs. Safe for concurrent use.
type Watcher struct {
	cfg     Config
	metrics metrics

	stepping sync.Mutex // held by Step

	mu   sync.Mutex // guards what follows
	list []*watched
}

// watched is a comparison with its place in the series.
type watched struct {
	comparison
	indicator   signal.Indicator
	fingerprint string
	next        int64 // the minute to read next, since 1970; 0 before the first
	learnt      int64 // the minutes before are learnt from
	saved       int64
	fresh       bool // the notebook was not looked at yet
	pending     []Judged
	failed      error
}

// page is a comparison's page of the notebook.
type page struct {
	Fingerprint string          `json:"fingerprint"` // of what it compares
	Next        int64           `json:"next"`
	Learnt      int64           `json:"learnt,omitempty"`
	State       comparisonState `json:"state"`
}

// New returns a Watcher of nothing.
func New(cfg Config) *Watcher {
	w := &Watcher{cfg: cfg}
	w.metrics = newMetrics(cfg.Registerer, w)
	return w
}

// Namespace is whose SLOs are compared.
func (w *Watcher) Namespace() string { return w.cfg.Namespace }

// SetObjectives replaces what is compared: the indicator of each SLO that names its
// regions. One that counts what it counted goes on as it was; another begins from its page
// of the notebook, if that fits. CodeTooLarge for more than MaxCompared, and nothing has
// changed.
func (w *Watcher) SetObjectives(list []slo.Objective) error {
	var next []*watched
	for _, o := range list {
		if o.Regions == nil || o.Index > 0 { // all objectives of an SLO have one indicator
			continue
		}
		n, err := newWatched(o)
		if err != nil {
			continue // slo lint and the objective's own page say so
		}
		next = append(next, n)
	}
	if len(next) > MaxCompared {
		return assay.Errorf(assay.CodeTooLarge, "%d SLOs name regions; at most %d are compared", len(next), MaxCompared)
	}
	w.stepping.Lock()
	defer w.stepping.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range next {
		if at := slices.IndexFunc(w.list, func(old *watched) bool { return old.fingerprint == n.fingerprint }); at >= 0 {
			next[i] = w.list[at]
			next[i].regions = n.regions // another bound is judged by from the next minute on
		}
	}
	w.list = next
	return nil
}

func newWatched(o slo.Objective) (*watched, error) {
	spec := signal.Spec{Service: o.Service, Name: o.SLO, Total: o.Indicator.Total.Text, StratumLabel: o.Regions.Label}
	if o.Indicator.Good != nil {
		spec.Good = o.Indicator.Good.Text
	}
	if o.Indicator.Bad != nil {
		spec.Bad = o.Indicator.Bad.Text
	}
	ind, err := signal.Compile(spec)
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal([]string{spec.Service, spec.Name, spec.Total, spec.Good, spec.Bad, spec.StratumLabel})
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "SLO %s cannot be named: %w", o.SLO, err)
	}
	return &watched{
		comparison: comparison{service: o.Service, slo: o.SLO, regions: *o.Regions}, indicator: ind, fingerprint: string(key), fresh: true,
	}, nil
}

// Run compares until ctx ends, and returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	pause.Between(ctx, func() time.Duration {
		if w.Step(ctx, w.cfg.Now()) {
			return pace
		}
		return tick
	})
	return nil
}

// Step takes the minutes that have settled, at most two hours of each comparison, and
// reports whether there are more.
func (w *Watcher) Step(ctx context.Context, now time.Time) (more bool) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	w.mu.Lock()
	list := slices.Clone(w.list)
	w.mu.Unlock()
	for _, c := range list {
		behind, err := w.serve(ctx, c, now)
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("regions are not compared", "service", c.service, "slo", c.slo, "error", err)
		}
		w.mu.Lock()
		c.failed = err
		w.mu.Unlock()
		more = more || behind && err == nil
	}
	return more && ctx.Err() == nil
}

// serve takes a comparison's minutes that have settled.
func (w *Watcher) serve(ctx context.Context, c *watched, now time.Time) (behind bool, err error) {
	last := now.Add(-Settle).Unix() / 60 // the first minute that has not settled
	if c.fresh {
		if err := w.open(ctx, c); err != nil {
			return false, err
		}
	}
	if c.next == 0 { // there is no notebook: what was is learnt from
		c.learnt = last
	}
	c.next = max(c.next, last-past)
	for taken := 0; c.next < last && taken < stepMinutes; taken++ {
		at := time.Unix(c.next*60, 0).UTC()
		readings, err := w.cfg.Source.Read(ctx, signal.Query{Namespace: w.cfg.Namespace, Indicator: c.indicator, Start: at, End: at.Add(time.Minute)})
		if err != nil {
			return false, err
		}
		w.mu.Lock()
		c.pending = append(c.pending, c.observe(c.next, byRegion(readings), c.next < c.learnt)...)
		c.next++
		w.mu.Unlock()
	}
	if len(c.pending) > 0 || c.next-c.saved >= keepEvery {
		if err := w.keep(ctx, c); err != nil {
			return false, err
		}
	}
	return c.next < last, nil
}

func (w *Watcher) key(c *watched) store.Key {
	return store.Key{Namespace: w.cfg.Namespace, Bucket: bucket, Name: c.service + "/" + c.slo}
}

// open reads a comparison's page. What is not there, or does not fit, is learnt anew.
func (w *Watcher) open(ctx context.Context, c *watched) error {
	var p page
	err := w.cfg.Store.View(ctx, func(r store.Reader) error {
		v, err := r.Get(w.key(c))
		switch {
		case assay.CodeOf(err) == assay.CodeNotFound:
			return nil
		case err != nil:
			return err
		}
		if json.Unmarshal(v.Data, &p) != nil {
			p = page{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.fresh = false
	if p.Fingerprint == c.fingerprint && len(p.State.Regions) <= MaxRegions {
		c.s, c.next, c.saved, c.learnt = p.State, p.Next, p.Next, p.Learnt
	}
	return nil
}

// keep writes what was said and is not written yet and the notebook it rests on, in one
// transaction: what is recorded is never said again.
func (w *Watcher) keep(ctx context.Context, c *watched) error {
	w.mu.Lock()
	next := c.next
	data, err := json.Marshal(page{Fingerprint: c.fingerprint, Next: next, Learnt: c.learnt, State: c.s})
	w.mu.Unlock()
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "the page of %s cannot be written: %w", c.slo, err)
	}
	err = w.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Put(w.key(c), data, store.AnyVersion); err != nil {
			return err
		}
		for _, j := range c.pending {
			fact, err := j.fact(w.cfg.Namespace)
			if err != nil {
				return err
			}
			if _, err := tx.Append(fact); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, j := range c.pending {
		w.metrics.judged(j.Judgement.Verdict)
		w.cfg.Log.Info("divergence", "service", c.service, "slo", c.slo, "region", j.Input.Region, "verdict", string(j.Judgement.Verdict), "words", j.Judgement.Words)
	}
	w.mu.Lock()
	c.saved, c.pending = next, nil
	w.mu.Unlock()
	return nil
}
