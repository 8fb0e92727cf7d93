package mitigate_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// forget begins the memory of a strategy's spending anew, as an outage of more than a day
// does, while an action still waits for its judgement.
func (b *board) forget() {
	b.t.Helper()
	err := b.store.Update(b.t.Context(), func(tx store.Tx) error {
		key := store.Key{Namespace: b.s.Namespace, Bucket: "strategy", Name: b.s.Name}
		v, err := tx.Get(key)
		if err != nil {
			return err
		}
		var m map[string]any
		if err := json.Unmarshal(v.Data, &m); err != nil {
			return err
		}
		m["budget"].(map[string]any)["from"] = b.now.Add(-time.Minute).Format(time.RFC3339)
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = tx.Put(key, data, v.Version)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestAnActionThatIsOlderThanWhatIsRememberedIsInconclusive(t *testing.T) {
	b := spending(t, func() float64 { return 1e-5 })
	b.set("load", 1000)
	b.step(10 * time.Second)
	b.step(10 * time.Second)
	if b.at(assay.LeverReplicas) == 5 {
		t.Fatal("nothing was done that could be judged")
	}
	b.now = b.now.Add(2 * time.Hour)
	b.forget()
	b.step(10 * time.Second)
	judged := b.facts(assay.FactMitigationJudged)
	if len(judged) == 0 {
		t.Fatal("it is not judged")
	}
	var p mitigate.JudgedPayload
	if err := json.Unmarshal(judged[0].Payload, &p); err != nil || p.Outcome.Effect != assay.EffectInconclusive {
		t.Errorf("it is called %q: %s, %v", p.Outcome.Effect, p.Outcome.Reason, err)
	}
}

// slow is a door that takes its time.
type slow struct {
	*sim.World
	wait  func()
	calls int
}

func (s *slow) Levers(ctx context.Context, name string) ([]act.LeverAt, error) {
	if s.wait != nil {
		s.wait()
	}
	return s.World.Levers(ctx, name)
}

func (s *slow) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	s.calls++
	return s.World.Apply(ctx, a)
}

func TestALeaseThatExpiredIsTakenAnewAndOneThatWasTakenEndsTheRun(t *testing.T) {
	for name, c := range map[string]struct{ taken bool }{"nobody wanted it": {false}, "another took it": {true}} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, "scale", replicas)
			if err := b.ctl.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.set("load", 1000)
			b.now = b.now.Add(time.Hour) // the machine was suspended
			if c.taken {
				if _, err := store.AcquireLease(t.Context(), b.store, "mitigation", "another", time.Minute, b.now); err != nil {
					t.Fatal(err)
				}
			}
			err := b.ctl.Step(t.Context())
			if moved := b.at(assay.LeverReplicas) != 5; moved == c.taken || c.taken != (assay.CodeOf(err) == assay.CodeConflict) {
				t.Errorf("moved %t, %v", moved, err)
			}
		})
	}
}

func TestAnExpiredLeaseDoesNotEndTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, "scale", replicas)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		suspended := time.Duration(0)
		now := func() time.Time { return time.Now().Add(suspended) }
		ctl := mitigate.New(mitigate.Config{
			Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door,
			Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return nil, "sha256:00", nil },
			Now:        now, Log: slog.New(slog.DiscardHandler), Holder: "test",
		})
		ended := make(chan error, 1)
		go func() { ended <- ctl.Run(ctx) }()
		synctest.Wait()
		suspended = time.Hour
		ctl.Arrived(signal.Arrival{})
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(time.Minute):
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Without it, whoever named a strategy that there is not was told of a lost lease.
func TestTheLeaseIsKeptWhereNoStrategyIsDeclared(t *testing.T) {
	for name, problem := range map[string]error{"none": nil, "the policy cannot be read": assay.Errorf(assay.CodeInvalid, "broken")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard(t, "scale", replicas)
				ctx, stop := context.WithCancel(t.Context())
				ctl := mitigate.New(mitigate.Config{
					Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door,
					Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return nil, "sha256:00", problem },
					Now:        time.Now, Log: slog.New(slog.DiscardHandler), Holder: "test",
				})
				ended := make(chan error, 1)
				go func() { ended <- ctl.Run(ctx) }()
				<-time.After(10 * time.Minute)
				_, err := ctl.Tell(ctx, "default", "nobody", "ann", api.StrategyAnswer{Told: "pause", Reason: "a drill"})
				if assay.CodeOf(err) != assay.CodeNotFound {
					t.Errorf("a strategy that there is not: %v", err)
				}
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestNothingIsDoneUnderALeaseThatRanOutMeanwhile(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	d := &slow{World: b.world}
	b.door = d
	b.restart()
	b.set("load", 1000)
	b.guard = func(context.Context, string, string, string) decide.Guard {
		return func(assay.Action) []assay.GuardVerdict { return nil }
	}
	b.step(time.Second)
	done := d.calls
	// The policy is slow the second time it is asked, after the decision was kept.
	asked := 0
	b.guard = func(context.Context, string, string, string) decide.Guard {
		return func(assay.Action) []assay.GuardVerdict {
			if asked++; asked == 2 {
				b.now = b.now.Add(31 * time.Second)
			}
			return nil
		}
	}
	b.set("load", 5000)
	b.now = b.now.Add(20 * time.Second)
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := b.ctl.Step(t.Context())
	if asked < 2 || d.calls != done || err == nil {
		t.Errorf("asked %d times, %d actions under a lost lease: %v", asked, d.calls-done, err)
	}
}

func TestPoliciesJudgeAStrategyInItsOwnEnvironment(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Environment = "production"
	frozen := ""
	b.guard = func(_ context.Context, _, environment, _ string) decide.Guard {
		return func(a assay.Action) []assay.GuardVerdict {
			if frozen = environment; environment == "production" {
				return []assay.GuardVerdict{{Guard: "policy", Outcome: assay.OutcomeFail, Reason: "production is frozen"}}
			}
			return nil
		}
	}
	b.set("load", 1000)
	b.step(time.Second)
	if b.step(10 * time.Second); b.at(assay.LeverReplicas) != 5 || frozen != "production" {
		t.Errorf("it is judged in %q, and there are %v replicas", frozen, b.at(assay.LeverReplicas))
	}
}

// asks is a board whose strategy needs a yes, and its first question.
func asks(t *testing.T) (*board, api.StrategyStatus) {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Level = "approve"
	b.set("load", 300)
	s := b.step(10 * time.Second)
	if s.Question == nil || s.QuestionID == "" {
		t.Fatalf("it asks nothing: %s", s.Decision.Words)
	}
	return b, s
}

func (b *board) tell(told, question string) error {
	_, err := b.ctl.Tell(b.t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: told, Question: question, Reason: "because"})
	return err
}

func TestAnAnswerMeetsOnlyTheQuestionThatWasRead(t *testing.T) {
	b, s := asks(t)
	for id, code := range map[string]assay.Code{"": assay.CodeInvalid, "0123456789ab": assay.CodeConflict} {
		err := b.tell("approve", id)
		if assay.CodeOf(err) != code {
			t.Errorf("an answer to question %q gives %v, want %s", id, err, code)
		}
		if code == assay.CodeConflict && !strings.Contains(err.Error(), s.QuestionID) {
			t.Errorf("it does not say what is asked now: %v", err)
		}
	}
	if err := b.tell("refuse", s.QuestionID); err != nil {
		t.Fatal(err)
	}
	b.set("load", 100) // less is asked, which is another question
	less := b.step(10 * time.Second)
	if less.Question != nil && less.QuestionID == s.QuestionID {
		t.Fatal("two questions have one name")
	}
	if err := b.tell("approve", s.QuestionID); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a question that was refused is approved: %v", err)
	}
	if b.step(10 * time.Second); b.at(assay.LeverReplicas) != 5 {
		t.Errorf("there are %v replicas", b.at(assay.LeverReplicas))
	}
}

