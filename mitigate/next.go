package mitigate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// idle is what a lever away from its rest is reckoned to spend of the budget a minute,
// where nothing better is known: enough that it is given back once nothing speaks for
// it, and a tenth of the least burn that anybody is paged for.
const idle = 2e-6

// stands is how long a choice is reckoned to stand before the next one can correct it.
const stands = 10 * time.Minute

// Next decides once: the law proposes, decide.Weigh weighs, the strategy's rails and
// the caller's guard (nil: none) may forbid. It returns the decision and the state that
// the next one is made from; a move that was made is told to State.Applied. st is not
// changed. The digest of the inputs is not in it, see Record.Sealed. Errors: CodeInvalid for a strategy without a law, CodeTooLarge for inputs
// above the bounds.
func Next(s Strategy, st State, in Inputs, guard decide.Guard, now time.Time) (assay.Decision, State, error) {
	r, err := decided(s, st, in, guard, now)
	return r.Decision(), r.After, err
}

// decide fills in what follows from r's inputs.
func (r *Record) decide(guard decide.Guard) error {
	if err := r.Inputs.check(); err != nil {
		return err
	}
	r.After = r.Before.clone()
	v := newView(&r.Strategy, &r.After, &r.Inputs, r.Now)
	v.forget()
	f, err := v.law()
	if err != nil {
		return err
	}
	if len(r.Inputs.Unknown) > 0 {
		f.thin = orElse(f.thin, r.Inputs.Unknown[0].Reason)
	}
	v.undo(&f)
	v.freeze()
	r.After.quiet(f, r.Now)
	for _, x := range r.Inputs.Second {
		f.notes = append(f.notes, fmt.Sprintf("%s is read from its second source: %s", x.Name, x.Why))
	}
	if r.Inputs.Reactive != "" {
		f.notes = append(f.notes, "reactive: declared thresholds decide, for "+r.Inputs.Reactive)
	}
	r.Notes = append(f.notes, f.held...)
	m := &r.Mitigation
	m.Problem, m.Now = v.problem(f), r.Now
	m.Draws = draws(&m.Problem, r.Inputs.Seed)
	own := v.guard(guard)
	if err := m.Choose(own); err != nil {
		return err
	}
	if v.snap(&m.Problem, &m.Decision) {
		return m.Choose(own)
	}
	return nil
}

// draws are uniform numbers in (0, 1), one for each option, that follow from the seed
// that is recorded; none where nothing is drawn.
func draws(p *decide.Problem, seed uint64) (out []float64) {
	if p.Explore == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, uint64(len(p.Options))))
	for range p.Options {
		out = append(out, (float64(rng.Uint64()>>12)+0.5)/(1<<52))
	}
	return out
}

// law runs the one that is declared.
func (v *view) law() (finding, error) {
	switch s := &v.s.Spec; s.Law() {
	case "scale":
		return v.scale(s.Scale), nil
	case "stabilise":
		return v.stabilise(s.Stabilise), nil
	case "throttle":
		return v.throttle(s.Throttle), nil
	case "divert":
		return v.divert(s.Divert), nil
	case "isolate":
		return v.isolate(s.Isolate), nil
	case "tiers":
		return v.tiers(s.Tiers), nil
	case "cost":
		return v.cost(s.Cost), nil
	case "contain":
		return v.contain(s.Contain), nil
	case "rollback":
		return v.rollback(s.Rollback), nil
	case "data":
		return v.data(s.Data), nil
	}
	return finding{}, assay.Errorf(assay.CodeInvalid, "strategy %q declares no law", v.s.Name)
}

// quiet remembers since when nothing has been wrong. What is unknown is not quiet.
func (s *State) quiet(f finding, now time.Time) {
	switch {
	case f.trouble || f.thin != "":
		s.Quiet = time.Time{}
	case s.Quiet.IsZero():
		s.Quiet = now
	}
}

