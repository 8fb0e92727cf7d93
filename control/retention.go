package control

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/inventory"
)

// ExpireEvidence removes uploaded reports that nothing used for so many days and that
// are about nothing that runs, on record, and returns how many. While somebody copies
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
				list, err := inventory.List(ctx, p.cfg.Store, namespace, inventory.Filter{}, now)
				for _, r := range list {
					running[namespace][r.Digest] = true
				}
				if err != nil {
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

// KeepPayloads runs fn while no payload is removed: a copy that is made of the
// database first and of the payloads then holds all that the database names.
func (p *Plane) KeepPayloads(fn func() error) error {
	p.copying.RLock()
	defer p.copying.RUnlock()
	return fn()
}
