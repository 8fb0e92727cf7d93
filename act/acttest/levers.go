package acttest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/act"
)

// LeverWorld is an adapter before a fresh world whose service Service has a lever that
// stands at Rest and can go to any whole number from Rest+1 to Rest+30.
type LeverWorld struct {
	Actuator act.Actuator // an act.Levers too
	Lever    assay.Lever
	Scope    string
	Rest     float64
	// Unknown is a lever that the world does not have.
	Unknown assay.Lever
	// Reopen, if set, ends the adapter and its world as a crash would and returns them
	// started again.
	Reopen func(t *testing.T) act.Actuator
}

// RunLevers runs the suite of actuators that move levers. fresh makes a new world for
// each test.
func RunLevers(t *testing.T, fresh func(t *testing.T) LeverWorld) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, LeverWorld){
		"applies and reads back":             leverApplies,
		"same key returns the first receipt": leverSameKey,
		"key is for one action":              leverKeyReuse,
		"older generation is refused":        leverOlder,
		"stale belief is refused":            leverStale,
		"already as desired is no change":    leverAlready,
		"exactly one of many appliers wins":  leverOneWins,
		"concurrent repeats act once":        leverRepeats,
		"refuses what is not an action":      leverRefuses,
		"unknown names are not found":        leverUnknown,
		"remembers across a restart":         leverRestart,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// pull is an action that takes the lever from one distance above its rest to another.
func (w LeverWorld) pull(from, to float64, fence uint64, key string) assay.Action {
	kind := assay.ActionAdjust
	if to == 0 {
		kind = assay.ActionRestore
	}
	return assay.Action{Kind: kind, Service: Service, Lever: w.Lever, Scope: w.Scope, Now: w.Rest + from, Want: w.Rest + to, Fence: fence, Key: key}
}

// at is how far above its rest the lever stands.
func (w LeverWorld) at(t *testing.T) float64 {
	t.Helper()
	list, err := w.Actuator.(act.Levers).Levers(t.Context(), Service)
	if err != nil {
		t.Fatal(err)
	}
	any, found := 0.0, false
	for _, l := range list {
		if l.Lever == w.Lever && l.Scope == w.Scope {
			return l.Value - w.Rest
		}
		if l.Lever == w.Lever && l.Scope == act.AnyScope {
			any, found = l.Value-w.Rest, true
		}
	}
	if !found {
		t.Fatalf("lever %s of scope %q is not among %+v", w.Lever, w.Scope, list)
	}
	return any
}

func (w LeverWorld) expect(t *testing.T, want float64) {
	t.Helper()
	if got := w.at(t); got != want {
		t.Errorf("the lever stands %v above its rest; want %v", got, want)
	}
}

func (w LeverWorld) apply(t *testing.T, a assay.Action) act.Receipt {
	t.Helper()
	r, err := w.Actuator.Apply(t.Context(), a)
	if err != nil {
		t.Fatalf("Apply %s %v → %v (key %s, fence %d): %v", a.Target(), a.Now, a.Want, a.Key, a.Fence, err)
	}
	return r
}

func (w LeverWorld) refused(t *testing.T, a assay.Action, want assay.Code) error {
	t.Helper()
	before := w.at(t)
	_, err := w.Actuator.Apply(t.Context(), a)
	if assay.CodeOf(err) != want {
		t.Errorf("Apply %+v = %v (%s); want %s", a, err, assay.CodeOf(err), want)
	}
	if after := w.at(t); after != before {
		t.Errorf("the refused action moved the lever from %v to %v", before, after)
	}
	return err
}

func leverApplies(t *testing.T, w LeverWorld) {
	w.expect(t, 0)
	from := 0.0
	for i, to := range []float64{10, 25, 5, 0} {
		key := fmt.Sprint("k", i)
		r := w.apply(t, w.pull(from, to, 1, key))
		if r.Key != key || r.Stands != w.Rest+to || !r.Changed || r.Time.IsZero() || r.Detail == "" {
			t.Errorf("receipt of %v → %v is %+v", from, to, r)
		}
		w.expect(t, to)
		from = to
	}
}

func leverSameKey(t *testing.T, w LeverWorld) {
	first := w.apply(t, w.pull(0, 10, 1, "a"))
	w.apply(t, w.pull(10, 25, 1, "b"))
	for _, fence := range []uint64{1, 2} { // whoever takes over repeats what the old owner lost
		if again := w.apply(t, w.pull(0, 10, fence, "a")); again != first {
			t.Errorf("the key's second receipt is %+v, the first was %+v", again, first)
		}
	}
	w.expect(t, 25)
}

func leverKeyReuse(t *testing.T, w LeverWorld) {
	w.apply(t, w.pull(0, 10, 1, "a"))
	w.refused(t, w.pull(10, 25, 1, "a"), assay.CodeConflict)
}

func leverOlder(t *testing.T, w LeverWorld) {
	if w.Actuator.Class() != act.Fenced {
		t.Skip("the adapter does not claim to fence")
	}
	w.apply(t, w.pull(0, 10, 7, "a"))
	err := w.refused(t, w.pull(10, 25, 6, "b"), assay.CodeConflict)
	if d, is := errors.AsType[*act.Deposed](err); !is || d.Fence != 6 || d.Owner != 7 {
		t.Errorf("the refusal of the fence is %v; want *act.Deposed that names 6 and 7", err)
	}
	w.refused(t, w.pull(0, 10, 6, "c"), assay.CodeConflict) // even where it would change nothing
	w.apply(t, w.pull(10, 25, 7, "d"))
	w.apply(t, w.pull(25, 5, 8, "e"))
}

func leverStale(t *testing.T, w LeverWorld) {
	w.apply(t, w.pull(0, 10, 1, "a"))
	w.refused(t, w.pull(0, 25, 1, "b"), assay.CodeConflict)
}

func leverAlready(t *testing.T, w LeverWorld) {
	w.apply(t, w.pull(0, 10, 1, "a"))
	if r := w.apply(t, w.pull(0, 10, 1, "b")); r.Changed || r.Stands != w.Rest+10 {
		t.Errorf("receipt is %+v; want no change, %v", r, w.Rest+10)
	}
}

func leverOneWins(t *testing.T, w LeverWorld) {
	const n = 16
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = w.Actuator.Apply(t.Context(), w.pull(0, float64(10+i), 1, fmt.Sprint("k", i))) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			w.expect(t, float64(10+i))
		case assay.CodeOf(err) != assay.CodeConflict:
			t.Errorf("applier %d: %v; want a conflict", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d appliers won, want exactly one", won, n)
	}
}

func leverRepeats(t *testing.T, w LeverWorld) {
	const n = 16
	receipts, errs := make([]act.Receipt, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { receipts[i], errs[i] = w.Actuator.Apply(t.Context(), w.pull(0, 10, 1, "a")) })
	}
	wg.Wait()
	for i := range errs {
		if errs[i] != nil || receipts[i] != receipts[0] {
			t.Errorf("repeat %d got %+v, %v; want the one receipt %+v", i, receipts[i], errs[i], receipts[0])
		}
	}
	w.expect(t, 10)
}

