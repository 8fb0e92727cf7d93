package mitigate_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/sim"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
)

// elsewhere is another world than the board's, with levers of its own.
func (b *board) elsewhere(levers ...act.LeverAt) *sim.World {
	b.t.Helper()
	w, err := sim.New(sim.Config{Seed: 1, Start: noon, Services: []sim.Service{{
		Name: b.s.Spec.Service, Rate: 1, Versions: []sim.Version{{Name: "v1", Weight: 100, Latency: sim.Latency{Median: time.Millisecond}}}, Levers: levers,
	}}})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

func standing(t *testing.T, w act.Levers, service string, l assay.Lever) float64 {
	t.Helper()
	list, err := w.Levers(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Lever == l {
			return x.Value
		}
	}
	t.Fatalf("there is no %s", l)
	return 0
}

func TestAStrategyMovesItsLeverThroughTheDoorItNames(t *testing.T) {
	b := newBoard(t, "scale", replicas) // the default door has replicas too, and must not be asked
	platform := b.elsewhere(act.LeverAt{Lever: assay.LeverReplicas, Value: 7})
	b.s.Spec.Levers = []policy.StrategyLever{{Lever: assay.LeverReplicas, Door: "platform"}}
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Doors = map[string]act.Actuator{"platform": platform} })
	b.set("load", 1000)
	s := b.step(10 * time.Second)
	got := standing(t, platform, b.s.Spec.Service, assay.LeverReplicas)
	if got <= 7 || b.at(assay.LeverReplicas) != 5 {
		t.Fatalf("platform has %v replicas and the other door %v: %s", got, b.at(assay.LeverReplicas), s.Decision.Words)
	}
	if len(s.Doors) != 1 || s.Doors[0].Door != "platform" || s.Doors[0].Class != string(act.Fenced) || s.Doors[0].Acknowledged == nil || s.Doors[0].Acknowledged.Value != got || s.Doors[0].Acknowledged.Key == "" {
		t.Errorf("people see the doors %+v; want platform, which acknowledged %v", s.Doors, got)
	}
	if s = b.step(time.Second); s.Doors[0].Stands[0].Value != got || s.Doors[0].Acknowledged.Value != got {
		t.Errorf("a moment later they see %+v", s.Doors[0])
	}
}

func TestADoorThatIsNotThereMovesNothingAndThatIsSaid(t *testing.T) {
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Levers = []policy.StrategyLever{{Lever: assay.LeverReplicas, Door: "platform"}}
	b.set("load", 1000)
	s := b.step(10 * time.Second)
	if s.Decision.Action.Kind.Changes() || b.at(assay.LeverReplicas) != 5 {
		t.Errorf("it acts without its door: %s", s.Decision.Words)
	}
	if len(s.Doors) != 1 || !strings.Contains(s.Doors[0].Why, `no door "platform"`) {
		t.Errorf("people see %+v", s.Doors)
	}
}

// atMostOnce is a door that cannot be asked twice.
type atMostOnce struct{ *sim.World }

func (atMostOnce) Class() act.Class { return act.AtMostOnce }

func TestADoorThatCannotBeAskedTwiceNeedsAPerson(t *testing.T) {
	b := newBoard(t, "scale")
	platform := b.elsewhere(replicas)
	b.s.Spec.Levers = []policy.StrategyLever{{Lever: assay.LeverReplicas, Door: "platform"}}
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Doors = map[string]act.Actuator{"platform": atMostOnce{platform}} })
	b.set("load", 1000)
	s := b.step(10 * time.Second)
	if s.Question == nil || s.Effective != "approve" || standing(t, platform, b.s.Spec.Service, assay.LeverReplicas) != 5 {
		t.Fatalf("level %s, question %v: %s", s.Effective, s.Question, s.Decision.Words)
	}
	if _, err := b.ctl.Tell(t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: "approve", Question: s.QuestionID, Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	b.step(10 * time.Second)
	if got := standing(t, platform, b.s.Spec.Service, assay.LeverReplicas); got != s.Question.Want {
		t.Errorf("%v was allowed, and there are %v", s.Question.Want, got)
	}
}

// whoever is a door that cannot list its sources: those that were not moved rest at 0.
type whoever struct {
	*sim.World
	cut map[string]bool
}

