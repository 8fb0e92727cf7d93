package rollout_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/rollout"
)

// away is an enforcer that does not take actions of some kinds for a while, and
// still says how traffic is divided.
type away struct {
	*sim.World
	kinds []assay.ActionKind
}

func (a *away) Apply(ctx context.Context, action assay.Action) (act.Receipt, error) {
	if slices.Contains(a.kinds, action.Kind) {
		return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "it does not answer")
	}
	return a.World.Apply(ctx, action)
}

// untilPending passes time until an action of the kind waits for the enforcer.
func (s *stage) untilPending(world *away, kind assay.ActionKind) api.Rollout {
	s.t.Helper()
	id := s.propose(plan()).ID
	s.pass(id, 0)
	world.kinds = []assay.ActionKind{kind}
	for range 4 * 120 {
		s.tick(id, 250*time.Millisecond)
		if r := s.rollout(id); r.Decision != nil && r.Decision.Action.Kind == kind {
			return r
		}
	}
	s.t.Fatalf("no %s was decided: %s", kind, s.rollout(id).Reason)
	return api.Rollout{}
}

// tick is pass for a world that may not answer.
func (s *stage) tick(id string, d time.Duration) {
	s.t.Helper()
	got, err := s.world.Step(d)
	if err != nil {
		s.t.Fatal(err)
	}
	s.readings = append(s.readings, got...)
	s.acquire()
	if err := s.ctl.Step(s.t.Context(), namespace, id); err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
		s.t.Fatal(err)
	}
}

func TestAStepThatWasDecidedLongAgoIsDecidedAnew(t *testing.T) {
	s := newStage(t, 21, 0.01)
	world := &away{World: s.world}
	s.actuator = world
	s.restart()
	r := s.untilPending(world, assay.ActionAdvance)
	if _, err := s.world.Step(time.Hour); err != nil { // nobody hears of this hour
		t.Fatal(err)
	}
	world.kinds = nil
	s.acquire()
	if err := s.ctl.Step(t.Context(), namespace, r.ID); err != nil {
		t.Fatal(err)
	}
	if got := s.share("v2"); got != 10 {
		t.Errorf("after an hour without telemetry the old decision gave v2 %d %%", got)
	}
	refused := s.facts(assay.FactRolloutRefused)
	if len(refused) != 1 || payload[rollout.RefusedPayload](t, refused[0]).Action.Kind != assay.ActionAdvance {
		t.Errorf("%d facts tell that the step was dropped", len(refused))
	}
}

func TestAnAbortGoesBeforeAStepThatIsNotTakenYet(t *testing.T) {
	s := newStage(t, 22, 0.01)
	world := &away{World: s.world}
	s.actuator = world
	s.restart()
	r := s.untilPending(world, assay.ActionAdvance)
	if _, err := s.ctl.Command(t.Context(), namespace, r.ID, "grace", api.CommandPromote, "hurry"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ctl.Command(t.Context(), namespace, r.ID, "ada", api.CommandAbort, "no"); err != nil {
		t.Fatalf("an abort is refused while a promotion waits: %v", err)
	}
	s.tick(r.ID, 250*time.Millisecond)
	if got := s.rollout(r.ID); got.Status != api.RolloutAborted || s.share("v2") != 0 {
		t.Errorf("status %s, %d %%: %s", got.Status, s.share("v2"), got.Reason)
	}
}

func TestAnEnforcerThatDoesNotAnswerIsSaid(t *testing.T) {
	s := newStage(t, 23, 0.04)
	world := &away{World: s.world}
	s.actuator = world
	s.restart()
	r := s.untilPending(world, assay.ActionAbort)
	s.tick(r.ID, time.Hour)
	if got := s.rollout(r.ID); got.Status.Ended() || got.Reason == r.Decision.Words {
		t.Errorf("status %s, reason %q", got.Status, got.Reason)
	}
	world.kinds = nil
	s.tick(r.ID, time.Second)
	if got := s.rollout(r.ID); got.Status != api.RolloutAborted {
		t.Errorf("an abort of an hour ago is %s when the enforcer is back", got.Status)
	}
}

func TestAnEnforcerThatAnotherInstallationDroveIsNotDriven(t *testing.T) {
	s := newStage(t, 24, 0.01)
	ahead := assay.Action{Kind: assay.ActionAdvance, Service: "shop", Version: "v2", From: 0, Weight: 5, Key: "theirs", Fence: 99}
	back := assay.Action{Kind: assay.ActionAbort, Service: "shop", Version: "v2", From: 5, Weight: 0, Key: "theirs too", Fence: 99}
	for _, a := range []assay.Action{ahead, back} {
		if _, err := s.world.Apply(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.ctl.Propose(t.Context(), rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: plan(), Canary: "v2", Indicators: []rollout.Indicator{{Spec: errorsSpec()}}})
	if assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a rollout that every action would be refused of gives %v", err)
	}
}
