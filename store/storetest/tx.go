package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

func testAtomic(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		if _, err := tx.Append(fact("a.b", 1)); err != nil {
			return err
		}
		_, err := tx.Put(key("x"), []byte("1"), 0)
		return err
	})
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Append(fact("a.b", 2)); err != nil {
			return err
		}
		if _, err := tx.Put(key("x"), []byte("2"), 1); err != nil {
			return err
		}
		if err := tx.Delete(key("x"), 2); err != nil {
			return err
		}
		return errMine
	})
	if err != errMine {
		t.Errorf("error %v, want the closure's own, unchanged", err)
	}
	wantPayloads(t, "after an undone transaction", facts(t, s, store.Query{Namespace: ns}), 1)
	if got := value(t, s, key("x")); got != "1" {
		t.Errorf("state %q, want %q", got, "1")
	}
}

// testErrorIsolated lets many callers share groups; every third fails.
func testErrorIsolated(t *testing.T, s store.Store) {
	const callers = 60
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			errs[i] = s.Update(t.Context(), func(tx store.Tx) error {
				if _, err := tx.Append(audit(i)); err != nil {
					return err
				}
				if _, err := tx.Put(key(fmt.Sprint(i)), []byte("v"), 0); err != nil {
					return err
				}
				if i%3 == 0 {
					return errMine
				}
				return nil
			})
		})
	}
	wg.Wait()
	kept := map[int]bool{}
	for _, r := range facts(t, s, store.Query{Namespace: ns}) {
		kept[number(t, r.Fact)] = true
	}
	for i, err := range errs {
		failed := i%3 == 0
		if failed != errors.Is(err, errMine) || !failed && err != nil {
			t.Errorf("caller %d: error %v", i, err)
		}
		if kept[i] == failed || (value(t, s, key(fmt.Sprint(i))) == "v") == failed {
			t.Errorf("caller %d, failed %v: fact kept %v, state %q", i, failed, kept[i], value(t, s, key(fmt.Sprint(i))))
		}
	}
}

func testPanic(t *testing.T, s store.Store) {
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Append(fact("a.b", 1)); err != nil {
			return err
		}
		panic("boom")
	})
	wantCode(t, "panic", err, assay.CodeInternal)
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v does not say what panicked", err)
	}
	appendFact(t, s, fact("a.b", 2))
	wantPayloads(t, "after a panic", facts(t, s, store.Query{Namespace: ns}), 2)
}

func testOwnWrites(t *testing.T, s store.Store) {
	put(t, s, key("old"), "o")
	put(t, s, key("gone"), "g")
	first := appendFact(t, s, fact("a.b", 1))
	update(t, s, func(tx store.Tx) error {
		f := fact("a.b", 2)
		f.Causes = []assay.FactID{first}
		id, err := tx.Append(f)
		if err != nil {
			return err
		}
		row, err := tx.Fact(ns, id)
		if err != nil || number(t, row.Fact) != 2 {
			t.Errorf("own fact: %v, %v", row, err)
		}
		rows, err := tx.Facts(store.Query{Namespace: ns, Cause: first})
		if err != nil {
			return err
		}
		wantPayloads(t, "effects in the transaction", rows, 2)
		if _, err := tx.Put(key("new"), []byte("n"), 0); err != nil {
			return err
		}
		if err := tx.Delete(key("gone"), store.AnyVersion); err != nil {
			return err
		}
		if _, err := tx.Get(key("gone")); assay.CodeOf(err) != assay.CodeNotFound {
			t.Errorf("deleted key: %v", err)
		}
		list, err := tx.List(key(""), "", 0)
		if err != nil || names(list) != "new old" {
			t.Errorf("list %q, %v; want new old", names(list), err)
		}
		_, err = tx.Put(key("gone"), []byte("again"), 0)
		return err
	})
	if got := value(t, s, key("gone")); got != "again" {
		t.Errorf("deleted and put again in one transaction: %q", got)
	}
}

