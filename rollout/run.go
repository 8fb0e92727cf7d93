package rollout

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// worker steps one rollout, alone, for as long as something is left to do.
type worker struct {
	namespace, id string
	wake          chan struct{} // of capacity 1: wakes coalesce
	told          bool          // by the Watch when data arrive: without that they are looked for

	// What follows is guarded by the Controller's mu.
	arrived time.Time // of the oldest batch that no step has seen; zero if there is none
	since   time.Time // of the oldest batch of the step under way; zero if there is none
	unread  bool      // there may be readings that were not taken yet
	newest  time.Time // instant of the newest event that arrived
	read    time.Time // when readings were taken last
}

// Run carries out every open rollout until ctx ends or somebody else has taken the
// lease: then they are his, and the error says so. A lease that only expired is
// taken anew. It returns when nothing is under way any more.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.Acquire(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	defer c.lease.Forget()

	workers.Go(func() { c.keepWithdrawn(ctx) })
	renew := time.NewTicker(DefaultLease / 3)
	defer renew.Stop()
	for {
		if err := c.employ(ctx, &workers); err != nil {
			c.cfg.Log.Error("open rollouts cannot be listed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-renew.C:
			switch anew, err := c.lease.Renew(ctx); {
			case assay.CodeOf(err) == assay.CodeConflict:
				return err
			case err != nil: // the store cannot be written: nothing is done meanwhile, see write
				c.cfg.Log.Error("the lease on rollouts cannot be renewed", "error", err)
			case anew:
				c.cfg.Log.Warn("the lease on rollouts had expired and was taken anew")
			}
		}
	}
}

// employ starts a worker for every open rollout that has none.
func (c *Controller) employ(ctx context.Context, group *sync.WaitGroup) error {
	var open []*worker
	err := c.cfg.Store.View(ctx, func(tx store.Reader) error {
		for after := ""; ; {
			page, err := tx.List(store.Key{Namespace: store.SystemNamespace, Bucket: openBucket}, after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				namespace, id, _ := strings.Cut(v.Key.Name, "/")
				open = append(open, &worker{namespace: namespace, id: id, wake: make(chan struct{}, 1), told: c.cfg.Watch != nil, unread: true})
				after = v.Key.Name
			}
		}
	})
	if err != nil {
		return err
	}
	for _, w := range open {
		c.mu.Lock()
		_, known := c.workers[w.id]
		if !known {
			c.workers[w.id] = w
		}
		c.mu.Unlock()
		if !known {
			group.Go(func() { c.work(ctx, w) })
		}
	}
	return nil
}

// work steps one rollout when data arrive, when somebody said something, and at
// every tick.
func (c *Controller) work(ctx context.Context, w *worker) {
	defer func() {
		c.mu.Lock()
		delete(c.workers, w.id)
		c.mu.Unlock()
		c.known.forget(w.id)
		if c.cfg.Watch != nil {
			c.cfg.Watch.Remove(w.id)
		}
	}()
	tick := time.NewTicker(c.cfg.Tick)
	defer tick.Stop()
	watched := false
	for {
		if !watched { // before the first step: what arrives during it wakes the next
			if rec, _, _, err := c.load(ctx, w.namespace, w.id); err == nil {
				c.listen(rec)
				watched = true
			}
		}
		c.takeArrival(w)
		under, err := c.advance(ctx, w.namespace, w.id)
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("rollout waits", "rollout", w.id, "error", err)
		}
		if err != nil || !under {
			if open, err := isOpen(ctx, c.cfg.Store, w.namespace, w.id); err == nil && !open {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-tick.C:
		}
	}
}

// listen asks to be woken when a batch touches one of the rollout's indicators.
func (c *Controller) listen(rec record) {
	if c.cfg.Watch == nil {
		return
	}
	for _, ind := range slices.Concat(rec.Indicators, rec.After) {
		for _, spec := range ind.specs() {
			if compiled, err := c.known.compile(rec.Rollout.ID, spec); err == nil { // it was compiled when it was proposed
				c.cfg.Watch.Add(rec.Rollout.ID, rec.Namespace, compiled)
			}
		}
	}
}

// Arrived wakes the rollouts that a batch concerns. It never blocks.
func (c *Controller) Arrived(a signal.Arrival) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range a.Indicators {
		if w, ok := c.workers[id]; ok && w.namespace == a.Namespace {
			w.unread, w.newest = true, later(w.newest, a.Newest)
			if w.arrived.IsZero() {
				w.arrived = a.Received
			}
			w.nudge()
		}
	}
}

// takeArrival remembers since when the data of the coming step has been here.
func (c *Controller) takeArrival(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.since, w.arrived = w.arrived, time.Time{}
}

// since is when the oldest data of a rollout's step arrived, if the step is because of any.
func (c *Controller) since(id string) (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[id]; w != nil {
		at = w.since
	}
	return at, !at.IsZero()
}

// unread reports whether a rollout may have readings until now that were not taken yet,
// and takes it that they are taken. Events that are dated ahead of now are read once
// their time has come.
func (c *Controller) unread(id string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.workers[id]
	if w == nil || !w.told {
		return true // nobody says when there are
	}
	unread := w.unread || !w.read.After(w.newest)
	w.unread, w.read = false, now
	return unread
}

// leave says that readings were not taken after all: they are read again.
func (c *Controller) leave(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workers[id]; w != nil {
		w.unread = true
	}
}

// poke wakes one rollout.
func (c *Controller) poke(namespace, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.workers[id]; ok && w.namespace == namespace {
		w.nudge()
	}
}

func (w *worker) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake already
	}
}

// nudge lets Run look for new rollouts.
func (c *Controller) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
