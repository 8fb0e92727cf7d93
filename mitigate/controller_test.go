package mitigate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/mem"
)

// board is a stage on which a controller runs: numbers are what it is told.
type board struct {
	t       *testing.T
	s       mitigate.Strategy
	store   *mem.Store
	blobs   store.Blobs
	world   *sim.World
	ctl     *mitigate.Controller
	now     time.Time
	values  map[string]float64 // by query
	age     time.Duration
	halted  string
	guard   func(ctx context.Context, namespace, environment, plan string) decide.Guard
	changes []mitigate.Change
	aborted []string
	asked   []mitigate.TakeBack
	wayBack error // why there is none; nil: to v1
	told    map[assay.FactID]bool
	late    error  // what is spent cannot be read now
	instead string // why what is spent is read from the second source; empty if it is not
	lose    bool   // the next answer of whoever carries rollouts out
	door    act.Actuator
}

func (b *board) Gauge(_ context.Context, q signal.GaugeQuery) ([]signal.Gauge, error) {
	if v, ok := b.values[q.Expr]; ok {
		return []signal.Gauge{{Value: v, Time: q.Time.Add(-b.age), Completeness: 1}}, nil
	}
	return nil, nil
}

func (b *board) Past(_ context.Context, _, _ string, start, end time.Time, step time.Duration) ([]float64, error) {
	out := make([]float64, end.Sub(start)/step)
	for i := range out {
		out[i] = math.NaN()
	}
	return out, nil
}

func (b *board) Changes(context.Context, string, string) ([]mitigate.Change, error) {
	return b.changes, nil
}

func (b *board) WayBack(context.Context, string, string) (string, error) { return "v1", b.wayBack }

func (b *board) Answered(_ context.Context, _ string, cause assay.FactID) (bool, error) {
	return b.told[cause], nil
}

func (b *board) TakeBack(_ context.Context, t mitigate.TakeBack) (string, error) {
	b.asked = append(b.asked, t)
	if b.told[t.Cause] {
		return "as before", nil
	}
	b.told = map[assay.FactID]bool{t.Cause: true}
	b.aborted = append(b.aborted, t.Version)
	if b.lose {
		b.lose = false
		return "", assay.Errorf(assay.CodeUnavailable, "the answer was lost")
	}
	b.changes = nil
	return "done", nil
}

// halts are the kill switches of the board: everywhere, or of the scope that a colon ends.
func (b *board) halts(namespace, service string) []decide.Halt {
	switch scope, why, _ := strings.Cut(b.halted, ": "); {
	case b.halted == "":
		return nil
	case scope == decide.HaltService:
		if name, why, _ := strings.Cut(why, ": "); name == service {
			return []decide.Halt{{Scope: scope, Name: name, Reason: why}}
		}
		return nil
	case scope == decide.HaltNamespace:
		if name, why, _ := strings.Cut(why, ": "); name == namespace {
			return []decide.Halt{{Scope: scope, Name: name, Reason: why}}
		}
		return nil
	}
	return []decide.Halt{{Scope: decide.HaltGlobal, Reason: b.halted}}
}