func testSnapshot(t *testing.T, s store.Store) {
	put(t, s, key("x"), "1")
	appendFact(t, s, fact("a.b", 1))
	view(t, s, func(r store.Reader) error {
		for i := range 3 {
			put(t, s, key("x"), fmt.Sprint(i+2)) // a view never keeps a writer waiting
			appendFact(t, s, fact("a.b", i+2))
			v, err := r.Get(key("x"))
			if err != nil || string(v.Data) != "1" {
				t.Errorf("value %q, %v; want the snapshot's 1", v.Data, err)
			}
			rows, err := r.Facts(store.Query{Namespace: ns})
			if err != nil {
				return err
			}
			wantPayloads(t, "snapshot", rows, 1)
		}
		return nil
	})
	if got := value(t, s, key("x")); got != "4" {
		t.Errorf("after the view: %q, want 4", got)
	}
	if err := s.View(t.Context(), func(store.Reader) error { return errMine }); err != errMine {
		t.Errorf("View returned %v, want its function's error", err)
	}
}

func testUseAfterReturn(t *testing.T, s store.Store) {
	var kept store.Tx
	update(t, s, func(tx store.Tx) error { kept = tx; return nil })
	_, err := kept.Append(fact("a.b", 1))
	wantCode(t, "Append", err, assay.CodeInternal)
	_, err = kept.Put(key("x"), nil, 0)
	wantCode(t, "Put", err, assay.CodeInternal)
	var reader store.Reader
	view(t, s, func(r store.Reader) error { reader = r; return nil })
	_, err = reader.Facts(store.Query{Namespace: ns})
	wantCode(t, "Facts", err, assay.CodeInternal)
	wantPayloads(t, "afterwards", facts(t, s, store.Query{Namespace: ns}))
}

func testVersions(t *testing.T, s store.Store) {
	step := func(what string, want int64, code assay.Code, do func(tx store.Tx) (int64, error)) {
		t.Helper()
		var got int64
		err := s.Update(t.Context(), func(tx store.Tx) (err error) {
			got, err = do(tx)
			return err
		})
		wantCode(t, what, err, code)
		if got != want {
			t.Errorf("%s: version %d, want %d", what, got, want)
		}
	}
	putAt := func(if_ int64) func(store.Tx) (int64, error) {
		return func(tx store.Tx) (int64, error) { return tx.Put(key("k"), []byte("v"), if_) }
	}
	deleteAt := func(if_ int64) func(store.Tx) (int64, error) {
		return func(tx store.Tx) (int64, error) { return 0, tx.Delete(key("k"), if_) }
	}
	step("put an absent key at version 1", 0, assay.CodeConflict, putAt(1))
	step("delete an absent key at version 1", 0, assay.CodeNotFound, deleteAt(1))
	step("delete an absent key at any version", 0, "", deleteAt(store.AnyVersion))
	step("create", 1, "", putAt(0))
	step("create again", 0, assay.CodeConflict, putAt(0))
	step("replace", 2, "", putAt(1))
	step("replace at a stale version", 0, assay.CodeConflict, putAt(1))
	step("replace at any version", 3, "", putAt(store.AnyVersion))
	step("put at a senseless version", 0, assay.CodeInvalid, putAt(-2))
	step("delete at a stale version", 0, assay.CodeConflict, deleteAt(2))
	step("delete as if absent", 0, assay.CodeConflict, deleteAt(0))
	step("delete", 0, "", deleteAt(3))
	step("create after delete", 1, "", putAt(0))
}

