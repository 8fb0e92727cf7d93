package exception

import (
	"context"
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// withdrawnBucket holds, in store.SystemNamespace, the exceptions that were taken back
// after they had been granted, named "id/namespace": whoever enforces must know them
// whether or not a policy still knows their namespace.
const withdrawnBucket = "exception-withdrawn"

// withdrawal is one entry of the index.
type withdrawal struct {
	Namespace string    `json:"namespace"`
	ID        string    `json:"id"`
	NotAfter  time.Time `json:"not_after"`
}

// counts reports whether a verdict may rest on what was taken back. The one that ended a
// day ago does not count: whoever reads a verdict sees the end in it.
func (w withdrawal) counts(now time.Time) bool { return now.Before(w.NotAfter.Add(nearEnd)) }

// withdraw puts a revoked exception into the index, in the transaction that revokes it,
// and takes out some of the oldest that count no more.
func withdraw(tx store.Tx, e assay.Exception, now time.Time) error {
	if e.State != assay.ExceptionRevoked || !e.Emergency && e.Approver == "" {
		return nil // it was never granted: no verdict rests on it
	}
	oldest, err := tx.List(store.Key{Namespace: store.SystemNamespace, Bucket: withdrawnBucket}, "", store.DefaultLimit)
	if err != nil {
		return err
	}
	for _, v := range oldest {
		w, err := parseWithdrawal(v)
		if err != nil {
			return err
		}
		if w.counts(now) {
			continue
		}
		if err := tx.Delete(v.Key, v.Version); err != nil {
			return err
		}
	}
	data, err := json.Marshal(withdrawal{e.Namespace, e.ID, e.NotAfter})
	if err != nil {
		return err
	}
	_, err = tx.Put(store.Key{Namespace: store.SystemNamespace, Bucket: withdrawnBucket, Name: e.ID + "/" + e.Namespace}, data, 0)
	return err
}

func parseWithdrawal(v store.Value) (w withdrawal, err error) {
	if err := json.Unmarshal(v.Data, &w); err != nil {
		return w, assay.Errorf(assay.CodeInternal, "revoked exception %q cannot be read from the store: %w", v.Key.Name, err)
	}
	return w, nil
}

// Withdrawn returns the ids of the exceptions of all namespaces that were revoked after
// they had been granted and before their end: verdicts may rest on them. Those that
// would have ended a day ago or more are left out. What an earlier release revoked is in
// no index; WithdrawnIn finds it.
func Withdrawn(ctx context.Context, s store.Store, now time.Time) ([]string, error) {
	ids := []string{}
	err := s.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := r.List(store.Key{Namespace: store.SystemNamespace, Bucket: withdrawnBucket}, after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				w, err := parseWithdrawal(v)
				if err != nil {
					return err
				}
				if w.counts(now) {
					ids = append(ids, w.ID)
				}
				after = v.Key.Name
			}
		}
	})
	return ids, err
}

// WithdrawnIn is Withdrawn by the records of one namespace.
func WithdrawnIn(ctx context.Context, s store.Store, namespace string, now time.Time) ([]string, error) {
	list, err := choose(ctx, s, namespace, func(e assay.Exception) bool {
		return e.State == assay.ExceptionRevoked && (e.Emergency || e.Approver != "") && now.Before(e.NotAfter.Add(nearEnd))
	})
	ids := make([]string, 0, len(list))
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids, err
}
