package mitigate

import (
	"context"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// lookBack finds out of the suspected change what its law needs once the rollout has ended:
// where to go back to, and what the old version did before the change if none of its
// requests are left.
func (c *Controller) lookBack(ctx context.Context, s Strategy, in *Inputs, now time.Time) {
	i := suspected(in.Changes, s.Spec.Rollback.Within.Value(), now)
	if i < 0 || in.Changes[i].Open {
		return
	}
	in.Changes = slices.Clone(in.Changes)
	x := &in.Changes[i]
	if !slices.ContainsFunc(in.Values, func(v Value) bool {
		return v.Name == "bad" && v.Scope == x.Version && v.Value >= s.Spec.Rollback.MinBad
	}) {
		return // it is held anyway
	}
	has := slices.ContainsFunc(in.Settings, func(at Setting) bool { return at.Lever == assay.LeverShare && at.Scope == x.Version && at.Now > 0 })
	if !has {
		return // it is gone already
	}
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	var err error
	if x.Back, err = c.cfg.Rollouts.WayBack(ctx, s.Namespace, s.Spec.Service); err != nil {
		x.Back, x.Stuck = "", err.Error()
	}
	left := slices.ContainsFunc(in.Values, func(v Value) bool { return v.Name == "total" && v.Scope == x.Old && v.Value > 0 })
	if left {
		return
	}
	before := x.Time
	if !x.Began.IsZero() {
		before = x.Began
	}
	past, err := c.before(ctx, s.asRead(in.Second), x.Old, before)
	if err != nil {
		c.cfg.Log.Warn("what was before a change cannot be read", "strategy", s.Name, "error", err)
		return
	}
	if w, ok := LikeLoad(past, in.total(x.Version)); ok {
		x.WasBad, x.WasTotal = w.Bad, w.Total
		if w.Time.Before(before) {
			x.WasTime = w.Time
		}
	}
}

// asRead is the strategy with the sources that its signals were read from: the past of a
// version is not held against the present as another sender counts it.
func (s Strategy) asRead(second []Second) Strategy {
	s.Spec.Signals = slices.Clone(s.Spec.Signals)
	for i := range s.Spec.Signals {
		sig := &s.Spec.Signals[i]
		if slices.ContainsFunc(second, func(x Second) bool { return x.Name == sig.Name }) {
			sig.Query = sig.Fallback
		}
	}
	return s
}

// total is how many requests the signals count of a version now.
func (in *Inputs) total(version string) float64 {
	i := slices.IndexFunc(in.Values, func(v Value) bool { return v.Name == "total" && v.Scope == version })
	if i < 0 {
		return 0
	}
	return in.Values[i].Value
}

// approved reports whether a person said yes to an action.
func (r *record) approved(a assay.Action) bool {
	return slices.ContainsFunc(r.Approvals, func(q decide.Approval) bool { return q.Answer == "yes" && q.Action.Target() == a.Target() })
}
