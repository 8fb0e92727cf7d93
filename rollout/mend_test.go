package rollout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// with is another process over the same state that is configured otherwise.
func (s *stage) with(change func(*rollout.Config)) {
	s.t.Helper()
	conf := rollout.Config{
		Store: s.store, Blobs: s.blobs, Source: s, Actuator: s.actuator, Now: s.world.Now, Log: slog.New(slog.DiscardHandler),
		Halted: s.halts, Holder: "test",
	}
	change(&conf)
	s.ctl = rollout.New(conf)
	s.acquire()
}

func TestPoliciesAreAskedAboutTheFirstShare(t *testing.T) {
	for name, change := range map[string]func(*rollout.Proposal){
		"canary":     func(*rollout.Proposal) {},
		"blue/green": blueGreen(time.Minute),
		"mirrored":   mirroredBy(50),
		"a-b": func(p *rollout.Proposal) {
			p.Strategy, p.Match, p.Plan.Steps = api.StrategyAB, &enforce.Match{Header: "Beta", Value: "yes", Version: "v2"}, []int{20, 100}
		},
	} {
		s := newStage(t, 40, 0.01)
		d := newDoor(t)
		s.past(time.Minute)
		frozen := true
		var asked []assay.Action
		s.with(func(c *rollout.Config) {
			c.Door = d
			c.Guard = func(context.Context, string, string, string) decide.Guard {
				return func(a assay.Action) []assay.GuardVerdict {
					asked = append(asked, a)
					v := assay.GuardVerdict{Guard: "policy", Action: a.Kind, Outcome: assay.OutcomePass}
					if frozen {
						v.Outcome, v.Reason = assay.OutcomeFail, "no changes on Fridays"
					}
					return []assay.GuardVerdict{v}
				}
			}
		})
		before := d.route()
		id := s.start(plan(), change)
		r := s.rollout(id)
		if r.Status != api.RolloutStarting || s.share("v2") != 0 || r.Reason != "Wait: guard policy says fail: no changes on Fridays." {
			t.Errorf("%s: status %s with %d %% on v2: %s", name, r.Status, s.share("v2"), r.Reason)
		}
		if fmt.Sprint(d.route()) != fmt.Sprint(before) {
			t.Errorf("%s: the door was changed before policies let it pass: %+v", name, d.route())
		}
		if first := asked[0]; !first.Kind.Changes() || first.Version != "v2" || first.Weight == 0 || first.Kind == assay.ActionFinish != (first.Weight == 100) {
			t.Errorf("%s: asked about %+v", name, first)
		}
		frozen = false
		if r = s.pass(id, 0); r.Began.IsZero() || strings.HasPrefix(r.Reason, "Wait") {
			t.Errorf("%s: when policies let it pass it is %s: %s", name, r.Status, r.Reason)
		}
	}
}