func testCopies(t *testing.T, s store.Store) {
	data := []byte("data")
	f := fact("a.b", 1)
	var id assay.FactID
	update(t, s, func(tx store.Tx) (err error) {
		if _, err = tx.Put(key("x"), data, 0); err != nil {
			return err
		}
		id, err = tx.Append(f)
		return err
	})
	copy(data, "XXXX")
	copy(f.Payload, "XXXX")
	view(t, s, func(r store.Reader) error {
		v, err := r.Get(key("x"))
		if err != nil {
			return err
		}
		copy(v.Data, "YYYY")
		row, err := r.Fact(ns, id)
		copy(row.Fact.Payload, "YYYY")
		return err
	})
	if got := value(t, s, key("x")); got != "data" {
		t.Errorf("value %q, want data", got)
	}
	wantPayloads(t, "copy", facts(t, s, store.Query{Namespace: ns}), 1)
	put(t, s, key("empty"), "")
	if got := value(t, s, key("empty")); got != "" {
		t.Errorf("empty value reads %q", got)
	}
	big := bytes.Repeat([]byte("x"), store.MaxPayload)
	put(t, s, key("big"), string(big))
	if got := value(t, s, key("big")); got != string(big) {
		t.Errorf("a value of MaxPayload came back with %d bytes", len(got))
	}
	err := s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Put(key("bigger"), append(big, 'x'), 0)
		return err
	})
	wantCode(t, "value above MaxPayload", err, assay.CodeTooLarge)
}

func names(list []store.Value) string {
	var out []string
	for _, v := range list {
		out = append(out, v.Key.Name)
	}
	return strings.Join(out, " ")
}

func testList(t *testing.T, s store.Store) {
	for _, n := range []string{"b/2", "a", "b/10", "c", "b/1", "b", "ä", "b0", "Z"} {
		put(t, s, key(n), "data of "+n)
	}
	put(t, s, store.Key{Namespace: ns, Bucket: "other", Name: "b/9"}, "x")
	update(t, s, func(tx store.Tx) error { return tx.Delete(key("c"), 1) })
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 0, "Z a b b/1 b/10 b/2 b0 ä"},
		{"b/", "", 0, "b/1 b/10 b/2"},
		{"b/", "b/1", 0, "b/10 b/2"},
		{"b/", "b/10", 1, "b/2"},
		{"b/", "a", 2, "b/1 b/10"},
		{"b/", "b/2", 0, ""},
		{"", "b0", 5, "ä"},
		{"none", "", 5, ""},
	} {
		var got []store.Value
		view(t, s, func(r store.Reader) (err error) {
			got, err = r.List(key(c.prefix), c.after, c.limit)
			return err
		})
		if names(got) != c.want {
			t.Errorf("List(%q, after %q, %d) = %q, want %q", c.prefix, c.after, c.limit, names(got), c.want)
		}
		for _, v := range got {
			if v.Key != key(v.Key.Name) || string(v.Data) != "data of "+v.Key.Name || v.Version != 1 {
				t.Errorf("List gave %+v", v)
			}
		}
	}
}

func testCancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	err := s.Update(ctx, func(store.Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Update: error %v, ran %v", err, ran)
	}
	err = s.View(ctx, func(store.Reader) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("View: error %v, ran %v", err, ran)
	}

	// A caller who gives up while another closure runs must not run later.
	ctx, cancel = context.WithCancel(t.Context())
	inside, gaveUp := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			close(inside)
			<-gaveUp
			return nil
		})
		if err != nil {
			t.Errorf("the neighbour: %v", err)
		}
	})
	<-inside
	wg.Go(func() {
		err := s.Update(ctx, func(store.Tx) error { ran = true; return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("waiting Update: %v", err)
		}
		close(gaveUp)
	})
	cancel()
	wg.Wait()
	appendFact(t, s, fact("a.b", 1)) // whatever was queued has run by now
	if ran {
		t.Error("the closure of a caller who gave up ran")
	}

	// One that ends inside its closure is answered by the commit.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err = s.Update(ctx, func(tx store.Tx) error {
		cancel()
		_, err := tx.Put(key("late"), []byte("v"), 0)
		return err
	})
	if err != nil || value(t, s, key("late")) != "v" {
		t.Errorf("cancelled while running: %v, state %q", err, value(t, s, key("late")))
	}
}