func newBoard(t *testing.T, example string, levers ...act.LeverAt) *board {
	t.Helper()
	r := exampleStrategy(t, example)
	blobs, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &board{t: t, s: r, blobs: blobs, now: noon, values: map[string]float64{}}
	b.store = mem.New(mem.Config{Now: func() time.Time { return b.now }})
	world, err := sim.New(sim.Config{Seed: 1, Start: noon, Services: []sim.Service{{
		Name: r.Spec.Service, Rate: 1, Versions: []sim.Version{{Name: "v1", Weight: 90, Latency: sim.Latency{Median: time.Millisecond}}, {Name: "v2", Weight: 10, Latency: sim.Latency{Median: time.Millisecond}}}, Levers: levers,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b.world, b.door = world, world
	b.restart()
	return b
}

func exampleStrategy(t *testing.T, name string) mitigate.Strategy {
	t.Helper()
	s := example(t, name).s
	s.Namespace = "default"
	s.Spec.Levers = nil // the board's one world is the door of all
	return s
}

func (b *board) restart() {
	b.t.Helper()
	b.ctl = b.controller(b.declared)
	if err := b.ctl.Acquire(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *board) declared() ([]mitigate.Strategy, assay.Digest, error) {
	return []mitigate.Strategy{b.s}, "sha256:00", nil
}

func (b *board) controller(declared func() ([]mitigate.Strategy, assay.Digest, error), change ...func(*mitigate.Config)) *mitigate.Controller {
	conf := mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door, Rollouts: b, Strategies: declared,
		Guard: func(ctx context.Context, namespace, environment, plan string) decide.Guard {
			if b.guard == nil {
				return nil
			}
			return b.guard(ctx, namespace, environment, plan)
		},
		Halted: b.halts, Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
	}
	for _, f := range change {
		f(&conf)
	}
	return mitigate.New(conf)
}

func (b *board) set(signal string, v float64) {
	for _, s := range b.s.Spec.Signals {
		if s.Name == signal {
			b.values[s.Query] = v
		}
	}
}

func (b *board) step(d time.Duration) api.StrategyStatus {
	b.t.Helper()
	b.now = b.now.Add(d)
	if err := b.ctl.Acquire(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.ctl.Step(b.t.Context()); err != nil && assay.CodeOf(err) != assay.CodeUnavailable {
		b.t.Fatal(err)
	}
	s, err := mitigate.Get(b.t.Context(), b.store, b.s.Namespace, b.s.Name)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *board) at(l assay.Lever) float64 {
	b.t.Helper()
	list, err := b.world.Levers(b.t.Context(), b.s.Spec.Service)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, x := range list {
		if x.Lever == l {
			return x.Value
		}
	}
	return math.NaN()
}

// newest are the records of the newest decision: of the choice, and of the law with it.
func (b *board) newest() (choice, law []byte) {
	b.t.Helper()
	decided := b.facts(assay.FactMitigationDecided)
	if len(decided) == 0 {
		b.t.Fatal("nothing is decided")
	}
	var p mitigate.DecidedPayload
	if err := json.Unmarshal(decided[len(decided)-1].Payload, &p); err != nil {
		b.t.Fatal(err)
	}
	return b.blob(p.Record), b.blob(p.Law)
}

func (b *board) blob(d assay.Digest) []byte {
	b.t.Helper()
	r, err := b.blobs.Open(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

func (b *board) facts(kinds ...string) (out []assay.Fact) {
	b.t.Helper()
	err := b.store.View(b.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: b.s.Namespace, Kinds: kinds, Limit: store.MaxLimit})
		for _, row := range rows {
			out = append(out, row.Fact)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

var replicas = act.LeverAt{Lever: assay.LeverReplicas, Value: 5}

func TestAStrategyMovesItsLeverAndWritesEverythingDown(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 1000)
	b.step(time.Second)
	for range 5 {
		b.step(20 * time.Second)
	}
	if got := b.at(assay.LeverReplicas); got < 25 {
		t.Fatalf("1000 requests/s at 40 each are served by %v replicas", got)
	}
	acted := b.facts(assay.FactMitigationActed)
	decided := b.facts(assay.FactMitigationDecided)
	if len(acted) == 0 || len(decided) == 0 {
		t.Fatalf("%d decisions and %d actions are recorded", len(decided), len(acted))
	}
	for _, f := range decided {
		var p mitigate.DecidedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		for _, blob := range []assay.Digest{p.Record, p.Law} {
			r, err := b.blobs.Open(t.Context(), blob)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if blob == p.Law {
				if _, same, err := mitigate.Replay(data); err != nil || !same {
					t.Errorf("the law replays: %t, %v", same, err)
				}
			} else if again, err := decide.Replay(data); err != nil || !again.Identical {
				t.Errorf("the choice replays: %t, %v", again.Identical, err)
			}
		}
	}
}

// What replicas cost is weighed against harm where somebody says what the budget is
// worth; a scenario and a running service weigh it alike.
func TestMoneyIsWeighedAgainstADeclaredWorthOfTheBudget(t *testing.T) {
	for _, worth := range []float64{0, 20000} {
		b := newBoard(t, "scale", replicas)
		b.s.Spec.BudgetWorth = worth
		b.restart()
		b.set("load", 1000)
		b.step(time.Second)
		data, _ := b.newest()
		if stated := bytes.Contains(data, []byte(`"budget_worth":20000`)); stated != (worth > 0) {
			t.Errorf("worth %v: the decision weighs money: %t", worth, stated)
		}
	}
}

func TestUnchangedDecisionsCoalesce(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 150)
	for range 60 {
		b.step(10 * time.Second)
	}
	if n := len(b.facts(assay.FactMitigationDecided)); n > 4 {
		t.Errorf("%d facts for sixty decisions that say the same in ten minutes", n)
	}
}

func TestAStrategyThatAsksDoesNothingUntilAPersonSaysYes(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Level = "approve"
	b.set("load", 1000)
	s := b.step(10 * time.Second)
	if s.Question == nil || b.at(assay.LeverReplicas) != 5 {
		t.Fatalf("it asks %v with %v replicas: %s", s.Question, b.at(assay.LeverReplicas), s.Decision.Words)
	}
	if _, err := b.ctl.Tell(t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: "approve", Question: s.QuestionID, Reason: "the sale has begun"}); err != nil {
		t.Fatal(err)
	}
	want := s.Question.Want
	b.step(10 * time.Second)
	if got := b.at(assay.LeverReplicas); got != want {
		t.Errorf("%v was allowed, and there are %v", want, got)
	}
	told := b.facts(assay.FactMitigationTold)
	if len(told) != 1 || told[0].Actor != "grace" {
		t.Errorf("what grace said is recorded %d times", len(told))
	}
}

func TestAPausedStrategyAndAPulledKillSwitchDoNothing(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 150)
	b.step(10 * time.Second)
	if _, err := b.ctl.Tell(t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: "pause", Reason: "maintenance"}); err != nil {
		t.Fatal(err)
	}
	b.set("load", 2000)
	if s := b.step(10 * time.Second); b.at(assay.LeverReplicas) != 5 || !strings.Contains(s.Paused, "maintenance") {
		t.Errorf("paused (%s), and there are %v", s.Paused, b.at(assay.LeverReplicas))
	}
	if _, err := b.ctl.Tell(t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: "resume", Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	b.halted = "somebody pulled it"
	b.step(10 * time.Second)
	if b.at(assay.LeverReplicas) != 5 {
		t.Error("it acts with the kill switch pulled")
	}
	b.halted = ""
	b.step(10 * time.Second)
	if b.at(assay.LeverReplicas) == 5 {
		t.Error("it does nothing although all is lifted")
	}
}

func TestStaleTelemetryStopsAStrategy(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 2000)
	b.age = time.Minute
	if s := b.step(10 * time.Second); b.at(assay.LeverReplicas) != 5 || s.Decision.Action.Kind.Changes() {
		t.Errorf("it acts on what is a minute old: %s", s.Decision.Words)
	}
}

// lost takes an action and loses the answer.
type lost struct {
	*sim.World
	lose bool
}

func (l *lost) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	r, err := l.World.Apply(ctx, a)
	if err == nil && l.lose {
		l.lose = false
		return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "the answer was lost")
	}
	return r, err
}

func TestAnActionWhoseAnswerIsLostIsDoneOnce(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	l := &lost{World: b.world, lose: true}
	b.door = l
	b.restart()
	b.set("load", 300)
	b.step(10 * time.Second)
	first := b.at(assay.LeverReplicas)
	if n := len(b.facts(assay.FactMitigationActed)); n != 0 || first == 5 {
		t.Fatalf("%d actions are recorded, %v replicas", n, first)
	}
	b.restart() // another process finds it pending
	b.step(time.Second)
	if n := len(b.facts(assay.FactMitigationActed)); n != 1 || b.at(assay.LeverReplicas) != first {
		t.Errorf("%d actions are recorded, %v replicas of %v", n, b.at(assay.LeverReplicas), first)
	}
}

func TestARollbackAbortsTheRolloutThatIsUnderWay(t *testing.T) {
	b := newBoard(t, "rollback")
	b.changes = []mitigate.Change{{Time: noon, Version: "v2", Old: "v1", Open: true}}
	b.byVersion(map[string][2]float64{"v1": {80, 9000}, "v2": {60, 1000}})
	b.step(time.Minute)
	if len(b.aborted) != 1 || b.aborted[0] != "v2" {
		t.Errorf("aborted %v", b.aborted)
	}
}

// ended lets v2 be promoted, alone with the traffic, and fail.
func ended(b *board) {
	b.changes = []mitigate.Change{{Time: noon, Began: noon.Add(-time.Hour), Version: "v2", Old: "v1"}}
	b.byVersion(map[string][2]float64{"v2": {600, 9000}})
	seen, err := b.world.Observe(b.t.Context(), b.s.Spec.Service)
	if err != nil {
		b.t.Fatal(err)
	}
	all := assay.Action{Kind: assay.ActionFinish, Service: b.s.Spec.Service, Version: "v2", From: 10, Weight: 100, Key: "all", Fence: seen.Generation + 1}
	if _, err := b.world.Apply(b.t.Context(), all); err != nil {
		b.t.Fatal(err)
	}
}

func TestAPromotedVersionIsGoneBackFromOnceAPersonSaysYes(t *testing.T) {
	b := newBoard(t, "rollback")
	ended(b)
	s := b.step(time.Minute)
	if s.Decision.Action.Kind != assay.ActionAsk || len(b.asked) != 0 {
		t.Fatalf("all traffic is taken from a version without a question: %s %v", s.Decision.Words, s.Decision.Reasons)
	}
	if err := b.tell("approve", s.QuestionID); err != nil {
		t.Fatal(err)
	}
	b.lose = true // the answer of whoever carries rollouts out
	b.step(time.Second)
	if n := len(b.facts(assay.FactMitigationActed)); len(b.asked) != 1 || n != 0 {
		t.Fatalf("asked for %d rollbacks, %d actions recorded", len(b.asked), n)
	}
	b.step(time.Second)
	acted := b.facts(assay.FactMitigationActed)
	if len(b.aborted) != 1 || len(acted) != 1 || len(b.facts(assay.FactMitigationRefused)) != 0 {
		t.Fatalf("%d rollbacks began, %d actions recorded, %d refusals", len(b.aborted), len(acted), len(b.facts(assay.FactMitigationRefused)))
	}
	for _, ask := range b.asked {
		if ask.Version != "v2" || !ask.Approved || ask.Cause == "" {
			t.Errorf("it asks %+v", ask)
		}
	}
}

func TestARollbackWhoseAnswerIsLostIsNotDroppedWhenTheServiceIsHalted(t *testing.T) {
	b := newBoard(t, "rollback")
	ended(b)
	s := b.step(time.Minute)
	if err := b.tell("approve", s.QuestionID); err != nil {
		t.Fatal(err)
	}
	b.lose = true
	b.step(time.Second)
	b.halted = "hands off"
	b.step(time.Second)
	if len(b.facts(assay.FactMitigationRefused)) != 0 || len(b.facts(assay.FactMitigationActed)) != 1 || len(b.asked) != 1 {
		t.Errorf("%d refusals and %d actions are recorded of a rollback that was begun", len(b.facts(assay.FactMitigationRefused)), len(b.facts(assay.FactMitigationActed)))
	}
}

func TestWithoutAWayBackNothingIsAskedAndThatIsSaid(t *testing.T) {
	b := newBoard(t, "rollback")
	b.wayBack = assay.Errorf(assay.CodeConflict, "shop has nothing to go back to: v1: the attestation was revoked")
	ended(b)
	s := b.step(time.Minute)
	if s.Decision.Proposed != nil || !strings.Contains(s.Decision.Words+strings.Join(s.Decision.Reasons, " "), "v1: the attestation was revoked") {
		t.Errorf("it says %q %v", s.Decision.Words, s.Decision.Reasons)
	}
}

// byVersion lets the signals bad and total speak of versions.
func (b *board) byVersion(v map[string][2]float64) {
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: versions{b, v}, Actuator: b.door, Rollouts: b, Halted: b.halts,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
	})
}

