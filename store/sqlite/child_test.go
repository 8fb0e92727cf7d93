package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// The crash tests run this test binary again as a child that writes facts. The
// child is told by its environment; it opens the store "store.db" in childDir
// and prints each acknowledged fact's id as one line, in one write, after
// Update has returned.
const (
	childDir   = "ASSAY_STORE_CHILD"       // the folder; set means "be the child"
	childFacts = "ASSAY_STORE_CHILD_FACTS" // facts per worker; 0 means until killed
)

const childWorkers = 4

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashConfig moves the log into the file often, so that small runs do, too.
func crashConfig(dir string) Config {
	return Config{Path: filepath.Join(dir, "store.db"), CheckpointPages: 20}
}

func child(dir string) error {
	// Faults are injected by the number of a thread's call: keep what opens the
	// store, and below the writer, on one thread each.
	runtime.LockOSThread()
	count, err := strconv.Atoi(os.Getenv(childFacts))
	if err != nil {
		return err
	}
	s, err := Open(context.Background(), crashConfig(dir))
	if err != nil {
		return err
	}
	err = s.Update(context.Background(), func(store.Tx) error {
		runtime.LockOSThread() // this is the writer's goroutine
		return nil
	})
	if err != nil {
		return err
	}
	errs := make([]error, childWorkers)
	var wg sync.WaitGroup
	for w := range childWorkers {
		wg.Go(func() {
			for n := 0; errs[w] == nil && (count == 0 || n < count); n++ {
				errs[w] = childWork(s, w, n)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return s.Close()
}

// childWork appends one fact and counts it in the worker's state, in one
// transaction; now and then it also moves the outbox. A commit that failed is
// retried with the same fact.
func childWork(s *Store, worker, n int) error {
	f := assay.Fact{
		ID: store.NewFactID(), Kind: "test.crash", Version: 1, Namespace: "crash", Actor: fmt.Sprint("worker-", worker),
		Retention: assay.RetainAudit, Payload: json.RawMessage(fmt.Sprintf(`{"pad":"%s"}`, strings.Repeat("x", 200*(n%3)))),
	}
	if n%4 == 3 {
		f.Retention = assay.RetainOperational
	}
	err := retry(func() error {
		return s.Update(context.Background(), func(tx store.Tx) error { return appendAndCount(tx, f) })
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, f.ID); err != nil {
		return err
	}
	if n%5 != 4 {
		return nil
	}
	return retry(func() error {
		entries, err := s.Sequence(context.Background(), 0, 3)
		for _, e := range entries {
			if err == nil {
				err = s.Place(context.Background(), []store.Placement{{Seq: e.Seq, Index: e.Seq}})
			}
		}
		return err
	})
}

// appendAndCount is idempotent: a fact that is there was counted.
func appendAndCount(tx store.Tx, f assay.Fact) error {
	if _, err := tx.Fact(f.Namespace, f.ID); err == nil {
		return nil
	}
	if _, err := tx.Append(f); err != nil {
		return err
	}
	k := store.Key{Namespace: f.Namespace, Bucket: "count", Name: f.Actor}
	v, err := tx.Get(k)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return err
	}
	n, err := strconv.Atoi("0" + string(v.Data))
	if err != nil {
		return err
	}
	_, err = tx.Put(k, []byte(strconv.Itoa(n+1)), v.Version)
	return err
}

func retry(do func() error) error {
	var err error
	for range 20 {
		if err = do(); assay.CodeOf(err) != assay.CodeUnavailable {
			return err
		}
		fmt.Fprintln(os.Stderr, "retry after:", err)
	}
	return err
}

// inspect opens what a crash left in dir and returns what is wrong with it,
// given what was acknowledged before; "" if nothing is.
func inspect(t *testing.T, dir string, acked map[assay.FactID]bool) string {
	t.Helper()
	s, err := Open(t.Context(), crashConfig(dir))
	if err != nil {
		return fmt.Sprintf("cannot be opened: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	var problem string
	if err := s.pool.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&problem); err != nil || problem != "ok" {
		return fmt.Sprintf("integrity check: %s, %v", problem, err)
	}
	rows, counts, err := everything(t, s)
	if err != nil {
		return err.Error()
	}
	seen := map[assay.FactID]bool{}
	var audit []assay.FactID
	for _, r := range rows {
		if seen[r.Fact.ID] {
			return fmt.Sprintf("fact %s is there twice", r.Fact.ID)
		}
		seen[r.Fact.ID] = true
		counts[r.Fact.Actor]--
		if r.Fact.Retention == assay.RetainAudit {
			audit = append(audit, r.Fact.ID)
		}
	}
	for id := range acked {
		if !seen[id] {
			return fmt.Sprintf("acknowledged fact %s is missing; %d of %d facts are there", id, len(rows), len(acked))
		}
	}
	for actor, n := range counts {
		if n != 0 {
			return fmt.Sprintf("state and facts disagree by %d for %s", n, actor)
		}
	}
	return inspectOutbox(t, s, audit)
}

// everything returns all facts and what the state says about their number.
func everything(t *testing.T, s *Store) (rows []store.Row, counts map[string]int, err error) {
	counts = map[string]int{}
	err = s.View(t.Context(), func(r store.Reader) error {
		for after := int64(0); ; after = rows[len(rows)-1].Commit {
			page, err := r.Facts(store.Query{Namespace: "crash", After: after, Limit: store.MaxLimit})
			if err != nil {
				return err
			}
			if rows = append(rows, page...); len(page) < store.MaxLimit {
				break
			}
		}
		list, err := r.List(store.Key{Namespace: "crash", Bucket: "count"}, "", 0)
		for _, v := range list {
			if err == nil {
				counts[v.Key.Name], err = strconv.Atoi(string(v.Data))
			}
		}
		return err
	})
	return rows, counts, err
}

// inspectOutbox wants exactly the audit facts, in commit order, without gaps.
func inspectOutbox(t *testing.T, s *Store, audit []assay.FactID) string {
	t.Helper()
	for {
		entries, err := s.Sequence(t.Context(), 0, store.MaxLimit)
		if err != nil {
			return err.Error()
		}
		placed := make([]store.Placement, len(entries))
		for i, e := range entries {
			placed[i] = store.Placement{Seq: e.Seq, Index: e.Seq}
		}
		if err := s.Place(t.Context(), placed); err != nil {
			return err.Error()
		}
		if len(entries) < store.MaxLimit {
			break
		}
	}
	var got []store.Entry
	for {
		page, err := s.Entries(t.Context(), uint64(len(got)), store.MaxLimit)
		if err != nil {
			return err.Error()
		}
		if got = append(got, page...); len(page) < store.MaxLimit {
			break
		}
	}
	if len(got) != len(audit) {
		return fmt.Sprintf("%d outbox entries for %d audit facts", len(got), len(audit))
	}
	for i, e := range got {
		if e.Seq != uint64(i) || e.Fact.ID != audit[i] || !e.Placed || e.Index != e.Seq {
			return fmt.Sprintf("outbox entry %d is %+v; the audit fact committed there is %s", i, e, audit[i])
		}
	}
	return ""
}
