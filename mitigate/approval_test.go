package mitigate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

func TestAnApprovedRetentionIsDoneAtEveryLevelThatAsks(t *testing.T) {
	for _, level := range []policy.Level{policy.LevelApprove, policy.LevelAct} {
		for _, c := range []struct {
			name   string
			answer func(asked *decide.Approval, now time.Time)
			done   bool
		}{
			{"yes", func(a *decide.Approval, now time.Time) { a.Answer, a.Answered, a.By = "yes", now, "grace" }, true},
			{"no", func(a *decide.Approval, now time.Time) { a.Answer, a.Answered, a.By = "no", now, "grace" }, false},
			{"silence", func(*decide.Approval, time.Time) {}, false},
			{"yes to something else", func(a *decide.Approval, now time.Time) {
				a.Action.Scope, a.Answer, a.Answered, a.By = "other", "yes", now, "grace"
			}, false},
		} {
			t.Run(fmt.Sprintf("%s/%s", level, c.name), func(t *testing.T) {
				r := example(t, "data")
				r.s.Spec.Level = level
				r.s.Spec.OnTimeout = policy.OnTimeoutAct // what is deleted is not deleted by silence
				trouble(r, "data")
				d := r.step(time.Minute)
				if d.Action.Kind != assay.ActionAsk || d.Proposed == nil || !strings.Contains(d.Words, "touches 60 % of the users") {
					t.Fatalf("it decides to %s: %s", d.Action.Kind, d.Words)
				}
				q := decide.Approval{Action: *d.Proposed, Asked: r.now}
				c.answer(&q, r.now.Add(time.Minute))
				r.in.History.Approvals = []decide.Approval{q}
				d = r.step(2 * time.Minute)
				if moved := r.at(assay.LeverRetention, "") == d.Action.Want && d.Action.Lever == assay.LeverRetention; moved != c.done {
					t.Errorf("it decides to %s %v: %s", d.Action.Kind, d.Action.Want, d.Words)
				}
				if c.name == "no" && (d.Action.Kind != assay.ActionHold || !strings.Contains(d.Words+strings.Join(d.Reasons, " "), "grace refused")) {
					t.Errorf("refused, and it decides to %s: %s %v", d.Action.Kind, d.Words, d.Reasons)
				}
			})
		}
	}
}

// A stopped job spends nothing, which says nothing about what it would spend.
func TestAStoppedJobIsJudgedByWhatItSpentUntilANewDay(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.lever(assay.LeverCostClass, "load-tests", 1)
	r.set("spend_rate", "load-tests", 60) // 10 + 11·63 = 703
	r.run(12*time.Minute, 10*time.Second) // the cheaper class of integration first
	if r.at(assay.LeverClass, "load-tests") != 0 {
		t.Fatalf("it runs on: %s %v", r.last.Words, r.last.Reasons)
	}
	moves := len(r.log)
	for rate := 60.0; rate > 0.01; rate /= 2 { // the rate of the last minute decays
		r.set("spend_rate", "load-tests", rate)
		r.run(time.Minute, 10*time.Second)
	}
	r.set("spend_rate", "load-tests", 0)
	r.run(9*time.Hour, time.Minute)
	for _, a := range r.log[moves:] {
		if a.Scope == "load-tests" && a.Lever == assay.LeverClass {
			t.Fatalf("it comes back at %v although it would spend 60 an hour: %+v", r.now, a)
		}
	}
	r.set("spent", "", 0)
	r.set("spend_rate", "integration", 0.5)
	r.run(2*time.Hour, time.Minute) // past midnight in Vienna
	if r.at(assay.LeverClass, "load-tests") != 100 {
		t.Errorf("a new day has begun and it stays stopped: %s %v", r.last.Words, r.last.Reasons)
	}
}

// The look after the one that stopped it is the first to see that, and may be in the new day.
func TestAJobThatIsStoppedJustBeforeMidnightComesBackAfterIt(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	y, m, d := r.now.In(vienna).Date()
	midnight := time.Date(y, m, d+1, 0, 0, 0, 0, vienna)
	r.set("spent", "", 1000)
	r.set("spend_rate", "load-tests", 100) // there is never room for it
	if r.step(midnight.Sub(r.now) - time.Second); r.at(assay.LeverClass, "load-tests") != 0 {
		t.Fatalf("it runs on at the cap: %s", r.last.Words)
	}
	r.set("spent", "", 0)
	r.set("spend_rate", "load-tests", 0)
	r.step(2 * time.Second)
	r.run(2*time.Hour, time.Minute)
	if r.at(assay.LeverClass, "load-tests") != 100 {
		t.Errorf("a new day has begun and it stays stopped: %s %v", r.last.Words, r.last.Reasons)
	}
}

func TestAnAllowanceThatHasRoomForAStoppedJobLetsItBack(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.lever(assay.LeverCostClass, "load-tests", 1)
	r.set("spend_rate", "load-tests", 60)
	r.run(12*time.Minute, 10*time.Second)
	r.set("spend_rate", "load-tests", 0)
	r.in.Extra = 100
	r.run(time.Hour, 10*time.Second)
	if r.at(assay.LeverClass, "load-tests") != 0 {
		t.Fatal("100 EUR more are not the 660 that it needs, and it comes back")
	}
	r.in.Extra = 900
	r.run(time.Hour, 10*time.Second)
	if r.at(assay.LeverClass, "load-tests") != 100 {
		t.Errorf("900 EUR more were allowed: %s %v", r.last.Words, r.last.Reasons)
	}
}

// The corpus of facts holds what this package writes, field by field.
func TestFactsOfTheCorpusAreWhatStrategiesWrite(t *testing.T) {
	for kind, payload := range map[string]any{
		assay.FactMitigationDecided: &mitigate.DecidedPayload{}, assay.FactMitigationActed: &mitigate.ActedPayload{},
		assay.FactMitigationRefused: &mitigate.RefusedPayload{}, assay.FactMitigationJudged: &mitigate.JudgedPayload{},
		assay.FactMitigationTold: &mitigate.ToldPayload{}, assay.FactMitigationFrozen: &mitigate.FrozenPayload{},
	} {
		data, err := os.ReadFile(filepath.Join("..", "store", "testdata", "facts", "v1", kind+".json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var f assay.Fact
		if err := strict.JSON(data, &f); err != nil {
			t.Fatal(err)
		}
		if err := strict.JSON(f.Payload, payload); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