func TestAfterAnAnswerThatRanOutItAsksAgain(t *testing.T) {
	for _, told := range []string{"refuse", "approve"} {
		t.Run(told, func(t *testing.T) {
			b, s := asks(t)
			if told == "approve" { // and nothing can be done until it has run out
				b.halted = "somebody pulled it"
			}
			if err := b.tell(told, s.QuestionID); err != nil {
				t.Fatal(err)
			}
			b.step(10 * time.Second)
			b.now = b.now.Add(b.s.Spec.ApprovalTimeout.Value())
			b.halted = ""
			b.step(10 * time.Second)
			if again := b.step(10 * time.Second); again.Question == nil || again.QuestionID == s.QuestionID {
				t.Errorf("it says %q and asks %v", again.Decision.Words, again.Question)
			}
		})
	}
}

func TestAnOpenQuestionStaysWhenMoreIsWantedAndAYesMeetsIt(t *testing.T) {
	b, s := asks(t)
	b.set("load", 320)
	if more := b.step(10 * time.Second); more.QuestionID != s.QuestionID {
		t.Fatalf("question %s became %s, although more is wanted", s.QuestionID, more.QuestionID)
	}
	if err := b.tell("approve", s.QuestionID); err != nil {
		t.Fatal(err)
	}
	if b.step(10 * time.Second); b.at(assay.LeverReplicas) != s.Question.Want {
		t.Errorf("%v was allowed, and there are %v", s.Question.Want, b.at(assay.LeverReplicas))
	}
}

// What a person was asked about once is no reason to go there.
func TestOnlyAYesThatCountsMovesAnOptionToWhatWasAsked(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		far    float64 // that was asked about
		level  string
		want   bool // that it goes there
	}{
		"a yes to less":              {"yes", 6, "approve", true},
		"a yes to more":              {"yes", 100, "approve", false},
		"a no to less":               {"no", 6, "approve", false},
		"no answer":                  {"", 6, "approve", false},
		"automatic, a no to less":    {"no", 6, "act", false},
		"automatic, no answer":       {"", 6, "act", false},
		"automatic, a yes to less":   {"yes", 6, "act", false},
		"automatic, a yes that died": {"old", 6, "act", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := example(t, "scale")
			trouble(r, "scale")
			r.s.Spec.Level = "approve"
			d := r.step(10 * time.Second)
			if d.Proposed == nil {
				t.Fatalf("it asks nothing: %s", d.Words)
			}
			wanted := d.Proposed.Want
			q := decide.Approval{Action: *d.Proposed, Asked: r.now, Answer: c.answer, By: "grace", Answered: r.now}
			if q.Action.Want = c.far; c.answer == "old" {
				q.Answer, q.Answered = "yes", r.now.Add(-24*time.Hour)
			}
			r.in.History.Approvals = []decide.Approval{q}
			r.s.Spec.Level = "act"
			if c.level == "approve" {
				r.s.Spec.Level = "approve"
			}
			d = r.step(10 * time.Second)
			moved := d.Action.Kind == assay.ActionAdjust && d.Action.Want == c.far
			if moved != c.want {
				t.Errorf("it decides to %s %v, wanted was %v: %s", d.Action.Kind, d.Action.Want, wanted, d.Words)
			}
			if c.level == "approve" && !c.want && (d.Proposed == nil || d.Proposed.Want < wanted) {
				t.Errorf("it asks about %+v, wanted was %v: %s", d.Proposed, wanted, d.Words)
			}
			if c.level == "act" && d.Action.Want < wanted {
				t.Errorf("what is automatic goes to %v instead of %v", d.Action.Want, wanted)
			}
		})
	}
}