// problem is what a finding asks of decide.
func (v *view) problem(f finding) decide.Problem {
	p := decide.NewProblem()
	p.Strategy, p.Service, p.Environment, p.Indicator = v.s.Name, v.s.Spec.Service, v.s.Spec.Environment, f.indicator
	p.Signals, p.Clues, p.Options, p.Stands = v.signals, f.clues, f.options, max(stands, f.stands)
	if f.thin != "" && !slices.ContainsFunc(v.signals, func(s assay.Signal) bool { return !s.Known }) {
		p.Signals = append(slices.Clone(p.Signals), assay.Signal{Indicator: "inputs", Reason: f.thin})
	}
	// What is wrong spends the budget. Where nothing is, the service's usual errors are
	// not what giving a lever back is held against.
	if f.trouble {
		p.Burn = max(f.burn, v.in.Burn)
	}
	p.Deterministic, p.Rules = v.s.Spec.Deterministic, f.rules || v.in.Reactive != ""
	p.Rates.BudgetWorth, p.Explore = v.in.Worth, v.s.Spec.Explore
	p.Answers = v.rails.Answers(v.in.History, v.now)
	if v.in.Learned.HalfLife > 0 {
		p.Learned = v.in.Learned.About(v.s.Spec.Service, f.options, v.now)
	}
	for i := range p.Options {
		if o := &p.Options[i]; o.Action.Kind == assay.ActionRestore && o.Own == 0 {
			o.Own = -idle
		}
	}
	return p
}

// history is what is known of the service's levers, the strategy's own moves among them.
// It is put together once in a decision, which makes no move itself.
func (v *view) history() decide.History {
	if v.past == nil {
		h := v.in.History
		h.Strategy = v.s.Name
		targets := slices.AppendSeq(make([]string, 0, len(v.next.Dampers)), maps.Keys(v.next.Dampers))
		slices.Sort(targets)
		h.Moves = v.moves(h.Moves, targets)
		h.Thaws = v.thaws(targets)
		v.past = &h
	}
	return *v.past
}

// ownRails are the strategy's rails with what it remembers.
func (v *view) ownRails() decide.Guard {
	h := v.history()
	h.Quiet = v.next.Quiet
	if v.rails.Dwell == 0 && h.Quiet.IsZero() {
		h.Quiet = v.now // the law itself says, scope by scope, what has been quiet long enough
	}
	return decide.Guardrails(v.rails, h, v.now)
}

// guard is the strategy's rails and then the caller's. The rails are made when they are
// first asked: in most decisions nothing is proposed that they could forbid.
func (v *view) guard(more decide.Guard) decide.Guard {
	var own decide.Guard
	return func(a assay.Action) []assay.GuardVerdict {
		if own == nil {
			own = v.ownRails()
		}
		out := own(a)
		if l := v.s.Spec.Level; a.Kind == assay.ActionStop && (l == policy.LevelObserve || l == policy.LevelPropose) {
			out = append(out, assay.GuardVerdict{
				Guard: "level", Action: a.Kind, Target: a.Target(), Want: a.Want, Outcome: assay.OutcomeFail,
				Reason: fmt.Sprintf("the level is %q: decisions are recorded and nothing is done", l),
			})
		}
		if more != nil {
			out = append(out, more(a)...)
		}
		return out
	}
}

// Rank is a precedence as decide counts it: the lower goes first.
func (s Strategy) Rank() int { return 1000 - s.Spec.Precedence }

