package rollout

import (
	"context"
	"slices"
	"sync"

	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

// known keeps the records of open rollouts as they were read last. A record is large,
// and is looked at each second of every rollout: it is read into values anew only when
// the store has another version of it.
type known struct {
	mu sync.Mutex
	by map[string]record // by id
}

// read makes a record of a stored value.
func (k *known) read(v store.Value) (record, error) {
	k.mu.Lock()
	r, there := k.by[v.Key.Name]
	k.mu.Unlock()
	if there && r.version == v.Version && r.key() == v.Key {
		return r.own(), nil
	}
	r, err := parseRecord(v)
	if err != nil || r.Rollout.Status.Ended() {
		k.forget(v.Key.Name)
		return r, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil {
		k.by = map[string]record{}
	}
	k.by[v.Key.Name] = r
	return r.own(), nil
}

func (k *known) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.by, id)
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

// load reads a rollout and what a person told it that is not carried out yet.
func (c *Controller) load(ctx context.Context, namespace, id string) (rec record, o order, waits bool, err error) {
	err = c.cfg.Store.View(ctx, func(tx store.Reader) error {
		v, err := tx.Get(record{Namespace: namespace, Rollout: api.Rollout{ID: id}}.key())
		if err != nil {
			return unknown(id, err)
		}
		if rec, err = c.known.read(v); err != nil {
			return err
		}
		o, waits, err = orderOf(tx, rec)
		return err
	})
	return rec, o, waits, err
}
