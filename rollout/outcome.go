package rollout

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// judge closes the loop of the last action once its window is over: what the service gives
// now of what the action was taken for is held against what the canary gave (after an abort)
// or the old version gave (after a promotion).
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
	seen, others, err := c.aftermath(ctx, rec)
	if err != nil {
		out.Reason = "the window after the action cannot be read: " + err.Error()
	} else {
		var at int
		if out, at = decide.JudgeAll(seen, others, out.Action, now); at > 0 {
			seen = others[at-1]
		}
	}
	rec.Rollout.Outcome, rec.JudgeAt = &out, time.Time{}
	return c.save(ctx, &rec, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactRolloutJudged, assay.RetainOperational, actor, now, []assay.FactID{rec.Rollout.EndedFact},
			JudgedPayload{
				Rollout: rec.Rollout.ID, Outcome: out, Canary: whole(seen.Canary), After: whole(seen.After),
				Indicator: seen.Target.Indicator.Name, Bound: seen.Target.Bound,
			})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

// whole is an amount in counts.
func whole(a decide.Amount) assay.Rate {
	return assay.Rate{Bad: uint64(math.Round(a.Of)), Total: uint64(math.Round(a.To))}
}

// aftermath reads the canary's whole exposure, and the whole service since the action
// was done; after a promotion also of whatever else the plan watches. What the watch
// counts is held against what the watch counts: copies of requests, of which a mirrored
// version has its exposure before, are no responses of the service, and there are none
// once the action was done.
func (c *Controller) aftermath(ctx context.Context, rec record) (out decide.Aftercare, others []decide.Aftercare, err error) {
	of, from, w := counted{rec.Rollout.Plan.Indicators, rec.Indicators}, rec.Rollout.Began, rec.Rollout.Watch
	watched := w != nil && !w.Began.IsZero()
	switch {
	case from.IsZero():
		return out, nil, assay.Errorf(assay.CodeNotFound, "it never had traffic")
	case watched && len(rec.After) > 0:
		of, from = counted{rec.AfterTests, rec.After}, w.Began
	case rec.Rollout.Strategy == api.StrategyMirrored && !watched:
		return out, nil, assay.Errorf(assay.CodeNotFound, "it answered copies of requests only, which say nothing about the service's responses")
	}
	var stopped *assay.Decision
	if rec.Rollout.Weight == 0 {
		stopped = rec.Rollout.Decision
	}
	target, at := decide.Targeted(of.tests, stopped)
	if at >= len(of.sources) {
		return out, nil, assay.Errorf(assay.CodeNotFound, "the plan watches nothing")
	}
	if out, err = c.aftercare(ctx, rec, of, decide.Placed{Target: target, At: at}, from); err != nil || rec.Rollout.Weight == 0 {
		return out, nil, err
	}
	if target.Indicator.Rated() {
		// What the tests counted of both at the same time.
		out.Control = decide.Amount{Of: float64(rec.Rollout.Control.Bad), To: float64(rec.Rollout.Control.Total)}
	}
	for _, t := range decide.Besides(of.tests, at) {
		if x, err := c.aftercare(ctx, rec, of, t, from); err == nil { // what cannot be read shows no harm
			others = append(others, x)
		}
	}
	return out, others, nil
}

// aftercare reads what one target counted: of both versions from an instant on, and of the
// whole service since the action was done.
func (c *Controller) aftercare(ctx context.Context, rec record, of counted, t decide.Placed, from time.Time) (out decide.Aftercare, err error) {
	out.Target, out.Margin = t.Target, cmp.Or(t.Indicator.Margin, rec.Rollout.Plan.Margin)
	before, err := c.readings(ctx, rec, of.sources[t.At], from.Add(t.Indicator.WarmUp))
	if err != nil {
		return out, err
	}
	after, err := c.readings(ctx, rec, of.sources[t.At], rec.ActedAt)
	out.Canary, out.After = t.Total(before, rec.Rollout.Plan.Canary), t.Total(after, "")
	out.Control = t.Total(before, rec.Rollout.Plan.Control)
	return out, err
}

// counted is what a plan tests, with where its counts come from.
type counted struct {
	tests   []decide.Indicator
	sources []Indicator
}

// readings are those of one indicator, from an instant to the end of the window.
func (c *Controller) readings(ctx context.Context, rec record, source Indicator, from time.Time) ([]assay.Reading, error) {
	spec := source.Spec
	spec.StratumLabel, spec.ReplicaLabel = "", "" // all traffic is held against all
	compiled, err := c.known.compile(rec.Rollout.ID, spec)
	if err != nil {
		return nil, err
	}
	return c.cfg.Source.Read(ctx, signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: from, End: rec.JudgeAt})
}

// rated is the indicator whose rate people see: the first that counts bad events without
// bounds; -1 if there is none.
func rated(tests []decide.Indicator) int {
	return slices.IndexFunc(tests, decide.Indicator.Rated)
}

// rates are what the tests of the rated indicator counted of both versions: each class
// of bad events has a test of its own, and all of them one exposure.
func rates(p decide.Plan, tests []assay.TestValue) (canary, control assay.Rate, ok bool) {
	at, i := 0, rated(p.Indicators)
	if i < 0 {
		return canary, control, false
	}
	for _, other := range p.Indicators[:i] {
		at += max(1, len(other.Bounds), len(other.Classes))
	}
	end := at + max(1, len(p.Indicators[i].Classes))
	if end > len(tests) {
		return canary, control, false
	}
	for _, t := range tests[at:end] {
		canary.Bad, canary.Total = canary.Bad+t.Canary.Bad, max(canary.Total, t.Canary.Total)
		control.Bad, control.Total = control.Bad+t.Control.Bad, max(control.Total, t.Control.Total)
	}
	return canary, control, true
}
