package rollout_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/replay"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

const namespace = "shop"

// stage is a simulated world with a controller in front of it.
type stage struct {
	t        *testing.T
	world    *sim.World
	store    *mem.Store
	blobs    store.Blobs
	readings []assay.Reading
	actuator act.Actuator
	halted   string
	late     time.Duration // of lately
	ctl      *rollout.Controller
}

// Read implements signal.Source: what the world has counted so far. Of that a tape needs
// what lies in the interval: what was counted before would be copied for every question.
func (s *stage) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	var inside []assay.Reading
	for i := range s.readings {
		if r := &s.readings[i]; !r.Start.Before(q.Start) && !r.End.After(q.End) {
			inside = append(inside, *r)
		}
	}
	tape, err := replay.New(namespace, inside)
	if err != nil {
		return nil, err
	}
	return tape.Read(ctx, q)
}

var began = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// newStage has the old version at 1 % errors and a new one at canaryErrors.
func newStage(t *testing.T, seed uint64, canaryErrors float64) *stage {
	t.Helper()
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	world, err := sim.New(sim.Config{Seed: seed, Start: began, Services: []sim.Service{{
		Name: "shop", Rate: 1500, Versions: []sim.Version{
			{Name: "v1", Weight: 100, Errors: 0.01, Latency: latency}, {Name: "v2", Errors: canaryErrors, Latency: latency},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, world: world, store: mem.New(mem.Config{Now: world.Now}), blobs: blobs, actuator: world}
	s.restart()
	return s
}

// halts are the kill switches of the stage: everywhere, or of one service.
func (s *stage) halts(_, service string) []decide.Halt {
	if name, why, of := strings.Cut(s.halted, ": "); of {
		if name != service {
			return nil
		}
		return []decide.Halt{{Scope: decide.HaltService, Name: name, Reason: why}}
	}
	if s.halted == "" {
		return nil
	}
	return []decide.Halt{{Scope: decide.HaltGlobal, Reason: s.halted}}
}

// restart is another process over the same state.
func (s *stage) restart() {
	s.t.Helper()
	s.ctl = rollout.New(rollout.Config{
		Store: s.store, Blobs: s.blobs, Source: s, Actuator: s.actuator, Now: s.world.Now, Log: slog.New(slog.DiscardHandler),
		Halted: s.halts, Holder: "test",
	})
	s.acquire()
}

func (s *stage) acquire() {
	s.t.Helper()
	if err := s.ctl.Acquire(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func plan() decide.Plan {
	p := decide.NewPlan()
	p.Name, p.Service = "shop", "shop"
	p.Alpha, p.MinDuration, p.MaxAge = 0.0005, 3*time.Second, 5*time.Second
	p.Indicators = []decide.Indicator{{Name: sim.IndicatorErrors, Weight: 1, Required: true}}
	return p
}

func (s *stage) propose(p decide.Plan) api.Rollout {
	s.t.Helper()
	r, err := s.ctl.Propose(s.t.Context(), rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: p, Canary: "v2", Baseline: time.Minute,
		Digest: assay.DigestOf([32]byte{2}), Indicators: []rollout.Indicator{{Spec: errorsSpec()}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func errorsSpec() signal.Spec {
	return signal.Spec{Service: "shop", Name: sim.IndicatorErrors, Bad: "errors_total", Total: "requests_total"}
}

// pass lets time pass and evaluates.
func (s *stage) pass(id string, d time.Duration) api.Rollout {
	s.t.Helper()
	if d > 0 {
		got, err := s.world.Step(d)
		if err != nil {
			s.t.Fatal(err)
		}
		s.readings = append(s.readings, got...)
	}
	s.acquire() // simulated time runs past leases
	if err := s.ctl.Step(s.t.Context(), namespace, id); err != nil {
		s.t.Fatal(err)
	}
	return s.rollout(id)
}

func (s *stage) rollout(id string) api.Rollout {
	s.t.Helper()
	r, err := rollout.Get(s.t.Context(), s.store, namespace, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// run passes time until the rollout has ended and was judged.
func (s *stage) run(id string) api.Rollout {
	s.t.Helper()
	for range 4 * 600 {
		if r := s.pass(id, 250*time.Millisecond); r.Status.Ended() && (r.Outcome != nil || r.Began.IsZero()) {
			return r
		}
	}
	s.t.Fatalf("after ten simulated minutes the rollout is %+v", s.rollout(id))
	return api.Rollout{}
}

func (s *stage) facts(kinds ...string) (out []assay.Fact) {
	s.t.Helper()
	err := s.store.View(s.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: namespace, Kinds: kinds, Limit: store.MaxLimit})
		for _, row := range rows {
			out = append(out, row.Fact)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func payload[T any](t *testing.T, f assay.Fact) (p T) {
	t.Helper()
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *stage) share(version string) int {
	s.t.Helper()
	o, err := s.world.Observe(s.t.Context(), "shop")
	if err != nil {
		s.t.Fatal(err)
	}
	return o.Shares[version]
}

func TestABadVersionIsAbortedAndTheActionIsJudged(t *testing.T) {
	s := newStage(t, 1, 0.04)
	s.pass(s.propose(plan()).ID, 0)
	r := s.run(s.rolloutID())
	if r.Status != api.RolloutAborted || s.share("v2") != 0 || s.share("v1") != 100 {
		t.Fatalf("ended %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	if r.Canary.Total > 3000 || r.Canary.Total < 100 {
		t.Errorf("stopped after %d canary requests", r.Canary.Total)
	}
	if r.Outcome.Effect != assay.EffectHelped {
		t.Errorf("the abort is judged %s: %s", r.Outcome.Effect, r.Outcome.Reason)
	}
	kinds := map[string]int{}
	for _, f := range s.facts() {
		kinds[f.Kind]++
	}
	if kinds[assay.FactRolloutStarted] != 1 || kinds[assay.FactRolloutEnded] != 1 || kinds[assay.FactRolloutActed] != 2 || kinds[assay.FactRolloutJudged] != 1 {
		t.Errorf("facts: %v", kinds)
	}
}

func (s *stage) rolloutID() string {
	s.t.Helper()
	list, err := rollout.List(s.t.Context(), s.store, namespace, 1)
	if err != nil || len(list) != 1 {
		s.t.Fatal(list, err)
	}
	return list[0].ID
}

func TestAHealthyVersionIsPromotedStepByStep(t *testing.T) {
	s := newStage(t, 2, 0.01)
	s.pass(s.propose(plan()).ID, 0)
	r := s.run(s.rolloutID())
	if r.Status != api.RolloutPromoted || s.share("v2") != 100 {
		t.Fatalf("ended %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	var weights []int
	for _, f := range s.facts(assay.FactRolloutActed) {
		weights = append(weights, payload[rollout.ActedPayload](t, f).Receipt.Observed)
	}
	if want := []int{10, 25, 50, 100}; !slices.Equal(weights, want) {
		t.Errorf("shares were %v, want %v", weights, want)
	}
	if r.Outcome.Effect == assay.EffectHarmed {
		t.Errorf("the promotion is judged %s: %s", r.Outcome.Effect, r.Outcome.Reason)
	}
}

func TestEveryRecordedDecisionReplaysToTheSameBytes(t *testing.T) {
	s := newStage(t, 3, 0.04)
	s.pass(s.propose(plan()).ID, 0)
	s.run(s.rolloutID())
	facts := s.facts(assay.FactRolloutDecided)
	if len(facts) == 0 {
		t.Fatal("no decision was recorded")
	}
	for _, f := range facts {
		p := payload[rollout.DecidedPayload](t, f)
		blob, err := s.blobs.Open(t.Context(), p.Record)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 0)
		buf := make([]byte, 4096)
		for {
			n, err := blob.Read(buf)
			data = append(data, buf[:n]...)
			if err != nil {
				break
			}
		}
		_ = blob.Close()
		again, err := decide.Replay(data)
		if err != nil || !again.Identical {
			t.Fatalf("decision %s: identical %v, %v", f.ID, again.Identical, err)
		}
	}
}

// lossy loses answers: the action was taken, and the caller hears nothing.
type lossy struct {
	*sim.World
	lose int
}

func (l *lossy) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	r, err := l.World.Apply(ctx, a)
	if err == nil && l.lose > 0 {
		l.lose--
		return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "the answer was lost")
	}
	return r, err
}

func TestAProcessThatDiesBetweenActionAndReceiptActsOnce(t *testing.T) {
	s := newStage(t, 4, 0.04)
	world := &lossy{World: s.world}
	s.actuator = world
	s.restart()
	id := s.propose(plan()).ID
	for r := s.pass(id, 0); !r.Status.Ended(); r = s.rollout(id) {
		world.lose = 1
		got, err := s.world.Step(250 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		s.readings = append(s.readings, got...)
		s.restart() // a new generation takes over, whatever was pending
		if err := s.ctl.Step(t.Context(), namespace, id); err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
			t.Fatal(err)
		}
		world.lose = 0
		if err := s.ctl.Step(t.Context(), namespace, id); err != nil {
			t.Fatal(err)
		}
	}
	aborts := 0
	for _, f := range s.facts(assay.FactRolloutActed) {
		if payload[rollout.ActedPayload](t, f).Action.Kind == assay.ActionAbort {
			aborts++
		}
	}
	if aborts != 1 || s.rollout(id).Status != api.RolloutAborted {
		t.Errorf("%d aborts are recorded, status %s", aborts, s.rollout(id).Status)
	}
}

func TestTheKillSwitchStopsEveryActionUntilItIsLifted(t *testing.T) {
	s := newStage(t, 5, 0.04)
	id := s.propose(plan()).ID
	s.halted = "somebody pulled the kill switch"
	if r := s.pass(id, time.Second); s.share("v2") != 0 || r.Status != api.RolloutStarting {
		t.Fatalf("the version got %d %% although nothing may be done", s.share("v2"))
	}
	s.halted = ""
	s.pass(id, 0)
	s.halted = "somebody pulled the kill switch"
	for range 60 {
		s.pass(id, time.Second)
	}
	r := s.rollout(id)
	if s.share("v2") != 10 || r.Status != api.RolloutAsking {
		t.Fatalf("with the kill switch pulled v2 has %d %%, status %s: %s", s.share("v2"), r.Status, r.Reason)
	}
	s.halted = ""
	if r := s.run(id); r.Status != api.RolloutAborted {
		t.Errorf("after the switch was lifted the rollout is %s", r.Status)
	}
}

func TestAPersonCanAbortAndPromote(t *testing.T) {
	for command, want := range map[string]api.RolloutStatus{api.CommandAbort: api.RolloutAborted, api.CommandPromote: api.RolloutPromoted} {
		s := newStage(t, 6, 0.01)
		id := s.propose(plan()).ID
		s.pass(id, 0)
		if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", command, "because"); err != nil {
			t.Fatal(err)
		}
		r := s.pass(id, time.Second)
		if r.Status != want {
			t.Fatalf("%s: status %s", command, r.Status)
		}
		told := payload[rollout.CommandedPayload](t, s.facts(assay.FactRolloutCommanded)[0])
		acted := s.facts(assay.FactRolloutActed)
		if told.Reason != "because" || !slices.Contains(acted[len(acted)-1].Causes, s.facts(assay.FactRolloutCommanded)[0].ID) {
			t.Errorf("%s: the action does not name the command %+v as its cause", command, told)
		}
		if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", command, "again"); assay.CodeOf(err) != assay.CodeConflict {
			t.Errorf("a command after the end gives %v", err)
		}
	}
}

func TestAServiceHasOneOpenRollout(t *testing.T) {
	s := newStage(t, 7, 0.01)
	s.propose(plan())
	_, err := s.ctl.Propose(t.Context(), rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: plan(), Canary: "v2", Indicators: []rollout.Indicator{{Spec: errorsSpec()}}})
	if assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("a second rollout gives %v", err)
	}
}

// denying refuses a version as an enforcer without its attestation does.
type denying struct{ *sim.World }

func (denying) Apply(context.Context, assay.Action) (act.Receipt, error) {
	return act.Receipt{}, assay.Errorf(assay.CodeDenied, "version v2 is refused: signature: no attestation")
}

func TestAVersionThatTheEnforcerDoesNotLetInIsRefused(t *testing.T) {
	s := newStage(t, 8, 0.01)
	s.actuator = denying{s.world}
	s.restart()
	r := s.pass(s.propose(plan()).ID, 0)
	if r.Status != api.RolloutRefused || len(s.facts(assay.FactRolloutRefused)) != 1 || s.share("v2") != 0 {
		t.Errorf("status %s (%s), %d facts", r.Status, r.Reason, len(s.facts(assay.FactRolloutRefused)))
	}
}

func TestWithoutTelemetryNothingIsPromotedOrAborted(t *testing.T) {
	s := newStage(t, 9, 0.04)
	id := s.propose(plan()).ID
	s.pass(id, 0)
	for range 120 {
		if _, err := s.world.Step(time.Second); err != nil { // traffic flows, telemetry does not
			t.Fatal(err)
		}
		s.acquire()
		if err := s.ctl.Step(t.Context(), namespace, id); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.rollout(id); r.Status != api.RolloutRunning || s.share("v2") != 10 || r.Decision.Action.Kind != assay.ActionHold {
		t.Errorf("status %s, %d %%: %s", r.Status, s.share("v2"), r.Reason)
	}
	// Unchanged evaluations coalesce: 120 of them became the first two and a heartbeat every minute.
	if n := len(s.facts(assay.FactRolloutDecided)); n > 6 {
		t.Errorf("%d facts for 120 evaluations that say the same", n)
	}
}

func TestAControllerThatLostItsLeaseWritesNothing(t *testing.T) {
	s := newStage(t, 10, 0.04)
	id := s.propose(plan()).ID
	old := s.ctl
	s.restart() // somebody else took over
	err := old.Step(t.Context(), namespace, id)
	if assay.CodeOf(err) != assay.CodeConflict || s.share("v2") != 0 {
		t.Errorf("the old owner's step gives %v and v2 has %d %%", err, s.share("v2"))
	}
}

func TestRunEndsWhenItIsTold(t *testing.T) {
	s := newStage(t, 11, 0.04)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.ctl.Run(ctx) }()
	stop()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
