// Package storetest makes store adapters equal: one suite that every adapter
// passes, and a property test that runs two adapters side by side.
//
// The suite knows nothing about an adapter but how to open an empty store, so a
// new one, on another database for example, is proved by calling Run.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Open returns a new, empty store. The suite closes it.
type Open func(t testing.TB) store.Store

// Reopen closes s and opens what it stored again.
type Reopen func(t testing.TB, s store.Store) store.Store

// Run runs the whole suite. The outbox part runs if the store implements
// store.Outbox, the durability part if reopen is not nil.
func Run(t *testing.T, open Open, reopen Reopen) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"StateAndFactCommitTogether", testAtomic},
		{"AnErrorUndoesOnlyItsOwnClosure", testErrorIsolated},
		{"APanicUndoesItsClosureAndIsAnError", testPanic},
		{"ATransactionReadsItsOwnWrites", testOwnWrites},
		{"AViewSeesOneSnapshot", testSnapshot},
		{"ATransactionIsUselessAfterItsFunctionReturned", testUseAfterReturn},
		{"VersionsGrowByOneAndGuardWrites", testVersions},
		{"ValuesAreCopies", testCopies},
		{"ListIsOrderedByNameWithPrefixAndCursor", testList},
		{"AppendCompletesAFact", testAppendCompletes},
		{"AppendIsIdempotentByIDAndContent", testAppendIdempotent},
		{"AppendRefusesBadFacts", testAppendRefuses},
		{"KeysAndQueriesAreChecked", testArguments},
		{"FactsSelectByEveryField", testFacts},
		{"FactsPageInCommitOrderBothWays", testFactsPaging},
		{"CausesLeadDownToEffects", testCauses},
		{"NamespacesNeverMix", testNamespaces},
		{"ACancelledContextKeepsTheClosureFromRunning", testCancelled},
		{"CloseCommitsWhatWasAcceptedAndRefusesTheRest", testClose},
		{"ConcurrentWritersAndReadersAgree", testConcurrent},
		{"LeasesExcludeAndFence", testLease},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t, open)) })
	}
	if _, ok := open(t).(store.Outbox); ok {
		t.Run("Outbox", func(t *testing.T) { runOutbox(t, open) })
	}
	if reopen != nil {
		t.Run("ReopeningKeepsEverything", func(t *testing.T) { testReopen(t, open(t), reopen) })
	}
}

// fresh opens a store and closes it when the test ends.
func fresh(t testing.TB, open Open) store.Store {
	s := open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

var errMine = errors.New("the closure's own error")

const ns = "team-a"

// fact returns a small valid fact without id and time.
func fact(kind string, n int) assay.Fact {
	return assay.Fact{
		Kind: kind, Version: 1, Namespace: ns, Actor: "tester", Retention: assay.RetainOperational,
		Payload: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func audit(n int) assay.Fact {
	f := fact("test.audit", n)
	f.Retention = assay.RetainAudit
	return f
}

func key(name string) store.Key { return store.Key{Namespace: ns, Bucket: "b", Name: name} }

func update(t testing.TB, s store.Store, fn func(tx store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t testing.TB, s store.Store, fn func(r store.Reader) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func appendFact(t testing.TB, s store.Store, f assay.Fact) assay.FactID {
	t.Helper()
	var id assay.FactID
	update(t, s, func(tx store.Tx) (err error) {
		id, err = tx.Append(f)
		return err
	})
	return id
}

func put(t testing.TB, s store.Store, k store.Key, data string) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		_, err := tx.Put(k, []byte(data), store.AnyVersion)
		return err
	})
}

// facts returns the facts that match q.
func facts(t testing.TB, s store.Store, q store.Query) []store.Row {
	t.Helper()
	var rows []store.Row
	view(t, s, func(r store.Reader) (err error) {
		rows, err = r.Facts(q)
		return err
	})
	return rows
}

// value returns the data at k, "absent" if there is none.
func value(t testing.TB, s store.Store, k store.Key) string {
	t.Helper()
	got := "absent"
	view(t, s, func(r store.Reader) error {
		v, err := r.Get(k)
		if assay.CodeOf(err) == assay.CodeNotFound {
			return nil
		}
		got = string(v.Data)
		return err
	})
	return got
}

func wantCode(t testing.TB, what string, err error, want assay.Code) {
	t.Helper()
	if assay.CodeOf(err) != want {
		t.Errorf("%s: error %v has code %q, want %q", what, err, assay.CodeOf(err), want)
	}
}

func wantPayloads(t testing.TB, what string, rows []store.Row, want ...int) {
	t.Helper()
	got := []int{}
	for _, r := range rows {
		got = append(got, number(t, r.Fact))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: facts %v, want %v", what, got, want)
	}
}

// number returns n of a fact that fact made.
func number(t testing.TB, f assay.Fact) int {
	t.Helper()
	var p struct{ N int }
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		t.Fatal(err)
	}
	return p.N
}

var day = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
