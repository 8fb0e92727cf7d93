package mitigate_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
)

// spending is a board whose service spends what burn says.
func spending(t *testing.T, burn func() float64) *board {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	b.s.Spec.Objective = "checkout"
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door, Rollouts: b,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Burn:       func(context.Context, string, string) (float64, string, bool) { return burn(), b.instead, true },
		Now:        func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler), Holder: "test", Prove: -1,
	})
	if err := b.ctl.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// judged runs two calm hours, then trouble that makes what is spent a hundredfold until the
// new replicas serve it, or for ever if they do not help. The load that the strategy acts on
// is seen a while after the trouble began.
func judged(t *testing.T, helps bool, seen time.Duration) (*board, []mitigate.JudgedPayload) {
	t.Helper()
	return judgedBy(t, helps, seen, "")
}

// judgedBy is judged; instead is why what is spent is read from the objective's second source
// once the trouble began.
func judgedBy(t *testing.T, helps bool, seen time.Duration, instead string) (*board, []mitigate.JudgedPayload) {
	t.Helper()
	rng := rand.New(rand.NewPCG(17, 18))
	var b *board
	trouble, acted := false, time.Time{}
	b = spending(t, func() float64 {
		v := 2e-5 * (1 + 0.2*rng.NormFloat64())
		if trouble && !(helps && !acted.IsZero() && b.now.Sub(acted) > 30*time.Second) {
			v += 2e-3 * (1 + 0.1*rng.NormFloat64())
		}
		return max(v, 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	trouble, b.instead = true, instead
	for range seen / (30 * time.Second) {
		b.step(30 * time.Second)
	}
	b.set("load", 1000)
	for range 40 {
		b.step(30 * time.Second)
		if acted.IsZero() && b.at(assay.LeverReplicas) > 20 {
			acted = b.now
		}
	}
	var out []mitigate.JudgedPayload
	for _, f := range b.facts(assay.FactMitigationJudged) {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return b, out
}

func confounds(t *testing.T, change func(now time.Time) mitigate.Change, want bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(23, 24))
	trouble := false
	var b *board
	b = spending(t, func() float64 {
		v := 2e-5
		if trouble && b.at(assay.LeverReplicas) <= 20 {
			v = 2e-3
		}
		return max(v*(1+0.1*rng.NormFloat64()), 0)
	})
	b.set("load", 150)
	for range 240 {
		b.step(30 * time.Second)
	}
	trouble = true
	b.set("load", 1000)
	for range 40 {
		b.step(30 * time.Second)
		if len(b.changes) == 0 && b.at(assay.LeverReplicas) > 5 {
			x := change(b.now)
			x.Version, x.Old = "v7", "v6"
			b.changes = []mitigate.Change{x}
		}
	}
	for _, f := range b.facts(assay.FactMitigationJudged) {
		var p mitigate.JudgedPayload
		if err := json.Unmarshal(f.Payload, &p); err != nil {
			t.Fatal(err)
		}
		if p.Outcome.Effect == assay.EffectConfounded && strings.HasPrefix(p.Outcome.Reason, "the change to version v7 fell into the window") {
			if !want {
				t.Errorf("%s", p.Outcome.Reason)
			}
			return
		}
		t.Logf("%s: %s", p.Outcome.Effect, p.Outcome.Reason)
	}
	if want {
		t.Error("a version came in the window, and the action is judged all the same")
	}
}
