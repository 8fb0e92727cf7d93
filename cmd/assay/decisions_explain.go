package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/term"
)

// explain prints a decision for people.
func (a *app) explain(d assay.Decision) {
	who := d.Service
	if d.Canary != "" {
		who = fmt.Sprintf("%s against %s of %s", d.Canary, d.Control, d.Service)
	}
	fmt.Fprintf(a.out, "%s\n  %s · %s · engine %s\n", a.out.Bold(d.Words), d.Time.Format(time.RFC3339Nano), who, d.Engine)
	if len(d.Tests) > 0 {
		a.explainTests(d)
	}
	if len(d.Beliefs) > 0 {
		a.explainBeliefs(d)
	}
	a.explainCandidates(d)
	if len(d.Guards) > 0 {
		fmt.Fprintln(a.out, "\nguards")
		for _, g := range d.Guards {
			fmt.Fprintf(a.out, "  %s says %s to %s  %s\n", g.Guard, g.Outcome, g.Action, g.Reason)
		}
	}
	if e := d.Expected; e != nil {
		fmt.Fprintf(a.out, "\nexpected effect: %s %+.0f %%, %+.0f to %+.0f %% with 80 %%; looked at %s\n",
			e.Indicator, 100*e.Change, 100*e.Interval[0], 100*e.Interval[1], e.CheckAt.Format(time.RFC3339))
	}
	fmt.Fprintln(a.out, "\ninputs")
	for _, s := range d.Signals {
		state := "known"
		if !s.Known {
			state = a.out.Paint(term.Purple, "unknown") + ": " + s.Reason
		}
		if s.Instead != "" {
			state += " from its second source (" + s.Instead + ")"
		}
		fmt.Fprintf(a.out, "  %s  %s, %.1f s old, %.0f %% complete\n", s.Indicator, state, s.AgeSeconds, 100*s.Completeness)
	}
}

// explainTests says what the evidence of a rollout is.
func (a *app) explainTests(d assay.Decision) {
	fmt.Fprintln(a.out, "\nevidence (an e value of 20 is evidence of 20 to 1)")
	var rows [][]string
	for _, t := range d.Tests {
		rows = append(rows, []string{
			t.Name, armOf(t, t.Canary, t.CanaryMean), armOf(t, t.Control, t.ControlMean), exposureOf(t), ratioInterval(t),
			eValue(t.HarmBefore) + " → " + eValue(t.Harm), eValue(t.SafeBefore) + " → " + eValue(t.Safe), string(t.Certainty),
		})
	}
	rows = append(rows, []string{"together", "", "", "", "", eValue(d.Harm) + " of " + eValue(d.AbortAt), eValue(d.Safe) + " of " + eValue(d.ShipAt), ""})
	a.out.Table([]string{"  TEST", "CANARY", "CONTROL", "REQUESTS", "RATIO", "HARM", "SAFETY", "BOUND"}, indent(rows))
	fmt.Fprintln(a.out)
	for _, line := range testSentences(d) {
		fmt.Fprintln(a.out, line)
	}
}

// testSentences say in words what the numbers of a rollout's decision mean.
func testSentences(d assay.Decision) (out []string) {
	for _, t := range d.Tests {
		if v := t.Divergence; v != nil {
			out = append(out, fmt.Sprintf("%s: %s is %s", t.Name, d.Canary, divergence(*v)))
		}
	}
	if d.Mix != nil {
		out = append(out, "traffic mix: "+d.Mix.Words)
	}
	switch {
	case d.Remaining < 0:
		out = append(out, "at these rates it will not be shown safe")
	case d.Remaining > 0 && d.RemHigh > 0:
		out = append(out, fmt.Sprintf("about %.0f more canary requests until it is shown safe, %.0f to %.0f with 80 %%", d.Remaining, d.RemLow, d.RemHigh))
	}
	if d.Score != nil {
		out = append(out, fmt.Sprintf("score %d of 100: 0 is harm shown, 50 nothing known, 100 safety shown", *d.Score))
	}
	return out
}

// armOf is what a version had of what a test compares.
func armOf(t assay.TestValue, r assay.Rate, mean float64) string {
	switch {
	case t.Measure == "":
		return share(r)
	case r.Total == 0:
		return "-"
	}
	return t.Measure.Words(mean)
}

