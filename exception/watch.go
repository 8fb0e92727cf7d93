package exception

import (
	"context"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Noticed says what a Watch recorded.
type Noticed struct {
	Expiring int // exceptions that end soon, and nobody was reminded of before
	Expired  int // exceptions that ended, and nobody was told before
}

// Watch records, once for each granted exception of a namespace, that it ends within
// before (fact exception.expiring) and that it ended (exception.expired). An exception
// that is shorter than twice before is reminded of in its last quarter. It may be run
// as often as one likes, also by several: each record is changed in its own
// transaction, and only if it is as it was seen.
func Watch(ctx context.Context, s store.Store, namespace string, before time.Duration, now time.Time) (Noticed, error) {
	now = now.UTC()
	var n Noticed
	for after := ""; ; {
		page, err := List(ctx, s, namespace, after, store.DefaultLimit)
		if err != nil {
			return n, err
		}
		for _, r := range page {
			if due(r, before, now) == "" {
				continue
			}
			kind, err := notice(ctx, s, r, before, now)
			if err != nil {
				return n, err
			}
			switch kind {
			case assay.FactExceptionExpiring:
				n.Expiring++
			case assay.FactExceptionExpired:
				n.Expired++
			}
		}
		if len(page) < store.DefaultLimit {
			return n, nil
		}
		after = page[len(page)-1].ID
	}
}

// due is the kind of fact that has to be recorded about r now, "" if none.
func due(r Record, before time.Duration, now time.Time) string {
	if !r.Granted() {
		return ""
	}
	early := before
	if length := r.NotAfter.Sub(r.NotBefore); length < 2*before {
		early = length / 4
	}
	switch {
	case !now.Before(r.NotAfter):
		if r.ExpiredFact == "" {
			return assay.FactExceptionExpired
		}
	case !now.Before(r.NotAfter.Add(-early)) && r.ExpiringFact == "":
		return assay.FactExceptionExpiring
	}
	return ""
}

// notice records what is due about a record, if that is still so in the transaction.
func notice(ctx context.Context, s store.Store, seen Record, before time.Duration, now time.Time) (kind string, err error) {
	err = s.Update(ctx, func(tx store.Tx) error {
		rec, version, err := get(tx, seen.Namespace, seen.ID)
		if err != nil {
			return err
		}
		if kind = due(rec, before, now); kind == "" {
			return nil
		}
		id, err := appendFact(tx, kind, rec.Exception, "assay", now, rec.ApprovedFact)
		if err != nil {
			return err
		}
		if kind == assay.FactExceptionExpired {
			rec.ExpiredFact = id
		} else {
			rec.ExpiringFact = id
		}
		return put(tx, rec, version)
	})
	return kind, err
}
