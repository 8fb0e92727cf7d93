package decide

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// A visit or job that stays with one version for minutes makes counts hang together for as
// long: two canaries of half an hour differ by the few visits that each happened to get, and
// variances over a minute do not show by how much. How long they hang together, and how much
// sums vary in the long run, is learned from the old version's past; a visit is in one version
// as a whole, so both hold for the canary whatever its share. A rollout that has lasted for a
// fraction of that time has seen little of it, and its evidence of harm is divided by less. Its
// evidence of safety is not: the new version begins without visits.

// persistence is what the history says of how long the test's counts hang together, nil if
// they do not, or if nobody's visit is harm by them.
func (h *history) persistence(p *Plan, test int) *infer.Index {
	if p.Certainty == assay.Exact || !h.tests[test].visited(&Plan{Indicators: []Indicator{h.ind}}) {
		return nil
	}
	slots := make([]infer.Slot, 0, len(h.slots))
	for _, s := range h.slots {
		slots = append(slots, s[test])
	}
	if x, ok := infer.Persistence(slots, h.length.Seconds()); ok {
		return &x
	}
	return nil
}

// checkPersistence says what is wrong with an indicator's.
func (i *Indicator) checkPersistence(bad func(field, format string, args ...any) error) error {
	x := i.Persistence
	switch {
	case x == nil:
	case !i.plain() || i.Kind == KindGauge || i.reversed():
		return bad("indicators", "%s: persistence belongs to counts and values of which more is worse", i.Name)
	case !(x.Limit >= 1 && x.Limit <= 1e6 && x.Time > 0 && x.Time <= 1e9):
		return bad("indicators", "%s has a persistence of %v s up to a dispersion of %v, want above 0 and at least 1", i.Name, x.Time, x.Limit)
	}
	return nil
}

// lasting says what evidence is divided by because of what lasts, and why.
func (p *Plan) lasting(x *infer.Index, elapsed time.Duration, factor float64) string {
	return fmt.Sprintf("evidence divided by %.2g: %s, so sums of %s vary by %.2g times what independent events have, and in the long run by %.2g, which evidence of safety is divided by",
		factor, hangs(p, x), elapsed.Round(time.Second), factor, x.Limit)
}

// hangs says how long counts hang together.
func hangs(p *Plan, x *infer.Index) string {
	return fmt.Sprintf("what %s counts hangs together for about %s", p.Control, time.Duration(x.Time*float64(time.Second)).Round(time.Second))
}

// outlasted says why harm that would be shown if nothing lasted is not, "" if it would not be
// shown either. It says what helps, because waiting may take long.
func (p *Plan) outlasted(s *State, tests []test, d *assay.Decision, e *evidence, total float64) string {
	if d.Engine != EngineOfLasting && d.Engine != Engine || e.harm >= d.AbortAt {
		return "" // nothing lasts, or it is shown
	}
	lasts := (*infer.Index)(nil)
	var known []infer.Weighted
	weight := 0.0
	for i := range tests {
		t := &tests[i]
		if !d.Signals[t.indicator].Known {
			continue
		}
		w := &s.Watches[t.indicator]
		c := t.comparison
		if x := p.Indicators[t.indicator].Persistence; x != nil {
			short, _, _ := t.scattered(p, w)
			c, lasts = c.Deflated(short), x
		}
		known = append(known, infer.Weighted{LogE: c.Harm(w.Tests[t.slot]), Weight: t.weight})
		weight += t.weight
	}
	if lasts == nil {
		return ""
	}
	mean, _ := infer.Average(known) // one of them lasts, and weights were checked
	if harm := mean + math.Log(weight/total); harm >= d.AbortAt {
		return fmt.Sprintf("harm would be %s if counts did not last, but %s: it may be a few visits or jobs that stay with %s; more traffic for it shows sooner which it is", evalue(harm), hangs(p, lasts), p.Canary)
	}
	return ""
}
