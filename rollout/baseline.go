package rollout

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/signal"
)

// past is where the indicator's history is read.
func (i Indicator) past() signal.Spec {
	spec := i.Spec
	if i.Baseline != nil {
		spec = *i.Baseline
	}
	spec.StratumLabel = "" // of all traffic together
	return spec
}

// freeze gives the plan's indicators their bounds: what the old version's past
// says, fixed before the new one gets its first request.
func (c *Controller) freeze(ctx context.Context, p Proposal, plan decide.Plan, sources []Indicator, now time.Time) ([]decide.Indicator, error) {
	out := slices.Clone(plan.Indicators)
	if len(sources) != len(out) {
		return nil, assay.Errorf(assay.CodeInvalid, "the plan has %d indicators and %d sources", len(out), len(sources))
	}
	for i, ind := range sources {
		compiled, err := signal.Compile(ind.past())
		if err != nil {
			return nil, err
		}
		if ind.Fallback != nil {
			if _, err := signal.Compile(*ind.Fallback); err != nil {
				return nil, err
			}
		}
		if len(ind.Quantiles) == 0 && ind.Limit == 0 {
			continue
		}
		readings, err := c.cfg.Source.Read(ctx, signal.Query{Namespace: p.Namespace, Indicator: compiled, Start: now.Add(-p.Baseline), End: now})
		if err != nil {
			return nil, err
		}
		bounds, total := baseline(readings, plan.Control)
		thresholds, err := infer.Freeze(bounds, total, ind.Quantiles, ind.Limit)
		if err != nil || len(thresholds) == 0 {
			return nil, &assay.Error{Code: assay.CodeInvalid, Field: "indicators." + out[i].Name,
				Msg:  fmt.Sprintf("has no baseline: version %s answered %d requests in the last %s", plan.Control, total, p.Baseline),
				Hint: "wait until its telemetry has arrived, or state the bounds"}
		}
		out[i].Bounds = slices.Clone(out[i].Bounds) // stated ones stay; the limit is watched beside them
		for _, t := range thresholds {
			out[i].Bounds = append(out[i].Bounds, t.LE)
		}
		slices.Sort(out[i].Bounds)
		out[i].Bounds = slices.Compact(out[i].Bounds)
	}
	return out, nil
}

func baseline(readings []assay.Reading, version string) (bounds []infer.Bound, total uint64) {
	for _, r := range readings {
		if r.Version != version {
			continue
		}
		for _, b := range r.Buckets {
			bounds = append(bounds, infer.Bound{LE: b.LE, Count: b.Count})
		}
		return bounds, r.Total
	}
	return nil, 0
}

// The old version's past is read in slots of a minute, or shorter ones where little of
// it is known: enough of them to see how much they vary, long enough to count something.
const (
	pastSlots   = 90
	leastSlot   = 250 * time.Millisecond
	longestSlot = time.Minute
	// pastTime is how much of it is looked at, if the baseline is not longer.
	pastTime = 6 * time.Hour
	// gaugeSlots is how many values of a gauge are looked at, if the baseline is not longer.
	gaugeSlots = 180
	// calibratedFrom is how many slots there must be before anything is learned of them.
	calibratedFrom = 12
)

// study reads the old version's past before the new one begins: since when it is
// known, how much more its bad events vary than independent ones would, and how often
// it would have been stopped if it had been compared with itself.
func (c *Controller) study(ctx context.Context, p Proposal, plan *decide.Plan, rec *record, now time.Time) error {
	rec.Past = now
	known := now
	plan.Indicators = slices.Clone(plan.Indicators)
	histories := make([][][]assay.Reading, len(p.Indicators))
	for i, ind := range p.Indicators {
		history, err := c.slots(ctx, p, ind, plan.Control, now)
		if err != nil { // what cannot be read now says so as an unknown signal later
			c.cfg.Log.Warn("the old version's past cannot be read", "indicator", plan.Indicators[i].Name, "error", err)
			continue
		}
		if len(history) == 0 {
			continue
		}
		histories[i] = history
		if history[0][0].Start.Before(known) {
			known = history[0][0].Start
		}
		// The watch is held against the baseline, and not against another time of day.
		if from := later(history[0][0].Start, now.Add(-p.Baseline)); from.Before(rec.Past) {
			rec.Past = from
		}
		expect(&plan.Indicators[i], history)
	}
	rec.Alone = alone(plan.Indicators)
	rec.Rollout.Warnings = c.warnings(p, *plan, histories, now)
	for i, ind := range p.Indicators {
		history := histories[i]
		if plan.Certainty == assay.Exact || len(history) < calibratedFrom || ind.Baseline != nil {
			continue // nothing is to be learned, or there is nothing to learn from
		}
		if err := calibrate(plan, i, rec.Alone, history, now); err != nil {
			return err
		}
	}
	if err := c.loaded(ctx, p, *plan, rec, known, now); err != nil {
		c.cfg.Log.Warn("the old version's load cannot be read", "error", err)
	}
	return nil
}

