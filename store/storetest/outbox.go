package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

func runOutbox(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s store.Store, o store.Outbox)
	}{
		{"NumbersAuditFactsInCommitOrderFromZero", testNumbers},
		{"NumbersAreGapFreeUnderConcurrency", testNumbersConcurrent},
		{"PlaceIsIdempotentAndRefusesAnotherIndex", testPlace},
		{"PlaceIsAllOrNothing", testPlaceAtomic},
		{"EntryFollowsAFactIntoTheLedger", testEntry},
		{"ArgumentsAreChecked", testOutboxArguments},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t, open)
			c.test(t, s, s.(store.Outbox))
		})
	}
}

func testNumbers(t *testing.T, s store.Store, o store.Outbox) {
	wantEntries(t, "empty", sequence(t, o, 10), 0)
	for i := range 7 {
		appendFact(t, s, audit(i))
		appendFact(t, s, fact("a.operational", 100+i))
	}
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Append(audit(99)); err != nil {
			return err
		}
		return errMine
	})
	if err != errMine {
		t.Fatal(err)
	}
	wantEntries(t, "limited", sequence(t, o, 3), 0, 0, 1, 2)
	wantEntries(t, "all", sequence(t, o, 0), 0, 0, 1, 2, 3, 4, 5, 6)
	appendFact(t, s, audit(7))
	entries, err := o.Entries(t.Context(), 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "numbered only", entries, 5, 5, 6)
	wantEntries(t, "one more", sequence(t, o, 10), 0, 0, 1, 2, 3, 4, 5, 6, 7)
	testSequenceFrom(t, s, o)
}

// testSequenceFrom reads on behind entries that are on their way.
func testSequenceFrom(t *testing.T, s store.Store, o store.Outbox) {
	t.Helper()
	appendFact(t, s, audit(8))
	from := func(n uint64, limit int) []store.Entry {
		t.Helper()
		entries, err := o.Sequence(t.Context(), n, limit)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	wantEntries(t, "from the middle, with a new number", from(6, 10), 6, 6, 7, 8)
	wantEntries(t, "from the middle, limited", from(3, 2), 3, 3, 4)
	wantEntries(t, "from behind the end", from(9, 10), 9)
	wantEntries(t, "from behind every number", from(1<<64-1, 10), 0)
	if err := o.Place(t.Context(), []store.Placement{{Seq: 6, Index: 6}}); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, "without what has its place", from(6, 10), 7, 7, 8)
}

