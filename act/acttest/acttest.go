// Package acttest holds what every act.Actuator must do, as one suite that runs
// on each adapter.
package acttest

import (
	"fmt"
	"sync"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/act"
)

// Service is the service of a World. It has the versions V1, which begins with
// all the traffic, and V2.
const (
	Service = "shop"
	V1      = "v1"
	V2      = "v2"
)

// World is an adapter before a fresh world. Reopen, if set, ends the adapter and
// its world as a crash would and returns them started again.
type World struct {
	Actuator act.Actuator
	Reopen   func(t *testing.T) act.Actuator
}

// Run runs the suite. fresh makes a new World for each test.
func Run(t *testing.T, fresh func(t *testing.T) World) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, World){
		"applies and reads back":             applies,
		"same key returns the first receipt": sameKey,
		"key is for one action":              keyReuse,
		"key outlives its owner":             keyOfOldOwner,
		"older generation is refused":        olderGeneration,
		"stale belief is refused":            staleBelief,
		"already as desired is no change":    alreadySo,
		"exactly one of many appliers wins":  oneWins,
		"newest generation has the last say": newestWins,
		"concurrent repeats act once":        repeatsAtOnce,
		"refuses what is not an action":      refuses,
		"unknown names are not found":        unknown,
		"remembers across a restart":         restart,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// step is an action that takes V2 from one share to another.
func step(from, to int, fence uint64, key string) assay.Action {
	kind := assay.ActionAdvance
	switch to {
	case 0:
		kind = assay.ActionAbort
	case 100:
		kind = assay.ActionFinish
	}
	return assay.Action{Kind: kind, Service: Service, Version: V2, From: from, Weight: to, Fence: fence, Key: key}
}

func apply(t *testing.T, a act.Actuator, s assay.Action) act.Receipt {
	t.Helper()
	r, err := a.Apply(t.Context(), s)
	if err != nil {
		t.Fatalf("Apply %d → %d (key %s, fence %d): %v", s.From, s.Weight, s.Key, s.Fence, err)
	}
	return r
}

func refused(t *testing.T, a act.Actuator, s assay.Action, want assay.Code) {
	t.Helper()
	before := shares(t, a)
	if _, err := a.Apply(t.Context(), s); assay.CodeOf(err) != want {
		t.Errorf("Apply %+v = %v (%s); want %s", s, err, assay.CodeOf(err), want)
	}
	if after := shares(t, a); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the refused action changed %v to %v", before, after)
	}
}

func shares(t *testing.T, a act.Actuator) map[string]int {
	t.Helper()
	o, err := a.Observe(t.Context(), Service)
	if err != nil {
		t.Fatal(err)
	}
	return o.Shares
}

func expect(t *testing.T, a act.Actuator, v2 int) {
	t.Helper()
	if got := shares(t, a); got[V1] != 100-v2 || got[V2] != v2 {
		t.Errorf("shares are %v; want %s %d, %s %d", got, V1, 100-v2, V2, v2)
	}
}

func applies(t *testing.T, w World) {
	from := 0
	for i, to := range []int{10, 25, 50, 100, 0} {
		key := fmt.Sprint("k", i)
		r := apply(t, w.Actuator, step(from, to, 1, key))
		if r.Key != key || r.Observed != to || !r.Changed || r.Time.IsZero() || r.Detail == "" {
			t.Errorf("receipt of %d → %d is %+v", from, to, r)
		}
		expect(t, w.Actuator, to)
		from = to
	}
	if o, err := w.Actuator.Observe(t.Context(), Service); err != nil || o.Generation != 1 || o.Time.IsZero() {
		t.Errorf("observed %+v, %v; want generation 1 and a time", o, err)
	}
}

func sameKey(t *testing.T, w World) {
	first := apply(t, w.Actuator, step(0, 10, 1, "a"))
	apply(t, w.Actuator, step(10, 25, 1, "b"))
	if again := apply(t, w.Actuator, step(0, 10, 1, "a")); again != first {
		t.Errorf("the key's second receipt is %+v, the first was %+v", again, first)
	}
	expect(t, w.Actuator, 25)
}

func keyReuse(t *testing.T, w World) {
	apply(t, w.Actuator, step(0, 10, 1, "a"))
	refused(t, w.Actuator, step(10, 25, 1, "a"), assay.CodeConflict)
}

// keyOfOldOwner: whoever takes over repeats the step whose answer the old owner lost.
func keyOfOldOwner(t *testing.T, w World) {
	first := apply(t, w.Actuator, step(0, 10, 1, "a"))
	if again := apply(t, w.Actuator, step(0, 10, 2, "a")); again != first {
		t.Errorf("the new owner's receipt is %+v, the first was %+v", again, first)
	}
	expect(t, w.Actuator, 10)
}