type versions struct {
	*board
	of map[string][2]float64
}

func (v versions) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	i := 0
	if q.Expr == v.s.Spec.Signals[1].Query {
		i = 1
	}
	of := v.of
	if q.Time.Before(noon) { // before the changes of these tests
		of = map[string][2]float64{"v1": {80, 9000}}
	}
	for _, name := range []string{"v1", "v2"} {
		if _, has := of[name]; !has {
			continue
		}
		out = append(out, signal.Gauge{Scope: name, Value: of[name][i], Time: q.Time, Completeness: 1})
	}
	return out, nil
}

func TestWithoutADoorNothingIsDoneAndThatIsSaid(t *testing.T) {
	b := newBoard(t, "scale") // the world has no lever of the service
	b.set("load", 2000)
	s := b.step(10 * time.Second)
	if s.Decision.Action.Kind.Changes() {
		t.Errorf("it acts: %s", s.Decision.Words)
	}
	if !strings.Contains(s.Decision.Words+strings.Join(s.Decision.Reasons, " "), "nobody says where replicas stands") {
		t.Errorf("it does not say why: %s %v", s.Decision.Words, s.Decision.Reasons)
	}
}

func TestANewStrategyProvesItselfBeforeItActs(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: 10 * time.Minute,
	})
	b.set("load", 1000)
	s := b.step(10 * time.Second)
	if b.at(assay.LeverReplicas) != 5 || s.Effective != "approve" || !strings.Contains(s.Lowered, "inputs known for") {
		t.Fatalf("level %s (%s), %v replicas", s.Effective, s.Lowered, b.at(assay.LeverReplicas))
	}
	for range 64 {
		s = b.step(10 * time.Second)
	}
	if b.at(assay.LeverReplicas) == 5 || s.Effective != "act" {
		t.Errorf("after ten minutes of known inputs: level %s, %v replicas: %s", s.Effective, b.at(assay.LeverReplicas), s.Decision.Words)
	}
}

func TestAllowancesAndClearancesAreForTheirLawsOnly(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.set("load", 150)
	b.step(time.Second)
	for told, code := range map[string]assay.Code{
		"allow": assay.CodeConflict, "clear": assay.CodeConflict, "approve": assay.CodeConflict, "aprove": assay.CodeInvalid,
	} {
		_, err := b.ctl.Tell(t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: told, Reason: "because", Amount: 5, Source: "x"})
		if assay.CodeOf(err) != code {
			t.Errorf("%s gives %v, want %s", told, err, code)
		}
	}
	if _, err := b.ctl.Tell(t.Context(), b.s.Namespace, "nobody", "grace", api.StrategyAnswer{Told: "pause", Reason: "because"}); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("an unknown strategy gives %v", err)
	}
}
