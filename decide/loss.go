package decide

import (
	"math"
	"time"

	"assay.dev/assay"
)

// option is an option with what is expected of it.
type option struct {
	Option
	loss       assay.Loss
	disabled   float64 // probability of harm, if that has disabled it; 0 otherwise
	suppressed bool    // without effect too often for the most probable hypothesis
	gone       Size    // share of what is bad that goes away, over all hypotheses
	known      [len(hypotheses)]insight
}

// view is what losses are reckoned from.
type view struct {
	p       *Problem
	beliefs []assay.Belief           // most probable first
	after   [len(hypotheses)]float64 // belief by hypothesis
	burn    [len(hypotheses)]float64 // spent per minute if nothing is done, by hypothesis
	minutes float64                  // that the choice stands
	now     time.Time
	nothing assay.Loss
}

func newView(p *Problem, beliefs []assay.Belief, now time.Time) view {
	v := view{p: p, beliefs: beliefs, minutes: p.Stands.Minutes(), now: now}
	for i, h := range hypotheses {
		for _, b := range beliefs {
			if b.Hypothesis == string(h) {
				v.after[i] = b.After
			}
		}
		if h.real() {
			v.burn[i] = p.Burn
		}
		v.nothing.Burn += v.after[i] * v.burn[i] * v.minutes
	}
	v.nothing.Total = v.nothing.Burn
	return v
}

// top is the place of the most probable hypothesis.
func (v *view) top() int {
	best := 0
	for i, b := range v.after {
		if b > v.after[best] {
			best = i
		}
	}
	return best
}

// weigh reckons what an option is expected to cost until the choice no longer stands:
//
//	Burn       Σ b(h)·burn(h)·(minutes − active·gone(h))
//	Own        Σ b(h)·(own + risk(h))·active
//	Money      money per hour·hours ÷ worth of the budget
//	Disruption as declared
//	Blast      blast·failure·(1 − Σ b(h)·success(h))
//
// where active is minutes less the lead. Harm is the probability that it spends more of
// the budget than doing nothing, by more than the margin.
func (v *view) weigh(out *option) {
	o := &out.Option
	in := v.disable(out)
	out.suppressed = in[v.top()].suppressed
	active := max(0, v.minutes-o.Lead.Minutes())
	success, second := 0.0, 0.0
	l := &out.loss
	for i, h := range hypotheses {
		b := v.after[i]
		if b == 0 {
			continue
		}
		own := (o.Own + o.Risk[h]) * active
		l.Burn += b * v.burn[i] * (v.minutes - active*in[i].next.Mean)
		l.Own += b * own
		l.Harm += b * harmed(in[i].next, v.burn[i]*active, own+o.Disruption-v.p.Margin)
		success += b * in[i].success
		if h.real() {
			out.gone.Mean += b * in[i].next.Mean
			second += b * (in[i].next.SD*in[i].next.SD + in[i].next.Mean*in[i].next.Mean)
		}
	}
	out.gone.SD = math.Sqrt(max(0, second-out.gone.Mean*out.gone.Mean))
	if v.p.Rates.BudgetWorth > 0 {
		l.Money = o.Money * v.minutes / 60 / v.p.Rates.BudgetWorth
	}
	l.Disruption = o.Disruption
	l.Blast = o.Blast * v.p.Rates.Failure * (1 - min(1, success))
	l.Total = l.Burn + l.Own + l.Money + l.Disruption + l.Blast
}

// disable takes what is known of an option in: what harmed too often is not taken, by
// rules neither.
func (v *view) disable(out *option) [len(hypotheses)]insight {
	harm := 0.0
	if out.known, harm = v.p.Learned.insights(&out.Option, v.p.Service, v.now); harm >= harmLimit {
		out.disabled = harm
	}
	return out.known
}

// harmed is the probability that what goes away (a share of burn) is less than cost.
func harmed(gone Size, burn, cost float64) float64 {
	switch {
	case burn <= 0 && cost > 0:
		return 1
	case burn <= 0:
		return 0
	case gone.SD <= 0 && gone.Mean*burn < cost:
		return 1
	case gone.SD <= 0:
		return 0
	}
	return normalCDF((cost/burn - gone.Mean) / gone.SD)
}

// draw is the total if the effects were those at quantile u of what is known of their
// means: how a choice by Thompson sampling sees the option.
func (v *view) draw(o *option, u float64) {
	active := max(0, v.minutes-o.Lead.Minutes())
	z := normalQuantile(u)
	o.loss.Drawn = o.loss.Total
	for i := range hypotheses {
		o.loss.Drawn -= v.after[i] * v.burn[i] * active * z * o.known[i].mean.SD
	}
}

// ask is what asking a person is expected to cost: nothing happens until there is an
// answer, then the best that is known is done.
func (v *view) ask(best float64) assay.Loss {
	share := 1.0
	if v.minutes > 0 {
		share = min(1, v.p.Rates.Answer.Minutes()/v.minutes)
	}
	l := assay.Loss{Disruption: v.p.Rates.Ask}
	l.Burn = v.nothing.Total*share + min(v.nothing.Total, best)*(1-share)
	l.Total = l.Burn + l.Disruption
	return l
}

func normalCDF(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

func normalQuantile(u float64) float64 { return math.Sqrt2 * math.Erfinv(2*u-1) }
