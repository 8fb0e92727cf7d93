package decide

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// choice picks the action of a decision and finds its words.
type choice struct {
	plan  *Plan
	guard Guard
	d     *assay.Decision

	abort, forward, hold, ask *assay.Candidate
}

// choose decides by the evidence, not by expected losses: those are there to be
// read, and break no tie.
func choose(p Plan, s State, e evidence, guard Guard, d *assay.Decision) {
	d.Candidates = candidates(p, s, e, d)
	k := d.Candidates
	c := choice{&p, guard, d, &k[0], &k[1], &k[2], &k[3]}
	hold := func(why string) { c.settle(c.hold, "Hold at "+strconv.Itoa(c.hold.Action.Weight)+" %: "+why+".") }
	switch {
	case c.abort.Eligible:
		c.take(c.abort, c.ask, fmt.Sprintf("Abort: %s is worse than %s; %s.", p.Canary, p.Control, c.abort.Reason))
	case overspent(p, d) != "":
		c.settle(c.ask, fmt.Sprintf("Ask: %s, and harm is not shown; %s.", overspent(p, d), c.abort.Reason))
	case c.forward.Eligible && !e.safe:
		c.take(c.forward, c.hold, fmt.Sprintf("Advance to %d %% early: neither harm nor safety is shown, and more traffic shows it sooner; %s.",
			c.forward.Action.Weight, c.forward.Reason))
	case c.forward.Eligible:
		c.take(c.forward, c.hold, forwardWord(c.forward)+" "+strconv.Itoa(c.forward.Action.Weight)+" %: "+p.Canary+
			" is not "+number(p.Margin)+" times worse than "+p.Control+"; "+c.forward.Reason+".")
	case d.Time.Sub(s.Began) >= p.Horizon && !e.safe:
		c.horizon(s, e)
	case e.unknown != "" && !e.known:
		hold(e.unknown)
	case e.safe:
		hold(c.forward.Reason)
	case e.alone != "", e.lasting != "":
		hold(c.abort.Reason)
	default:
		hold("neither harm nor safety is shown; " + remaining(d))
	}
	c.reasons(e)
}

func forwardWord(c *assay.Candidate) string {
	if c.Action.Kind == assay.ActionFinish {
		return "Finish at"
	}
	return "Advance to"
}

// horizon applies the plan's policy for a rollout that has not been decided in
// time. Nothing is aborted or promoted while a required signal is unknown.
func (c *choice) horizon(s State, e evidence) {
	begin := fmt.Sprintf("the horizon of %s is over and neither harm nor safety is shown", c.plan.Horizon)
	switch {
	case !e.known:
		c.settle(c.ask, fmt.Sprintf("Ask: %s; %s.", begin, e.unknown))
	case c.plan.OnHorizon == HorizonAbort:
		c.take(c.abort, c.ask, fmt.Sprintf("Abort: %s; the plan says to abort then.", begin))
	case c.plan.OnHorizon == HorizonPromote && missing(*c.plan, s, c.d) != "":
		// Without proof, the least that a step asks for is asked for all the more.
		c.settle(c.hold, fmt.Sprintf("Hold at %d %%: %s; the plan says to go on, but %s.", c.hold.Action.Weight, begin, missing(*c.plan, s, c.d)))
	case c.plan.OnHorizon == HorizonPromote:
		c.take(c.forward, c.ask, fmt.Sprintf("%s %d %% without proof: %s; the plan says to go on and watch.",
			forwardWord(c.forward), c.forward.Action.Weight, begin))
	default:
		c.settle(c.ask, fmt.Sprintf("Ask: %s; %s.", begin, remaining(c.d)))
	}
}

// take chooses want if every guard passes it, otherwise instead.
func (c *choice) take(want, instead *assay.Candidate, words string) {
	verdicts := slices.Clone(c.guard(want.Action))
	for i := range verdicts {
		verdicts[i].Action = want.Action.Kind
	}
	c.d.Guards = append(c.d.Guards, verdicts...)
	var refused []string
	for _, v := range verdicts {
		if v.Outcome != assay.OutcomePass {
			refused = append(refused, fmt.Sprintf("guard %s says %s: %s", v.Guard, v.Outcome, v.Reason))
		}
	}
	if len(refused) == 0 {
		c.settle(want, words)
		return
	}
	c.settle(instead, fmt.Sprintf("%s instead of %s: %s.", title(instead.Action.Kind), want.Action.Kind, strings.Join(refused, "; ")))
	c.d.Reasons = append(c.d.Reasons, words)
}

func (c *choice) settle(k *assay.Candidate, words string) {
	c.d.Action, c.d.Words = k.Action, words
}

func title(k assay.ActionKind) string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

// reasons lists the numbers behind the words.
func (c *choice) reasons(e evidence) {
	d := c.d
	var room [2048]byte
	var places [fewTests + 3]int
	b := appendCombined(room[:0], c.plan, d)
	ends := append(places[:0], len(b))
	b = appendLeast(b, c.plan, d)
	ends = append(ends, len(b))
	if d.AbortBasis != "" {
		b = append(append(b, "the abort threshold is "...), d.AbortBasis...)
		ends = append(ends, len(b))
	}
	combined := len(ends)
	var rooms [2][32]byte
	abortAt, shipAt := appendE(rooms[0][:0], d.AbortAt), appendE(rooms[1][:0], d.ShipAt)
	for i := range d.Tests {
		b = appendTest(b, d, &d.Tests[i], abortAt, shipAt)
		ends = append(ends, len(b))
	}
	all, from := string(b), 0 // one string for all of them
	d.Reasons = append(make([]string, 0, len(d.Reasons)+len(ends)+3), d.Reasons...)
	cut := func(ends []int) {
		for _, end := range ends {
			d.Reasons = append(d.Reasons, all[from:end])
			from = end
		}
	}
	cut(ends[:combined])
	if d.Mix != nil && d.Mix.Differs {
		d.Reasons = append(d.Reasons, "the new version's traffic is unlike the old one's: "+d.Mix.Words)
	}
	if e.unknown != "" {
		d.Reasons = append(d.Reasons, e.unknown)
	}
	cut(ends[combined:])
}
