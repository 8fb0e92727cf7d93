package rollout

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// confidence of the intervals that an outcome is judged by.
const confidence = 0.99

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
		out.Effect, out.Reason = effect(out.Action.Kind, rec.Rollout.Plan.Margin, canary, rec.Rollout.Control, after)
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

// effect compares rates by their exact intervals: what does not overlap differs.
func effect(kind assay.ActionKind, margin float64, canary, control, after assay.Rate) (assay.Effect, string) {
	if after.Total == 0 {
		return assay.EffectInconclusive, "no requests were seen after the action"
	}
	low, high := infer.ClopperPearson(after.Bad, after.Total, confidence)
	if kind == assay.ActionFinish {
		oldLow, oldHigh := infer.ClopperPearson(control.Bad, control.Total, confidence)
		words := fmt.Sprintf("%s of %d requests are bad since, %s of %d were with the old version", percent(after), after.Total, percent(control), control.Total)
		switch {
		case low > margin*oldHigh:
			return assay.EffectHarmed, words
		case high < oldLow:
			return assay.EffectHelped, words
		case high < margin*oldHigh:
			return assay.EffectNone, words
		}
		return assay.EffectInconclusive, words
	}
	badLow, badHigh := infer.ClopperPearson(canary.Bad, canary.Total, confidence)
	words := fmt.Sprintf("%s of %d requests are bad since, %s of %d were with the new version", percent(after), after.Total, percent(canary), canary.Total)
	switch {
	case high < badLow:
		return assay.EffectHelped, words
	case low > badHigh:
		return assay.EffectHarmed, words
	}
	return assay.EffectInconclusive, words
}

func percent(r assay.Rate) string {
	if r.Total == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(r.Bad)/float64(r.Total))
}