func TestOpenRolloutsOfAServiceAreFoundBehindManyOthers(t *testing.T) {
	s := newStage(t, 41, 0.01)
	latency := sim.Latency{Median: 10 * time.Millisecond, Spread: 0.3}
	var services []sim.Service
	for i := range 26 {
		services = append(services, sim.Service{Name: fmt.Sprintf("s%d", i), Rate: 1, Versions: []sim.Version{{Name: "v1", Weight: 100, Latency: latency}, {Name: "v2", Latency: latency}}})
	}
	world, err := sim.New(sim.Config{Seed: 41, Start: began, Services: services})
	if err != nil {
		t.Fatal(err)
	}
	s.world, s.actuator = world, world
	s.restart()
	ids := map[string]string{}
	for i := range 26 {
		p := s.proposal()
		p.Plan.Service = fmt.Sprintf("s%d", i)
		r, err := s.ctl.Propose(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		ids[p.Plan.Service] = r.ID
	}
	open, err := rollout.OpenOf(t.Context(), s.store, namespace, "s0")
	if err != nil || len(open) != 1 || open[0].ID != ids["s0"] {
		t.Fatalf("open rollouts of s0: %+v, %v", open, err)
	}
	s.pass(ids["s0"], 0)
	s.tell(ids["s0"], api.CommandAbort)
	s.pass(ids["s0"], 0) // it is not judged yet, and listed for that in the index
	for _, service := range []string{"s0", "nobody"} {
		if open, err := rollout.OpenOf(t.Context(), s.store, namespace, service); err != nil || len(open) != 0 {
			t.Errorf("open rollouts of %s: %+v, %v", service, open, err)
		}
	}
}

// watchPast lets time pass in seconds, of which telemetry tells every five, and
// changes what it tells before it is read.
func (s *stage) watchPast(id string, most time.Duration, change func(*assay.Reading)) api.Rollout {
	s.t.Helper()
	var r api.Rollout
	for range int(most / (5 * time.Second)) {
		got, err := s.world.Step(5 * time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range got {
			change(&got[i])
		}
		s.readings = append(s.readings, got...)
		for s.late = time.Second; s.late < 5*time.Second; s.late += time.Second {
			if r = s.pass(id, 0); r.Status.Ended() {
				return r
			}
		}
	}
	return r
}

// lately is a controller whose clock goes on between two reports of telemetry.
func (s *stage) lately() {
	s.with(func(c *rollout.Config) { c.Now = func() time.Time { return s.world.Now().Add(s.late) } })
}

// slowly lets the old version serve alone, and tells of it every five seconds.
func (s *stage) slowly(d time.Duration) {
	s.t.Helper()
	for range int(d / (5 * time.Second)) {
		got, err := s.world.Step(5 * time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		s.readings = append(s.readings, got...)
	}
	s.late = 2 * time.Second
	s.lately()
}

func TestAWatchThatIsLongerThanThePastEndsByItself(t *testing.T) {
	s := newStage(t, 42, 0.01)
	s.past(time.Minute)
	s.slowly(0)
	id := s.start(plan(), blueGreen(12*time.Minute))
	w := s.rollout(id).Watch
	if k := float64(w.Duration) / float64(w.To.Sub(w.From)); k < 10 || k > 14 {
		t.Fatalf("the past is from %s to %s: %.1f times shorter than the watch", w.From, w.To, k)
	}
	r := s.watchPast(id, 20*time.Minute, func(*assay.Reading) {})
	if r.Status != api.RolloutPromoted || s.share("v2") != 100 {
		t.Fatalf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	if late := r.Ended.Sub(w.Until); late < 0 || late > 5*time.Second {
		t.Errorf("the watch ended %s after its time", late)
	}
	if _, err := s.ctl.Propose(t.Context(), rollout.Proposal{Namespace: namespace, Actor: "ada", Plan: plan(), Canary: "v1", Indicators: []rollout.Indicator{{Spec: errorsSpec()}}}); err != nil {
		t.Errorf("the next rollout of the service: %v", err)
	}
}

func TestAWatchEndsAlthoughItsLastSliceIsIncomplete(t *testing.T) {
	s := newStage(t, 43, 0.01)
	s.slowly(time.Minute)
	id := s.start(plan(), blueGreen(time.Minute))
	until := s.rollout(id).Watch.Until
	r := s.watchPast(id, 3*time.Minute, func(r *assay.Reading) {
		if r.End.After(until.Add(-10 * time.Second)) {
			r.Completeness = 0.5
		}
	})
	if r.Status != api.RolloutPromoted {
		t.Fatalf("status %s: %s", r.Status, r.Reason)
	}
	if late := r.Ended.Sub(until); late < 0 || late > 5*time.Second {
		t.Errorf("the watch ended %s after its time", late)
	}
}

func TestAQuestionAboutHarmDoesNotAnswerItselfWhenTheWatchIsOver(t *testing.T) {
	s := newStage(t, 44, 0.04)
	s.slowly(time.Minute)
	id := s.start(plan(), func(p *rollout.Proposal) {
		blueGreen(time.Minute)(p)
		p.OnHarm = api.AskOnHarm
	})
	if r := s.watchPast(id, 2*time.Minute, func(*assay.Reading) {}); r.Status != api.RolloutAsking || s.share("v2") != 100 {
		t.Fatalf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
}

func TestPoliciesDoNotHoldTheEndOfAWatch(t *testing.T) {
	s := newStage(t, 45, 0.01)
	s.past(time.Minute)
	frozen := false
	s.with(func(c *rollout.Config) {
		c.Guard = func(context.Context, string, string, string) decide.Guard {
			return func(a assay.Action) []assay.GuardVerdict {
				v := assay.GuardVerdict{Guard: "policy", Action: a.Kind, Outcome: assay.OutcomePass}
				if frozen {
					v.Outcome = assay.OutcomeFail
				}
				return []assay.GuardVerdict{v}
			}
		}
	})
	id := s.start(plan(), blueGreen(10*time.Second))
	frozen = true
	r := s.run(id)
	if r.Status != api.RolloutPromoted || r.Ended.Sub(r.Watch.Until) > time.Second {
		t.Errorf("status %s at %s, the watch was until %s: %s", r.Status, r.Ended, r.Watch.Until, r.Reason)
	}
	for _, v := range r.Decision.Guards {
		if v.Guard == "policy" {
			t.Errorf("policies were asked about an end that moves nothing: %+v", v)
		}
	}
}

// ofAnotherRelease gives the stored evidence the shape that a release with other tests
// gave it: 48 nodes. This release is another process.
func (s *stage) ofAnotherRelease(id string) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx store.Tx) error {
		key := store.Key{Namespace: namespace, Bucket: "rollout", Name: id}
		v, err := tx.Get(key)
		if err != nil {
			return err
		}
		var rec map[string]any
		if err := json.Unmarshal(v.Data, &rec); err != nil {
			return err
		}
		changed := 0
		for _, w := range rec["state"].(map[string]any)["watches"].([]any) {
			for _, test := range w.(map[string]any)["tests"].([]any) {
				if nodes, ok := test.(map[string]any)["log_norm"].([]any); ok {
					if len(nodes) == 48 {
						s.t.Fatal("48 is the shape of this release")
					}
					test.(map[string]any)["log_norm"] = make([]float64, 48)
					changed++
				}
			}
		}
		if changed == 0 {
			s.t.Fatal("there is no evidence yet")
		}
		data, err := json.Marshal(rec)
		if err != nil {
			return err
		}
		_, err = tx.Put(key, data, v.Version)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.restart()
}

func TestEvidenceOfAnotherReleaseIsBegunAnewAndHarmIsStillSeen(t *testing.T) {
	s := newStage(t, 46, 0.04)
	id := s.start(plan(), func(*rollout.Proposal) {})
	s.pass(id, 100*time.Millisecond)
	s.ofAnotherRelease(id)
	r := s.pass(id, 100*time.Millisecond)
	if !strings.Contains(r.Reason, "48 nodes") || r.Status != api.RolloutRunning {
		t.Errorf("status %s: %s", r.Status, r.Reason)
	}
	facts := s.facts(assay.FactRolloutRenewed)
	if len(facts) != 1 || !strings.Contains(payload[rollout.RenewedPayload](t, facts[0]).Detail, "48 nodes") {
		t.Fatalf("facts: %+v", facts)
	}
	if r = s.run(id); r.Status != api.RolloutAborted || s.share("v2") != 0 {
		t.Errorf("status %s with %d %% on v2: %s", r.Status, s.share("v2"), r.Reason)
	}
	if n := len(s.facts(assay.FactRolloutRenewed)); n != 1 {
		t.Errorf("it was begun anew %d times", n)
	}
}

func TestEvidenceThatIsBegunAnewKeepsItsStep(t *testing.T) {
	s := newStage(t, 47, 0.01)
	id := s.start(plan(), func(*rollout.Proposal) {})
	for r := s.rollout(id); r.Weight != 25; r = s.pass(id, 250*time.Millisecond) {
		if r.Status.Ended() {
			t.Fatalf("status %s: %s", r.Status, r.Reason)
		}
	}
	s.pass(id, 250*time.Millisecond)
	s.ofAnotherRelease(id)
	s.pass(id, 250*time.Millisecond)
	r := s.pass(id, 250*time.Millisecond)
	if r.Decision.Action.Kind != assay.ActionHold || r.Decision.Action.Weight != 25 || r.Decision.Tests[0].Canary.Total > 1000 {
		t.Errorf("after it was begun anew: %+v, %+v", r.Decision.Action, r.Decision.Tests[0].Canary)
	}
	if r = s.run(id); r.Status != api.RolloutPromoted {
		t.Fatalf("status %s: %s", r.Status, r.Reason)
	}
	var weights []int
	for _, f := range s.facts(assay.FactRolloutActed) {
		weights = append(weights, payload[rollout.ActedPayload](t, f).Receipt.Observed)
	}
	if want := []int{10, 25, 50, 100}; !slices.Equal(weights, want) {
		t.Errorf("shares were %v, want %v", weights, want)
	}
}
