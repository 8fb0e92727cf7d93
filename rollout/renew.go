package rollout

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/store"
)

// renewable reports whether cause says that what is stored of the evidence belongs to
// other tests than those of now: another release of the program made it.
func renewable(rec record, cause error) bool {
	return assay.CodeOf(cause) == assay.CodeConflict && rec.State.Phase == decide.Running
}

// renew begins the evidence anew at the step where the rollout stands. What was known
// cannot be taken over, and nothing that was decided on it is undone; but from here on
// the step is earned, and harm is seen, by what arrives from now on.
func (c *Controller) renew(ctx context.Context, rec record, cause error) error {
	now := c.cfg.Now().UTC()
	plan := rec.plan()
	state, err := decide.Begin(plan, now)
	if err != nil {
		return err
	}
	state.Step = max(0, min(rec.State.Step, len(plan.Steps)-1))
	rec.State, rec.Recorded = state, signature{}
	rec.Rollout.Reason = "Begin anew: the evidence until now belongs to another release: " + cause.Error()
	c.cfg.Log.Warn("the evidence of a rollout is begun anew", "rollout", rec.Rollout.ID, "error", cause)
	return c.save(ctx, &rec, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactRolloutRenewed, assay.RetainAudit, actor, now, []assay.FactID{rec.Rollout.StartedFact, rec.Rollout.DecidedFact},
			RenewedPayload{Rollout: rec.Rollout.ID, Step: state.Step, Weight: rec.Rollout.Weight, Detail: cause.Error()})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}
