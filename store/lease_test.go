package store_test

import (
	"context"
	"strings"
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

func TestATenureIsKeptAsLongAsNobodyElseHadTheLease(t *testing.T) {
	now := noon
	s := mem.New(mem.Config{})
	d := &store.Tenure{
		Store: s, Name: "sequencer", Holder: "a", For: time.Minute, Now: func() time.Time { return now },
		Idle: "another process works",
	}
	write := func() error { return d.Update(t.Context(), func(store.Tx) error { return nil }) }
	if err := write(); assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "another process works") {
		t.Errorf("a write before it is held: %v", err)
	}
	if err := d.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = noon.Add(50 * time.Second)
	if anew, err := d.Renew(t.Context()); anew || err != nil || !d.Held().Expires.Equal(noon.Add(110*time.Second)) {
		t.Errorf("renewed in time: anew %v, %v, %+v", anew, err, d.Held())
	}

	now = noon.Add(time.Hour) // the machine slept
	wantConflict(t, "writing with an expired lease", write())
	wantConflict(t, "checking it", d.Check(t.Context()))
	if anew, err := d.Renew(t.Context()); !anew || err != nil || d.Held().Generation != 2 {
		t.Errorf("renewed after it expired while nobody wanted it: anew %v, %v, %+v", anew, err, d.Held())
	}
	if err := write(); err != nil {
		t.Errorf("a write with the lease taken anew: %v", err)
	}

	held := d.Held()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Renew(ctx); err == nil || assay.CodeOf(err) == assay.CodeConflict || d.Held() != held {
		t.Errorf("a store that does not answer takes nothing: %v, %+v", err, d.Held())
	}

	now = noon.Add(2 * time.Hour)
	b := acquire(t, s, "b", now)
	_, err := d.Renew(t.Context())
	wantConflict(t, "renewing while another has it", err)
	if d.Held() != (store.Lease{}) {
		t.Errorf("it still holds %+v", d.Held())
	}

	// Another had it and gave it back: what this process knew may be old.
	if err := store.ReleaseLease(t.Context(), s, b, now); err != nil {
		t.Fatal(err)
	}
	if err := d.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	c := acquire(t, s, "c", now)
	if err := store.ReleaseLease(t.Context(), s, c, now); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	_, err = d.Renew(t.Context())
	wantConflict(t, "renewing after another had it meanwhile", err)
	if d.Held() != (store.Lease{}) {
		t.Errorf("it still holds %+v", d.Held())
	}
	acquire(t, s, "e", now) // it was given back at once
}

func TestAStoreThatCannotWriteTakesNoTenureAway(t *testing.T) {
	full := assay.Errorf(assay.CodeUnavailable, "the disk is full")
	for name, fails := range map[string]func(*mem.Hooks, func() error){
		"without effect": func(h *mem.Hooks, fail func() error) { h.BeforeCommit = fail },
		"with effect":    func(h *mem.Hooks, fail func() error) { h.AfterCommit = fail },
	} {
		t.Run(name, func(t *testing.T) {
			now, broken := noon, false
			var hooks mem.Hooks
			fails(&hooks, func() error {
				if broken {
					return full
				}
				return nil
			})
			s := mem.New(mem.Config{Hooks: hooks})
			d := &store.Tenure{Store: s, Name: "sequencer", Holder: "a", For: time.Minute, Now: func() time.Time { return now }}
			if err := d.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			held := d.Held()

			broken = true // for longer than the lease
			for range 8 {
				now = now.Add(20 * time.Second)
				if anew, err := d.Renew(t.Context()); anew || assay.CodeOf(err) != assay.CodeUnavailable {
					t.Fatalf("after %s: anew %v, %v; expected the store's own error", now.Sub(noon), anew, err)
				}
				if d.Held() != held {
					t.Fatalf("after %s it holds %+v", now.Sub(noon), d.Held())
				}
			}
			broken = false
			now = now.Add(2 * time.Minute)
			if anew, err := d.Renew(t.Context()); !anew || err != nil {
				t.Errorf("once the store writes again: anew %v, %v", anew, err)
			}
			if err := d.Check(t.Context()); err != nil {
				t.Errorf("what it took anew: %v", err)
			}

			// That it tried in vain does not hide that another had it meanwhile.
			now, broken = now.Add(2*time.Minute), true
			if _, err := d.Renew(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
				t.Fatal(err)
			}
			now, broken = now.Add(2*time.Minute), false
			b := acquire(t, s, "b", now)
			if err := store.ReleaseLease(t.Context(), s, b, now); err != nil {
				t.Fatal(err)
			}
			_, err := d.Renew(t.Context())
			wantConflict(t, "renewing after another had it", err)
			if d.Held() != (store.Lease{}) {
				t.Errorf("it still holds %+v", d.Held())
			}
		})
	}
}