func (w *whoever) Levers(context.Context, string) ([]act.LeverAt, error) {
	out := []act.LeverAt{{Lever: assay.LeverQuarantine, Scope: act.AnyScope}}
	for s, cut := range w.cut {
		if cut {
			out = append(out, act.LeverAt{Lever: assay.LeverQuarantine, Scope: s, Value: 1})
		}
	}
	return out, nil
}

func (w *whoever) Apply(_ context.Context, a assay.Action) (act.Receipt, error) {
	w.cut[a.Scope] = a.Want == 1
	return act.Receipt{Key: a.Key, Time: noon, Stands: a.Want, Changed: true}, nil
}

// twoSources lets the signals of a containment speak of two sources.
type twoSources struct{ *board }

func (s twoSources) Gauge(_ context.Context, q signal.GaugeQuery) (out []signal.Gauge, err error) {
	for scope, anomaly := range map[string]float64{"10.0.0.8": 0.1, "10.0.0.9": s.values["anomaly"]} {
		v := map[string]float64{"anomaly": anomaly, "evidence": 1, "share": 0.01}
		for _, sig := range s.s.Spec.Signals {
			if sig.Query == q.Expr {
				out = append(out, signal.Gauge{Scope: scope, Value: v[sig.Name], Time: q.Time, Completeness: 1})
			}
		}
	}
	return out, nil
}

func TestASourceThatTheDoorHasNotMetCanBeCutOffAndLetInAgain(t *testing.T) {
	b := newBoard(t, "contain")
	door := &whoever{b.world, map[string]bool{}}
	b.door = door
	b.values["anomaly"] = 0.99
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Gauges = twoSources{b} })
	for range 6 {
		b.step(10 * time.Second)
	}
	if !door.cut["10.0.0.9"] || door.cut["10.0.0.8"] {
		t.Fatalf("cut off are %v; want the one that attacks", door.cut)
	}
	b.values["anomaly"] = 0.1
	for range 20 {
		b.step(10 * time.Second)
	}
	if door.cut["10.0.0.9"] {
		t.Error("it is still cut off")
	}
}

// harming is a board whose service spends a hundred times as much with more than 20
// replicas, after the action that takes it there.
func harming(t *testing.T) *board {
	rng := rand.New(rand.NewPCG(21, 22))
	var b *board
	b = spending(t, func() float64 {
		v := 2e-5
		if b.at(assay.LeverReplicas) > 20 {
			v = 2e-3
		}
		return max(v*(1+0.1*rng.NormFloat64()), 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	b.set("load", 1000)
	return b
}

func TestAnActionThatHarmedIsGivenBackByItselfAndNotRepeated(t *testing.T) {
	b := harming(t)
	before, reached, back := b.at(assay.LeverReplicas), 0.0, time.Time{}
	for range 60 {
		s := b.step(30 * time.Second)
		at := b.at(assay.LeverReplicas)
		reached = max(reached, at)
		switch {
		case back.IsZero() && reached > 20 && at == before:
			back = b.now
			if why := strings.Join(s.Decision.Reasons, " "); !strings.Contains(why, "did harm") {
				t.Errorf("it went back, and does not say why: %s; %s", s.Decision.Words, why)
			}
		case !back.IsZero() && at > before:
			t.Fatalf("%s after it was given back it is done again: %s", b.now.Sub(back), s.Decision.Words)
		}
	}
	if reached <= 20 || back.IsZero() {
		t.Fatalf("it went from %v to %v and stands at %v: it was not given back", before, reached, b.at(assay.LeverReplicas))
	}
	s := b.step(30 * time.Second)
	if words := strings.Join(s.Decision.Reasons, " "); !strings.Contains(words, "it is not done again before") {
		t.Errorf("nothing says why the load is left alone: %s", words)
	}
}

func TestTheKillSwitchHoldsAlsoWhatWouldGiveBack(t *testing.T) {
	b := harming(t)
	for range 60 {
		b.step(30 * time.Second)
		if b.at(assay.LeverReplicas) > 20 {
			break
		}
	}
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) {
		c.Burn = func(context.Context, string, string) (float64, string, bool) { return 2e-3, "", true }
		c.Halted = func(string, string) []decide.Halt {
			return []decide.Halt{{Scope: decide.HaltGlobal, Reason: "somebody pulled it"}}
		}
	})
	stands := b.at(assay.LeverReplicas)
	for range 40 {
		b.step(30 * time.Second)
	}
	if got := b.at(assay.LeverReplicas); got != stands {
		t.Errorf("with the kill switch pulled it went from %v to %v", stands, got)
	}
}
