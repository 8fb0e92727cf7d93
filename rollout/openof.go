package rollout

import (
	"context"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// OpenOf returns the rollouts of a namespace's service that have not ended, oldest
// first, without their paths: usually none or one. It reads the index of open
// rollouts and the records of that service alone, so that however many rollouts other
// services have had meanwhile, none of its own is missed.
func OpenOf(ctx context.Context, s store.Store, namespace, service string) ([]api.Rollout, error) {
	out := []api.Rollout{}
	err := s.View(ctx, func(tx store.Reader) error {
		return eachOpen(tx, namespace, service, func(r record) error {
			out = append(out, r.summary())
			return nil
		})
	})
	return out, err
}

// eachOpen calls fn for the rollouts of a namespace's service that have not ended. It
// reads the index, and of the services in question alone their records.
func eachOpen(tx store.Reader, namespace, service string, fn func(record) error) error {
	for after := namespace + "/"; ; {
		page, err := tx.List(store.Key{Namespace: store.SystemNamespace, Bucket: openBucket, Name: namespace + "/"}, after, store.MaxLimit)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			after = v.Key.Name
			var o openRollout
			if err := strict.JSON(v.Data, &o); err != nil {
				return assay.Errorf(assay.CodeInternal, "index of open rollouts, %q: %w", v.Key.Name, err)
			}
			if o.Service != "" && o.Service != service {
				continue
			}
			_, id, _ := strings.Cut(v.Key.Name, "/")
			got, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: id})
			if err != nil {
				return err
			}
			r, err := parseRecord(got)
			if err != nil {
				return err
			}
			if r.Rollout.Service != service || r.Rollout.Status.Ended() {
				continue
			}
			if err := fn(r); err != nil {
				return err
			}
		}
	}
}

// summary is what lists show: without paths, which are large.
func (r record) summary() api.Rollout {
	out := r.Rollout
	out.Path, out.Latencies = nil, nil
	if out.Watch != nil {
		w := *out.Watch
		w.Path, out.Watch = nil, &w
	}
	return out
}
