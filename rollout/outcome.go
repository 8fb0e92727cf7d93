package rollout

import (
	"context"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// judge closes the loop of the last action once its window is over: the share of
// bad responses that the service gives now is held against what the canary gave
// (after an abort) or the old version gave (after a promotion).
func (c *Controller) judge(ctx context.Context, rec record) error {
	now := c.cfg.Now().UTC()
	if rec.JudgeAt.IsZero() || now.Before(rec.JudgeAt) {
		return nil
	}
	out := assay.ActionOutcome{Time: now, Effect: assay.EffectInconclusive}
	out.Action = assay.Action{Kind: assay.ActionAbort, Service: rec.Rollout.Service, Version: rec.Rollout.Plan.Canary, Weight: rec.Rollout.Weight}
	if rec.Rollout.Weight > 0 {
		out.Action.Kind = assay.ActionFinish
	}
	canary, after, err := c.aftermath(ctx, rec)
	if err != nil {
		out.Reason = "the window after the action cannot be read: " + err.Error()
	} else {
		out = decide.Aftercare{
			Canary: canary, Control: rec.Rollout.Control, After: after,
			Margin: rec.Rollout.Plan.Margin, Dispersion: dispersion(rec.Rollout.Plan),
		}.Judge(out.Action, now)
	}
	rec.Rollout.Outcome, rec.JudgeAt = &out, time.Time{}
	return c.write(ctx, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactRolloutJudged, assay.RetainOperational, actor, now, []assay.FactID{rec.Rollout.EndedFact},
			JudgedPayload{Rollout: rec.Rollout.ID, Outcome: out, Canary: canary, After: after})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

// aftermath reads the canary's whole exposure, and the whole service since the
// action was done.
func (c *Controller) aftermath(ctx context.Context, rec record) (canary, after assay.Rate, err error) {
	for i, ind := range rec.Indicators {
		if len(rec.Rollout.Plan.Indicators[i].Bounds) > 0 {
			continue
		}
		compiled, err := signal.Compile(ind.Spec)
		if err != nil {
			return canary, after, err
		}
		if rec.Rollout.Began.IsZero() {
			return canary, after, assay.Errorf(assay.CodeNotFound, "it never had traffic")
		}
		whole, err := c.cfg.Source.Read(ctx, signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: rec.Rollout.Began, End: rec.JudgeAt})
		if err != nil {
			return canary, after, err
		}
		for _, r := range whole {
			if r.Version == rec.Rollout.Plan.Canary {
				canary = assay.Rate{Bad: r.Bad(), Total: r.Total}
			}
		}
		since, err := c.cfg.Source.Read(ctx, signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: rec.ActedAt, End: rec.JudgeAt})
		for _, r := range since {
			after.Bad += r.Bad()
			after.Total += r.Total
		}
		return canary, after, err
	}
	return canary, after, assay.Errorf(assay.CodeNotFound, "the plan watches no rate")
}

// dispersion is what was measured of the rate that outcomes are judged by.
func dispersion(p decide.Plan) float64 {
	for _, i := range p.Indicators {
		if len(i.Bounds) == 0 {
			return i.Dispersion
		}
	}
	return 0
}