func leverRefuses(t *testing.T, w LeverWorld) {
	for name, change := range map[string]func(*assay.Action){
		"no key":       func(a *assay.Action) { a.Key = "" },
		"no fence":     func(a *assay.Action) { a.Fence = 0 },
		"hold":         func(a *assay.Action) { a.Kind = assay.ActionHold },
		"below 0":      func(a *assay.Action) { a.Want = -1 },
		"no lever":     func(a *assay.Action) { a.Lever = "" },
		"empty action": func(a *assay.Action) { *a = assay.Action{} },
	} {
		t.Run(name, func(t *testing.T) {
			a := w.pull(0, 10, 1, "a")
			change(&a)
			w.refused(t, a, assay.CodeInvalid)
		})
	}
}

func leverUnknown(t *testing.T, w LeverWorld) {
	a := w.pull(0, 10, 1, "a")
	a.Lever = w.Unknown
	w.refused(t, a, assay.CodeNotFound)
	a = w.pull(0, 10, 1, "b")
	a.Service = "elsewhere"
	w.refused(t, a, assay.CodeNotFound)
	if _, err := w.Actuator.(act.Levers).Levers(t.Context(), "elsewhere"); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("Levers = %v; want not found", err)
	}
}

func leverRestart(t *testing.T, w LeverWorld) {
	if w.Reopen == nil {
		t.Skip("this world does not outlive its process")
	}
	first := w.apply(t, w.pull(0, 10, 3, "a"))
	w.Actuator = w.Reopen(t)
	w.expect(t, 10)
	if again := w.apply(t, w.pull(0, 10, 3, "a")); again != first {
		t.Errorf("after a restart the key's receipt is %+v, the first was %+v", again, first)
	}
	w.refused(t, w.pull(10, 25, 2, "b"), assay.CodeConflict)
	w.apply(t, w.pull(10, 25, 3, "c"))
}
