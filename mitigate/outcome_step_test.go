package mitigate_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// quick is a board whose strategy is judged in steps of a second, of what spent says.
func quick(t *testing.T, spent func(time.Time) float64) *board {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Objective, b.s.Spec.OutcomeStep = "checkout", policy.Duration("1s")
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door, Rollouts: b,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Spent: func(_ context.Context, _, objective string, from time.Time, step time.Duration, n int) ([]float64, error) {
			if objective != "checkout" || step != time.Second {
				t.Errorf("%s is read in steps of %s", objective, step)
			}
			out := make([]float64, n)
			for i := range out {
				// What there is of the time to come is nothing yet.
				if at := from.Add(time.Duration(i+1) * step); at.After(b.now) {
					out[i] = math.NaN()
				} else {
					out[i] = spent(at)
				}
			}
			return out, nil
		},
		Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
	})
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// noise is the same for the same second.
func noise(at time.Time) float64 {
	draw := rand.New(rand.NewPCG(noiseSeed, uint64(at.Unix())*0x9e3779b97f4a7c15))
	draw.Uint64()
	return math.Abs(1 + 0.2*draw.NormFloat64())
}

var noiseSeed uint64 = 7

func TestAnActionIsJudgedInTheStepsThatItsStrategyDeclares(t *testing.T) {
	const usual, much = 2e-5, 2e-3
	var trouble, acted time.Time
	after := func(at, since time.Time) bool { return !since.IsZero() && at.Sub(since) > 1500*time.Millisecond }
	for _, c := range []struct {
		name  string
		known time.Duration // of the past
		spent func(time.Time) float64
		want  assay.Effect
		never assay.Effect
		back  bool
	}{
		{"it ended what had lasted", 10 * time.Minute, func(at time.Time) float64 {
			if at.After(trouble) && !after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectHelped, assay.EffectHarmed, false},
		{"it cost what was not spent before", 10 * time.Minute, func(at time.Time) float64 {
			if after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectHarmed, assay.EffectHelped, true},
		{"it changed nothing, and the trouble went on", 10 * time.Minute, func(at time.Time) float64 {
			if at.After(trouble) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, "", assay.EffectHelped, false},
		{"too little is known to tell in that time", 30 * time.Second, func(at time.Time) float64 {
			if after(at, acted) {
				return much * noise(at)
			}
			return usual * noise(at)
		}, assay.EffectInconclusive, assay.EffectHarmed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			acted, trouble = time.Time{}, noon.Add(5*time.Minute)
			known := trouble.Add(20 * time.Second).Add(-c.known)
			b := quick(t, func(at time.Time) float64 {
				if at.Before(known) {
					return math.NaN()
				}
				return c.spent(at)
			})
			b.set("load", 150)
			for b.now.Before(trouble.Add(20 * time.Second)) {
				b.step(10 * time.Second)
			}
			was := b.at(assay.LeverReplicas)
			b.set("load", 1000)
			var reached float64
			for range 90 {
				b.step(time.Second)
				if reached = max(reached, b.at(assay.LeverReplicas)); acted.IsZero() && reached > was {
					acted = b.now
				}
			}
			list := b.facts(assay.FactMitigationJudged)
			if acted.IsZero() || len(list) == 0 {
				t.Fatalf("acted %s, %d outcomes", acted, len(list))
			}
			var first mitigate.JudgedPayload
			for i := len(list) - 1; i >= 0; i-- {
				var p mitigate.JudgedPayload
				if err := json.Unmarshal(list[i].Payload, &p); err != nil {
					t.Fatal(err)
				}
				if p.Outcome.Effect == c.never {
					t.Errorf("%s: %s", p.Outcome.Effect, p.Outcome.Reason)
				}
				if first.Strategy == "" || list[i].Time.Before(acted.Add(10*time.Second)) {
					first = p
				}
			}
			if took := first.Outcome.Time.Sub(acted); took < 8*time.Second || took > 10*time.Second {
				t.Errorf("it is judged %s after the action, want eight steps", took)
			}
			if c.want != "" && first.Outcome.Effect != c.want {
				t.Errorf("it is judged %s: %s", first.Outcome.Effect, first.Outcome.Reason)
			}
			if back := b.at(assay.LeverReplicas) == was; back != c.back {
				t.Errorf("it went from %v to %v and stands at %v", was, reached, b.at(assay.LeverReplicas))
			}
			if s := b.step(time.Second); c.back && !strings.Contains(strings.Join(s.Decision.Reasons, " "), "it is not done again before") {
				t.Errorf("it says %v", s.Decision.Reasons)
			}
		})
	}
}
