package rollout_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// keeper is a door that keeps its state in memory.
type keeper struct {
	mu    sync.Mutex
	state enforce.State
	first chan struct{} // if set, the first reader waits for a second one, shortly
	reads int
}

func newKeeper(t *testing.T, routes ...enforce.Route) *keeper {
	t.Helper()
	s, err := enforce.NewState(enforce.Config{Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{state: s}
}

func route(service string, versions ...enforce.Version) enforce.Route {
	return enforce.Route{Name: service, Service: service, Host: service + ".test", Entry: enforce.Entry{ResourceURI: "https://shop.test"}, Versions: versions}
}

func version(name string, weight int) enforce.Version {
	return enforce.Version{Name: name, Digest: assay.DigestOf([32]byte{2}), Backend: "http://127.0.0.1:8001", Weight: weight}
}

func (k *keeper) StatusOf(context.Context, string) (out enforce.Status, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.state.Config.Routes {
		rs := enforce.RouteStatus{Name: r.Name, Service: r.Service}
		for _, v := range r.Versions {
			rs.Versions = append(rs.Versions, enforce.VersionStatus{Name: v.Name, Digest: v.Digest, Backend: v.Backend})
		}
		out.Routes = append(out.Routes, rs)
	}
	return out, nil
}

func (k *keeper) Config(context.Context) (enforce.Config, error) {
	k.mu.Lock()
	conf, first := k.state.Config, k.first
	conf.Routes = slices.Clone(conf.Routes)
	for i := range conf.Routes {
		conf.Routes[i].Versions = slices.Clone(conf.Routes[i].Versions)
	}
	k.reads++
	second := k.reads == 2
	k.mu.Unlock()
	switch {
	case first == nil:
	case second:
		close(first)
	default:
		select {
		case <-first:
		case <-time.After(100 * time.Millisecond):
		}
	}
	return conf, nil
}

func (k *keeper) Replace(_ context.Context, r enforce.Replacement) (enforce.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, receipt, replayed, err := k.state.Replace(r, began)
	if err == nil {
		k.state = next
	}
	return enforce.Answer{Receipt: receipt, Replayed: replayed}, err
}

func (k *keeper) versions(service string) (out []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.state.Config.Routes {
		for _, v := range r.Versions {
			if r.Service == service {
				out = append(out, v.Name)
			}
		}
	}
	return out
}

// behind puts a door in front of the stage's world.
func (s *stage) behind(door rollout.Door) {
	s.t.Helper()
	s.ctl = rollout.New(rollout.Config{
		Store: s.store, Blobs: s.blobs, Source: s, Actuator: s.actuator, Door: door, Now: s.world.Now, Log: slog.New(slog.DiscardHandler), Holder: "test",
	})
	s.acquire()
}

func (s *stage) proposal() rollout.Proposal {
	return rollout.Proposal{
		Namespace: namespace, Actor: "ada", Name: "shop", Plan: plan(), Canary: "v2", Baseline: time.Minute, Backend: "http://127.0.0.1:8002",
		Digest: assay.DigestOf([32]byte{2}), Indicators: []rollout.Indicator{{Spec: errorsSpec()}},
	}
}

func (s *stage) begin(p rollout.Proposal) api.Rollout {
	s.t.Helper()
	r, err := s.ctl.Propose(s.t.Context(), p)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.pass(r.ID, 0)
}

func TestAVersionThatTheEnforcerDoesNotKnowIsRefusedBeforeAnythingIsRecorded(t *testing.T) {
	s := newStage(t, 20, 0.01)
	s.behind(newKeeper(t, route("cart", version("v2", 100)), route("shop", version("v0", 0), version("v1", 100))))
	p := s.proposal()
	p.Backend = ""
	_, err := s.ctl.Propose(t.Context(), p)
	const want = `canary "v2" is a version that the enforcer does not know: its route shop of shop has v0, v1 ` +
		`(say where the version answers with --backend URL, or let the platform add it to the route first)`
	if assay.CodeOf(err) != assay.CodeConflict || err.Error() != want {
		t.Errorf("a version without a backend gives %v", err)
	}
	list, err := rollout.List(t.Context(), s.store, namespace, 10)
	if err != nil || len(list) > 0 {
		t.Errorf("%d rollouts were recorded: %v", len(list), err)
	}
}

func TestAVersionThatHadAFirstWeightMayComeBack(t *testing.T) {
	s := newStage(t, 20, 0.01)
	k := newKeeper(t, route("shop", version("v1", 0), version("v2", 100))) // v2 was first; v1 has the traffic since
	s.behind(k)
	if r := s.begin(s.proposal()); r.Status != api.RolloutRunning || s.share("v2") != 10 {
		t.Errorf("the rollout is %s: %s", r.Status, r.Reason)
	}
}

func TestAFullRouteLosesAVersionWithoutTraffic(t *testing.T) {
	s := newStage(t, 21, 0.01)
	versions := []enforce.Version{version("first", 100), version("v1", 0)}
	for i := len(versions); i < enforce.MaxVersions; i++ {
		versions = append(versions, version(fmt.Sprintf("old%d", i), 0))
	}
	r := route("shop", versions...)
	k := newKeeper(t, r)
	k.state.Dials["shop"] = enforce.Dial{Shares: func() (out []enforce.Share) {
		for _, v := range versions {
			out = append(out, enforce.Share{Version: v.Name})
		}
		out[1].Percent = 100
		return out
	}()}
	s.behind(k)
	got := s.begin(s.proposal())
	names := k.versions("shop")
	if got.Status != api.RolloutRunning || slices.Contains(names, "first") || !slices.Contains(names, "v1") || !slices.Contains(names, "v2") {
		t.Errorf("the rollout is %s (%s); the route has %v", got.Status, got.Reason, names)
	}
}

func TestTwoRolloutsThatBeginTogetherBothReachTheDoor(t *testing.T) {
	s := newStage(t, 22, 0.01)
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	var services []sim.Service
	var routes []enforce.Route
	for _, name := range []string{"shop", "cart"} {
		services = append(services, sim.Service{Name: name, Rate: 100, Versions: []sim.Version{{Name: "v1", Weight: 100, Latency: latency}, {Name: "v2", Latency: latency}}})
		routes = append(routes, route(name, version("v1", 100)))
	}
	world, err := sim.New(sim.Config{Seed: 1, Start: began, Services: services})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, routes...)
	k.first = make(chan struct{})
	s.world, s.actuator = world, world
	s.behind(k)
	var both sync.WaitGroup
	for _, name := range []string{"shop", "cart"} {
		p := s.proposal()
		p.Plan.Service = name
		r, err := s.ctl.Propose(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		both.Go(func() {
			if err := s.ctl.Step(t.Context(), namespace, r.ID); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for _, name := range []string{"shop", "cart"} {
		if !slices.Contains(k.versions(name), "v2") {
			t.Errorf("the door has lost v2 of %s", name)
		}
	}
}

// blind cannot be looked at, and loses answers.
type blind struct {
	*sim.World
	unseen, lost bool
}

func (b *blind) Observe(ctx context.Context, service string) (act.Observation, error) {
	if b.unseen {
		return act.Observation{}, assay.Errorf(assay.CodeUnavailable, "nobody answers")
	}
	return b.World.Observe(ctx, service)
}

func (b *blind) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	r, err := b.World.Apply(ctx, a)
	if b.lost {
		return act.Receipt{}, assay.Errorf(assay.CodeUnavailable, "the answer was lost")
	}
	return r, err
}

func TestAnAbortIsNotGivenUpWhileTheWorldCannotBeSeen(t *testing.T) {
	s := newStage(t, 23, 0.01)
	world := &blind{World: s.world}
	s.actuator = world
	s.restart()
	id := s.propose(plan()).ID
	s.pass(id, 0)
	seen, err := s.world.Observe(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	moved := assay.Action{Kind: assay.ActionAdvance, Service: "shop", Version: "v2", From: 10, Weight: 15, Key: "by-hand", Fence: seen.Generation}
	if _, err := s.world.Apply(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", api.CommandAbort, "because"); err != nil {
		t.Fatal(err)
	}
	world.unseen = true
	if err := s.ctl.Step(t.Context(), namespace, id); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("the step gives %v", err)
	}
	if r := s.rollout(id); r.Status.Ended() {
		t.Fatalf("v2 has %d %% and the rollout is %s: %s", s.share("v2"), r.Status, r.Reason)
	}
	world.unseen = false
	if r := s.pass(id, 0); r.Status != api.RolloutAborted || s.share("v2") != 0 {
		t.Errorf("v2 has %d %% and the rollout is %s: %s", s.share("v2"), r.Status, r.Reason)
	}
}

func TestAnAbortThatIsSaidWhileAPromotionIsUnderWayIsDone(t *testing.T) {
	s := newStage(t, 24, 0.01)
	world := &blind{World: s.world}
	s.actuator = world
	s.restart()
	id := s.propose(plan()).ID
	s.pass(id, 0)
	tell := func(command string) {
		if _, err := s.ctl.Command(t.Context(), namespace, id, "grace", command, "because"); err != nil {
			t.Fatal(err)
		}
	}
	tell(api.CommandPromote)
	world.lost = true
	if err := s.ctl.Step(t.Context(), namespace, id); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Fatal(err)
	}
	tell(api.CommandAbort)
	world.lost = false
	if r := s.pass(id, 0); r.Status != api.RolloutAborted || s.share("v2") != 0 {
		t.Errorf("v2 has %d %% and the rollout is %s: %s", s.share("v2"), r.Status, r.Reason)
	}
}

// partly is a source of which one indicator cannot be read.
type partly struct{ *stage }

func (p partly) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	if q.Indicator.Name == "broken" {
		return nil, assay.Errorf(assay.CodeInvalid, "a native histogram")
	}
	return p.stage.Read(ctx, q)
}

func TestAnIndicatorThatCannotBeReadDoesNotHideTheOthers(t *testing.T) {
	s := newStage(t, 25, 0.04)
	s.ctl = rollout.New(rollout.Config{
		Store: s.store, Blobs: s.blobs, Source: partly{s}, Actuator: s.actuator, Now: s.world.Now, Log: slog.New(slog.DiscardHandler), Holder: "test",
	})
	s.acquire()
	p := s.proposal()
	p.Plan.Indicators = slices.Insert(p.Plan.Indicators, 0, decide.Indicator{Name: "broken", Weight: 1})
	p.Indicators = slices.Insert(p.Indicators, 0, rollout.Indicator{Spec: signal.Spec{Service: "shop", Name: "broken", Bad: "b_total", Total: "t_total"}})
	if r := s.run(s.begin(p).ID); r.Status != api.RolloutAborted {
		t.Errorf("the rollout is %s: %s", r.Status, r.Reason)
	}
}

// hanging is a door that takes questions and does not answer.
type hanging struct{ *keeper }

func (hanging) StatusOf(ctx context.Context, _ string) (enforce.Status, error) {
	<-ctx.Done()
	return enforce.Status{}, assay.Errorf(assay.CodeUnavailable, "%w", ctx.Err())
}

func TestADoorThatHangsDoesNotKeepHarmFromBeingSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 26, 0.04)
		s.behind(hanging{newKeeper(t, route("shop", version("v1", 100)))})
		if r := s.run(s.begin(s.proposal()).ID); r.Status != api.RolloutAborted {
			t.Errorf("the rollout is %s: %s", r.Status, r.Reason)
		}
	})
}