// testNumbersConcurrent runs sequencing against writers, and holds the numbers
// against the commit order of the facts.
func testNumbersConcurrent(t *testing.T, s store.Store, o store.Outbox) {
	const writers, each = 8, 20
	var wg, seq sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		seq.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := o.Sequence(t.Context(), 0, 7); err != nil {
					t.Errorf("Sequence: %v", err)
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				err := s.Update(t.Context(), func(tx store.Tx) error {
					if _, err := tx.Append(audit(w*each + i)); err != nil {
						return err
					}
					if i%5 == 0 {
						return errMine
					}
					return nil
				})
				if err != nil && err != errMine {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	seq.Wait()
	entries := sequence(t, o, 1000)
	rows := facts(t, s, store.Query{Namespace: ns})
	if len(entries) != len(rows) || len(rows) != writers*each*4/5 {
		t.Fatalf("%d entries, %d facts, want %d of both", len(entries), len(rows), writers*each*4/5)
	}
	for i, e := range entries {
		if e.Seq != uint64(i) || e.Fact.ID != rows[i].Fact.ID {
			t.Fatalf("entry %d has number %d and fact %s; the fact committed there is %s", i, e.Seq, e.Fact.ID, rows[i].Fact.ID)
		}
	}
}

func testPlace(t *testing.T, s store.Store, o store.Outbox) {
	for i := range 4 {
		appendFact(t, s, audit(i))
	}
	wantCode(t, "an entry without a number", o.Place(t.Context(), []store.Placement{{Seq: 0, Index: 0}}), assay.CodeNotFound)
	sequence(t, o, 10)
	for range 2 {
		if err := o.Place(t.Context(), []store.Placement{{Seq: 2, Index: 12}, {Seq: 0, Index: 10}}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "another index", o.Place(t.Context(), []store.Placement{{Seq: 2, Index: 13}}), assay.CodeConflict)
	left := sequence(t, o, 10)
	if len(left) != 2 || left[0].Seq != 1 || left[1].Seq != 3 {
		t.Errorf("unplaced %v, want 1 and 3", left)
	}
	entries, err := o.Entries(t.Context(), 0, 3)
	if err != nil || len(entries) != 3 || !entries[0].Placed || entries[0].Index != 10 || entries[1].Placed || entries[2].Index != 12 {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

func testPlaceAtomic(t *testing.T, s store.Store, o store.Outbox) {
	for i := range 3 {
		appendFact(t, s, audit(i))
	}
	sequence(t, o, 10)
	wantCode(t, "an unknown number", o.Place(t.Context(), []store.Placement{{Seq: 0, Index: 0}, {Seq: 9, Index: 9}}), assay.CodeNotFound)
	wantCode(t, "a contradiction", o.Place(t.Context(), []store.Placement{{Seq: 1, Index: 1}, {Seq: 1, Index: 2}}), assay.CodeConflict)
	wantEntries(t, "nothing placed", sequence(t, o, 10), 0, 0, 1, 2)
}

func testEntry(t *testing.T, s store.Store, o store.Outbox) {
	id := appendFact(t, s, audit(5))
	plain := appendFact(t, s, fact("a.b", 6))
	want := func(numbered, placed bool, index uint64) {
		t.Helper()
		e, err := o.Entry(t.Context(), ns, id)
		if err != nil || e.Numbered != numbered || e.Placed != placed || e.Index != index || e.Fact.ID != id || number(t, e.Fact) != 5 {
			t.Errorf("entry %+v, %v; want numbered %v, placed %v, index %d", e, err, numbered, placed, index)
		}
	}
	want(false, false, 0)
	sequence(t, o, 10)
	want(true, false, 0)
	if err := o.Place(t.Context(), []store.Placement{{Seq: 0, Index: 41}}); err != nil {
		t.Fatal(err)
	}
	want(true, true, 41)
	_, err := o.Entry(t.Context(), ns, plain)
	wantCode(t, "an operational fact", err, assay.CodeNotFound)
	_, err = o.Entry(t.Context(), "team-b", id)
	wantCode(t, "another namespace", err, assay.CodeNotFound)
	_, err = o.Entry(t.Context(), ns, "x")
	wantCode(t, "a bad id", err, assay.CodeInvalid)
}

func testOutboxArguments(t *testing.T, s store.Store, o store.Outbox) {
	_, err := o.Sequence(t.Context(), 0, store.MaxLimit+1)
	wantCode(t, "Sequence", err, assay.CodeTooLarge)
	_, err = o.Entries(t.Context(), 0, -1)
	wantCode(t, "Entries", err, assay.CodeInvalid)
	wantCode(t, "Place", o.Place(t.Context(), make([]store.Placement, store.MaxLimit+1)), assay.CodeTooLarge)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = o.Sequence(context.Background(), 0, 1)
	wantCode(t, "Sequence after Close", err, assay.CodeUnavailable)
	_, err = o.Entries(context.Background(), 0, 1)
	wantCode(t, "Entries after Close", err, assay.CodeUnavailable)
}

func sequence(t testing.TB, o store.Outbox, limit int) []store.Entry {
	t.Helper()
	entries, err := o.Sequence(context.Background(), 0, limit)
	if err != nil {
		t.Fatalf("Sequence: %v", err)
	}
	return entries
}

// wantEntries wants the facts of audit(n...), numbered from first on.
func wantEntries(t testing.TB, what string, entries []store.Entry, first uint64, want ...int) {
	t.Helper()
	got := []int{}
	for i, e := range entries {
		if e.Seq != first+uint64(i) || !e.Numbered {
			t.Errorf("%s: entry %d has number %d, numbered %v", what, i, e.Seq, e.Numbered)
		}
		got = append(got, number(t, e.Fact))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: entries %v, want %v", what, got, want)
	}
}

// testReopen writes some of everything, with reopenings in between.
func testReopen(t *testing.T, s store.Store, reopen Reopen) {
	var cause assay.FactID
	for i := range 6 {
		f := audit(i)
		if cause != "" {
			f.Causes = []assay.FactID{cause}
		}
		cause = appendFact(t, s, f)
		put(t, s, key("k"), fmt.Sprint(i))
		o, ok := s.(store.Outbox)
		if ok && i%2 == 1 {
			for _, e := range sequence(t, o, 10) {
				if err := o.Place(t.Context(), []store.Placement{{Seq: e.Seq, Index: e.Seq + 100}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		s = reopen(t, s)
		if rows := facts(t, s, store.Query{Namespace: ns}); len(rows) != i+1 || rows[i].Fact.ID != cause {
			t.Fatalf("after reopening %d facts, want %d with %s last", len(rows), i+1, cause)
		}
		if got := value(t, s, key("k")); got != fmt.Sprint(i) {
			t.Fatalf("after reopening state %q, want %d", got, i)
		}
	}
	if o, ok := s.(store.Outbox); ok {
		entries, err := o.Entries(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantEntries(t, "after reopening", entries, 0, 0, 1, 2, 3, 4, 5)
		for _, e := range entries {
			if !e.Placed || e.Index != e.Seq+100 {
				t.Errorf("entry %d: placed %v at %d", e.Seq, e.Placed, e.Index)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
