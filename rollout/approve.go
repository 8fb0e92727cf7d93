package rollout

import (
	"context"
	"fmt"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

// gate makes a rollout wait for a person before its first request, if its risk asks for one.
func (rec *record) gate(risk *api.Risk) {
	rec.Rollout.Risk = risk
	if risk == nil || risk.Gate != api.RiskApprove {
		return
	}
	rec.Rollout.Status, rec.Rollout.Approval = api.RolloutAsking, &api.Approval{}
	rec.Rollout.Reason = fmt.Sprintf("Ask: the risk of %s is %d of 100: %s. It has no traffic yet.", rec.Rollout.Plan.Canary, risk.Score, risk.Words)
}

// Approve records the yes that a rollout waits for before its first request. It begins
// next. CodeConflict if it waits for none, CodeDenied for whoever asked for the rollout.
func (c *Controller) Approve(ctx context.Context, namespace, id, actor, reason string) (api.Rollout, error) {
	rec, err := load(ctx, c.cfg.Store, namespace, id)
	if err != nil {
		return api.Rollout{}, err
	}
	err = c.save(ctx, &rec, func(tx store.Tx) error {
		v, err := tx.Get(rec.key())
		if err != nil {
			return err
		}
		if rec, err = parseRecord(v); err != nil {
			return err
		}
		switch {
		case !rec.Rollout.Unapproved():
			return assay.Errorf(assay.CodeConflict, "rollout %s waits for no yes: it is %s", id, rec.Rollout.Status)
		case exception.SameIdentity(actor, rec.Rollout.Actor):
			return &assay.Error{Code: assay.CodeDenied, Msg: actor + " asked for the rollout and cannot say yes to it", Hint: "let somebody else look at it"}
		}
		now := c.cfg.Now().UTC()
		_, err = rec.fact(tx, assay.FactRolloutCommanded, assay.RetainAudit, actor, now, []assay.FactID{rec.Rollout.StartedFact},
			CommandedPayload{Rollout: id, Command: api.CommandApprove, Reason: reason})
		if err != nil {
			return err
		}
		rec.Rollout.Approval = &api.Approval{By: actor, Reason: reason, Time: now}
		rec.Rollout.Status = api.RolloutStarting
		rec.Rollout.Reason = fmt.Sprintf("Start: %s said yes: %s", actor, reason)
		return rec.put(tx)
	})
	if err != nil {
		return api.Rollout{}, err
	}
	c.poke(rec.Namespace, id)
	return rec.Rollout, nil
}
