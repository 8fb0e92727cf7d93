package mitigate_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/store"
)

// denies is a door that takes nothing.
type denies struct {
	*sim.World
	calls int
}

func (d *denies) Apply(context.Context, assay.Action) (act.Receipt, error) {
	d.calls++
	return act.Receipt{}, assay.Errorf(assay.CodeDenied, "it may not be moved")
}

func TestARefusedActionIsTriedAgainEverMoreSeldom(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	d := &denies{World: b.world}
	b.door = d
	b.restart()
	b.set("load", 1000)
	for range 60 { // ten minutes: after 20 s, 40 s, 80 s, 160 s and 320 s
		b.step(10 * time.Second)
	}
	if d.calls < 3 || d.calls > 6 {
		t.Errorf("it is tried %d times in ten minutes", d.calls)
	}
	b.door = b.world
	b.restart()
	for range 65 { // at most ten minutes later
		b.step(10 * time.Second)
	}
	if b.at(assay.LeverReplicas) == 5 {
		t.Error("it is never tried again")
	}
}

func TestALimitThatIsNotSetIsMovedFromWhereItStands(t *testing.T) {
	for law, lever := range map[string]assay.Lever{"throttle": "", "isolate": assay.LeverQuota} {
		t.Run(law, func(t *testing.T) {
			r := example(t, law)
			trouble(r, law)
			scope, greatest := "beta", 0.0
			if law == "throttle" {
				lever, scope, greatest = r.s.Spec.Throttle.Lever, "", r.s.Spec.Throttle.Max
			} else {
				greatest = r.s.Spec.Isolate.Capacity
			}
			r.lever(lever, scope, 0)
			var moves []assay.Action
			for range 120 {
				if d := r.step(5 * time.Second); d.Action.Kind.Changes() && d.Action.Lever == lever && d.Action.Scope == scope {
					moves = append(moves, d.Action)
				}
			}
			if len(moves) == 0 {
				t.Fatalf("nothing is limited: %s %v", r.last.Words, r.last.Reasons)
			}
			if first := moves[0]; first.Now != 0 || first.Want < 0.4*greatest {
				t.Errorf("the first goes from %v, where it stands at 0, to %v of %v", first.Now, first.Want, greatest)
			}
			for i, m := range moves[1:] {
				if m.Now != moves[i].Want || m.Want < 0.4*m.Now {
					t.Errorf("from %v it goes to %v", m.Now, m.Want)
				}
			}
		})
	}
}

// spent is an example of cost at its cap.
func spent(t *testing.T) *rig {
	t.Helper()
	r := example(t, "cost")
	jobs(r)
	r.set("spent", "", r.s.Spec.Cost.DailyCap+1)
	return r
}

func TestJobsStopBeforeTheDoorsOwnCapIsLowered(t *testing.T) {
	r := spent(t)
	r.lever(assay.LeverSpend, "", r.s.Spec.Cost.DailyCap*2)
	var kinds []assay.Lever
	for range 6 {
		if d := r.step(10 * time.Second); d.Action.Kind == assay.ActionStop {
			kinds = append(kinds, d.Action.Lever)
		}
	}
	if i := slices.Index(kinds, assay.LeverSpend); i < 1 || i != len(kinds)-1 {
		t.Errorf("it stops %v: %s", kinds, r.last.Words)
	}
}

func TestTheDoorsOwnCapIsRaisedOnlyAsFarAsTheLevelLets(t *testing.T) {
	r := example(t, "cost")
	jobs(r)
	r.s.Spec.Level = policy.LevelApprove
	r.lever(assay.LeverSpend, "", r.s.Spec.Cost.DailyCap/2)
	d := r.step(10 * time.Second)
	if d.Action.Kind != assay.ActionAsk || d.Proposed == nil || d.Proposed.Kind != assay.ActionRestore || d.Proposed.Lever != assay.LeverSpend {
		t.Errorf("it decides to %s %v: %s", d.Action.Kind, d.Proposed, d.Words)
	}
}

