package control

import (
	"context"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/inventory"
	"assay.dev/assay/store"
)

// ExpireEvidence removes uploaded reports that nothing used for so many days and that
// are about nothing that ran in them, on record, and returns how many. While somebody copies
// the payloads it does nothing: the next call makes up for it.
func (p *Plane) ExpireEvidence(ctx context.Context, blobs artifact.Remover, days int) (int, error) {
	if !p.copying.TryLock() {
		return 0, nil
	}
	defer p.copying.Unlock()
	now := p.cfg.Now()
	running := map[string]map[assay.Digest]bool{}
	var failed error
	n, err := artifact.Expire(ctx, artifact.ExpireConfig{
		Store: p.cfg.Store, Outbox: p.cfg.Outbox, Blobs: blobs, Days: days, Now: now,
		Runs: func(namespace string, d assay.Digest) bool {
			if running[namespace] == nil {
				running[namespace] = map[assay.Digest]bool{}
				if err := p.ran(ctx, namespace, days, now, running[namespace]); err != nil {
					failed = err
				}
			}
			return failed != nil || running[namespace][d] // nothing goes while nobody knows what runs
		},
		Alone: func(fn func() error) error {
			p.uploads.Lock()
			defer p.uploads.Unlock()
			return fn()
		},
	})
	if err == nil {
		err = failed
	}
	return n, err
}

// ran adds what was seen running within so many days to seen. A source that falls silent
// ends its sightings within the hour, and what it saw runs on: so what ended within the
// days counts too, whoever said that it did.
func (p *Plane) ran(ctx context.Context, namespace string, days int, now time.Time, seen map[assay.Digest]bool) error {
	since := now.AddDate(0, 0, -days)
	list, err := inventory.List(ctx, p.cfg.Store, namespace, inventory.Filter{TTL: max(now.Sub(since), inventory.DefaultTTL)}, now)
	if err != nil {
		return err
	}
	for _, r := range list {
		seen[r.Digest] = true
	}
	return p.cfg.Store.View(ctx, func(r store.Reader) error {
		q := store.Query{Namespace: namespace, Kinds: []string{assay.FactInventoryObserved}, Since: since, Limit: store.MaxLimit}
		for {
			rows, err := r.Facts(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, row := range rows {
				q.After, seen[row.Fact.Subject] = row.Commit, true
			}
		}
	})
}

// KeepPayloads runs fn while no payload is removed: a copy that is made of the
// database first and of the payloads then holds all that the database names.
func (p *Plane) KeepPayloads(fn func() error) error {
	p.copying.RLock()
	defer p.copying.RUnlock()
	return fn()
}
