package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// WeighEngine names the rules of Weigh in its decisions. It changes whenever the same
// inputs may give another decision.
const WeighEngine = "weigh/2"

// Names of guards that Weigh itself knows.
const (
	GuardApproval = "approval" // its "absent" means that a person is to be asked
	guardInputs   = "inputs"
)

// Weigh chooses between the problem's options, doing nothing, asking and paging, by
// expected loss in shares of the error budget:
//
//  1. A stop whose rule fires is taken first, the least rank of them; it rests on no model and no input but its own.
//     After it comes a restore that a person asked for.
//  2. On stale or incomplete inputs nothing else is done automatically.
//  3. In rules mode, and in a deterministic scope, the first option whose rule fires is
//     taken.
//  4. Otherwise options that are expected to be better than doing nothing by the margin
//     are tried from the least expected loss on: the first that is within the bounds of
//     harm and blast and that guard passes. One that a person would have to allow is asked
//     about if waiting for the answer is expected to cost less than the next best.
//
// guard is asked about what changes the world, from the best on while it refuses. Draws
// are uniform numbers in (0, 1), one per option, recorded with the decision; they are
// needed only if the problem explores. CodeInvalid for a problem that cannot be,
// CodeTooLarge above the bounds.
func Weigh(p Problem, guard Guard, now time.Time, draws []float64) (assay.Decision, error) {
	m := Mitigation{Problem: p, Draws: draws, Now: now.UTC()}
	err := m.Choose(guard)
	return m.Decision, err
}

// Choose is Weigh of m's problem at its time; the decision is m's from then on, without a
// digest: most decisions are to do nothing as before and are never written down, and to
// digest what they were made of costs more than to make them.
func (m *Mitigation) Choose(guard Guard) error {
	m.Decision = assay.Decision{}
	p, d := &m.Problem, &m.Decision
	if err := p.check(guard, m.Draws); err != nil {
		return err
	}
	beliefs, err := p.beliefs()
	if err != nil {
		return err
	}
	d.Engine, d.Plan, d.Service, d.Time = WeighEngine, p.Strategy, p.Service, m.Now
	d.Signals, d.Beliefs, d.Remaining = p.Signals, beliefs, -1
	if !p.byRules() {
		d.Clues = slices.Grow(d.Clues, len(p.Clues))
		for i := range p.Clues {
			d.Clues = append(d.Clues, assay.Clue{Name: p.Clues[i].Name, Words: p.Clues[i].Words})
		}
	}
	w := weighing{view: newView(p, beliefs, m.Now), guard: guard, d: d, options: make([]option, len(p.Options))}
	for i := range p.Options {
		w.options[i].Option = p.Options[i]
		if p.byRules() {
			w.disable(&w.options[i])
			continue
		}
		if w.weigh(&w.options[i]); p.Explore > 0 {
			w.draw(&w.options[i], m.Draws[i])
		}
	}
	w.choose()
	w.finish()
	return nil
}

// beliefs are what the clues say, none where there is no model.
func (p *Problem) beliefs() ([]assay.Belief, error) {
	if p.byRules() {
		return nil, nil
	}
	return Believe(p.Prior, p.Clues, p.Cap)
}

func (p *Problem) byRules() bool { return p.Rules || p.Deterministic }

// weighing is one choice under way.
type weighing struct {
	view
	guard   Guard
	d       *assay.Decision
	options []option

	chosen   *option // nil: nothing is done
	proposed *option // that a person would have to allow, the best of them
	why      string  // it is not simply done
	refused  []string
}

