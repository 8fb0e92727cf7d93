package rollout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/rollout"
)

// awkward is a door that refuses changes for a while, or loses its answers to them.
type awkward struct {
	*memoryDoor
	refuse assay.Code
	lose   bool
}

func (d *awkward) Replace(ctx context.Context, r enforce.Replacement) (enforce.Answer, error) {
	if d.refuse != "" {
		return enforce.Answer{}, assay.Errorf(d.refuse, "not now")
	}
	a, err := d.memoryDoor.Replace(ctx, r)
	if d.lose {
		return enforce.Answer{}, assay.Errorf(assay.CodeUnavailable, "the answer was lost")
	}
	return a, err
}

// front puts the door in front of a controller that knows the stage's kill switch.
func (s *stage) front(d rollout.Door) {
	s.with(func(c *rollout.Config) { c.Door = d })
}

func (s *stage) tell(id, command string) {
	s.t.Helper()
	if _, err := s.ctl.Command(s.t.Context(), namespace, id, "grace", command, "because"); err != nil {
		s.t.Fatal(err)
	}
}

func TestAnAbortIsNotGivenUpWhileTheEnforcerKeepsItsRule(t *testing.T) {
	for _, code := range []assay.Code{assay.CodeDenied, assay.CodeInvalid, assay.CodeConflict, assay.CodeUnavailable} {
		s := newStage(t, 50, 0.01)
		d := &awkward{memoryDoor: newDoor(t)}
		s.front(d)
		s.past(time.Minute)
		id := s.start(plan(), mirroredBy(50))
		s.tell(id, api.CommandAbort)
		d.refuse = code
		if err := s.ctl.Step(t.Context(), namespace, id); err == nil {
			t.Errorf("%s: the step says nothing", code)
		}
		if r := s.rollout(id); r.Status.Ended() || !strings.Contains(r.Reason, "keeps its rule") {
			t.Errorf("%s: status %s with the mirror %+v: %s", code, r.Status, d.route().Mirror, r.Reason)
		}
		d.refuse = ""
		if r := s.pass(id, time.Second); r.Status != api.RolloutAborted || d.route().Mirror != nil {
			t.Errorf("%s: then status %s with the mirror %+v: %s", code, r.Status, d.route().Mirror, r.Reason)
		}
	}
}

