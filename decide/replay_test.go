package decide_test

import (
	"os"
	"testing"

	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// What was recorded before steps could go ahead of safety, and before safety had a
// dispersion of its own, is made again as it was: neither its choice nor the digest of
// what it was made of has changed.
func TestADecisionRecordedBeforeStepBudgetsIsMadeAgain(t *testing.T) {
	data, err := os.ReadFile("testdata/decide4.record.json")
	if err != nil {
		t.Fatal(err)
	}
	old, err := decide.ParseRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	if old.Plan.Budget == 0 || old.Plan.Indicators[0].Dispersion <= 1 {
		t.Fatal("the record has no budget or no dispersion: it shows nothing")
	}
	again, err := decide.Replay(data)
	if err != nil {
		t.Fatal(err)
	}
	if !again.SameChoice || again.Decision.Words != old.Decision.Words || again.Decision.Inputs != old.Decision.Inputs {
		t.Errorf("%s: %s, digest %s; recorded %s, digest %s", again.Engine, again.Decision.Words, again.Decision.Inputs, old.Decision.Words, old.Decision.Inputs)
	}
	old.Plan.StepBudget = decide.DefaultStepBudget
	if data, err = old.Encode(); err != nil {
		t.Fatal(err)
	}
	if again, err = decide.Replay(data); err != nil || again.Decision.Inputs == old.Decision.Inputs {
		t.Errorf("a step budget does not change the digest: %v", err)
	}
}

// A plan of work of which nothing lasts is decided as it was before anything was known to: a
// record of decide/6 is made again, by its name, and what lasts is part of what a decision was
// made of.
func TestADecisionRecordedBeforeAnythingLastedIsMadeAgain(t *testing.T) {
	data, err := os.ReadFile("testdata/decide6.record.json")
	if err != nil {
		t.Fatal(err)
	}
	old, err := decide.ParseRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	if old.Decision.Engine != "decide/6" || old.Before.Watches[0].Bursts[0].Visit == nil {
		t.Fatal("the record is not of decide/6, or no visit was looked for: it shows nothing")
	}
	again, err := decide.Replay(data)
	if err != nil {
		t.Fatal(err)
	}
	if !again.SameChoice || again.Decision.Engine != old.Decision.Engine || again.Decision.Words != old.Decision.Words || again.Decision.Inputs != old.Decision.Inputs {
		t.Errorf("%s: %s, digest %s; recorded %s, digest %s", again.Decision.Engine, again.Decision.Words, again.Decision.Inputs, old.Decision.Words, old.Decision.Inputs)
	}
	old.Plan.Indicators[0].Persistence = &infer.Index{Limit: 20, Time: 300}
	if data, err = old.Encode(); err != nil {
		t.Fatal(err)
	}
	if again, err = decide.Replay(data); err != nil || again.Decision.Inputs == old.Decision.Inputs || again.Decision.Engine != decide.EngineOfLasting {
		t.Errorf("what lasts does not change the digest or the engine, %s: %v", again.Decision.Engine, err)
	}
}
