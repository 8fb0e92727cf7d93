package budget

import (
	"context"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
)

// MaxSpent is how many steps Spent reads at once.
const MaxSpent = 1000

// Spent is the share of an objective's whole budget, as it is allowed now, that was spent in
// a minute, in each of n steps from an instant on; not a number for a step of which nothing
// is known. It is read from the series as they are now: what came late is in it. Errors:
// CodeNotFound or CodeInvalid for the objective, CodeUnavailable while its budget is not known.
func (b *Books) Spent(ctx context.Context, name string, from time.Time, step time.Duration, n int) ([]float64, error) {
	if step < time.Millisecond || n < 1 || n > MaxSpent {
		return nil, assay.Errorf(assay.CodeInvalid, "%d steps of %s; expected 1 to %d of a millisecond at least", n, step, MaxSpent)
	}
	a, allowed, err := b.worth(name)
	if err != nil {
		return nil, err
	}
	q := signal.Query{Namespace: b.cfg.Namespace, Indicator: a.indicator, Start: from.Truncate(time.Millisecond)}
	steps, err := signal.ReadSteps(ctx, b.cfg.Source, q, step, n)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n)
	for i, readings := range steps {
		bad := uint64(0)
		for _, r := range readings { // the versions of a service share its promise
			bad += r.Bad()
		}
		if out[i] = float64(bad) / float64(allowed) / step.Minutes(); len(readings) == 0 {
			out[i] = math.NaN()
		}
	}
	return out, nil
}

// worth is an objective's account and how many bad events its window allows now.
func (b *Books) worth(name string) (*account, uint64, error) {
	now := b.cfg.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	a, err := b.find(name)
	if err != nil {
		return nil, 0, err
	}
	s := a.snapshot(now, b.cfg.Complete)
	if !s.Known || s.Budget.Allowed() == 0 {
		return nil, 0, assay.Errorf(assay.CodeUnavailable, "the budget of %s is not known: %s", name, s.Reason)
	}
	return a, s.Budget.Allowed(), nil
}