// undone is a board with an action pending whose door did not answer; taken says whether
// it was carried out all the same.
func undone(t *testing.T, taken bool) (*board, *gone) {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	d := &gone{World: b.world, take: taken, down: true}
	b.door = d
	b.restart()
	b.set("load", 300)
	for range 4 {
		if s := b.step(10 * time.Second); s.Pending != nil {
			return b, d
		}
	}
	t.Fatal("nothing is pending")
	return nil, nil
}

// gone does not answer what it is told to do while it is down.
type gone struct {
	*sim.World
	take, down, blind bool
}

func (g *gone) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if !g.down {
		return g.World.Apply(ctx, a)
	}
	if g.take {
		if _, err := g.World.Apply(ctx, a); err != nil {
			return act.Receipt{}, err
		}
	}
	return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "it does not answer")
}

func (g *gone) Levers(ctx context.Context, name string) ([]act.LeverAt, error) {
	if g.blind {
		return nil, assay.Errorf(assay.CodeUnavailable, "it does not answer")
	}
	return g.World.Levers(ctx, name)
}

func TestAPendingActionIsAskedAboutAgainBeforeItIsTaken(t *testing.T) {
	for name, forbid := range map[string]func(b *board) error{
		"paused":          func(b *board) error { return b.tell("pause", "") },
		"level":           func(b *board) error { b.s.Spec.Level = "observe"; return nil },
		"a person's yes":  func(b *board) error { b.s.Spec.Level = "approve"; return nil },
		"the kill switch": func(b *board) error { b.halted = "somebody pulled it"; return nil },
		"policy": func(b *board) error {
			b.guard = func(context.Context, string, string, string) decide.Guard {
				return func(assay.Action) []assay.GuardVerdict {
					return []assay.GuardVerdict{{Guard: "policy", Outcome: assay.OutcomeFail, Reason: "a freeze"}}
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, d := undone(t, false)
			if err := forbid(b); err != nil {
				t.Fatal(err)
			}
			d.down = false
			if s := b.step(time.Second); b.at(assay.LeverReplicas) != 5 || s.Pending != nil {
				t.Errorf("%v replicas, pending %v", b.at(assay.LeverReplicas), s.Pending)
			}
			if len(b.facts(assay.FactMitigationRefused)) != 1 {
				t.Error("that it was dropped is not recorded")
			}
		})
	}
}

func TestAnActionIsReadBackBeforeItIsGivenUp(t *testing.T) {
	for name, taken := range map[string]bool{"it was taken": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			b, d := undone(t, taken)
			b.halted, d.blind = "somebody pulled it", true
			if s := b.step(time.Second); s.Pending == nil {
				t.Fatal("nobody knows whether it was taken, and it is dropped")
			}
			d.blind = false
			b.step(time.Second)
			acted, refused := len(b.facts(assay.FactMitigationActed)), len(b.facts(assay.FactMitigationRefused))
			if want := map[bool][2]int{true: {1, 0}, false: {0, 1}}[taken]; want != [2]int{acted, refused} {
				t.Errorf("%d are recorded as taken and %d as refused", acted, refused)
			}
		})
	}
}

// late answers when the time for the answer is over.
type late struct{ *sim.World }

func (l late) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	r, err := l.World.Apply(ctx, a)
	<-ctx.Done()
	return r, err
}

func TestWhatWasDoneIsWrittenDownAlsoWhenTheAnswerTookAllItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(t, "scale", replicas)
		b.door = late{b.world}
		b.restart()
		b.set("load", 300)
		for range 3 {
			b.step(10 * time.Second)
		}
		if v := b.at(assay.LeverReplicas); v == 5 || math.IsNaN(v) || len(b.facts(assay.FactMitigationActed)) == 0 {
			t.Errorf("%v replicas, %d actions are recorded", v, len(b.facts(assay.FactMitigationActed)))
		}
	})
}