func TestALeaseThatExpiredWhileTheMachineSleptIsTakenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 27, 0.01)
		var slept atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		start := func(holder string) (*rollout.Controller, chan error, context.CancelFunc) {
			ctl := rollout.New(rollout.Config{
				Store: s.store, Blobs: s.blobs, Source: s, Actuator: s.actuator, Now: now, Log: slog.New(slog.DiscardHandler), Holder: holder,
			})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- ctl.Run(ctx) }()
			synctest.Wait()
			return ctl, done, stop
		}
		s.store = mem.New(mem.Config{Now: now})
		ctl, done, stop := start("one")
		slept.Store(int64(time.Hour))
		<-time.After(rollout.DefaultLease)
		synctest.Wait()
		s.ctl = ctl
		s.propose(plan()) // writes under the lease
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}

		s.store = mem.New(mem.Config{Now: now})
		_, done, stop = start("one")
		defer stop()
		slept.Add(int64(time.Hour))
		_, _, stopOther := start("two") // took over in time
		defer stopOther()
		<-time.After(rollout.DefaultLease)
		synctest.Wait()
		select {
		case err := <-done:
			if assay.CodeOf(err) != assay.CodeConflict {
				t.Errorf("the one who lost ends with %v", err)
			}
		default:
			t.Error("the one who lost goes on")
		}
	})
}