func TestAJobThatNobodyReadsDoesNotKeepTheOthersRunning(t *testing.T) {
	r := spent(t)
	r.in.Settings = slices.DeleteFunc(r.in.Settings, func(s mitigate.Setting) bool { return s.Scope == "integration" })
	r.run(time.Minute, 10*time.Second)
	if r.at(assay.LeverClass, "load-tests") != 0 {
		t.Errorf("load-tests runs on beyond the cap: %s %v", r.last.Words, r.last.Reasons)
	}
	r.says("job integration cannot be stopped")
}

func TestAStopThatTheWorldRefusesDoesNotKeepTheNextFromStopping(t *testing.T) {
	b := newBoard(t, "cost", act.LeverAt{Lever: assay.LeverClass, Scope: "release", Value: 100},
		act.LeverAt{Lever: assay.LeverClass, Scope: "integration", Value: 100}, act.LeverAt{Lever: assay.LeverClass, Scope: "load-tests", Value: 100})
	b.door = stuck{b.world}
	b.restart()
	b.set("spent", b.s.Spec.Cost.DailyCap+1)
	for range 5 {
		b.step(10 * time.Second)
	}
	list, err := b.world.Levers(t.Context(), b.s.Spec.Service)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Scope == "integration" && l.Value != 0 {
			t.Errorf("load-tests cannot be stopped, and integration runs on at %v", l.Value)
		}
	}
}

// stuck is a door that cannot stop one job.
type stuck struct{ *sim.World }

func (s stuck) Apply(ctx context.Context, a assay.Action) (act.Receipt, error) {
	if a.Scope == "load-tests" {
		return act.Receipt{}, assay.Errorf(assay.CodeDenied, "it may not be stopped")
	}
	return s.World.Apply(ctx, a)
}

func TestAScoreThatWasUnknownForAWhileStandsFromAnewOn(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.step(10 * time.Second)
	r.in.Values = slices.DeleteFunc(r.in.Values, func(v mitigate.Value) bool { return v.Name == "anomaly" && v.Scope == "10.0.0.9" })
	r.run(time.Hour, 10*time.Second)
	r.set("anomaly", "10.0.0.9", 0.97)
	if r.step(10 * time.Second); r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Errorf("it is cut off at the first score after an hour: %s", r.last.Words)
	}
}

func TestASourceThatIsLetInBeginsItsWatchAnew(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.run(2*time.Minute, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 {
		t.Fatalf("it is not cut off: %s %v", r.last.Words, r.last.Reasons)
	}
	r.set("anomaly", "10.0.0.9", 0.1)
	for i := 0; r.at(assay.LeverQuarantine, "10.0.0.9") != 0; i++ {
		if r.step(10 * time.Second); i > 60 {
			t.Fatalf("it is not let in: %s", r.last.Words)
		}
	}
	r.set("anomaly", "10.0.0.9", 0.97)
	if r.step(10 * time.Second); r.at(assay.LeverQuarantine, "10.0.0.9") != 0 {
		t.Errorf("for how long it scored high before counts again: %s", r.last.Words)
	}
	r.in.Settings = slices.DeleteFunc(r.in.Settings, func(s mitigate.Setting) bool { return s.Scope == "10.0.0.9" })
	r.step(10 * time.Second)
	for name := range r.st.Since {
		if strings.Contains(name, "10.0.0.9") {
			t.Errorf("%s of a source that is gone is remembered", name)
		}
	}
	for name := range r.st.Last {
		if strings.Contains(name, "10.0.0.9") {
			t.Errorf("%s of a source that is gone is remembered", name)
		}
	}
}

func TestTheShareOfASourceThatIsCutOffGoesOnToCount(t *testing.T) {
	r := example(t, "contain")
	sources(r)
	r.s.Spec.Contain.MaxShare = 0.05
	r.set("share", "10.0.0.9", 0.04)
	r.set("anomaly", "10.0.0.9", 0.97)
	r.run(2*time.Minute, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.9") != 1 {
		t.Fatalf("it is not cut off: %s %v", r.last.Words, r.last.Reasons)
	}
	r.in.Values = slices.DeleteFunc(r.in.Values, func(v mitigate.Value) bool { return v.Name == "share" && v.Scope == "10.0.0.9" })
	r.set("anomaly", "10.0.0.8", 0.97) // 4 % and 2 % are more than 5 %
	r.run(2*time.Minute, 10*time.Second)
	if r.at(assay.LeverQuarantine, "10.0.0.8") != 0 {
		t.Errorf("6 %% of the requests are cut off without a person: %s", r.last.Words)
	}
}

// among is a board whose strategy has a neighbour of a higher precedence, which moved the
// same lever; declared says whether it still is.
func TestAStrategyThatIsDeclaredNoMoreHoldsNothing(t *testing.T) {
	for name, declared := range map[string]bool{"declared": true, "not any more": false} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, "scale", replicas)
			mine := b.s
			first := b.s
			first.Name, first.Spec.Precedence = "first", 900
			b.s = first
			b.set("load", 300)
			b.step(10 * time.Second)
			b.step(10 * time.Second)
			moved := b.at(assay.LeverReplicas)
			if moved == 5 {
				t.Fatal("the first does nothing")
			}
			b.s = mine
			list := []mitigate.Strategy{mine}
			if declared {
				paused := first
				paused.Spec.Level = policy.LevelObserve
				list = append(list, paused)
			}
			b.ctl = b.controller(func() ([]mitigate.Strategy, assay.Digest, error) { return list, "sha256:00", nil })
			b.set("load", 2000)
			for range 3 {
				b.step(10 * time.Second)
			}
			if held := b.at(assay.LeverReplicas) == moved; held != declared {
				t.Errorf("the lever is held: %t", held)
			}
		})
	}
}

