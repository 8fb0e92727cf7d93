package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/replay"
)

// past lets the old version serve alone, so that there is something to compare with.
func (s *stage) past(d time.Duration) {
	s.t.Helper()
	for range int(d / (500 * time.Millisecond)) {
		got, err := s.world.Step(500 * time.Millisecond)
		if err != nil {
			s.t.Fatal(err)
		}
		s.readings = append(s.readings, got...)
	}
	s.acquire() // simulated time runs past leases
}

// start proposes a rollout that is changed first, and takes its first step.
func (s *stage) start(p decide.Plan, change func(*rollout.Proposal)) string {
	s.t.Helper()
	prop := rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: p, Canary: "v2", Baseline: time.Minute,
		Digest: assay.DigestOf([32]byte{2}), Indicators: []rollout.Indicator{{Spec: errorsSpec()}},
	}
	change(&prop)
	r, err := s.ctl.Propose(s.t.Context(), prop)
	if err != nil {
		s.t.Fatal(err)
	}
	s.pass(r.ID, 0)
	return r.ID
}

// blueGreen gives all the traffic at once and watches.
func blueGreen(watch time.Duration) func(*rollout.Proposal) {
	return func(p *rollout.Proposal) {
		p.Strategy, p.Watch, p.Plan.Steps = api.StrategyBlueGreen, watch, []int{100}
	}
}

