package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// SystemNamespace holds what the store's own machinery keeps, apart from every
// tenant. Tenants may not be called so: rims that accept a namespace from
// outside refuse names with a leading "_".
const SystemNamespace = "_assay"

// leaseBucket is where leases live in SystemNamespace.
const leaseBucket = "lease"

// Lease is the right to be the only one who does a job, until it expires. Its
// Generation grows with every acquisition and never falls back, also not after
// release or expiry, so that a late writer of an older generation can be told apart.
type Lease struct {
	Name       string    `json:"name"`
	Holder     string    `json:"holder"` // "" once released
	Generation int64     `json:"generation"`
	Expires    time.Time `json:"expires"` // the lease is lost at this instant
}

// AcquireLease takes the lease called name for holder, from now for ttl. While
// another holder has it the answer is assay.CodeConflict. The same holder may
// take it again, as after a restart: that gives a new generation and fences the
// earlier one off, so holder must be unique to a process.
func AcquireLease(ctx context.Context, s Store, name, holder string, ttl time.Duration, now time.Time) (Lease, error) {
	return takeLease(ctx, s, name, holder, ttl, now, func(old Lease) error {
		if old.Holder == "" || old.Holder == holder || !now.Before(old.Expires) {
			return nil
		}
		return &assay.Error{Code: assay.CodeConflict,
			Msg:  fmt.Sprintf("lease %q is held by %q until %s", name, old.Holder, old.Expires.Format(time.RFC3339)),
			Hint: "wait until it expires or stop the holder"}
	})
}

// takeLease takes the lease as AcquireLease does if may agrees to what is stored, zero
// if nobody ever had it.
func takeLease(ctx context.Context, s Store, name, holder string, ttl time.Duration, now time.Time, may func(old Lease) error) (Lease, error) {
	var got Lease
	err := s.Update(ctx, func(tx Tx) error {
		old, version, err := readLease(tx, name)
		if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
		if err := may(old); err != nil {
			return err
		}
		got = Lease{Name: name, Holder: holder, Generation: old.Generation + 1, Expires: now.Add(ttl).UTC()}
		return writeLease(tx, got, version)
	})
	if err != nil {
		return Lease{}, err
	}
	return got, nil
}

// RenewLease extends l to now plus ttl and keeps its generation. A lease that
// expired, was released or was taken by another is assay.CodeConflict: its
// holder must stop and acquire anew.
func RenewLease(ctx context.Context, s Store, l Lease, ttl time.Duration, now time.Time) (Lease, error) {
	var got Lease
	err := s.Update(ctx, func(tx Tx) error {
		version, err := checkLease(tx, l, now)
		if err != nil {
			return err
		}
		got = l
		got.Expires = now.Add(ttl).UTC()
		return writeLease(tx, got, version)
	})
	if err != nil {
		return Lease{}, err
	}
	return got, nil
}

// ReleaseLease gives l back before it expires. Releasing one that was lost is
// assay.CodeConflict and changes nothing.
func ReleaseLease(ctx context.Context, s Store, l Lease, now time.Time) error {
	return s.Update(ctx, func(tx Tx) error {
		version, err := checkLease(tx, l, now)
		if err != nil {
			return err
		}
		return writeLease(tx, Lease{Name: l.Name, Generation: l.Generation, Expires: now.UTC()}, version)
	})
}

// HoldsLease returns nil if l is still in force at now, else assay.CodeConflict.
// Called inside Update it fences the rest of that transaction.
func HoldsLease(r Reader, l Lease, now time.Time) error {
	_, err := checkLease(r, l, now)
	return err
}

func checkLease(r Reader, l Lease, now time.Time) (version int64, err error) {
	cur, version, err := readLease(r, l.Name)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return 0, err
	}
	lost := ""
	switch {
	case cur.Generation != l.Generation || cur.Holder != l.Holder || l.Holder == "":
		lost = fmt.Sprintf("generation %d of %q is in force", cur.Generation, cur.Holder)
	case !now.Before(cur.Expires):
		lost = "it expired at " + cur.Expires.Format(time.RFC3339)
	}
	if lost != "" {
		return 0, &assay.Error{Code: assay.CodeConflict,
			Msg:  fmt.Sprintf("lease %q generation %d of %q is lost: %s", l.Name, l.Generation, l.Holder, lost),
			Hint: "stop the work it covered and acquire it anew"}
	}
	return version, nil
}

func leaseKey(name string) Key {
	return Key{Namespace: SystemNamespace, Bucket: leaseBucket, Name: name}
}

func readLease(r Reader, name string) (Lease, int64, error) {
	v, err := r.Get(leaseKey(name))
	if err != nil {
		return Lease{}, 0, err
	}
	var l Lease
	if err := strict.JSON(v.Data, &l); err != nil {
		return Lease{}, 0, assay.Errorf(assay.CodeInternal, "stored lease %q: %w", name, err)
	}
	return l, v.Version, nil
}

func writeLease(tx Tx, l Lease, ifVersion int64) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = tx.Put(leaseKey(l.Name), data, ifVersion)
	return err
}
