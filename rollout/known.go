package rollout

import (
	"context"
	"slices"
	"sync"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// known is what the store says of open rollouts. Only the holder of the lease writes
// their records, so it knows them without asking: a record is large, and is looked at
// each second of every rollout. The store stays the truth: what was not acknowledged is
// read again, and a record goes into the store only in place of the version it was made of.
type known struct {
	mu sync.Mutex
	by map[string]*kept // by id
}

// kept is what is known of one rollout.
type kept struct {
	rec      record // not known if its version is 0
	silent   bool   // nobody told it anything that is not carried out yet
	compiled map[signal.Spec]signal.Indicator
}

// of is what is known of a rollout, to be used with mu held.
func (k *known) of(id string) *kept {
	if k.by == nil {
		k.by = map[string]*kept{}
	}
	if k.by[id] == nil {
		k.by[id] = &kept{}
	}
	return k.by[id]
}

// keep knows a record as it was stored.
func (k *known) keep(rec record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if rec.settled() {
		delete(k.by, rec.Rollout.ID)
		return
	}
	if x := k.of(rec.Rollout.ID); x.rec.version < rec.version {
		x.rec = rec
	}
}

// record is the record of a rollout, if it is known, and whether it is known too that
// nobody told it anything.
func (k *known) record(namespace, id string) (rec record, silent, there bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	x := k.by[id]
	if x == nil || x.rec.version == 0 || x.rec.Namespace != namespace {
		return record{}, false, false
	}
	return x.rec.own(), x.silent, true
}

// listen says that the store is about to be asked what a rollout was told: until it is
// told something from here on, the answer stands.
func (k *known) listen(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of(id).silent = true
}

// told says that a rollout was told something.
func (k *known) told(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if x := k.by[id]; x != nil {
		x.silent = false
	}
}

// compile is signal.Compile of one of a rollout's specs.
func (k *known) compile(id string, spec signal.Spec) (signal.Indicator, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	x := k.of(id)
	if ind, there := x.compiled[spec]; there {
		return ind, nil
	}
	ind, err := signal.Compile(spec)
	if err != nil {
		return ind, err
	}
	if x.compiled == nil {
		x.compiled = map[signal.Spec]signal.Indicator{}
	}
	x.compiled[spec] = ind
	return ind, nil
}

func (k *known) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.by, id)
}

// decided is the newest decision of a rollout.
type decided struct {
	namespace, service, id string
	last                   *assay.Decision
}

// underWay is what was decided last of each rollout that has not ended.
func (k *known) underWay() (out []decided) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, x := range k.by {
		if r := &x.rec.Rollout; x.rec.version != 0 && r.Decision != nil && !r.Status.Ended() {
			out = append(out, decided{x.rec.Namespace, r.Service, id, r.Decision})
		}
	}
	return out
}

func (k *known) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.by)
}

// own is r with its own copy of what an evaluation changes in place or appends to.
func (r record) own() record {
	out := &r.Rollout
	out.Path = slices.Clip(out.Path)
	if out.Watch != nil {
		w := *out.Watch
		w.Path = slices.Clip(w.Path)
		out.Watch = &w
	}
	out.Latencies = slices.Clone(out.Latencies)
	for i := range out.Latencies {
		l := &out.Latencies[i]
		l.Canary, l.Control = slices.Clone(l.Canary), slices.Clone(l.Control)
	}
	if r.Pending != nil {
		p := *r.Pending
		r.Pending = &p
	}
	return r
}

// load is a rollout and what a person told it that is not carried out yet.
func (c *Controller) load(ctx context.Context, namespace, id string) (rec record, o order, waits bool, err error) {
	rec, silent, there := c.known.record(namespace, id)
	if there && silent {
		return rec, o, false, nil
	}
	c.known.listen(id)
	err = c.cfg.Store.View(ctx, func(tx store.Reader) error {
		if !there {
			v, err := tx.Get(record{Namespace: namespace, Rollout: api.Rollout{ID: id}}.key())
			if err != nil {
				return unknown(id, err)
			}
			if rec, err = parseRecord(v); err != nil {
				return err
			}
		}
		o, waits, err = orderOf(tx, rec)
		return err
	})
	switch {
	case err != nil:
		c.known.forget(id)
		return record{}, o, false, err
	case !there:
		c.known.keep(rec)
		rec = rec.own()
	}
	if waits {
		c.known.told(id)
	}
	return rec, o, waits, nil
}
