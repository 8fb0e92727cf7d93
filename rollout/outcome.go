package rollout

import (
	"context"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
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
	return c.save(ctx, &rec, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactRolloutJudged, assay.RetainOperational, actor, now, []assay.FactID{rec.Rollout.EndedFact},
			JudgedPayload{Rollout: rec.Rollout.ID, Outcome: out, Canary: canary, After: after})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

// aftermath reads the canary's whole exposure, and the whole service since the action
// was done. What the watch counts is held against what the watch counts: copies of
// requests, of which a mirrored version has its exposure before, are no responses of the
// service, and there are none once the action was done.
func (c *Controller) aftermath(ctx context.Context, rec record) (canary, after assay.Rate, err error) {
	of, from, w := counted{rec.Rollout.Plan.Indicators, rec.Indicators}, rec.Rollout.Began, rec.Rollout.Watch
	watched := w != nil && !w.Began.IsZero()
	switch {
	case from.IsZero():
		return canary, after, assay.Errorf(assay.CodeNotFound, "it never had traffic")
	case watched && len(rec.After) > 0:
		of, from = counted{rec.AfterTests, rec.After}, w.Began
	case rec.Rollout.Strategy == api.StrategyMirrored && !watched:
		return canary, after, assay.Errorf(assay.CodeNotFound, "it answered copies of requests only, which say nothing about the service's responses")
	}
	if canary, err = c.rate(ctx, rec, of, from, rec.Rollout.Plan.Canary); err != nil {
		return canary, after, err
	}
	after, err = c.rate(ctx, rec, of, rec.ActedAt, "")
	return canary, after, err
}

// counted is what a plan tests, with where its counts come from.
type counted struct {
	tests   []decide.Indicator
	sources []Indicator
}

// rate is the rate that outcomes are judged by, of one version or of all together (""),
// from an instant to the end of the window.
func (c *Controller) rate(ctx context.Context, rec record, of counted, from time.Time, version string) (sum assay.Rate, err error) {
	i := rated(of.tests)
	if i < 0 {
		return sum, assay.Errorf(assay.CodeNotFound, "the plan watches no rate")
	}
	spec := of.sources[i].Spec
	spec.StratumLabel = "" // all traffic is held against all
	compiled, err := c.known.compile(rec.Rollout.ID, spec)
	if err != nil {
		return sum, err
	}
	readings, err := c.cfg.Source.Read(ctx, signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: from, End: rec.JudgeAt})
	for _, r := range readings {
		if version == "" || r.Version == version {
			sum.Bad += badOf(r, of.tests[i].Classes)
			sum.Total += r.Total
		}
	}
	return sum, err
}

// rated is the indicator whose rate people see and outcomes are judged by: the first
// that counts bad events without bounds; -1 if there is none.
func rated(tests []decide.Indicator) int {
	return slices.IndexFunc(tests, decide.Indicator.Rated)
}

// badOf counts the bad events that a plan tests: all, or those of its classes.
func badOf(r assay.Reading, classes []string) (n uint64) {
	if len(classes) == 0 {
		return r.Bad()
	}
	for _, c := range r.Classes {
		if slices.Contains(classes, c.Name) {
			n += c.Count
		}
	}
	return n
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

// dispersion is what was measured of the rate that outcomes are judged by.
func dispersion(p decide.Plan) float64 {
	for _, i := range p.Indicators {
		if i.Rated() {
			return i.Dispersion
		}
	}
	return 0
}