func (w *weighing) choose() {
	for _, o := range append(w.stops(), w.told()...) {
		if w.passes(o) {
			w.take(o, fmt.Sprintf("%s: %s.", describe(o.Action), o.reason()))
			return
		}
	}
	order, best := w.order(), (*option)(nil)
	if thin := w.thin(); thin != "" {
		w.blind(order, thin)
		return
	}
	for _, o := range order {
		if w.proposed != nil && w.byRulesOrWorse(o) {
			break
		}
		if w.bounded(o) && w.passes(o) {
			best = o
			break
		}
	}
	switch {
	case best != nil:
		w.take(best, w.takeWords(best))
	case w.proposed != nil && w.proposed.disabled > 0:
		w.settle(assay.ActionPage, fmt.Sprintf("Page: %s would be best, and it is disabled: %s.", lower(describe(w.proposed.Action)), w.why))
	case w.proposed != nil:
		w.settle(assay.ActionAsk, fmt.Sprintf("Ask whether to %s: %s.", lower(describe(w.proposed.Action)), w.why))
	default:
		w.settle(assay.ActionHold, "Do nothing: "+w.nothingWords()+".")
		return
	}
	if best == nil {
		a := w.proposed.Action
		w.d.Proposed = &a
	}
}

// stops are the hard stops whose rule fires, by rank.
func (w *weighing) stops() (out []*option) {
	for i := range w.options {
		if o := &w.options[i]; o.Action.Kind == assay.ActionStop && o.Rule != nil && o.Rule.Fires {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b *option) int { return cmp.Compare(a.Rule.Rank, b.Rule.Rank) })
	return out
}

// told are the restores that a person asked for.
func (w *weighing) told() (out []*option) {
	for i := range w.options {
		if o := &w.options[i]; o.firm() && o.Action.Kind != assay.ActionStop {
			out = append(out, o)
		}
	}
	return out
}

// firm reports whether an option is not weighed against others: it is tried before them.
func (o *option) firm() bool {
	return o.Action.Kind == assay.ActionStop || o.Told && o.Action.Kind == assay.ActionRestore
}

// reason is why an option that is firm is taken.
func (o *option) reason() string {
	if o.Rule != nil {
		return o.Rule.Words
	}
	return strings.TrimSuffix(o.Words, ".")
}

// byRulesOrWorse reports whether asking about what is proposed is better than o.
func (w *weighing) byRulesOrWorse(o *option) bool {
	return w.p.byRules() || w.ask(w.proposed.loss.Total).Total < o.loss.Total
}

// thin says which input is unknown; empty if all are known.
func (w *weighing) thin() string {
	for i := range w.p.Signals {
		if s := &w.p.Signals[i]; !s.Known {
			return s.Indicator + " is unknown: " + s.Reason
		}
	}
	return ""
}

// blind decides on stale or incomplete inputs: what would protect is asked about, and
// nothing is given back.
func (w *weighing) blind(order []*option, thin string) {
	for _, o := range order {
		w.verdict(o, assay.GuardVerdict{Guard: guardInputs, Outcome: assay.OutcomeAbsent, Reason: thin})
		if o.Action.Kind == assay.ActionRestore {
			continue
		}
		a := o.Action
		w.d.Proposed = &a
		w.settle(assay.ActionAsk, fmt.Sprintf("Ask whether to %s: %s, so nothing is done automatically.", lower(describe(a)), thin))
		return
	}
	w.settle(assay.ActionHold, fmt.Sprintf("Do nothing: %s, so nothing is done automatically.", thin))
}

// order are the options that are worth taking, best first.
func (w *weighing) order() (out []*option) {
	if w.p.byRules() {
		for i := range w.options {
			if o := &w.options[i]; o.Rule != nil && o.Rule.Fires && !o.firm() {
				out = append(out, o)
			}
		}
		slices.SortStableFunc(out, func(a, b *option) int { return cmp.Compare(a.Rule.Rank, b.Rule.Rank) })
		return out
	}
	least := math.Inf(1)
	for i := range w.options {
		if o := &w.options[i]; w.worth(o) {
			out = append(out, o)
			least = min(least, o.loss.Total)
		}
	}
	near := func(o *option) bool {
		return w.p.Explore > 0 && o.Reversible && o.loss.Total <= least+w.p.Explore && o.loss.Harm <= w.p.MaxHarm && o.Blast <= w.p.MaxBlast && o.disabled == 0
	}
	slices.SortStableFunc(out, func(a, b *option) int {
		switch x, y := near(a), near(b); {
		case x && y:
			return cmp.Compare(a.loss.Drawn, b.loss.Drawn)
		case x != y && x:
			return -1
		case x != y:
			return 1
		}
		return cmp.Compare(a.loss.Total, b.loss.Total)
	})
	return out
}

