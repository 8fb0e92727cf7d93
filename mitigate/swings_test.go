package mitigate_test

import (
	"testing"
	"time"

	"assay.dev/assay"
)

// An attacker that pauses whenever it is cut off must not tire the guard out: whatever is
// given back, the next attack is cut off at once.
func TestASourceThatAttacksAgainAndAgainIsCutOffEachTime(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	cuts := 0
	for round := range 12 { // an attack of two minutes every ten, for two hours
		r.set("anomaly", "10.0.0.9", 0.97)
		r.run(2*time.Minute, 10*time.Second)
		if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 {
			t.Fatalf("attack %d is let in: %s %v", round+1, r.last.Words, r.last.Reasons)
		}
		r.set("anomaly", "10.0.0.9", 0.1)
		r.run(8*time.Minute, 10*time.Second)
	}
	for _, a := range r.log {
		if a.Kind == assay.ActionAdjust {
			cuts++
		}
	}
	if cuts < 2 {
		t.Errorf("it was cut off %d times, so nothing was let in again between", cuts)
	}
}

func TestEachReturnThatWasFollowedByAnAttackDoublesTheWait(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	waits := func() (d time.Duration) {
		r.set("anomaly", "10.0.0.9", 0.97)
		r.run(time.Minute, 10*time.Second)
		r.set("anomaly", "10.0.0.9", 0.1)
		for r.at(assay.LeverQuarantine, "10.0.0.9") == 1 && d < time.Hour {
			r.step(10 * time.Second)
			d += 10 * time.Second
		}
		return d
	}
	first := waits()
	r.run(31*time.Minute, 10*time.Second) // the return is no swing any more, and not forgotten
	if second := waits(); first > 2*time.Minute+10*time.Second || second < 4*time.Minute || second > 5*time.Minute {
		t.Errorf("it is let in again after %s and then after %s, want 2m and 4m: %v", first, second, r.last.Reasons)
	}
}

func TestAPersonLetsASourceInWhateverItDidBefore(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	for range 2 {
		r.set("anomaly", "10.0.0.9", 0.97)
		r.run(time.Minute, 10*time.Second)
		r.set("anomaly", "10.0.0.9", 0.1)
		r.run(5*time.Minute, 10*time.Second)
	}
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 {
		t.Fatalf("it came back twice in half an hour: %+v", r.log)
	}
	r.says("changed its direction 2 times")
	r.in.Cleared = []string{"10.0.0.9"}
	if r.step(10 * time.Second); r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Errorf("a person called it harmless: %s %v", r.last.Words, r.last.Reasons)
	}
}

func TestARegionThatFailsAgainAndAgainIsLeftEachTime(t *testing.T) {
	r := example(t, "divert")
	r.s.Spec.Divert.Healthy = "2m"
	regions(r)
	r.step(10 * time.Second)
	for round := range 12 {
		r.fails("eu")
		r.run(3*time.Minute, 10*time.Second)
		if got := r.at(assay.LeverRegion, "eu"); got > 5+1e-6 {
			t.Fatalf("failure %d: eu keeps %v %%: %s %v", round+1, got, r.last.Words, r.last.Reasons)
		}
		r.recovers("eu")
		r.run(6*time.Minute, 10*time.Second)
	}
	back := 0
	for _, a := range r.log {
		if a.Kind == assay.ActionRestore {
			back++
		}
	}
	if back == 0 {
		t.Error("nothing was ever given back")
	}
}
