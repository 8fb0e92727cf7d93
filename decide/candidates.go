package decide

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
)

// excess is bad responses per canary request beyond the old version's, of the worst
// indicator without bounds: plug-in rates, half a bad event added to each arm. An
// estimate, not a bound.
func excess(d *assay.Decision) float64 {
	worst := 0.0
	for i := range d.Tests {
		t := &d.Tests[i]
		if t.Bound != 0 || t.Measure != "" || t.Canary.Total == 0 || t.Control.Total == 0 {
			continue
		}
		a := (float64(t.Canary.Bad) + 0.5) / (float64(t.Canary.Total) + 1)
		b := (float64(t.Control.Bad) + 0.5) / (float64(t.Control.Total) + 1)
		worst = max(worst, a-b)
	}
	return worst
}

// perSecond is how many requests both versions served together.
func perSecond(d *assay.Decision, s State) float64 {
	most := uint64(0)
	for i := range d.Tests {
		t := &d.Tests[i]
		if t.Measure == assay.MeasureTime || t.Measure == assay.MeasureGauge {
			continue // not requests
		}
		most = max(most, t.Canary.Total+t.Control.Total)
	}
	last := s.Began
	for i := range s.Watches {
		w := &s.Watches[i]
		if w.Through.After(last) {
			last = w.Through
		}
	}
	if span := last.Sub(s.Began).Seconds(); span > 0 {
		return float64(most) / span
	}
	return 0
}

// candidates are all actions that the rollout could take now, with their expected
// loss until the next look and whether the evidence allows them.
func candidates(p Plan, s State, e evidence, d *assay.Decision) []assay.Candidate {
	from, each := s.Weight(p), excess(d)*perSecond(d, s)*p.Look.Seconds()
	weigh := func(kind assay.ActionKind, weight int, eligible bool, reason string) assay.Candidate {
		c := assay.Candidate{
			Action:   assay.Action{Kind: kind, Service: p.Service, Version: p.Canary, From: from, Weight: weight},
			Eligible: eligible, Reason: reason, Budget: -1,
			Errors: each * float64(weight) / 100,
		}
		if p.Budget > 0 {
			c.Budget = min(c.Errors/p.Budget, 1e12) // a budget of almost nothing is no number that JSON has
		}
		return c
	}
	out := append(make([]assay.Candidate, 0, 4), weigh(assay.ActionAbort, 0, e.harmful, harmReason(e, d)))
	ok, why := mayAdvance(p, s, e, d)
	if weight := p.Steps[min(s.Step+1, len(p.Steps)-1)]; weight == 100 {
		out = append(out, weigh(assay.ActionFinish, 100, ok, why))
	} else {
		out = append(out, weigh(assay.ActionAdvance, weight, ok, why))
	}
	return append(out,
		weigh(assay.ActionHold, from, true, "always possible"),
		weigh(assay.ActionAsk, from, true, "always possible"))
}

func harmReason(e evidence, d *assay.Decision) string {
	if l := d.Look; e.harmful && l != nil {
		return fmt.Sprintf("%s has z %.2f at look %d of %d, the boundary is %.2f", l.Test, l.Z, l.Number, l.Of, l.Boundary)
	}
	switch {
	case e.harmful:
		return compared("harm", e.harm, " reached ", d.AbortAt) + work(d)
	case e.alone != "":
		return compared("harm", e.harm, " reached ", d.AbortAt) + ", but " + e.alone
	case math.IsInf(e.harm, -1):
		return "no signal is known"
	case e.lasting != "":
		return compared("harm", e.harm, " has not reached ", d.AbortAt) + "; " + e.lasting
	}
	return compared("harm", e.harm, " has not reached ", d.AbortAt)
}

// compared writes where an e value stands.
func compared(name string, e float64, how string, at float64) string {
	b := append(append(make([]byte, 0, 64), name...), " e "...)
	return string(appendE(append(appendE(b, e), how...), at))
}

// mayAdvance reports whether the evidence and the step's minimum are there.
func mayAdvance(p Plan, s State, e evidence, d *assay.Decision) (bool, string) {
	switch {
	case !e.known:
		return false, "a required signal is unknown"
	case !e.safe:
		if words, ok := early(p, s, e, d); ok {
			return true, words
		}
		return false, compared("safety", d.Safe, " has not reached ", d.ShipAt)
	}
	if why := missing(p, s, d); why != "" {
		return false, why
	}
	return true, compared("safety", d.Safe, " reached ", d.ShipAt)
}

// missing is what the next step lacks besides evidence of safety, "" if nothing.
func missing(p Plan, s State, d *assay.Decision) string {
	requests := uint64(math.MaxUint64)
	for i, w := range s.Watches {
		if p.Indicators[i].Required && p.Indicators[i].CountsRequests() {
			requests = min(requests, w.StepRequests)
		}
	}
	switch {
	case requests < p.MinRequests:
		return fmt.Sprintf("the step has had %d of %d canary requests", requests, p.MinRequests)
	case d.Time.Sub(s.StepBegan) < p.MinDuration:
		return fmt.Sprintf("the step has lasted %s of %s", d.Time.Sub(s.StepBegan).Round(time.Millisecond), p.MinDuration)
	}
	if next := p.Steps[min(s.Step+1, len(p.Steps)-1)]; next == 100 && s.Step > 0 && s.Shown.After(s.StepBegan) && d.Time.Sub(s.Shown) < p.MinDuration {
		return fmt.Sprintf("safety has been shown for %s of %s", d.Time.Sub(s.Shown).Round(time.Millisecond), p.MinDuration)
	}
	if names := unseen(d.Mix); names != "" {
		return "the new version has had no request of " + names
	}
	return withinBudget(p, s, d, p.Steps[min(s.Step+1, len(p.Steps)-1)])
}