// exposureOf is how much of the new version a test has seen: requests, or what it counts
// instead.
func exposureOf(t assay.TestValue) string {
	switch t.Measure {
	case assay.MeasureTime:
		return (time.Duration(t.Canary.Total) * time.Millisecond).Round(time.Second).String()
	case assay.MeasureGauge:
		return plural(t.Canary.Total, "sample")
	}
	return fmt.Sprint(t.Canary.Total)
}

// divergence says how far apart two versions are.
func divergence(v assay.Divergence) string {
	high := "an open end"
	if v.Unit != "points" {
		if v.High != 0 {
			high = fmt.Sprintf("%+.0f %%", 100*v.High)
		}
		value, words := fmt.Sprintf("%.0f %%", math.Abs(100*v.Value)), "more"
		switch {
		case v.Unit == "relative":
			if words = "slower"; v.Value < 0 {
				words = "faster"
			}
		case v.Unit == "further" && v.Value < 0:
			words = "nearer to the best"
		case v.Unit == "further":
			words = "further from the best"
		case v.Value < 0:
			words = "less"
		}
		return fmt.Sprintf("%s %s (%+.0f %% to %s)", value, words, 100*v.Low, high)
	}
	if v.High != 0 {
		high = fmt.Sprintf("%+.2g", v.High)
	}
	return fmt.Sprintf("%+.2g percentage points apart (%+.2g to %s)", v.Value, v.Low, high)
}

// explainBeliefs says what a mitigation holds to be wrong, and what spoke for it.
func (a *app) explainBeliefs(d assay.Decision) {
	words := map[string]string{}
	for _, c := range d.Clues {
		words[c.Name] = c.Words
	}
	fmt.Fprintln(a.out, "\nwhat is wrong, before and after the evidence")
	for _, b := range d.Beliefs {
		fmt.Fprintf(a.out, "  %-16s %5.1f %% → %5.1f %%\n", b.Hypothesis, 100*b.Before, 100*b.After)
		for _, c := range b.Clues {
			if math.Abs(c.LogLR) < 0.05 {
				continue
			}
			said := c.Clue
			if w := words[c.Clue]; w != "" {
				said = w
			}
			fmt.Fprintf(a.out, "    %s times likelier: %s\n", eValue(c.LogLR), said)
		}
	}
}

// explainCandidates says what was weighed.
func (a *app) explainCandidates(d assay.Decision) {
	losses := len(d.Candidates) > 0 && d.Candidates[0].Loss != nil
	header := []string{"  ACTION", "SHARE", "EXPECTED", "", "WHY"}
	ruled := !losses && d.Canary == "" // a strategy compares no versions, and its rules expect no loss
	switch {
	case losses:
		fmt.Fprintln(a.out, "\nalternatives, with their expected loss in percent of the error budget")
		header = []string{"  ACTION", "TO", "LOSS", "STAYS WRONG", "OWN COST", "MONEY", "CHANGE", "FAILING", "", "WHY"}
	case ruled:
		fmt.Fprintln(a.out, "\nalternatives, by the declared rules")
		header = []string{"  ACTION", "TO", "", "WHY"}
	default:
		fmt.Fprintln(a.out, "\nalternatives, with the bad responses expected until the next look")
	}
	var rows [][]string
	for _, c := range d.Candidates {
		mark := ""
		if c.Action.Kind == d.Action.Kind && c.Action.Weight == d.Action.Weight && c.Action.Target() == d.Action.Target() && c.Action.Want == d.Action.Want {
			mark = a.out.Paint(term.Green, "chosen")
		}
		name, to := strings.TrimSpace(string(c.Action.Kind)+" "+c.Action.Target()), fmt.Sprint(c.Action.Want)
		if c.Action.Lever == "" { // it moves nothing
			to = "-"
		}
		if l := c.Loss; l != nil {
			part := func(v float64) string { return fmt.Sprintf("%.2f", 100*v) }
			rows = append(rows, []string{name, to, part(l.Total), part(l.Burn), part(l.Own), part(l.Money), part(l.Disruption), part(l.Blast), mark, c.Reason})
			continue
		}
		if ruled {
			rows = append(rows, []string{name, to, mark, c.Reason})
			continue
		}
		rows = append(rows, []string{string(c.Action.Kind), fmt.Sprintf("%d %%", c.Action.Weight), fmt.Sprintf("%.2f", c.Errors), mark, c.Reason})
	}
	a.out.Table(header, indent(rows))
}