// worth reports whether an option is better than doing nothing by the margin.
func (w *weighing) worth(o *option) bool {
	return !o.firm() && !o.suppressed && o.loss.Total < w.nothing.Total-w.p.Margin
}

// bounded reports whether the bounds of what is automatic hold for an option, or a person
// allowed it; the first for which neither is so is what a person is asked about.
func (w *weighing) bounded(o *option) bool {
	var above []string
	if o.Blast > w.p.MaxBlast {
		above = append(above, fmt.Sprintf("it touches %.0f %% of the users, at most %.0f %% are touched automatically", 100*o.Blast, 100*w.p.MaxBlast))
	}
	if !w.p.byRules() && o.loss.Harm > w.p.MaxHarm {
		above = append(above, fmt.Sprintf("it harms with a probability of %.0f %%, at most %.0f %% is taken automatically", 100*o.loss.Harm, 100*w.p.MaxHarm))
	}
	why := strings.Join(above, ", and ")
	if o.disabled > 0 { // an answer does not lift it: what harms is looked into first
		why = fmt.Sprintf("it has harmed too often (probability of harm %.0f %%, at most %.0f %%)", 100*o.disabled, 100*harmLimit)
	} else if q := newest(w.p.Answers, o.Action); len(above) > 0 && q != nil {
		if q.Answer == "yes" {
			return true
		}
		w.refused = append(w.refused, fmt.Sprintf("%s refused to %s: %s", q.By, lower(describe(o.Action)), why))
		return false
	}
	if why == "" {
		return true
	}
	if w.proposed == nil {
		w.proposed, w.why = o, why
	}
	return false
}

// passes asks the guards about an option and writes down what they say.
func (w *weighing) passes(o *option) bool {
	ok, waits := true, ""
	for _, v := range w.guard(o.Action) {
		w.verdict(o, v)
		if v.Outcome == assay.OutcomePass {
			continue
		}
		if v.Guard == GuardApproval && v.Outcome == assay.OutcomeAbsent {
			waits = v.Reason
			continue
		}
		ok = false
		w.refused = append(w.refused, fmt.Sprintf("guard %s says %s to %s: %s", v.Guard, v.Outcome, lower(describe(o.Action)), v.Reason))
	}
	if ok && waits != "" && w.proposed == nil {
		w.proposed, w.why = o, waits
	}
	return ok && waits == ""
}

// verdict records what a guard says of an option.
func (w *weighing) verdict(o *option, v assay.GuardVerdict) {
	v.Action, v.Target, v.Want = o.Action.Kind, o.Action.Target(), o.Action.Want
	w.d.Guards = append(w.d.Guards, v)
}

func (w *weighing) take(o *option, words string) {
	w.chosen = o
	w.d.Action, w.d.Words = o.Action, words
	if w.p.byRules() || o.firm() {
		return
	}
	w.d.Expected = &assay.Expected{
		Indicator: w.p.Indicator, Change: -o.gone.Mean, Interval: [2]float64{-o.gone.Mean - eighty*o.gone.SD, -o.gone.Mean + eighty*o.gone.SD},
		CheckAt: w.d.Time.Add(max(w.p.Check, o.Lead)),
	}
}

// eighty is how many standard deviations either side hold 80 % of a normal.
const eighty = 1.2815515655446004

func (w *weighing) settle(kind assay.ActionKind, words string) {
	w.d.Action, w.d.Words = assay.Action{Kind: kind, Service: w.p.Service}, words
}

