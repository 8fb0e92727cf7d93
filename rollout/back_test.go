package rollout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// late is a stage whose v2 breaks two minutes after the beginning, and which has a v3.
func late(t *testing.T, seed uint64) *stage {
	t.Helper()
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	s := newStage(t, seed, 0.01)
	world, err := sim.New(sim.Config{Seed: seed, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: 1500,
		Versions: []sim.Version{{Name: "v1", Weight: 100, Errors: 0.01, Latency: latency}, {Name: "v2", Errors: 0.01, Latency: latency}, {Name: "v3", Errors: 0.01, Latency: latency}},
		Changes:  []sim.Change{{After: 2 * time.Minute, Version: "v2", Errors: 0.06, Latency: latency}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s.world, s.actuator = world, world
	s.restart()
	return s
}

func digest(version string) assay.Digest { return assay.DigestOf([32]byte{version[1] - '0'}) }

// promote rolls a version out, by a person's word, and lets its window pass.
func (s *stage) promote(version string, change ...func(*rollout.Proposal)) string {
	s.t.Helper()
	p := s.proposal()
	p.Canary, p.Digest, p.Backend = version, digest(version), ""
	for _, f := range change {
		f(&p)
	}
	r, err := s.ctl.Propose(s.t.Context(), p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.pass(r.ID, 0)
	for s.tell(r.ID, api.CommandPromote); !s.rollout(r.ID).Status.Ended(); s.pass(r.ID, time.Second) {
		if s.rollout(r.ID).Status == api.RolloutWatching {
			s.tell(r.ID, api.CommandPromote)
		}
	}
	s.pass(r.ID, rollout.DefaultWindow)
	if r := s.rollout(r.ID); r.Status != api.RolloutPromoted || s.share(version) != 100 {
		s.t.Fatalf("%s is %s with %d %%: %s", version, r.Status, s.share(version), r.Reason)
	}
	return r.ID
}

// goBack is a person's order.
func (s *stage) goBack(of, to string) (api.Rollout, error) {
	s.t.Helper()
	s.acquire()
	return s.ctl.Rollback(s.t.Context(), rollout.Return{Namespace: namespace, Actor: "grace", Of: of, To: to, Reason: "customers call"})
}

func (s *stage) mustGoBack(of, to string) api.Rollout {
	s.t.Helper()
	r, err := s.goBack(of, to)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// finish carries a rollback out and ends its watch.
func (s *stage) finish(r api.Rollout) api.Rollout {
	s.t.Helper()
	if r = s.pass(r.ID, 0); r.Status != api.RolloutWatching {
		s.t.Fatalf("it is %s: %s", r.Status, r.Reason)
	}
	s.tell(r.ID, api.CommandPromote)
	s.pass(r.ID, time.Second)
	return s.pass(r.ID, rollout.DefaultWindow)
}

func TestAPromotedVersionIsGoneBackFromWatchedAndJudged(t *testing.T) {
	s := late(t, 101)
	s.past(time.Minute)
	id := s.promote("v2")
	s.past(2 * time.Minute) // nobody owns it any more, and it breaks
	r := s.mustGoBack("shop", "")
	if r.Back == nil || r.Back.Of != id || r.Plan.Canary != "v1" || r.Plan.Control != "v2" || !slices.Equal(r.Plan.Steps, []int{100}) {
		t.Fatalf("it goes back from %s to %s in %v: %+v", r.Plan.Control, r.Plan.Canary, r.Plan.Steps, r.Back)
	}
	if r = s.pass(r.ID, 0); r.Status != api.RolloutWatching || s.share("v1") != 100 {
		t.Fatalf("after a step it is %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	r = s.run(r.ID)
	if r.Status != api.RolloutPromoted || s.share("v1") != 100 || s.share("v2") != 0 {
		t.Fatalf("ended %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	if r.Outcome.Effect != assay.EffectHelped {
		t.Errorf("going back is judged %s: %s", r.Outcome.Effect, r.Outcome.Reason)
	}
	if took := r.Ended.Sub(r.Watch.Began); took < time.Minute {
		t.Errorf("without a declared watch it was watched for %s, not for the baseline", took)
	}
	started := s.facts(assay.FactRolloutStarted)
	if p := payload[rollout.StartedPayload](t, started[1]); p.Back == nil || p.Back.Reason != "customers call" || !slices.Contains(started[1].Causes, s.rollout(id).EndedFact) {
		t.Errorf("the fact says %+v, caused by %v", p.Back, started[1].Causes)
	}
	s.replays()
}

func TestAPlanMayWantItsRollbackInSteps(t *testing.T) {
	s := late(t, 102)
	s.past(time.Minute)
	s.promote("v2", func(p *rollout.Proposal) { p.BackSteps = []int{20, 100} })
	s.past(90 * time.Second)
	r := s.mustGoBack("shop", "")
	if r = s.pass(r.ID, 0); r.Status != api.RolloutRunning || s.share("v1") != 20 {
		t.Fatalf("after a step it is %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	if r = s.run(r.ID); r.Status != api.RolloutPromoted || s.share("v1") != 100 {
		t.Errorf("ended %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
}

func TestHarmAfterARollbackAsksAPersonInsteadOfGoingForwardAgain(t *testing.T) {
	s := late(t, 103)
	s.past(time.Minute)
	s.promote("v2")
	s.past(90 * time.Second)
	s.finish(s.mustGoBack("shop", "")) // v1 has the traffic, and v2 is the bad one
	s.promote("v3")
	s.past(time.Minute)
	r := s.mustGoBack("shop", "v2") // a person's mistake
	for r = s.pass(r.ID, 0); r.Status == api.RolloutWatching; r = s.pass(r.ID, 250*time.Millisecond) {
	}
	if r.Status != api.RolloutAsking || s.share("v2") != 100 {
		t.Errorf("it is %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
}

// gated is a door that does not let some versions in.
type gated struct {
	*memoryDoor
	out map[string]string
}

func (d *gated) StatusOf(ctx context.Context, service string) (enforce.Status, error) {
	st, err := d.memoryDoor.StatusOf(ctx, service)
	for i := range st.Routes {
		for k := range st.Routes[i].Versions {
			v := &st.Routes[i].Versions[k]
			if why := d.out[v.Name]; why != "" {
				v.Refusal = &enforce.Refusal{Step: 6, Name: "revocation", Detail: why}
			}
		}
	}
	return st, err
}

// guarded has a door before the stage that knows v1 to v3.
func (s *stage) guarded() *gated {
	s.t.Helper()
	d := &gated{memoryDoor: newDoor(s.t), out: map[string]string{}}
	conf := d.state.Config
	conf.Routes = slices.Clone(conf.Routes)
	conf.Routes[0].Versions = append(slices.Clone(conf.Routes[0].Versions), enforce.Version{Name: "v3", Digest: digest("v3"), Backend: "http://127.0.0.1:3"})
	next, _, _, err := d.state.Replace(enforce.Replacement{Generation: 1, Key: "v3", Config: conf}, began)
	if err != nil {
		s.t.Fatal(err)
	}
	d.state = next
	s.front(d)
	return d
}

func TestARollbackPassesOverWhatMayNotBeEntered(t *testing.T) {
	s := late(t, 104)
	d := s.guarded()
	s.promote("v2")
	s.promote("v3")
	d.out["v2"] = "the attestation was revoked"
	r := s.mustGoBack("shop", "")
	if r.Plan.Canary != "v1" || len(r.Back.Passed) != 1 || r.Back.Passed[0].Version != "v2" || !strings.Contains(r.Back.Passed[0].Reason, "the attestation was revoked") {
		t.Fatalf("it goes back to %s and passes over %+v", r.Plan.Canary, r.Back.Passed)
	}
	if r.Digest != digest("v1") {
		t.Errorf("what no rollout brought is %s, and the enforcer has it running %s", r.Digest, digest("v1"))
	}
	s.finish(r)
	if s.share("v1") != 100 {
		t.Errorf("v1 has %d %%", s.share("v1"))
	}
	if _, err := s.goBack("shop", "v2"); assay.CodeOf(err) != assay.CodeDenied || !strings.Contains(err.Error(), "the attestation was revoked") {
		t.Errorf("a person who names it gets %v", err)
	}
	if r, err := s.goBack("shop", ""); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "v3: rollback ") || !strings.Contains(err.Error(), "v2: the enforcer") {
		t.Errorf("with nothing left it goes back to %s, %v", r.Plan.Canary, err)
	}
}

func TestARollbackDoesNotTakeAnotherArtifactForTheOldVersion(t *testing.T) {
	s := late(t, 105)
	d := s.guarded()
	s.promote("v2")
	s.promote("v3")
	conf := d.state.Config
	conf.Routes = slices.Clone(conf.Routes)
	conf.Routes[0].Versions = slices.Clone(conf.Routes[0].Versions)
	conf.Routes[0].Versions[1].Digest = digest("v9")
	if _, err := d.Replace(t.Context(), enforce.Replacement{Generation: d.state.Generation, Key: "by hand", Config: conf}); err != nil {
		t.Fatal(err)
	}
	if r := s.mustGoBack("shop", ""); r.Plan.Canary != "v1" || !strings.Contains(r.Back.Passed[0].Reason, "the enforcer has it running") {
		t.Errorf("it goes back to %s and passes over %+v", r.Plan.Canary, r.Back.Passed)
	}
}

// shut lets nobody in any more.
type shut struct {
	*sim.World
	version string
}

func (w shut) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if a.Version == w.version {
		return act.Receipt{}, assay.Errorf(assay.CodeDenied, "version %s is refused entry: time: expired", a.Version)
	}
	return w.World.Apply(ctx, a)
}

func TestTheEnforcersRuleOfEntryHoldsForARollback(t *testing.T) {
	s := late(t, 106)
	s.promote("v2")
	r := s.mustGoBack("shop", "") // it could be entered when it was asked for
	s.actuator = shut{s.world, "v1"}
	s.restart()
	if r = s.pass(r.ID, 0); r.Status != api.RolloutRefused || s.share("v2") != 100 || !strings.Contains(r.Reason, "expired") {
		t.Errorf("it is %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
}

func TestWhatCannotBeGoneBackFromSaysWhatToDo(t *testing.T) {
	s := late(t, 107)
	for _, c := range []struct {
		what, of, to, words string
		code                assay.Code
		before              func()
	}{
		{"an unknown service", "cart", "", `no rollout "cart" and none of a service "cart"`, assay.CodeNotFound, func() {}},
		{"a running rollout", "shop", "", "assay rollout abort", assay.CodeConflict, func() { s.pass(s.propose(plan()).ID, 0) }},
		{"a service whose only rollout was aborted", "shop", "", "shop has nothing to go back to: v2: rollout ", assay.CodeConflict, func() {
			s.tell(s.rolloutID(), api.CommandAbort)
			s.pass(s.rolloutID(), time.Second)
			s.pass(s.rolloutID(), rollout.DefaultWindow)
		}},
		{"a version that never had the traffic", "shop", "v3", `"v3" never had all the traffic of shop`, assay.CodeConflict, func() { s.promote("v2") }},
		{"to where it is", "shop", "v2", "has all the traffic already", assay.CodeConflict, func() {}},
		{"a halted service", "shop", "", "the numbers look wrong", assay.CodeConflict, func() { s.halted = "the numbers look wrong" }},
	} {
		c.before()
		if r, err := s.goBack(c.of, c.to); assay.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s: it goes back to %q, %v", c.what, r.Plan.Canary, err)
		}
	}
	s.halted = ""
	first := s.rolloutID()
	s.promote("v3")
	if _, err := s.goBack(first, ""); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "v3 has all of it") {
		t.Errorf("a rollout whose version has no traffic any more gives %v", err)
	}
}

func TestAHaltThatComesAfterTheOrderHoldsTheRollback(t *testing.T) {
	s := late(t, 108)
	s.promote("v2")
	r := s.mustGoBack("shop", "")
	s.halted = "shop: hands off"
	for range 3 {
		r = s.pass(r.ID, time.Minute)
	}
	if r.Status != api.RolloutStarting || s.share("v1") != 0 || !strings.Contains(r.Reason, "hands off") {
		t.Fatalf("halted it is %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	s.halted = ""
	if r = s.pass(r.ID, 0); r.Status != api.RolloutWatching || s.share("v1") != 100 {
		t.Errorf("after the halt it is %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
}

func TestARollbackLeavesTrafficThatSomebodyElseMoved(t *testing.T) {
	s := late(t, 109)
	s.promote("v2")
	r := s.mustGoBack("shop", "")
	seen, err := s.world.Observe(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.world.Apply(t.Context(), assay.Action{Kind: assay.ActionFinish, Service: "shop", Version: "v3", Weight: 100, Key: "by-hand", Fence: seen.Generation}); err != nil {
		t.Fatal(err)
	}
	if r = s.pass(r.ID, 0); r.Status != api.RolloutFailed || s.share("v3") != 100 {
		t.Errorf("it is %s with %d %% on v3: %s", r.Status, s.share("v3"), r.Reason)
	}
}

// decided is a strategy's decision, and what it asks for.
func (s *stage) decided() rollout.Return {
	s.t.Helper()
	var cause assay.FactID
	err := s.store.Update(s.t.Context(), func(tx store.Tx) (err error) {
		cause, err = tx.Append(assay.Fact{
			Kind: assay.FactMitigationDecided, Version: 1, Time: s.world.Now(), Namespace: namespace, Service: "shop", Actor: "assay-mitigate", Retention: assay.RetainAudit, Payload: []byte("{}"),
		})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return rollout.Return{Namespace: namespace, Actor: "assay-mitigate", Of: "shop", Reason: "v2 fails", Cause: cause}
}

func TestThePlanSaysWhetherAStrategyMayGoBackByItself(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*rollout.Proposal)
		approved bool
		want     api.RolloutStatus
	}{
		{"a plan without a watch", func(*rollout.Proposal) {}, false, api.RolloutAsking},
		{"a watch that asks", func(p *rollout.Proposal) { p.Watch, p.OnHarm = time.Minute, api.AskOnHarm }, false, api.RolloutAsking},
		{"a watch that reverts", func(p *rollout.Proposal) { p.Watch = time.Minute }, false, api.RolloutWatching},
		{"a person said yes to the strategy", func(*rollout.Proposal) {}, true, api.RolloutWatching},
	} {
		s := late(t, 110)
		s.past(time.Minute)
		s.promote("v2", c.change)
		ask := s.decided()
		ask.Approved = c.approved
		r, err := s.ctl.Rollback(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if r = s.pass(r.ID, 0); r.Status != c.want {
			t.Errorf("%s: it is %s: %s", c.name, r.Status, r.Reason)
		}
		if c.want != api.RolloutAsking {
			continue
		}
		if _, err := s.ctl.Approve(t.Context(), namespace, r.ID, "grace", "seen it"); err != nil {
			t.Fatal(err)
		}
		if r = s.pass(r.ID, 0); r.Status != api.RolloutWatching || s.share("v1") != 100 {
			t.Errorf("%s: after the yes it is %s: %s", c.name, r.Status, r.Reason)
		}
	}
}

func TestWhatAStrategyAskedForDoesNotWaitForEver(t *testing.T) {
	for name, change := range map[string]func(*rollout.Proposal){
		"for a yes":        func(*rollout.Proposal) {},
		"for the enforcer": func(p *rollout.Proposal) { p.Watch = time.Minute },
	} {
		s := late(t, 111)
		world := &away{World: s.world}
		s.actuator = world
		s.restart()
		s.past(time.Minute)
		s.promote("v2", change)
		r, err := s.ctl.Rollback(t.Context(), s.decided())
		if err != nil {
			t.Fatal(err)
		}
		world.kinds = []assay.ActionKind{assay.ActionFinish}
		for range 20 {
			if _, err := s.world.Step(time.Minute); err != nil {
				t.Fatal(err)
			}
			s.acquire()
			_ = s.ctl.Step(t.Context(), namespace, r.ID) // unavailable, which is what is tested
		}
		world.kinds = nil
		if r = s.pass(r.ID, time.Second); r.Status != api.RolloutAborted || s.share("v2") != 100 {
			t.Errorf("%s: it is %s with %d %% on v2: %s", name, r.Status, s.share("v2"), r.Reason)
		}
	}
}

func TestARollbackThatDiesAnywhereIsDoneOnce(t *testing.T) {
	s := late(t, 112)
	s.past(time.Minute)
	s.promote("v2", func(p *rollout.Proposal) { p.Watch = 20 * time.Second })
	world := &lossy{World: s.world}
	s.actuator = world
	s.restart()
	ask := s.decided()
	r, err := s.ctl.Rollback(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		world.lose = 1
		got, err := s.world.Step(250 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		s.readings = append(s.readings, got...)
		s.restart() // whoever asked did not hear that it was recorded, and asks again
		again, err := s.ctl.Rollback(t.Context(), ask)
		if err != nil || again.ID != r.ID {
			t.Fatalf("asked again it is %s, not %s: %v", again.ID, r.ID, err)
		}
		if err := s.ctl.Step(t.Context(), namespace, r.ID); err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
			t.Fatal(err)
		}
		world.lose = 0
		s.restart() // and whoever acted died before the receipt
		if err := s.ctl.Step(t.Context(), namespace, r.ID); err != nil {
			t.Fatal(err)
		}
		if s.rollout(r.ID).Status.Ended() {
			break
		}
	}
	moved := 0
	for _, f := range s.facts(assay.FactRolloutActed) {
		if p := payload[rollout.ActedPayload](t, f); f.DeploymentID == r.ID && p.Action.From != p.Action.Weight {
			moved++
		}
	}
	if n := len(s.facts(assay.FactRolloutStarted)); n != 2 || moved != 1 || s.rollout(r.ID).Status != api.RolloutPromoted || s.share("v1") != 100 {
		t.Errorf("%d rollouts, %d moves, %s with %d %% on v1", n, moved, s.rollout(r.ID).Status, s.share("v1"))
	}
}

// sole fails when an action comes of anybody but the one rollout that is open.
type sole struct {
	*lossy
	s *stage
}

func (w sole) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	open, err := rollout.OpenOf(ctx, w.s.store, namespace, a.Service)
	if err != nil {
		return act.Receipt{}, err
	}
	if len(open) != 1 || !strings.HasPrefix(a.Key, "rollout/"+open[0].ID+"/") {
		w.s.t.Errorf("%s acts while %d rollouts are open", a.Key, len(open))
	}
	return w.lossy.Apply(ctx, a)
}

// Whatever people, strategies and crashes do in whatever order: a service's weights are
// moved by one rollout at a time, and one version ends up with all of them.
func TestOneActorAtATimeMovesTheWeightsOfAService(t *testing.T) {
	backs := 0
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 8))
		s := late(t, 200+seed)
		world := &lossy{World: s.world}
		s.actuator = sole{world, s}
		s.restart()
		var asks []rollout.Return
		for range 120 {
			list, err := rollout.List(t.Context(), s.store, namespace, 3)
			if err != nil {
				t.Fatal(err)
			}
			id := "none"
			if len(list) > 0 {
				id = list[rng.IntN(len(list))].ID
			}
			s.acquire()
			switch version := fmt.Sprintf("v%d", 1+rng.IntN(3)); []int{0, 1, 2, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8}[rng.IntN(13)] {
			case 0:
				p := s.proposal()
				p.Canary, p.Digest, p.Backend, p.Watch = version, digest(version), "", time.Duration(rng.IntN(2))*time.Minute
				_, _ = s.ctl.Propose(t.Context(), p) // refused as often as not
			case 1:
				if len(asks) == 0 || rng.IntN(2) == 0 {
					asks = append(asks, s.decided())
				}
				_, _ = s.ctl.Rollback(t.Context(), asks[rng.IntN(len(asks))])
			case 2:
				_, _ = s.goBack("shop", []string{"", version}[rng.IntN(2)])
			case 3:
				_, _ = s.ctl.Command(t.Context(), namespace, id, "grace", []string{api.CommandAbort, api.CommandPromote, api.CommandPromote}[rng.IntN(3)], "because")
			case 4:
				_, _ = s.ctl.Approve(t.Context(), namespace, id, "grace", "because")
			case 5:
				s.restart()
			case 6:
				world.lose = 1
			case 7:
				s.halted = "hands off"
			default:
				s.halted = ""
			}
			got, err := s.world.Step(time.Duration(1+rng.IntN(4000)) * time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			s.readings = append(s.readings[max(0, len(s.readings)-300):], got...)
			s.acquire()
			for _, r := range list {
				_ = s.ctl.Step(t.Context(), namespace, r.ID) // answers are lost on purpose
			}
		}
		s.halted, world.lose = "", 0
		open, err := rollout.OpenOf(t.Context(), s.store, namespace, "shop")
		if err != nil || len(open) > 1 {
			t.Fatalf("seed %d: %d rollouts are open, %v", seed, len(open), err)
		}
		for _, r := range open {
			_, _ = s.ctl.Command(t.Context(), namespace, r.ID, "grace", api.CommandAbort, "the end")
			s.pass(r.ID, time.Second)
			s.pass(r.ID, time.Second)
		}
		if all := s.share("v1") + s.share("v2") + s.share("v3"); all != 100 || max(s.share("v1"), s.share("v2"), s.share("v3")) != 100 {
			t.Errorf("seed %d: the shares end as %d, %d and %d", seed, s.share("v1"), s.share("v2"), s.share("v3"))
		}
		for _, f := range s.facts(assay.FactRolloutStarted) {
			if payload[rollout.StartedPayload](t, f).Back != nil {
				backs++
			}
		}
	}
	if backs < 8 {
		t.Errorf("%d rollbacks in all: this tries little", backs)
	}
}

// slowEyes is looked at while something else happens: what it tells is from before that.
type slowEyes struct {
	*sim.World
	meanwhile func()
}

func (w *slowEyes) Observe(ctx context.Context, service string) (act.Observation, error) {
	seen, err := w.World.Observe(ctx, service)
	if f := w.meanwhile; f != nil {
		w.meanwhile = nil
		f()
	}
	return seen, err
}

func TestARollbackOfWhatWasSeenBeforeAnotherRolloutIsRefused(t *testing.T) {
	s := late(t, 113)
	world := &slowEyes{World: s.world}
	s.actuator = world
	s.restart()
	s.promote("v2")
	world.meanwhile = func() { s.promote("v3") }
	if r, err := s.goBack("shop", ""); assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "has ended meanwhile") {
		t.Errorf("it goes back from %s to %s, %v", r.Plan.Control, r.Plan.Canary, err)
	}
}

func TestOfOrdersAtTheSameTimeOneIsTaken(t *testing.T) {
	s := late(t, 114)
	s.promote("v2")
	taken := make(chan error)
	order := func(do func() (api.Rollout, error)) {
		_, err := do()
		taken <- err
	}
	ask := rollout.Return{Namespace: namespace, Actor: "grace", Of: "shop", Reason: "customers call"}
	p := s.proposal()
	p.Canary, p.Digest, p.Backend = "v3", digest("v3"), ""
	for range 4 {
		go order(func() (api.Rollout, error) { return s.ctl.Rollback(t.Context(), ask) })
		go order(func() (api.Rollout, error) { return s.ctl.Propose(t.Context(), p) })
	}
	n := 0
	for range 8 {
		switch err := <-taken; {
		case err == nil:
			n++
		case assay.CodeOf(err) != assay.CodeConflict:
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d of eight orders were taken", n)
	}
}
