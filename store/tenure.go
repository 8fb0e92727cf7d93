package store

import (
	"context"
	"sync"
	"time"

	"assay.dev/assay"
)

// Tenure is a lease that a process keeps for as long as it works: it takes it, extends
// it, takes it anew where nobody else wanted it, and does nothing once it is another's.
// Its methods are safe for concurrent use.
type Tenure struct {
	Store  Store
	Name   string        // of the lease
	Holder string        // names this process, see AcquireLease
	For    time.Duration // until the lease expires if it is not extended
	Now    func() time.Time
	Idle   string // what Update says while the lease is not held

	mu    sync.Mutex
	lease Lease // zero while it is not held
	tries int64 // to take it anew since then whose outcome is unknown
}

// Acquire takes the lease; see AcquireLease.
func (t *Tenure) Acquire(ctx context.Context) error {
	l, err := AcquireLease(ctx, t.Store, t.Name, t.Holder, t.For, t.Now())
	if err == nil {
		t.set(l)
	}
	return err
}

// Held is the lease, zero while it is not held. That it is in force is checked by Update.
func (t *Tenure) Held() Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lease
}

// Forget ends the tenure without giving the lease back: it expires.
func (t *Tenure) Forget() { t.set(Lease{}) }

func (t *Tenure) set(l Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lease, t.tries = l, 0
}

// Renew extends the lease. One that only expired by this process's own clock while nobody
// wanted it, as after the machine was suspended, is taken anew, and anew says so. After
// assay.CodeConflict it is another's, or was meanwhile, and is held no more; any other
// error is the store's, and the lease stays what it was.
func (t *Tenure) Renew(ctx context.Context) (anew bool, err error) {
	l, err := RenewLease(ctx, t.Store, t.Held(), t.For, t.Now())
	switch {
	case err == nil:
		t.set(l)
		return false, nil
	case assay.CodeOf(err) != assay.CodeConflict:
		return false, err
	}
	if err = t.regain(ctx, err); err != nil {
		if assay.CodeOf(err) == assay.CodeConflict {
			t.Forget()
		}
		return false, err
	}
	return true, nil
}

// regain takes an expired lease anew. It gives lost back if somebody else has the lease
// or had it meanwhile: what is stored is then no longer this holder's, and what this
// holder stored since old are at most the tries that the store did not answer.
func (t *Tenure) regain(ctx context.Context, lost error) error {
	t.mu.Lock()
	old, tries := t.lease, t.tries
	t.mu.Unlock()
	if t.Now().Before(old.Expires) {
		return lost
	}
	l, err := takeLease(ctx, t.Store, t.Name, t.Holder, t.For, t.Now(), func(stored Lease) error {
		if stored.Holder != t.Holder || stored.Generation > old.Generation+tries {
			return lost
		}
		return nil
	})
	switch {
	case err == nil:
		t.set(l)
	case assay.CodeOf(err) != assay.CodeConflict:
		t.mu.Lock()
		t.tries++ // the store may have it as taken nevertheless
		t.mu.Unlock()
	}
	return err
}

// Check returns nil if the lease is in force, else assay.CodeConflict.
func (t *Tenure) Check(ctx context.Context) error {
	l := t.Held()
	return t.Store.View(ctx, func(r Reader) error { return HoldsLease(r, l, t.Now()) })
}

// Update runs fn in one transaction that fails with assay.CodeConflict unless the lease is
// in force, and with assay.CodeUnavailable while it is not held.
func (t *Tenure) Update(ctx context.Context, fn func(tx Tx) error) error {
	l := t.Held()
	if l.Name == "" {
		return &assay.Error{Code: assay.CodeUnavailable, Msg: t.Idle, Hint: "try again in a moment"}
	}
	return t.Store.Update(ctx, func(tx Tx) error {
		if err := HoldsLease(tx, l, t.Now()); err != nil {
			return err
		}
		return fn(tx)
	})
}