// check refuses what cannot be weighed.
func (p *Problem) check(guard Guard, draws []float64) error {
	bad := func(field, format string, args ...any) error {
		err := assay.Errorf(assay.CodeInvalid, format, args...)
		err.Field = field
		return err
	}
	share := func(v float64) bool { return math.Abs(v) <= 1e6 }
	switch {
	case len(p.Options) > MaxOptions || len(p.Signals) > MaxSignals:
		return assay.Errorf(assay.CodeTooLarge, "%d options and %d inputs, at most %d and %d are weighed", len(p.Options), len(p.Signals), MaxOptions, MaxSignals)
	case p.Strategy == "" || p.Service == "" || guard == nil:
		return bad("strategy", "strategy %q of service %q needs both names and a guard", p.Strategy, p.Service)
	case !(p.Burn >= 0 && share(p.Burn)):
		return bad("burn", "%v is not a share of the budget per minute", p.Burn)
	case p.Stands <= 0 || p.Check < 0 || p.Rates.Answer < 0:
		return bad("stands", "a choice that stands for %s and is looked at after %s cannot be weighed", p.Stands, p.Check)
	case !(p.Margin >= 0 && share(p.Margin) && p.MaxHarm >= 0 && p.MaxHarm <= 1 && p.MaxBlast >= 0 && p.MaxBlast <= 1):
		return bad("max_harm", "margin %v, harm %v and blast %v are not shares", p.Margin, p.MaxHarm, p.MaxBlast)
	case !(p.Explore >= 0 && share(p.Explore)):
		return bad("explore", "%v is not a share of the budget", p.Explore)
	case !(p.Rates.BudgetWorth >= 0 && p.Rates.BudgetWorth < 1e15 && p.Rates.Failure >= 0 && share(p.Rates.Failure) && p.Rates.Ask >= 0 && share(p.Rates.Ask)):
		return bad("rates", "%+v are not rates", p.Rates)
	case p.Explore > 0 && !p.byRules() && len(draws) < len(p.Options):
		return bad("draws", "%d draws for %d options", len(draws), len(p.Options))
	}
	for _, u := range draws {
		if !(u > 0 && u < 1) {
			return bad("draws", "%v is not between 0 and 1", u)
		}
	}
	for i, o := range p.Options {
		if err := o.check(); err != nil {
			err.Field = fmt.Sprintf("options[%d]", i)
			return err
		}
		same := func(b Option) bool {
			return b.Action.Kind == o.Action.Kind && b.Action.Target() == o.Action.Target() && b.Action.Want == o.Action.Want
		}
		if slices.ContainsFunc(p.Options[:i], same) {
			return bad(fmt.Sprintf("options[%d]", i), "%s is proposed twice", lower(describe(o.Action)))
		}
	}
	return p.Learned.Check()
}

func (o *Option) check() *assay.Error {
	named := 0
	for _, h := range hypotheses {
		g, ok := o.Gone[h]
		r, risky := o.Risk[h]
		if ok {
			named++
		}
		if risky {
			named++
		}
		if !(math.Abs(g.Mean) <= 1e3 && g.SD >= 0 && g.SD <= 1e3 && math.Abs(r) <= 1e6) {
			return assay.Errorf(assay.CodeInvalid, "for %s it takes away %v ± %v and risks %v: these are not shares", h, g.Mean, g.SD, r)
		}
	}
	switch a := o.Action; {
	case named != len(o.Gone)+len(o.Risk):
		return assay.Errorf(assay.CodeInvalid, "it names a hypothesis that is not one of %v", hypotheses)
	case !a.Kind.Changes():
		return assay.Errorf(assay.CodeInvalid, "%q changes nothing: it is always possible and need not be proposed", a.Kind)
	case math.IsNaN(a.Now) || math.IsInf(a.Now, 0) || math.IsNaN(a.Want) || math.IsInf(a.Want, 0):
		return assay.Errorf(assay.CodeInvalid, "it moves %s from %v to %v", a.Target(), a.Now, a.Want)
	case !(o.Blast >= 0 && o.Blast <= 1):
		return assay.Errorf(assay.CodeInvalid, "its blast radius %v is not a share", o.Blast)
	case !(math.Abs(o.Own) <= 1e6 && math.Abs(o.Money) < 1e15 && o.Disruption >= 0 && o.Disruption <= 1e6) || o.Lead < 0:
		return assay.Errorf(assay.CodeInvalid, "its costs %v, %v, %v and its lead %s cannot be weighed", o.Own, o.Money, o.Disruption, o.Lead)
	}
	return nil
}

// lower writes a description inside a sentence.
func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