// warnings are what the plan cannot do in time, by the first history of requests that says
// something: of rates of bad events, or of whatever else counts requests if there are none.
func (c *Controller) warnings(p Proposal, plan decide.Plan, histories [][][]assay.Reading, now time.Time) (out []string) {
	counts := decide.Indicator.Rated
	if !slices.ContainsFunc(plan.Indicators, counts) {
		counts = decide.Indicator.CountsRequests
	}
	for i, history := range histories {
		if counts(plan.Indicators[i]) && len(out) == 0 {
			out = slow(plan, p.Strategy, history, now)
		}
	}
	return out
}

// expect notes what the old version had of a count, value or gauge, unless the plan says it.
func expect(ind *decide.Indicator, history [][]assay.Reading) {
	if ind.Expected != 0 || ind.Kind == "" || ind.Kind == decide.KindRatio {
		return
	}
	var count, total, hours, sum float64
	for _, slot := range history {
		r := slot[0]
		count, sum, total = count+float64(r.Count), sum+r.Sum, total+float64(r.Total)
		hours += r.End.Sub(r.Start).Hours()
	}
	switch {
	case total == 0:
	case ind.PerTime:
		ind.Expected = count / hours
	case ind.Kind == decide.KindCount:
		ind.Expected = count / total
	default:
		ind.Expected = ind.Min + sum/total
	}
}

// draws are the random numbers of a calibration; its seed is recorded with the plan.
func draws(seed uint64) decide.Draws {
	return decide.Draws{Seed: seed, Next: rand.New(rand.NewPCG(seed, 0)).Float64}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slots are what the old version counted, oldest first, without the slots of which
// nothing is known.
func (c *Controller) slots(ctx context.Context, p Proposal, ind Indicator, version string, now time.Time) ([][]assay.Reading, error) {
	compiled, err := signal.Compile(ind.past())
	if err != nil {
		return nil, err
	}
	q := signal.Query{Namespace: p.Namespace, Indicator: compiled}
	if at := slices.IndexFunc(p.Plan.Indicators, func(t decide.Indicator) bool { return t.Name == ind.Spec.Name && t.Every > 0 }); at >= 0 {
		// A gauge's history is looked at as the rollout will look at it.
		every := p.Plan.Indicators[at].Every
		return c.every(ctx, q, version, now, min(max(p.Baseline, gaugeSlots*every), pastTime), every)
	}
	known, err := c.every(ctx, q, version, now, max(p.Baseline, pastTime), longestSlot)
	if err != nil || len(known) >= pastSlots {
		return known, err
	}
	span := p.Baseline // a little of it: less than a minute may be known
	if len(known) > 0 {
		span = now.Sub(known[0][0].Start)
	}
	return c.every(ctx, q, version, now, span, min(max(leastSlot, span/pastSlots), longestSlot))
}

// every reads a span before now in slots of a length.
func (c *Controller) every(ctx context.Context, q signal.Query, version string, now time.Time, span, length time.Duration) (out [][]assay.Reading, err error) {
	length = length.Truncate(time.Millisecond)
	q.Start = now.Truncate(time.Millisecond).Add(-span.Truncate(length))
	for q.End = q.Start.Add(length); !q.End.After(now); q.Start, q.End = q.End, q.End.Add(length) {
		r, err := c.one(ctx, q, version)
		if err != nil {
			return nil, err
		}
		if r != nil {
			out = append(out, []assay.Reading{*r})
		}
	}
	return out, nil
}

// slow says what the plan cannot do in time with the traffic that the old version had.
func slow(plan decide.Plan, s api.Strategy, history [][]assay.Reading, now time.Time) (out []string) {
	if len(history) == 0 || s == api.StrategyBlueGreen || s == api.StrategyMirrored {
		return nil
	}
	var bad, total uint64
	for _, slot := range history {
		bad, total = bad+slot[0].Bad(), total+slot[0].Total
	}
	minutes := now.Sub(history[0][0].Start).Minutes()
	if total == 0 || minutes <= 0 {
		return nil
	}
	perMinute := float64(total) / minutes
	if perMinute >= 10 { // digits that nobody needs
		perMinute = math.Round(perMinute)
	}
	findings, err := decide.LintPlan(plan, perMinute, math.Min(float64(bad)/float64(total), 0.999))
	if err != nil {
		return nil // the plan itself is wrong, which is said as an error
	}
	for _, f := range findings {
		out = append(out, f.Words)
	}
	return out
}