func olderGeneration(t *testing.T, w World) {
	if w.Actuator.Class() != act.Fenced {
		t.Skip("the adapter does not claim to fence")
	}
	apply(t, w.Actuator, step(0, 10, 7, "a"))
	refused(t, w.Actuator, step(10, 25, 6, "b"), assay.CodeConflict)
	refused(t, w.Actuator, step(0, 10, 6, "c"), assay.CodeConflict) // even where it would change nothing
	apply(t, w.Actuator, step(10, 25, 7, "d"))
	apply(t, w.Actuator, step(25, 50, 8, "e"))
}

func staleBelief(t *testing.T, w World) {
	apply(t, w.Actuator, step(0, 10, 1, "a"))
	refused(t, w.Actuator, step(0, 25, 1, "b"), assay.CodeConflict)
}

func alreadySo(t *testing.T, w World) {
	apply(t, w.Actuator, step(0, 10, 1, "a"))
	if r := apply(t, w.Actuator, step(0, 10, 1, "b")); r.Changed || r.Observed != 10 {
		t.Errorf("receipt is %+v; want no change, 10 observed", r)
	}
}

// together runs n appliers at once and returns what each got.
func together(t *testing.T, w World, n int, of func(i int) assay.Action) ([]act.Receipt, []error) {
	receipts, errs := make([]act.Receipt, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { receipts[i], errs[i] = w.Actuator.Apply(t.Context(), of(i)) })
	}
	wg.Wait()
	return receipts, errs
}

func oneWins(t *testing.T, w World) {
	const n = 16
	_, errs := together(t, w, n, func(i int) assay.Action { return step(0, 10+i, 1, fmt.Sprint("k", i)) })
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			expect(t, w.Actuator, 10+i)
		case assay.CodeOf(err) != assay.CodeConflict:
			t.Errorf("applier %d: %v; want a conflict", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d appliers won, want exactly one", won, n)
	}
}

func newestWins(t *testing.T, w World) {
	if w.Actuator.Class() != act.Fenced {
		t.Skip("the adapter does not claim to fence")
	}
	const n = 16
	together(t, w, n, func(i int) assay.Action { return step(0, 10+i, uint64(i+1), fmt.Sprint("k", i)) })
	// Whoever won, the newest owner can go on from there and nobody older can.
	now := shares(t, w.Actuator)[V2]
	apply(t, w.Actuator, step(now, 90, n+1, "last"))
	_, errs := together(t, w, n, func(i int) assay.Action { return step(90, 10+i, uint64(i+1), fmt.Sprint("late", i)) })
	for i, err := range errs {
		if assay.CodeOf(err) != assay.CodeConflict {
			t.Errorf("generation %d acted after %d: %v", i+1, n+1, err)
		}
	}
	expect(t, w.Actuator, 90)
}

func repeatsAtOnce(t *testing.T, w World) {
	receipts, errs := together(t, w, 16, func(int) assay.Action { return step(0, 10, 1, "a") })
	for i := range errs {
		if errs[i] != nil || receipts[i] != receipts[0] {
			t.Errorf("repeat %d got %+v, %v; want the one receipt %+v", i, receipts[i], errs[i], receipts[0])
		}
	}
	expect(t, w.Actuator, 10)
}

func refuses(t *testing.T, w World) {
	for name, change := range map[string]func(*assay.Action){
		"no key":       func(a *assay.Action) { a.Key = "" },
		"no fence":     func(a *assay.Action) { a.Fence = 0 },
		"hold":         func(a *assay.Action) { a.Kind = assay.ActionHold },
		"ask":          func(a *assay.Action) { a.Kind = assay.ActionAsk },
		"above 100 %":  func(a *assay.Action) { a.Weight = 101 },
		"below 0 %":    func(a *assay.Action) { a.Weight = -1 },
		"no version":   func(a *assay.Action) { a.Version = "" },
		"empty action": func(a *assay.Action) { *a = assay.Action{} },
	} {
		t.Run(name, func(t *testing.T) {
			s := step(0, 10, 1, "a")
			change(&s)
			refused(t, w.Actuator, s, assay.CodeInvalid)
		})
	}
}

func unknown(t *testing.T, w World) {
	s := step(0, 10, 1, "a")
	s.Version = "v9"
	refused(t, w.Actuator, s, assay.CodeNotFound)
	s = step(0, 10, 1, "b")
	s.Service = "elsewhere"
	refused(t, w.Actuator, s, assay.CodeNotFound)
	if _, err := w.Actuator.Observe(t.Context(), "elsewhere"); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("Observe = %v; want not found", err)
	}
}

func restart(t *testing.T, w World) {
	if w.Reopen == nil {
		t.Skip("this world does not outlive its process")
	}
	first := apply(t, w.Actuator, step(0, 10, 3, "a"))
	w.Actuator = w.Reopen(t)
	expect(t, w.Actuator, 10)
	if again := apply(t, w.Actuator, step(0, 10, 3, "a")); again != first {
		t.Errorf("after a restart the key's receipt is %+v, the first was %+v", again, first)
	}
	refused(t, w.Actuator, step(10, 25, 2, "b"), assay.CodeConflict)
	apply(t, w.Actuator, step(10, 25, 3, "c"))
}
