package control

import (
	"context"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/decide"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
)

// maxHistory is how many of the newest rollouts of a namespace are looked through for
// those of a service.
const maxHistory = 500

// weighRisk scores a change and lets the score set the gate and the steps of its rollout.
func (s *Session) weighRisk(ctx context.Context, res policy.Rollout, req api.RolloutRequest, p *rollout.Proposal) error {
	change, err := s.changeOf(ctx, res, req)
	if err != nil {
		return err
	}
	risk, err := mitigate.Risk(change)
	if err != nil {
		return fieldError("change", err)
	}
	if risk.Gate == api.RiskFreeze {
		return &assay.Error{Code: assay.CodeDenied, Msg: "the error budget of " + res.Spec.Objective + " is spent: only what repairs goes out",
			Hint: "wait until there is budget again, or say that it repairs, which another person approves: --repairs"}
	}
	if res.Spec.Strategy == policy.RolloutCanary {
		p.Plan = slowed(p.Plan, risk)
	}
	risk.Steps = p.Plan.Steps // that it has, which for another strategy than a canary are its own
	p.Risk = &risk
	return nil
}

// slowed is a plan with the steps of a risk between its own: never faster than declared.
// The evidence has as much longer to decide as the steps take.
func slowed(p decide.Plan, risk api.Risk) decide.Plan {
	if risk.Gate == api.RiskNormal {
		return p
	}
	least := time.Duration(len(p.Steps)) * p.MinDuration
	p.Steps = slices.Concat(p.Steps, risk.Steps)
	slices.Sort(p.Steps)
	p.Steps = slices.Compact(p.Steps)
	p.MinDuration = time.Duration(float64(p.MinDuration) * risk.Slower)
	p.Horizon += time.Duration(len(p.Steps))*p.MinDuration - least
	return p
}

// changeOf is what there is to know about a change: what its author says, how earlier
// ones went, what excused it at the gate, and what is left of the budget.
func (s *Session) changeOf(ctx context.Context, res policy.Rollout, req api.RolloutRequest) (c mitigate.Proposed, err error) {
	c.Unsized, c.BudgetLeft, c.Blast = req.Change == nil, -1, *res.Spec.Risk.Blast/100
	if req.Change != nil {
		c.Lines, c.Files, c.Irreversible, c.Repairs = req.Change.Lines, req.Change.Files, req.Change.Irreversible, req.Change.Repairs
	}
	earlier, err := rollout.List(ctx, s.p.cfg.Store, s.caller.Namespace, maxHistory)
	if err != nil {
		return c, err
	}
	since := s.p.cfg.Now().Add(-res.Spec.Risk.History.Value())
	takenBack := map[string]bool{}
	for _, r := range earlier { // newest first
		if r.Back != nil && !r.Began.IsZero() {
			takenBack[r.Back.Of] = true
		}
		if r.Service != res.Spec.Service || r.Created.Before(since) || r.Back != nil {
			continue // a rollback is no change of its own: what it took back failed
		}
		switch r.Status {
		case api.RolloutPromoted:
			if c.Changes++; takenBack[r.ID] {
				c.Failed++
			}
		case api.RolloutAborted, api.RolloutReverted:
			c.Changes++
			c.Failed++
		}
	}
	if c.Exceptions, err = s.excused(ctx, req.Digest); err != nil {
		return c, err
	}
	if res.Spec.Objective == "" {
		return c, nil
	}
	if o, err := s.Objective(ctx, res.Spec.Objective); err == nil && o.Known && o.Allowed > 0 {
		c.BudgetLeft = min(max(float64(o.Remaining)/float64(o.Allowed), 0), 1)
	}
	return c, nil
}

// excused is how many uses of exceptions the verdicts of an artifact rest on.
func (s *Session) excused(ctx context.Context, digest assay.Digest) (n int, err error) {
	sum, err := artifact.Get(ctx, s.p.cfg.Store, s.caller.Namespace, digest)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return 0, nil
	}
	for _, a := range sum.Judgements {
		if a.Outcome == assay.OutcomePass {
			n += len(a.UseFacts)
		}
	}
	return n, err
}