func TestALimitIsWatchedBesideStatedBounds(t *testing.T) {
	s := newStage(t, 28, 0.01)
	got, err := s.world.Step(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.readings = append(s.readings, got...)
	s.acquire()
	bounds := got[slices.IndexFunc(got, func(r assay.Reading) bool { return len(r.Buckets) > 2 })].Buckets
	stated, limit := bounds[0].LE, bounds[2].LE
	p := s.proposal()
	p.Plan.Indicators = append(p.Plan.Indicators, decide.Indicator{Name: sim.IndicatorLatency, Weight: 1, Bounds: []float64{stated}})
	p.Indicators = append(p.Indicators, rollout.Indicator{
		Spec: signal.Spec{Service: "shop", Name: sim.IndicatorLatency, Buckets: "latency_bucket"}, Limit: limit,
	})
	r, err := s.ctl.Propose(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{stated, limit}; !slices.Equal(r.Plan.Indicators[1].Bounds, want) {
		t.Errorf("watched at %v, want %v", r.Plan.Indicators[1].Bounds, want)
	}
}

func TestAListOfTheNewestReadsNoOlderRecord(t *testing.T) {
	s := newStage(t, 29, 0.01)
	err := s.store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Put(store.Key{Namespace: namespace, Bucket: "rollout", Name: "0000"}, []byte("of another release"), 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	id := s.propose(plan()).ID
	list, err := rollout.List(t.Context(), s.store, namespace, 1)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Path != nil {
		t.Errorf("the list is %+v, %v", list, err)
	}
}
