package store_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func acquire(t *testing.T, s store.Store, holder string, at time.Time) store.Lease {
	t.Helper()
	l, err := store.AcquireLease(t.Context(), s, "sequencer", holder, time.Minute, at)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantConflict(t *testing.T, what string, err error) {
	t.Helper()
	if assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("%s: %v, want %s", what, err, assay.CodeConflict)
	}
}

func TestALeaseHasOneHolderUntilItExpires(t *testing.T) {
	s := mem.New(mem.Config{})
	l := acquire(t, s, "a", noon)
	_, err := store.AcquireLease(t.Context(), s, "sequencer", "b", time.Minute, noon.Add(time.Minute-1))
	wantConflict(t, "while it is held", err)
	if _, err := store.AcquireLease(t.Context(), s, "another", "b", time.Minute, noon); err != nil {
		t.Errorf("a lease of another name: %v", err)
	}
	l, err = store.RenewLease(t.Context(), s, l, time.Minute, noon.Add(30*time.Second))
	if err != nil || !l.Expires.Equal(noon.Add(90*time.Second)) || l.Generation != 1 {
		t.Fatalf("renewed: %+v, %v", l, err)
	}
	_, err = store.AcquireLease(t.Context(), s, "sequencer", "b", time.Minute, noon.Add(80*time.Second))
	wantConflict(t, "after it was renewed", err)
	if b := acquire(t, s, "b", noon.Add(90*time.Second)); b.Generation != 2 {
		t.Errorf("generation %d, want 2", b.Generation)
	}
	_, err = store.RenewLease(t.Context(), s, l, time.Minute, noon.Add(91*time.Second))
	wantConflict(t, "renewing a lease that another took", err)
	wantConflict(t, "releasing it", store.ReleaseLease(t.Context(), s, l, noon.Add(91*time.Second)))
}

func TestAnExpiredLeaseIsNotRenewedEvenIfNobodyTookIt(t *testing.T) {
	s := mem.New(mem.Config{})
	l := acquire(t, s, "a", noon)
	_, err := store.RenewLease(t.Context(), s, l, time.Minute, noon.Add(time.Minute))
	wantConflict(t, "renewing", err)
}

func TestTheGenerationOnlyGrows(t *testing.T) {
	s := mem.New(mem.Config{})
	var last int64
	for i, step := range []func(l store.Lease){
		func(l store.Lease) { // released
			if err := store.ReleaseLease(t.Context(), s, l, noon); err != nil {
				t.Fatal(err)
			}
			wantConflict(t, "releasing twice", store.ReleaseLease(t.Context(), s, l, noon))
		},
		func(store.Lease) {}, // the same holder again, as after a restart
		func(l store.Lease) { // renewed, then released
			l, err := store.RenewLease(t.Context(), s, l, time.Hour, noon)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.ReleaseLease(t.Context(), s, l, noon); err != nil {
				t.Fatal(err)
			}
		},
		func(store.Lease) {},
	} {
		l := acquire(t, s, "a", noon)
		if l.Generation <= last {
			t.Errorf("acquisition %d has generation %d after %d", i, l.Generation, last)
		}
		last = l.Generation
		step(l)
	}
}

func TestARestartedHolderFencesItsEarlierSelf(t *testing.T) {
	s := mem.New(mem.Config{})
	before := acquire(t, s, "a", noon)
	after := acquire(t, s, "a", noon)
	write := func(l store.Lease) error {
		return s.Update(t.Context(), func(tx store.Tx) error {
			if err := store.HoldsLease(tx, l, noon); err != nil {
				return err
			}
			_, err := tx.Put(store.Key{Namespace: "n", Bucket: "b", Name: "k"}, []byte("v"), store.AnyVersion)
			return err
		})
	}
	wantConflict(t, "a write of the earlier generation", write(before))
	if err := write(after); err != nil {
		t.Errorf("a write of the holder: %v", err)
	}
}
