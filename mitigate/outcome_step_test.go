package mitigate_test

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
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
	b.start(spent)
	return b
}

// start starts a controller anew, on what the board's store has kept.
func (b *board) start(spent func(time.Time) float64) {
	t := b.t
	t.Helper()
	b.ctl = mitigate.New(mitigate.Config{
		Store: b.store, Blobs: b.blobs, Gauges: b, Actuator: b.door, Rollouts: b,
		Strategies: func() ([]mitigate.Strategy, assay.Digest, error) { return []mitigate.Strategy{b.s}, "sha256:00", nil },
		Spent: func(_ context.Context, _, objective string, from time.Time, step time.Duration, n int) ([]float64, error) {
			if objective != "checkout" || step != time.Second {
				t.Errorf("%s is read in steps of %s", objective, step)
			}
			if b.late != nil {
				return nil, b.late
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
}

// noise is the same for the same second.
func noise(at time.Time) float64 {
	draw := rand.New(rand.NewPCG(noiseSeed, uint64(at.Unix())*0x9e3779b97f4a7c15))
	draw.Uint64()
	return math.Abs(1 + 0.2*draw.NormFloat64())
}

var noiseSeed uint64 = 7
