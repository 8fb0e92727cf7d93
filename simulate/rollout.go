package simulate

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/policy"
)

// roll gives a new version its traffic by decide.Next.
type roll struct {
	rule     policy.Rollout
	plan     decide.Plan
	state    decide.State
	at       time.Time
	began    bool
	ended    bool
	asked    bool            // the first step was asked for
	readings []assay.Reading // since the last look
	spare    []assay.Reading // of the second source, since one was taken up last
	baseline []assay.Reading // of the old version's latency, before it began
	past     []assay.Reading // of the old version's measures, before it began
}

func newRoll(rule policy.Rollout, use RolloutUse, start time.Time) (*roll, error) {
	plan, err := rule.Plan()
	if err != nil {
		return nil, err
	}
	plan.Canary, plan.Control = use.Canary, use.Control
	return &roll{rule: rule, plan: plan, at: start.Add(use.At.D())}, nil
}

func (r *roll) see(s sight) error {
	for _, x := range s.readings {
		if x.Service != r.plan.Service || r.ended {
			continue
		}
		if r.began {
			r.readings = append(r.readings, r.named(x)...)
			continue
		}
		if x.Version != r.plan.Control {
			continue
		}
		switch x.Indicator {
		case simtest.IndicatorLatency:
			r.baseline = append(r.baseline, x)
		case simtest.IndicatorErrors:
		default:
			r.past = append(r.past, r.named(x)...)
		}
	}
	if r.began && !r.ended && s.second != nil {
		for _, x := range s.second.readings {
			if x.Service == r.plan.Service {
				r.spare = append(r.spare, r.named(x)...)
			}
		}
	}
	r.past = lately(r.past, s.now.Add(-pastTime))
	old := s.now.Add(-r.rule.Spec.Baseline.Value())
	for len(r.baseline) > 1 && r.baseline[0].End.Before(old) {
		r.baseline = r.baseline[1:]
	}
	return nil
}

// named are a reading under the names of the rollout's indicators.
func (r *roll) named(x assay.Reading) (out []assay.Reading) {
	for n, i := range r.rule.Spec.Indicators {
		if !shows(i, &x) {
			continue
		}
		y := measured(r.plan.Indicators[n], x)
		y.Indicator, y.Environment = i.Name, r.plan.Environment
		if !r.plan.Indicators[n].Replicas {
			y.Replicas = nil // told apart for another indicator
		}
		if i.Threshold > 0 {
			y.Good, y.Buckets = within(x.Buckets, i.Threshold), nil
			y.Replicas = slices.Clone(y.Replicas)
			for j := range y.Replicas {
				p := &y.Replicas[j]
				p.Good, p.Buckets = within(p.Buckets, i.Threshold), nil
			}
		}
		out = append(out, y)
	}
	return out
}

// within is how many were answered within a bound of a histogram.
func within(buckets []assay.Bucket, threshold float64) (good uint64) {
	for _, b := range buckets {
		if b.LE <= threshold {
			good = b.Count
		}
	}
	return good
}

// apart lets the world tell the replicas of the old version apart from now on if the plan
// compares them: for who asks for none, none are drawn.
func (r *roll) apart(w *simtest.World) {
	for n, i := range r.rule.Spec.Indicators {
		if r.plan.Indicators[n].Replicas {
			w.Apart(r.plan.Service, r.plan.Control, i.Histogram())
		}
	}
}

func (r *roll) look(s sight) ([]wish, error) {
	switch {
	case r.ended || s.now.Before(r.at):
		return nil, nil
	case !r.asked:
		r.asked = true
		r.apart(s.world)
		first := assay.Action{Kind: assay.ActionAdvance, Service: r.plan.Service, Version: r.plan.Canary, Weight: r.plan.Steps[0]}
		return []wish{{first, "the rollout begins"}}, nil
	case !r.began:
		r.asked = false // the executor failed: again
		return nil, nil
	}
	r.instead(s.now)
	d, next, err := decide.Next(r.plan, r.state, r.readings, unguarded, s.now)
	if err != nil {
		return nil, err
	}
	r.state, r.readings = next, r.readings[:0]
	if d.Action.Kind == assay.ActionAsk {
		r.ended = true // nobody answers here
	}
	if !d.Action.Kind.Changes() {
		return nil, nil
	}
	return []wish{{d.Action, d.Words}}, nil
}

// instead takes up what the second source tells of an indicator that has one, of the time of
// which the first has told nothing for longer than what it tells is fresh.
func (r *roll) instead(now time.Time) {
	for n, i := range r.rule.Spec.Indicators {
		w, from := &r.state.Watches[n], now
		for _, x := range r.readings {
			if x.Indicator == i.Name && x.Start.Before(from) {
				from = x.Start // the first is back
			}
		}
		since := w.EventTime
		if since.Before(r.state.Began) {
			since = r.state.Began
		}
		if i.Fallback == nil || w.Instead == "" && from.Sub(since) <= r.plan.MaxAge {
			continue
		}
		for _, x := range r.spare {
			if x.Indicator == i.Name && !x.Start.Before(w.Through) && !x.End.After(from) {
				x.Instead = fmt.Sprintf("the first has told nothing new of both versions for more than %s", r.plan.MaxAge)
				r.readings = append(r.readings, x)
			}
		}
	}
	r.spare = lately(r.spare, now.Add(-2*r.plan.MaxAge))
}

// unguarded lets everything pass: a simulated world has no people and no freezes.
func unguarded(assay.Action) []assay.GuardVerdict { return nil }

func (r *roll) done(a assay.Action, _ float64, err error, now time.Time) error {
	if err != nil {
		return nil // asked for again at the next look
	}
	if !r.began {
		if err := r.freeze(); err != nil {
			return err
		}
		if err := r.study(now); err != nil {
			return err
		}
		r.began = true
		r.state, err = decide.Begin(r.plan, now)
		return err
	}
	next, err := r.state.Applied(r.plan, a, now)
	r.state = next
	r.ended = next.Phase != decide.Running
	return err
}

// freeze chooses the bounds of quantiles from what the old version did before.
func (r *roll) freeze() error {
	var bounds []infer.Bound
	total := uint64(0)
	for _, x := range r.baseline {
		total += x.Total
		for n, b := range x.Buckets {
			if n == len(bounds) {
				bounds = append(bounds, infer.Bound{LE: b.LE})
			}
			bounds[n].Count += b.Count
		}
	}
	for n, i := range r.rule.Spec.Indicators {
		if !i.Histogram() || i.Threshold > 0 || len(i.Bounds) > 0 {
			continue
		}
		list, err := infer.Freeze(bounds, total, i.Quantiles, i.Limit)
		if err != nil {
			return err
		}
		r.plan.Indicators[n].Bounds = nil
		for _, t := range list {
			r.plan.Indicators[n].Bounds = append(r.plan.Indicators[n].Bounds, t.LE)
		}
	}
	return nil
}