func testClose(t *testing.T, s store.Store) {
	const callers = 20
	answers := make([]error, callers)
	var wg sync.WaitGroup
	started := make(chan struct{}, callers)
	for i := range callers {
		wg.Go(func() {
			started <- struct{}{}
			answers[i] = s.Update(context.Background(), func(tx store.Tx) error {
				_, err := tx.Append(fact("a.b", i))
				return err
			})
		})
	}
	<-started
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for i, err := range answers {
		if err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("caller %d: %v", i, err)
		}
	}
	wantCode(t, "Update", s.Update(t.Context(), func(store.Tx) error { return nil }), assay.CodeUnavailable)
	wantCode(t, "View", s.View(t.Context(), func(store.Reader) error { return nil }), assay.CodeUnavailable)
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// testConcurrent moves units between two values; every reader must see the same sum.
func testConcurrent(t *testing.T, s store.Store) {
	const writers, moves = 8, 25
	update(t, s, func(tx store.Tx) error {
		if _, err := tx.Put(key("from"), make([]byte, writers*moves), 0); err != nil {
			return err
		}
		_, err := tx.Put(key("to"), nil, 0)
		return err
	})
	stop := make(chan struct{})
	var readers, wg sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					checkSum(t, s, writers*moves)
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for m := range moves {
				move(t, s, w*moves+m)
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	if n := len(value(t, s, key("to"))); n != writers*moves {
		t.Errorf("%d moves arrived, want %d", n, writers*moves)
	}
	if rows := facts(t, s, store.Query{Namespace: ns}); len(rows) != writers*moves {
		t.Errorf("%d facts, want %d", len(rows), writers*moves)
	}
}

func move(t *testing.T, s store.Store, n int) {
	err := s.Update(t.Context(), func(tx store.Tx) error {
		from, err := tx.Get(key("from"))
		if err != nil {
			return err
		}
		to, err := tx.Get(key("to"))
		if err != nil {
			return err
		}
		if _, err := tx.Put(key("from"), from.Data[1:], from.Version); err != nil {
			return err
		}
		if _, err := tx.Put(key("to"), append(to.Data, 'x'), to.Version); err != nil {
			return err
		}
		_, err = tx.Append(fact("move.unit", n))
		return err
	})
	if err != nil {
		t.Errorf("move %d: %v", n, err)
	}
}

func checkSum(t *testing.T, s store.Store, want int) {
	err := s.View(t.Context(), func(r store.Reader) error {
		from, err := r.Get(key("from"))
		if err != nil {
			return err
		}
		to, err := r.Get(key("to"))
		if err != nil {
			return err
		}
		rows, err := r.Facts(store.Query{Namespace: ns})
		if sum := len(from.Data) + len(to.Data); sum != want || len(rows) != len(to.Data) {
			t.Errorf("a view saw %d units and %d facts for %d moves", sum, len(rows), len(to.Data))
		}
		return err
	})
	if err != nil {
		t.Errorf("view: %v", err)
	}
}

func testLease(t *testing.T, s store.Store) {
	l, err := store.AcquireLease(t.Context(), s, "job", "one", time.Minute, day)
	if err != nil || l.Generation != 1 {
		t.Fatalf("acquire: %+v, %v", l, err)
	}
	_, err = store.AcquireLease(t.Context(), s, "job", "two", time.Minute, day.Add(59*time.Second))
	wantCode(t, "a held lease", err, assay.CodeConflict)
	two, err := store.AcquireLease(t.Context(), s, "job", "two", time.Minute, day.Add(time.Minute))
	if err != nil || two.Generation != 2 {
		t.Fatalf("an expired lease: %+v, %v", two, err)
	}
	_, err = store.RenewLease(t.Context(), s, l, time.Minute, day.Add(time.Minute))
	wantCode(t, "renewing a lost lease", err, assay.CodeConflict)
}
