package decide_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
)

// Eight errors at once may be one client's retries: harm waits for errors in another
// reading, and then it is believed.
func TestHarmThatRestsOnOneReadingWaitsForAnother(t *testing.T) {
	for _, c := range []struct {
		name  string
		exact bool
		after [2]uint64 // the new version's reading after the one with eight errors
		want  assay.ActionKind
	}{
		{"nothing follows", false, [2]uint64{0, 20}, assay.ActionHold},
		{"more follow", false, [2]uint64{6, 20}, assay.ActionAbort},
		{"a theorem's bound knows no bursts", true, [2]uint64{0, 20}, assay.ActionAbort},
	} {
		p := plan()
		if c.exact {
			p.Certainty = assay.Exact
		}
		s := begin(t, p)
		var d assay.Decision
		for n := range 5 {
			d, s = next(t, p, s, second(n, [2]uint64{0, 20}, [2]uint64{uint64(n % 2), 180}), allow, start.Add(time.Duration(n+1)*time.Second))
		}
		if d.Action.Kind != assay.ActionHold {
			t.Fatalf("%s: %s before anything happened", c.name, d.Action.Kind)
		}
		d, s = next(t, p, s, second(5, [2]uint64{8, 20}, [2]uint64{1, 180}), allow, start.Add(6*time.Second))
		if d.Harm < d.AbortAt {
			t.Fatalf("%s: harm %v is below %v: the test shows nothing", c.name, d.Harm, d.AbortAt)
		}
		if c.exact {
			if d.Action.Kind != c.want {
				t.Errorf("%s: %s, %s", c.name, d.Action.Kind, d.Words)
			}
			continue
		}
		if d.Action.Kind != assay.ActionHold || !strings.Contains(d.Words, "may be one burst") || !strings.Contains(d.Words, "8 bad events") {
			t.Errorf("%s: %s, %s", c.name, d.Action.Kind, d.Words)
		}
		if d, _ = next(t, p, s, second(6, c.after, [2]uint64{0, 180}), allow, start.Add(7*time.Second)); d.Action.Kind != c.want {
			t.Errorf("%s: %s, want %s; %s", c.name, d.Action.Kind, c.want, d.Words)
		}
	}
}

// A reading with more errors than any burst has is enough.
func TestAGreatReadingIsHarmByItself(t *testing.T) {
	p := plan()
	d, _ := next(t, p, begin(t, p), second(0, [2]uint64{300, 1000}, [2]uint64{90, 9000}), allow, start.Add(time.Second))
	if d.Action.Kind != assay.ActionAbort {
		t.Errorf("%s: %s", d.Action.Kind, d.Words)
	}
}

// Independent errors, however rare, never make the engine careful for long: over many
// rollouts with thin traffic the evidence is hardly ever divided.
func TestThinTrafficIsNotTakenForBursts(t *testing.T) {
	p := plan()
	p.Horizon = 24 * time.Hour
	divided, looks := 0, 0
	for run := range uint64(20) {
		rng := rand.New(rand.NewPCG(43, run))
		s := begin(t, p)
		for n := range 400 {
			bad := [2]uint64{}
			for arm, mean := range []float64{0.01, 0.1} {
				for left := mean - rng.ExpFloat64(); left > 0; left -= rng.ExpFloat64() {
					bad[arm]++
				}
			}
			var d assay.Decision
			d, s = next(t, p, s, second(n, [2]uint64{bad[0], 10}, [2]uint64{bad[1], 90}), allow, start.Add(time.Duration(n+1)*time.Second))
			looks++
			if d.Tests[0].Dispersion > 1 {
				divided++
			}
		}
	}
	if divided > looks/20 {
		t.Errorf("evidence of independent errors was divided at %d of %d looks", divided, looks)
	}
}

// The same errors, once in bursts and once one by one: what bursts explain as well is not
// harm yet, and what they do not explain is.
func TestHarmThatAFewBurstsExplainWaits(t *testing.T) {
	play := func(name string, canary, control func(n int) uint64) assay.Decision {
		p := plan()
		s := begin(t, p)
		var d assay.Decision
		for n := range 40 {
			d, s = next(t, p, s, second(n, [2]uint64{canary(n), 20}, [2]uint64{control(n), 180}), allow, start.Add(time.Duration(n+1)*time.Second))
			if d.Action.Kind != assay.ActionHold {
				return d
			}
		}
		if d.Harm < d.AbortAt {
			t.Fatalf("%s: harm %v is below %v: the test shows nothing", name, d.Harm, d.AbortAt)
		}
		return d
	}
	every := func(apart, at int, size uint64) func(int) uint64 {
		return func(n int) uint64 {
			if n%apart == at {
				return size
			}
			return 0
		}
	}
	if d := play("bursts", every(20, 10, 5), every(40, 25, 6)); d.Action.Kind != assay.ActionHold || !strings.Contains(d.Words, "it may be a few bursts") {
		t.Errorf("bursts of five in two readings: %s, %s", d.Action.Kind, d.Words)
	}
	if d := play("one by one", every(4, 2, 1), every(6, 3, 1)); d.Action.Kind != assay.ActionAbort {
		t.Errorf("ten errors one by one: %s, %s", d.Action.Kind, d.Words)
	}
}

// When errors have come one by one for long enough, even one reading is believed.
func TestWhereBurstsAreRuledOutOneReadingSuffices(t *testing.T) {
	p := plan()
	s := begin(t, p)
	var d assay.Decision
	for n := range 400 {
		canary, control := uint64(0), uint64(n%2)
		if n%20 == 10 {
			canary = 1
		}
		if n == 399 {
			canary = 30
		}
		d, s = next(t, p, s, second(n, [2]uint64{canary, 60}, [2]uint64{control, 540}), allow, start.Add(time.Duration(n+1)*time.Second))
		if n < 399 && d.Action.Kind == assay.ActionAbort {
			t.Fatalf("aborted at %d: %s", n, d.Words)
		}
	}
	if d.Action.Kind != assay.ActionAbort {
		t.Errorf("%s, %s", d.Action.Kind, d.Words)
	}
}