func TestAFailedRolloutTakesItsRuleBack(t *testing.T) {
	for name, change := range map[string]func(*rollout.Proposal){
		"mirrored": mirroredBy(50),
		"a-b": func(p *rollout.Proposal) {
			p.Strategy, p.Match, p.Plan.Steps = api.StrategyAB, &enforce.Match{Header: "Beta", Value: "yes", Version: "v2"}, []int{20, 100}
		},
	} {
		s := newStage(t, 51, 0.01)
		d := &awkward{memoryDoor: newDoor(t)}
		s.front(d)
		s.past(time.Minute)
		id := s.start(plan(), change)
		theirs := assay.Action{Kind: assay.ActionAdvance, Service: "shop", Version: "v2", From: 0, Weight: 15, Key: "theirs", Fence: 99}
		if _, err := s.world.Apply(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		s.tell(id, api.CommandPromote)
		d.refuse = assay.CodeUnavailable
		if err := s.ctl.Step(t.Context(), namespace, id); assay.CodeOf(err) != assay.CodeUnavailable || s.rollout(id).Status.Ended() {
			t.Errorf("%s: it ends %s although its rule cannot be taken back yet, %v", name, s.rollout(id).Status, err)
		}
		d.refuse = ""
		r := s.pass(id, 0)
		if got := d.route(); r.Status != api.RolloutFailed || got.Mirror != nil || len(got.Matches) != 0 {
			t.Errorf("%s: status %s (%s) with the mirror %+v and the rules %+v", name, r.Status, r.Reason, got.Mirror, got.Matches)
		}
	}
}

func TestARuleWhoseAnswerWasLostIsItsOwn(t *testing.T) {
	begin := func(t *testing.T) (*stage, *awkward, string) {
		s := newStage(t, 52, 0.01)
		d := &awkward{memoryDoor: newDoor(t), lose: true}
		s.front(d)
		s.past(time.Minute)
		p := s.proposal()
		p.Backend = ""
		mirroredBy(50)(&p)
		r, err := s.ctl.Propose(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ctl.Step(t.Context(), namespace, r.ID); assay.CodeOf(err) != assay.CodeUnavailable || d.route().Mirror == nil {
			t.Fatalf("the step gives %v with the mirror %+v", err, d.route().Mirror)
		}
		d.lose = false
		return s, d, r.ID
	}
	t.Run("it goes on", func(t *testing.T) {
		s, d, id := begin(t)
		if r := s.pass(id, 0); r.Status != api.RolloutRunning || d.route().Mirror == nil {
			t.Errorf("status %s: %s", r.Status, r.Reason)
		}
	})
	t.Run("it is aborted when the kill switch is lifted", func(t *testing.T) {
		s, d, id := begin(t)
		s.tell(id, api.CommandAbort)
		s.halted = "somebody pulled the kill switch"
		if r := s.pass(id, 0); r.Status != api.RolloutStarting || d.route().Mirror == nil {
			t.Errorf("although nothing may be done: status %s with the mirror %+v", r.Status, d.route().Mirror)
		}
		s.halted = ""
		if r := s.pass(id, 0); r.Status != api.RolloutAborted || d.route().Mirror != nil {
			t.Errorf("status %s with the mirror %+v: %s", r.Status, d.route().Mirror, r.Reason)
		}
	})
	t.Run("it is aborted when the route is gone", func(t *testing.T) {
		s, d, id := begin(t)
		empty, err := enforce.NewState(enforce.Config{})
		if err != nil {
			t.Fatal(err)
		}
		d.state = empty
		s.tell(id, api.CommandAbort)
		if r := s.pass(id, 0); r.Status != api.RolloutAborted {
			t.Errorf("status %s: %s", r.Status, r.Reason)
		}
	})
}

func TestARuleOfSomebodyElseIsNeitherTakenNorRemoved(t *testing.T) {
	match := enforce.Match{Header: "Beta", Value: "yes", Version: "v2"}
	ab := func(p *rollout.Proposal) {
		p.Strategy, p.Match, p.Plan.Steps = api.StrategyAB, &match, []int{20, 100}
	}
	for name, c := range map[string]struct {
		theirs func(*enforce.Route)
		ours   func(*rollout.Proposal)
	}{
		"the same mirror": {func(r *enforce.Route) { r.Mirror = &enforce.Mirror{Version: "v2", Percent: 50} }, mirroredBy(50)},
		"another share":   {func(r *enforce.Route) { r.Mirror = &enforce.Mirror{Version: "v2", Percent: 5} }, mirroredBy(50)},
		"the same match":  {func(r *enforce.Route) { r.Matches = []enforce.Match{match} }, ab},
		"the same requests elsewhere": {func(r *enforce.Route) {
			r.Matches = []enforce.Match{{Header: "Beta", Value: "yes", Version: "v1"}}
		}, ab},
	} {
		s := newStage(t, 53, 0.01)
		d := newDoor(t)
		c.theirs(&d.state.Config.Routes[0])
		before, err := json.Marshal(d.route())
		if err != nil {
			t.Fatal(err)
		}
		s.front(d)
		s.past(time.Minute)
		r := s.rollout(s.start(plan(), c.ours))
		after, err := json.Marshal(d.route())
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the route was %s and is %s, %v", name, before, after, err)
		}
		if r.Status != api.RolloutRefused || !strings.Contains(r.Reason, "by a rule of somebody else") {
			t.Errorf("%s: status %s: %s", name, r.Status, r.Reason)
		}
	}
}

// elder is an enforcer of the release before changes said what they were made from.
type elder struct{ *memoryDoor }

func (d elder) Replace(ctx context.Context, r enforce.Replacement) (enforce.Answer, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return enforce.Answer{}, err
	}
	var known struct {
		Generation uint64         `json:"generation"`
		Key        string         `json:"key"`
		Config     enforce.Config `json:"config"`
	}
	if err := strict.JSON(data, &known); err != nil { // as its control API answers
		return enforce.Answer{}, assay.Errorf(assay.CodeOf(err), "the proxy refuses: %s", err)
	}
	return d.memoryDoor.Replace(ctx, r)
}

func TestAnEnforcerOfAnOlderReleaseTakesAVersionAndNoRule(t *testing.T) {
	s := newStage(t, 54, 0.01)
	d := newDoor(t)
	s.front(elder{d})
	s.past(time.Minute)
	if r := s.begin(s.proposal()); r.Status != api.RolloutRunning || d.route().Versions[1].Backend != "http://127.0.0.1:8002" {
		t.Errorf("status %s: %s", r.Status, r.Reason)
	}

	s = newStage(t, 55, 0.01)
	d = newDoor(t)
	s.front(elder{d})
	s.past(time.Minute)
	if r := s.rollout(s.start(plan(), mirroredBy(50))); r.Status != api.RolloutFailed || d.route().Mirror != nil {
		t.Errorf("with a rule: status %s: %s", r.Status, r.Reason)
	}
}

func TestAFullRouteKeepsTheVersionsThatRulesName(t *testing.T) {
	s := newStage(t, 56, 0.01)
	versions := []enforce.Version{version("tested", 0), version("copied", 0), version("v1", 100)}
	for i := len(versions); i < enforce.MaxVersions; i++ {
		versions = append(versions, version(fmt.Sprintf("old%d", i), 0))
	}
	r := route("shop", versions...)
	r.Matches = []enforce.Match{{Header: "Beta", Value: "yes", Version: "tested"}}
	r.Mirror = &enforce.Mirror{Version: "copied", Percent: 5}
	k := newKeeper(t, r)
	s.behind(k)
	got := s.begin(s.proposal())
	names := k.versions("shop")
	if got.Status != api.RolloutRunning || slices.Contains(names, "old3") || !slices.Contains(names, "tested") || !slices.Contains(names, "copied") || !slices.Contains(names, "v2") {
		t.Errorf("the rollout is %s (%s); the route has %v", got.Status, got.Reason, names)
	}
}
