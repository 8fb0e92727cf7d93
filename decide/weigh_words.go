package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
)

// describe says what an action does, as the beginning of a sentence.
func describe(a assay.Action) string {
	switch {
	case a.Lever == "":
		return fmt.Sprintf("%s %s", title(a.Kind), a.Version)
	case a.Kind == assay.ActionRestore:
		return fmt.Sprintf("Restore %s from %s to %s", a.Target(), short(a.Now), short(a.Want))
	case a.Kind == assay.ActionStop:
		return fmt.Sprintf("Stop %s at %s", a.Target(), short(a.Want))
	}
	return fmt.Sprintf("Set %s from %s to %s", a.Target(), short(a.Now), short(a.Want))
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// budget writes a share of the error budget.
func budget(v float64) string { return strconv.FormatFloat(100*v, 'g', 3, 64) + " %" }

func (w *weighing) takeWords(o *option) string {
	if w.p.byRules() {
		return fmt.Sprintf("%s: %s.", describe(o.Action), o.Rule.Words)
	}
	b := w.beliefs[0]
	return fmt.Sprintf("%s: %s is most probable (%.0f %%), and it is expected to cost %s of the error budget in %s instead of %s.",
		describe(o.Action), b.Hypothesis, 100*b.After, budget(o.loss.Total), span(w.p.Stands), budget(w.nothing.Total))
}

// nothingWords say why nothing is done.
func (w *weighing) nothingWords() string {
	switch {
	case len(w.refused) > 0:
		return strings.Join(w.refused, "; ")
	case len(w.options) == 0:
		return "nothing is proposed"
	case w.p.byRules():
		return "no rule fires"
	}
	best := 0
	for i := range w.options {
		if w.options[i].loss.Total < w.options[best].loss.Total {
			best = i
		}
	}
	o := &w.options[best]
	if o.suppressed {
		return fmt.Sprintf("to %s had no effect against %s too often", lower(describe(o.Action)), w.beliefs[0].Hypothesis)
	}
	return "it is expected to cost " + budget(w.nothing.Total) + " of the error budget in " + span(w.p.Stands) + ", and the best action " + budget(o.loss.Total)
}

func span(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// finish lists every action with its loss, and the numbers behind the words.
func (w *weighing) finish() {
	d := w.d
	d.Candidates = make([]assay.Candidate, 0, len(w.options)+3)
	best := w.nothing.Total
	for i := range w.options {
		o := &w.options[i]
		best = min(best, o.loss.Total)
		c := assay.Candidate{Action: o.Action, Budget: -1, Reason: o.Words, Eligible: o.Rule != nil && o.Rule.Fires}
		if !w.p.byRules() {
			c.Budget, c.Loss = o.loss.Total-o.loss.Money-o.loss.Blast, &o.loss
			c.Eligible = c.Eligible && o.firm() || w.worth(o) && o.disabled == 0
		} else if o.Rule != nil {
			c.Reason = o.Rule.Words
		}
		if why := w.unfit(o); why != "" {
			c.Reason = strings.TrimSuffix(c.Reason, ".") + "; " + why
		}
		d.Candidates = append(d.Candidates, c)
	}
	always := func(kind assay.ActionKind, l assay.Loss, words string) {
		c := assay.Candidate{Action: assay.Action{Kind: kind, Service: w.p.Service}, Budget: -1, Eligible: true, Reason: words}
		if !w.p.byRules() {
			c.Budget, c.Loss = l.Total, &l
		}
		d.Candidates = append(d.Candidates, c)
	}
	always(assay.ActionHold, w.nothing, "doing nothing is always possible")
	always(assay.ActionAsk, w.ask(best), "an answer takes about "+span(w.p.Rates.Answer))
	if d.Action.Kind == assay.ActionPage {
		always(assay.ActionPage, w.ask(best), "the automation has disabled itself")
	}
	w.reasons()
}

// unfit says what of the model speaks against an option.
func (w *weighing) unfit(o *option) string {
	switch {
	case w.p.byRules():
		return ""
	case o.disabled > 0:
		return fmt.Sprintf("disabled: it harms with a probability of %.0f %%", 100*o.disabled)
	case o.suppressed:
		return "suppressed: it had no effect against " + w.beliefs[0].Hypothesis + " too often"
	}
	return ""
}

func (w *weighing) reasons() {
	d := w.d
	if w.p.byRules() {
		why := "rules only: there is no model"
		if w.p.Deterministic {
			why = "the scope is deterministic: it is decided by rules"
		}
		d.Reasons = append(d.Reasons, why)
	}
	for _, b := range d.Beliefs[:min(len(d.Beliefs), 3)] {
		d.Reasons = append(d.Reasons, beliefWords(b, d.Clues))
	}
	d.Reasons = append(d.Reasons, w.refused...)
	if o := w.chosen; o != nil && d.Expected != nil {
		d.Reasons = append(d.Reasons, fmt.Sprintf("expected: %.0f %% of what is bad goes away (80 %% between %.0f and %.0f %%), looked at %s",
			-100*d.Expected.Change, -100*d.Expected.Interval[1], -100*d.Expected.Interval[0], d.Expected.CheckAt.Format(time.RFC3339)))
		if o.loss.Drawn != 0 {
			d.Reasons = append(d.Reasons, "chosen by a draw among reversible actions that are about as good")
		}
	}
}

// beliefWords says what a belief was, is, and what moved it most.
func beliefWords(b assay.Belief, clues []assay.Clue) string {
	var room [256]byte
	out := appendPercent(append(append(room[:0], b.Hypothesis...), ": "...), b.Before)
	out = append(appendPercent(append(out, " before, "...), b.After), " after"...)
	if len(b.Clues) == 0 {
		return string(out)
	}
	most := slices.MaxFunc(b.Clues, func(x, y assay.ClueWeight) int {
		return cmpAbs(x.LogLR, y.LogLR)
	})
	for _, c := range clues {
		if c.Name == most.Clue {
			out = append(appendFactor(append(out, "; most by "...), most.LogLR), " because "...)
			return string(append(out, strings.TrimSuffix(c.Words, ".")...))
		}
	}
	return string(out)
}

func cmpAbs(x, y float64) int { return cmp.Compare(math.Abs(x), math.Abs(y)) }

// appendFactor writes a likelihood ratio.
func appendFactor(b []byte, logLR float64) []byte {
	if logLR < 0 {
		return strconv.AppendFloat(append(b, "÷"...), math.Exp(-logLR), 'g', 2, 64)
	}
	return strconv.AppendFloat(append(b, "×"...), math.Exp(logLR), 'g', 2, 64)
}
