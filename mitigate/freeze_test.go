package mitigate_test

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// swinger is a board whose autoscaler always wants what the lever is not at.
func swinger(t *testing.T) *board {
	b := newBoard(t, "stabilise", act.LeverAt{Lever: assay.LeverReplicas, Value: 4})
	b.s.Spec.Damping = &policy.Damping{Protect: &policy.Pace{Step: 4, Period: "10s"}, Relax: &policy.Pace{Window: "1m", Step: 4, Period: "10s"}}
	return b
}

// provoke lets the autoscaler want the other of two numbers for a while, looked at every ten
// seconds, and returns how often the lever changed its direction and where it stood last.
func (b *board) provoke(d time.Duration) (s api.StrategyStatus, turns int) {
	b.t.Helper()
	last, at := 0.0, b.at(assay.LeverReplicas)
	for end := b.now.Add(d); b.now.Before(end); {
		want := 8.0
		if at >= 8 {
			want = 4
		}
		b.set("recommended", want)
		s = b.step(10 * time.Second)
		now := b.at(assay.LeverReplicas)
		if (now-at)*last < 0 {
			turns++
		}
		if now != at {
			last, at = now-at, now
		}
	}
	return s, turns
}

func (b *board) thaw(target string) error {
	_, err := b.ctl.Tell(b.t.Context(), b.s.Namespace, b.s.Name, "grace", api.StrategyAnswer{Told: "thaw", Target: target, Reason: "what made it swing has ended"})
	return err
}

// frozen are the facts that say that a lever swings.
func (b *board) frozen() (out []mitigate.FrozenPayload) {
	b.t.Helper()
	for _, f := range b.facts(assay.FactMitigationFrozen) {
		var p mitigate.FrozenPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil || len(f.Causes) != 1 {
			b.t.Fatalf("%s: %v, causes %v", f.Payload, err, f.Causes)
		}
		out = append(out, p)
	}
	return out
}

func TestALeverThatSwingsIsFrozenAndThatIsAFact(t *testing.T) {
	b := swinger(t)
	s, turns := b.provoke(15 * time.Minute)
	if turns != 2 || b.at(assay.LeverReplicas) != 8 {
		t.Fatalf("it turned %d times and stands at %v: %s", turns, b.at(assay.LeverReplicas), s.Decision.Words)
	}
	if len(s.Frozen) != 1 || s.Frozen[0].Target != "replicas" || s.Frozen[0].Turns != 2 || s.Frozen[0].All || !strings.Contains(s.Frozen[0].Words, "changed its direction 2 times in 30m: nothing is given back until") {
		t.Fatalf("%+v", s.Frozen)
	}
	facts := b.frozen()
	if len(facts) != 1 || facts[0].Strategy != b.s.Name || facts[0].Target != "replicas" || facts[0].Turns != 2 || !facts[0].Until.Equal(s.Frozen[0].Until) {
		t.Fatalf("%+v; expected one fact that says so", facts)
	}
	// What protects is still done, and half an hour after its turns it is forgotten.
	b.set("recommended", 12)
	if b.step(10 * time.Second); b.at(assay.LeverReplicas) != 12 {
		t.Errorf("12 are wanted and there are %v", b.at(assay.LeverReplicas))
	}
	b.set("recommended", 4)
	for b.now.Before(s.Frozen[0].Until) {
		if b.step(10 * time.Second); b.at(assay.LeverReplicas) != 12 && b.now.Before(s.Frozen[0].Until) {
			t.Fatalf("at %s there are %v, though it is frozen until %s", b.now, b.at(assay.LeverReplicas), s.Frozen[0].Until)
		}
	}
	for range 30 {
		s = b.step(10 * time.Second)
	}
	if b.at(assay.LeverReplicas) != 4 || len(b.frozen()) != 1 {
		t.Errorf("five minutes after its end there are %v replicas, %d facts: %s %v", b.at(assay.LeverReplicas), len(b.frozen()), s.Decision.Words, s.Decision.Reasons)
	}
}

// replays asserts that a recorded decision comes out the same.
func (b *board) replays(f assay.Fact) {
	b.t.Helper()
	var p mitigate.DecidedPayload
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		b.t.Fatal(err)
	}
	r, err := b.blobs.Open(b.t.Context(), p.Law)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, same, err := mitigate.Replay(data); err != nil || !same {
		b.t.Errorf("%s is not made again: %v", f.ID, err)
	}
}

// One strategy takes and another gives back, by turns: neither ever turns by itself. That
// the lever swings is seen in what both did.
func TestALeverThatTwoStrategiesPullAtIsFrozenForBoth(t *testing.T) {
	b := swinger(t)
	other := b.s
	other.Name, other.Spec.Signals = "shop-more", slices.Clone(b.s.Spec.Signals)
	other.Spec.Signals[0].Query = "more"
	b.s.Spec.Precedence, other.Spec.Precedence = 10, 1
	b.ctl = b.controller(func() ([]mitigate.Strategy, assay.Digest, error) {
		return []mitigate.Strategy{b.s, other}, "sha256:00", nil
	})
	b.set("recommended", 4)
	b.values["more"] = 8
	turns, last, at := 0, 0.0, 4.0
	var s api.StrategyStatus
	for range 120 {
		s = b.step(10 * time.Second)
		now := b.at(assay.LeverReplicas)
		if (now-at)*last < 0 {
			turns++
		}
		if now != at {
			last, at = now-at, now
		}
	}
	if turns != 3 {
		t.Errorf("the lever turned %d times in twenty minutes, expected 3 and then no more", turns)
	}
	by := map[string]bool{}
	for _, p := range b.frozen() {
		by[p.Strategy] = by[p.Strategy] || p.All && p.Turns == 3
	}
	if !by[b.s.Name] || !by[other.Name] || len(s.Frozen) != 1 || !s.Frozen[0].All || !strings.Contains(s.Frozen[0].Words, "nothing moves it") {
		t.Errorf("frozen by %v, %+v", b.frozen(), s.Frozen)
	}
}