func TestBlueGreenGivesTheTrafficBackWhenHarmShows(t *testing.T) {
	s := newStage(t, 21, 0.04)
	s.past(time.Minute)
	id := s.start(plan(), blueGreen(2*time.Minute))
	if r := s.rollout(id); r.Status != api.RolloutWatching || s.share("v2") != 100 {
		t.Fatalf("after the start: %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	r := s.run(id)
	if r.Status != api.RolloutReverted || s.share("v1") != 100 {
		t.Fatalf("ended %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	if took := r.Ended.Sub(r.Watch.Began); took > 20*time.Second {
		t.Errorf("4 %% errors against 1 %% are seen after %s", took)
	}
	if r.Outcome.Effect != assay.EffectHelped {
		t.Errorf("giving the traffic back is judged %s: %s", r.Outcome.Effect, r.Outcome.Reason)
	}
}

func TestBlueGreenIsPromotedWhenItsWatchIsOver(t *testing.T) {
	s := newStage(t, 22, 0.01)
	s.past(time.Minute)
	id := s.start(plan(), blueGreen(40*time.Second))
	r := s.run(id)
	if r.Status != api.RolloutPromoted || s.share("v2") != 100 {
		t.Fatalf("ended %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	if took := r.Ended.Sub(r.Watch.Began); took < 40*time.Second {
		t.Errorf("the watch of 40s ended after %s", took)
	}
	// The control of every decision is the past, and each count of it is used once.
	if r.Control.Total > 1500*62 {
		t.Errorf("%d requests of a past of a minute at 1500/s were counted", r.Control.Total)
	}
}

func TestAFaultThatComesAfterThePromotionIsSeen(t *testing.T) {
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	s := newStage(t, 23, 0.01)
	world, err := sim.New(sim.Config{Seed: 23, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: 1500,
		Versions: []sim.Version{{Name: "v1", Weight: 100, Errors: 0.01, Latency: latency}, {Name: "v2", Errors: 0.01, Latency: latency}},
		Changes:  []sim.Change{{After: 3 * time.Minute, Version: "v2", Errors: 0.04, Latency: latency}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s.world, s.actuator = world, world
	s.restart()
	s.past(time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) { p.Watch = 10 * time.Minute })
	for r := s.rollout(id); r.Status != api.RolloutWatching; r = s.pass(id, 250*time.Millisecond) {
		if r.Status.Ended() || s.world.Now().Sub(began) > 3*time.Minute {
			t.Fatalf("it is not watched: %s: %s", r.Status, r.Reason)
		}
	}
	r := s.run(id)
	if r.Status != api.RolloutReverted || s.share("v1") != 100 {
		t.Fatalf("ended %s with %d %% on v1: %s", r.Status, s.share("v1"), r.Reason)
	}
	if late := r.Ended.Sub(began.Add(3 * time.Minute)); late < 0 || late > time.Minute {
		t.Errorf("the fault that began at 3m was seen %s later", late)
	}
}

func TestTheWatchAsksWhereThePlanSaysSo(t *testing.T) {
	s := newStage(t, 24, 0.04)
	s.past(time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) {
		blueGreen(2 * time.Minute)(p)
		p.OnHarm = api.AskOnHarm
	})
	r := s.rollout(id)
	for i := 0; r.Status == api.RolloutWatching && i < 200; i++ {
		r = s.pass(id, 250*time.Millisecond)
	}
	if r.Status != api.RolloutAsking || s.share("v2") != 100 {
		t.Fatalf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", api.CommandAbort, "seen it"); err != nil {
		t.Fatal(err)
	}
	if r = s.pass(id, time.Second); r.Status != api.RolloutReverted || s.share("v1") != 100 {
		t.Errorf("after the person said so: %s with %d %% on v1", r.Status, s.share("v1"))
	}
}

func TestAPersonEndsTheWatch(t *testing.T) {
	s := newStage(t, 25, 0.01)
	s.past(time.Minute)
	id := s.start(plan(), blueGreen(time.Hour))
	s.pass(id, time.Second)
	if _, err := s.ctl.Propose(t.Context(), rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: plan(), Canary: "v1", Indicators: []rollout.Indicator{{Spec: errorsSpec()}}}); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("another rollout while one is watched gives %v", err)
	}
	if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", api.CommandPromote, "the fix is next"); err != nil {
		t.Fatal(err)
	}
	if r := s.pass(id, time.Second); r.Status != api.RolloutPromoted || s.share("v2") != 100 {
		t.Errorf("status %s with %d %% on v2", r.Status, s.share("v2"))
	}
}

// memoryDoor is an enforcer's state machine without its sockets.
type memoryDoor struct {
	mu      sync.Mutex
	state   enforce.State
	between func(*memoryDoor) // what somebody else does between a reading and its change
}

func newDoor(t *testing.T) *memoryDoor {
	t.Helper()
	conf := enforce.Config{Routes: []enforce.Route{{
		Name: "shop", Service: "shop", Entry: enforce.Entry{ResourceURI: "pkg:generic/shop"},
		Versions: []enforce.Version{
			{Name: "v1", Digest: assay.DigestOf([32]byte{1}), Backend: "http://127.0.0.1:1", Weight: 100},
			{Name: "v2", Digest: assay.DigestOf([32]byte{2}), Backend: "http://127.0.0.1:2"},
		},
	}}}
	state, err := enforce.NewState(conf)
	if err != nil {
		t.Fatal(err)
	}
	return &memoryDoor{state: state}
}

func (d *memoryDoor) StatusOf(context.Context, string) (enforce.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := enforce.Status{Revision: d.state.Revision()}
	for _, r := range d.state.Config.Routes {
		rs := enforce.RouteStatus{Name: r.Name, Service: r.Service, Mode: assay.ModeEnforce}
		for _, v := range r.Versions {
			rs.Versions = append(rs.Versions, enforce.VersionStatus{Name: v.Name, Digest: v.Digest, Backend: v.Backend})
		}
		out.Routes = append(out.Routes, rs)
	}
	return out, nil
}

func (d *memoryDoor) Config(context.Context) (enforce.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	conf := d.state.Config
	if f := d.between; f != nil {
		d.between = nil
		f(d)
	}
	return conf, nil
}

func (d *memoryDoor) Replace(_ context.Context, r enforce.Replacement) (enforce.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next, receipt, replayed, err := d.state.Replace(r, began)
	if err == nil {
		d.state = next
	}
	return enforce.Answer{Receipt: receipt, Replayed: replayed}, err
}

func (d *memoryDoor) route() enforce.Route {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Config.Routes[0]
}

const mirrorIndicator = "mirror-answers"

func mirroredBy(percent int) func(*rollout.Proposal) {
	return func(p *rollout.Proposal) {
		p.Strategy, p.Mirror = api.StrategyMirrored, &enforce.Mirror{Version: "v2", Percent: percent}
		p.After, p.Sources = p.Plan.Indicators, p.Indicators
		p.Plan.Steps = []int{percent, 100}
		p.Plan.Indicators = []decide.Indicator{{Name: mirrorIndicator, Weight: 1, Required: true}}
		p.Indicators = []rollout.Indicator{{Spec: signal.Spec{Service: "shop", Name: mirrorIndicator, Bad: "worse", Total: "pairs"}}}
		p.Watch = 30 * time.Second
	}
}

// copies lets time pass in which v2 gets copies that it answers worse, and v1 the others worse.
func (s *stage) copies(id string, seed uint64, worse, better float64) api.Rollout {
	s.t.Helper()
	var r api.Rollout
	for i := range 600 {
		now := s.world.Now()
		w := replay.World{Service: "shop", Errors: mirrorIndicator, Step: 250 * time.Millisecond}
		got := w.Draw(seed+uint64(i), now, 1, replay.Arm{Version: "v1", Rate: 300, Errors: better}, replay.Arm{Version: "v2", Rate: 300, Errors: worse})
		s.readings = append(s.readings, got...)
		if r = s.pass(id, 250*time.Millisecond); r.Status != api.RolloutRunning {
			return r
		}
	}
	s.t.Fatalf("copies decide nothing: %s", r.Reason)
	return r
}

func TestAMirroredVersionThatAnswersWorseNeverGetsTraffic(t *testing.T) {
	s := newStage(t, 31, 0.01)
	d := newDoor(t)
	s.behind(d)
	s.past(time.Minute)
	id := s.start(plan(), mirroredBy(50))
	if m := d.route().Mirror; m == nil || m.Version != "v2" || m.Percent != 50 {
		t.Fatalf("the door copies %+v", m)
	}
	if r := s.rollout(id); r.Status != api.RolloutRunning || r.Weight != 0 {
		t.Errorf("%s at %d %%: %s", r.Status, r.Weight, r.Reason)
	}
	first := payload[rollout.ActedPayload](t, s.facts(assay.FactRolloutActed)[0])
	if !strings.Contains(first.Receipt.Detail, "50 % of the GET, HEAD requests are copied to v2") {
		t.Errorf("the receipt says %q", first.Receipt.Detail)
	}
	r := s.copies(id, 100, 0.03, 0.003)
	if r.Status != api.RolloutAborted || s.share("v2") != 0 || d.route().Mirror != nil {
		t.Fatalf("ended %s with %d %%, mirror %+v: %s", r.Status, s.share("v2"), d.route().Mirror, r.Reason)
	}
	for _, f := range s.facts(assay.FactRolloutActed) {
		if a := payload[rollout.ActedPayload](t, f); a.Receipt.Observed != 0 {
			t.Errorf("it had %d %% of the traffic", a.Receipt.Observed)
		}
	}
}

func TestAMirroredVersionThatAnswersAlikeIsPromotedAndWatched(t *testing.T) {
	s := newStage(t, 32, 0.01)
	d := newDoor(t)
	s.behind(d)
	s.past(time.Minute)
	id := s.start(plan(), mirroredBy(100-1))
	r := s.copies(id, 900, 0.01, 0.01)
	if r.Status != api.RolloutWatching || s.share("v2") != 100 || d.route().Mirror != nil {
		t.Fatalf("status %s with %d %%, mirror %+v: %s", r.Status, s.share("v2"), d.route().Mirror, r.Reason)
	}
	if r = s.run(id); r.Status != api.RolloutPromoted {
		t.Errorf("ended %s: %s", r.Status, r.Reason)
	}
}

func TestAnABTestMovesNoWeights(t *testing.T) {
	s := newStage(t, 33, 0.01)
	d := newDoor(t)
	s.behind(d)
	s.past(time.Minute)
	match := enforce.Match{Header: "Beta", Value: "yes", Version: "v2"}
	id := s.start(plan(), func(p *rollout.Proposal) {
		p.Strategy, p.Match, p.Plan.Steps = api.StrategyAB, &match, []int{20, 100}
	})
	if got := d.route().Matches; !slices.Equal(got, []enforce.Match{match}) {
		t.Fatalf("the door's rules are %+v", got)
	}
	for i := range 400 {
		w := replay.World{Service: "shop", Errors: sim.IndicatorErrors, Step: 250 * time.Millisecond}
		now := s.world.Now()
		if _, err := s.world.Step(250 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		s.readings = append(s.readings, w.Draw(uint64(i), now, 1, replay.Arm{Version: "v1", Rate: 1200, Errors: 0.01}, replay.Arm{Version: "v2", Rate: 300, Errors: 0.05})...)
		r := s.pass(id, 0)
		if s.share("v2") != 0 {
			t.Fatalf("v2 has %d %%", s.share("v2"))
		}
		if r.Status.Ended() {
			if r.Status != api.RolloutAborted || len(d.route().Matches) != 0 {
				t.Errorf("ended %s with the rules %+v", r.Status, d.route().Matches)
			}
			if r.Observed == nil || *r.Observed < 0.15 || *r.Observed > 0.25 {
				t.Errorf("observed share %v, want about 0.2", r.Observed)
			}
			return
		}
	}
	t.Fatal("5 % against 1 % errors decide nothing")
}

func TestWhatSomebodyElseDoesToTheDoorIsNotUndone(t *testing.T) {
	s := newStage(t, 34, 0.01)
	d := newDoor(t)
	s.behind(d)
	revoked := assay.DigestOf([32]byte{9})
	d.between = func(d *memoryDoor) {
		conf := d.state.Config
		conf.Revoked = []assay.Digest{revoked}
		next, _, _, err := d.state.Replace(enforce.Replacement{Generation: 1, Key: "revocation", Config: conf}, began)
		if err != nil {
			t.Error(err)
		}
		d.state = next
	}
	s.start(plan(), mirroredBy(50))
	if d.route().Mirror == nil || !slices.Contains(d.state.Config.Revoked, revoked) {
		t.Errorf("of two changes at once one is lost: mirror %+v, revoked %v", d.route().Mirror, d.state.Config.Revoked)
	}
}

func TestAPersonsPromotionIsNotForgottenWhileTheEnforcerIsAway(t *testing.T) {
	s := newStage(t, 35, 0.01)
	world := &away{World: s.world}
	s.actuator = world
	s.restart()
	p := plan()
	id := s.propose(p).ID
	s.pass(id, 0)
	world.kinds = []assay.ActionKind{assay.ActionFinish}
	if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", api.CommandPromote, "the fix must go out"); err != nil {
		t.Fatal(err)
	}
	for range 40 { // four times as long as a decision stays fresh
		if _, err := s.world.Step(p.MaxAge / 10); err != nil {
			t.Fatal(err)
		}
		s.acquire()
		_ = s.ctl.Step(t.Context(), namespace, id) // unavailable, which is what is tested
	}
	world.kinds = nil
	if r := s.pass(id, time.Second); r.Status != api.RolloutPromoted || s.share("v2") != 100 {
		t.Errorf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
}

func TestRolloutsOfTwoServicesOfANamespaceDoNotWaitForEachOther(t *testing.T) {
	s := newStage(t, 36, 0.01)
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	versions := []sim.Version{{Name: "v1", Weight: 100, Errors: 0.01, Latency: latency}, {Name: "v2", Errors: 0.01, Latency: latency}}
	world, err := sim.New(sim.Config{Seed: 36, Start: began, Services: []sim.Service{{Name: "shop", Rate: 100, Versions: versions}, {Name: "cart", Rate: 100, Versions: versions}}})
	if err != nil {
		t.Fatal(err)
	}
	s.world, s.actuator = world, world
	s.restart()
	for _, service := range []string{"shop", "cart"} {
		p := plan()
		p.Service = service
		if _, err := s.ctl.Propose(t.Context(), rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: p, Canary: "v2", Indicators: []rollout.Indicator{{Spec: errorsSpec()}}}); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func TestTheOldVersionIsHeldAgainstItselfBeforeARolloutBegins(t *testing.T) {
	s := newStage(t, 37, 0.01)
	s.past(2 * time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) { p.Baseline = 2 * time.Minute })
	started := payload[rollout.StartedPayload](t, s.facts(assay.FactRolloutStarted)[0])
	c := started.Plan.Indicators[0].Calibration
	if c == nil || c.Slots < 60 || c.Runs == 0 || c.High <= c.Low {
		t.Fatalf("the fact has the calibration %+v", c)
	}
	if c.Dispersion > 1.5 {
		t.Errorf("independent errors have a dispersion of %.2f", c.Dispersion)
	}
	if got := s.rollout(id).Plan.Indicators[0].Calibration; fmt.Sprint(got) != fmt.Sprint(c) {
		t.Errorf("the rollout shows %+v, the fact says %+v", got, c)
	}
}

func TestStrategiesThatCannotBeAreRefused(t *testing.T) {
	s := newStage(t, 38, 0.01)
	for name, change := range map[string]func(*rollout.Proposal){
		"blue/green without a watch":  blueGreen(0),
		"a watch of a month":          func(p *rollout.Proposal) { p.Watch = 31 * 24 * time.Hour },
		"a mirror without a door":     mirroredBy(50),
		"a mirror with other rules":   func(p *rollout.Proposal) { p.Mirror = &enforce.Mirror{Version: "v2", Percent: 1} },
		"steps that begin at the end": func(p *rollout.Proposal) { p.Plan.Steps = []int{100} },
	} {
		p := rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: plan(), Canary: "v2", Baseline: time.Minute, Indicators: []rollout.Indicator{{Spec: errorsSpec()}}}
		change(&p)
		if _, err := s.ctl.Propose(t.Context(), p); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