func TestAnotherLawSettlesWhatIsPendingAndKeepsWhatPeopleSaid(t *testing.T) {
	b, d := undone(t, true)
	if err := b.tell("pause", ""); err != nil {
		t.Fatal(err)
	}
	other := exampleStrategy(t, "stabilise")
	other.Name, other.Spec.Service = b.s.Name, b.s.Spec.Service
	b.s = other
	d.down = false
	s := b.step(time.Second)
	if acted := b.facts(assay.FactMitigationActed); len(acted) != 1 || s.Pending != nil {
		t.Errorf("%d actions are recorded, pending %v", len(acted), s.Pending)
	}
	if s.Law != "stabilise" || s.Paused == "" {
		t.Errorf("law %s, paused %q", s.Law, s.Paused)
	}
	err := b.store.View(t.Context(), func(r store.Reader) error {
		v, err := r.Get(store.Key{Namespace: b.s.Namespace, Bucket: "strategy", Name: b.s.Name})
		if err == nil && !strings.Contains(string(v.Data), `"actions":1`) {
			t.Error("keys are given out from 1 again")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// broken is whoever cannot be asked about rollouts.
type broken struct{ *board }

func (broken) Changes(context.Context, string, string) ([]mitigate.Change, error) {
	return nil, assay.Errorf(assay.CodeUnavailable, "the store is locked")
}

func TestChangesThatCannotBeReadAreUnknownNotNone(t *testing.T) {
	b := newBoard(t, "rollback")
	b.byVersion(map[string][2]float64{"v1": {8, 9000}, "v2": {0, 1000}})
	if s := b.step(time.Minute); s.Decision.Action.Kind != assay.ActionHold {
		t.Fatalf("it decides to %s: %s", s.Decision.Action.Kind, s.Decision.Words)
	}
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Rollouts = broken{b} })
	s := b.step(time.Minute)
	i := slices.IndexFunc(s.Decision.Signals, func(x assay.Signal) bool { return x.Indicator == "changes" })
	if i < 0 || s.Decision.Signals[i].Known || !strings.Contains(s.Decision.Words, "the store is locked") {
		t.Errorf("it says %q on %+v", s.Decision.Words, s.Decision.Signals)
	}
}

func TestAMoveIsRememberedFromWhereALimitThatIsNotSetCounts(t *testing.T) {
	before := mitigate.State{Bands: map[string]mitigate.Settled{"concurrency": {Now: 400}}}
	after := before.Applied(assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverConcurrency, Want: 360}, noon)
	if m := after.Dampers["concurrency"].Moves; len(m) != 1 || m[0].From != 400 {
		t.Errorf("%+v: the rate of the next move would be reckoned from 0", m)
	}
}