// Rails are the guardrails of the strategy. Damping stands before them, and is the
// stricter for everything that a law moves smoothly; they hold where it is mistaken.
func (s Strategy) Rails() decide.Rails {
	r := decide.Rails{
		MinInterval: 10 * time.Second, Toggles: 5, Level: decide.LevelObserve, Rank: s.Rank(),
		ApprovalTimeout: s.Spec.ApprovalTimeout.Value(), ApprovalDefault: s.Spec.OnTimeout == policy.OnTimeoutAct,
	}
	if d := s.Spec.Damping; d != nil && d.MaxToggles > 0 {
		r.Toggles = d.MaxToggles
	}
	switch s.Spec.Level {
	case policy.LevelAct:
		r.Level = decide.LevelAutomatic
	case policy.LevelApprove, policy.LevelPropose:
		r.Level = decide.LevelApprove
	}
	limit := func(lever assay.Lever, low, high float64) {
		r.Limits = append(r.Limits, decide.Limit{Target: string(lever), Min: &low, Max: &high})
	}
	switch spec := s.Spec; spec.Law() {
	case "scale":
		limit(assay.LeverReplicas, float64(spec.Scale.Min), float64(spec.Scale.Max))
	case "stabilise":
		limit(assay.LeverReplicas, float64(spec.Stabilise.Min), float64(spec.Stabilise.Max))
	case "throttle":
		limit(spec.Throttle.Lever, spec.Throttle.Min, spec.Throttle.Max)
	case "data":
		limit(assay.LeverRetention, spec.Data.MinRetention, spec.Data.MaxRetention)
		limit(assay.LeverReplicas, float64(spec.Data.MinReplicas), float64(spec.Data.MaxReplicas))
	}
	if g := s.Spec.Guardrails; g != nil {
		if v := g.MinInterval.Value(); v > 0 {
			r.MinInterval = v
		}
		r.DeadTime, r.Dwell, r.Band = g.DeadTime.Value(), g.Dwell.Value(), g.Band
	}
	return r
}

// moves are the strategy's own, from its memory, among those of others, oldest first.
func (v *view) moves(others []decide.Move, targets []string) []decide.Move {
	n := len(others)
	for _, target := range targets {
		n += len(v.next.Dampers[target].Moves)
	}
	out := make([]decide.Move, 0, n)
	for i := range others {
		if others[i].Strategy != v.s.Name {
			out = append(out, others[i])
		}
	}
	for _, target := range targets {
		for _, m := range v.next.Dampers[target].Moves {
			out = append(out, decide.Move{
				Time: m.Time, Strategy: v.s.Name, Rank: v.s.Rank(), Kind: m.Kind, Service: v.s.Spec.Service,
				Target: target, From: m.From, To: m.To, Harmed: m.Harmed,
			})
		}
	}
	slices.SortStableFunc(out, func(a, b decide.Move) int { return a.Time.Compare(b.Time) })
	return out
}

// snap lets an answer meet the value of the moment: the option that would be asked about
// is what a person allowed, if it goes as far as that or further. It reports whether that
// is so. What is automatic, refused or unanswered stays as the law wants it.
func (v *view) snap(p *decide.Problem, d *assay.Decision) bool {
	if d.Action.Kind != assay.ActionAsk || d.Proposed == nil {
		return false
	}
	i := slices.IndexFunc(p.Options, func(o decide.Option) bool { return o.Action == *d.Proposed })
	if i < 0 {
		return false
	}
	o := &p.Options[i]
	for _, a := range slices.Backward(v.allowed()) {
		want := o.Action
		want.Want = a.Action.Want
		known := slices.ContainsFunc(p.Options, func(x decide.Option) bool { // itself, or proposed besides
			return x.Action.Kind == want.Kind && x.Action.Target() == want.Target() && x.Action.Want == want.Want
		})
		if !known && reaches(o.Action, a.Action) {
			o.Action, o.Words = want, o.Words+fmt.Sprintf(" (asked about %s)", number(want.Want))
			return true
		}
	}
	return false
}

// allowed are the questions whose answer is a yes that still counts, oldest first. Where a
// strategy declares that silence is one, it is, for what only its level lets a person decide.
func (v *view) allowed() []decide.Approval {
	rails := v.rails
	out := slices.DeleteFunc(rails.Answers(v.in.History, v.now), func(a decide.Approval) bool { return a.Answer != "yes" })
	level, _ := decide.EffectiveLevel(rails.Level, v.in.History.Prerequisites)
	for _, a := range v.in.History.Approvals {
		age := v.now.Sub(a.Asked)
		if level == decide.LevelApprove && rails.ApprovalDefault && a.Answer == "" && age >= rails.ApprovalTimeout && age <= 2*rails.ApprovalTimeout {
			out = append(out, a)
		}
	}
	return out
}
