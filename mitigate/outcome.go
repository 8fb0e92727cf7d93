package mitigate

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/store"
)

// How an action's outcome is measured: what is spent of the budget, minute by minute.
const (
	slot       = time.Minute
	remembered = 720 // slots: half a day, of which most is the untreated past
	judgedDead = 1   // slots after the action that cannot show it yet
	judgedSpan = 5   // slots that are judged
	judgedHold = 2   // of them, the last that must still show it
	missing    = -1  // of a slot in which nobody knew

	// A verdict whose telemetry is late waits for it: so many windows, and so long at least.
	judgedLate = 3
	leastLate  = 2 * time.Minute
)

// JudgedPayload is the payload of a mitigation.judged fact, version 1: what an action did,
// held against what would have been.
type JudgedPayload struct {
	Strategy string              `json:"strategy"`
	Outcome  assay.ActionOutcome `json:"outcome"`
	Seen     infer.Attribution   `json:"seen"`
	Learned  decide.Result       `json:"learned"`
}

// budgetSeen is what the service spent of its budget per minute, slot by slot.
type budgetSeen struct {
	From  time.Time `json:"from,omitzero"` // of the first slot
	Spent []float64 `json:"spent,omitempty"`
	N     int       `json:"n,omitempty"` // values in the newest slot
	// Acted are the times of the strategy's own actions, oldest first.
	Acted []time.Time `json:"acted,omitempty"`
}

// add takes one more value in; a negative one is unknown.
func (b budgetSeen) add(now time.Time, spent float64) budgetSeen {
	b.Spent = slices.Clone(b.Spent)
	if b.From.IsZero() || now.Sub(b.From) > 2*remembered*slot {
		b = budgetSeen{From: now.Truncate(slot), Acted: b.Acted}
	}
	at := int(now.Sub(b.From) / slot)
	for len(b.Spent) <= at {
		b.Spent, b.N = append(b.Spent, missing), 0
	}
	if spent >= 0 {
		b.N++
		last := &b.Spent[len(b.Spent)-1]
		*last = max(*last, 0) + (spent-max(*last, 0))/float64(b.N)
	}
	if over := len(b.Spent) - remembered; over > 0 {
		b.Spent, b.From = b.Spent[over:], b.From.Add(time.Duration(over)*slot)
	}
	first := slices.IndexFunc(b.Acted, func(t time.Time) bool { return !t.Before(b.From) })
	if first < 0 {
		first = len(b.Acted)
	}
	b.Acted = b.Acted[first:]
	return b
}

// material is the smallest change of what is spent in a minute that matters: what an action
// must be expected to be better by, spread over the time that a choice stands.
func material() float64 { return decide.NewProblem().Margin / stands.Minutes() }

// attribute judges an action by what was remembered.
func (b budgetSeen) attribute(j judging) (infer.Attribution, error) {
	at := j.At
	if at.Before(b.From) {
		return infer.Attribution{}, assay.Errorf(assay.CodeInvalid, "the action at %s lies before what is remembered, from %s on", at.Format(time.RFC3339), b.From.Format(time.RFC3339))
	}
	y := make([]float64, len(b.Spent))
	for i, v := range b.Spent {
		if y[i] = v; v < 0 {
			y[i] = math.NaN()
		}
	}
	step := int(at.Sub(b.From)/slot) + 1
	end := min(step+judgedDead+judgedSpan, len(y))
	a := infer.Aftermath{Series: y[:end], At: step, Dead: judgedDead, Window: judgedSpan, Hold: judgedHold, Material: material(), Promise: j.promised(), Paths: infer.BootstrapPaths, Seed: j.seed()}
	for _, t := range b.Acted {
		if t.Before(at) {
			a.Treated = append(a.Treated, int(t.Sub(b.From)/slot))
		}
	}
	return infer.Attribute(a)
}

// judging is an action whose outcome is not judged yet.
type judging struct {
	Action     assay.Action      `json:"action"`
	Hypothesis decide.Hypothesis `json:"hypothesis"`
	Cause      assay.FactID      `json:"cause"`
	At         time.Time         `json:"at"`
	Confounded string            `json:"confounded,omitempty"` // what else fell into the window
	Guess      *guess            `json:"guess,omitempty"`      // of what it does
	Promise    *infer.Promise    `json:"promise,omitempty"`    // of its steps, for the judged window
	Step       time.Duration     `json:"step,omitempty"`       // of the series that it is judged by; 0 is what was remembered, by slot
}

// due is when it is judged: two steps after its window, in which the last counts arrive.
func (j judging) due() time.Time {
	return j.At.Add((judgedDead + judgedSpan + 2) * cmp.Or(j.Step, slot))
}

// last is until when what was spent is waited for if it cannot be read when the action is due. It
// bounds how many wait at once: those that another action followed within the window do not.
func (j judging) last() time.Time {
	return j.due().Add(max(judgedLate*judgedSpan*cmp.Or(j.Step, slot), leastLate))
}

// outcomeStep is the step of a strategy's outcomes; 0 where what was spent cannot be read
// back, and is remembered minute by minute instead.
func (c *Controller) outcomeStep(s Strategy) time.Duration {
	if c.cfg.Spent == nil || s.Spec.Objective == "" {
		return 0
	}
	return cmp.Or(s.Spec.OutcomeStep.Value(), slot)
}

// attribute judges an action: by what was spent around it, read back in steps that begin
// with it, or by what was remembered where that cannot be. CodeUnavailable means that telemetry
// is late: what was spent in the window is not there yet, and may come.
func (c *Controller) attribute(ctx context.Context, rec *record, j judging) (infer.Attribution, error) {
	if j.Step == 0 {
		return rec.Budget.attribute(j)
	}
	const before = remembered - judgedDead - judgedSpan
	from := j.At.Add(-before * j.Step)
	y, err := c.cfg.Spent(ctx, rec.Namespace, rec.Strategy.Spec.Objective, from, j.Step, remembered)
	if err != nil {
		return infer.Attribution{}, assay.Errorf(assay.CodeOf(err), "what was spent around the action cannot be read: %w", err)
	}
	unknown := 0
	for _, v := range y[before+judgedDead : before+judgedDead+judgedSpan] {
		if math.IsNaN(v) {
			unknown++
		}
	}
	if 2*unknown > judgedSpan {
		return infer.Attribution{}, assay.Errorf(assay.CodeUnavailable, "of %d steps after the action it is not known what was spent in %d", judgedSpan, unknown)
	}
	a := infer.Aftermath{Series: y, At: before, Dead: judgedDead, Window: judgedSpan, Hold: judgedHold, Material: material(), Promise: j.promised(), Paths: infer.BootstrapPaths, Seed: j.seed()}
	for _, t := range rec.Budget.Acted {
		if t.Before(j.At) && !t.Before(from) {
			a.Treated = append(a.Treated, int(t.Sub(from)/j.Step))
		}
	}
	return infer.Attribute(a)
}

// seed of what is resampled for its outcome: other for each action, and the same for ever. It
// has 32 bits, which every reader of JSON keeps.
func (j judging) seed() uint64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(j.Cause)) // a hash takes all that is written
	return uint64(h.Sum32())
}

// await remembers that an action is to be judged. A further step the same way is part of
// the same action, and adds to its promise; any other confounds what is still open. What was decided by rules is
// for no hypothesis, and its success is counted alone. step is that of the strategy's
// outcomes, 0 if it declared none.
func (r *record) await(p pending, step time.Duration, now time.Time) {
	r.Judging = slices.Clone(r.Judging)
	if moves := r.State.Dampers[p.Action.Target()].Moves; len(moves) > 0 && moves[len(moves)-1].Time.Equal(now) {
		p.Action.Now = moves[len(moves)-1].From // a limit that was not set stood at its greatest
	}
	if n := len(r.Judging); n > 0 {
		last := &r.Judging[n-1]
		same := last.Action.Kind == p.Action.Kind && last.Action.Target() == p.Action.Target()
		if same && (last.Action.Want > last.Action.Now) == (p.Action.Want > p.Action.Now) && now.Before(last.due()) {
			last.Action.Want = p.Action.Want
			last.promise(p.Promise, now)
			return
		}
	}
	r.Budget.Acted = append(slices.Clone(r.Budget.Acted), now)
	for i := range r.Judging {
		if j := &r.Judging[i]; j.Confounded == "" && now.Before(j.due()) { // one whose telemetry is late only waits
			j.Confounded = fmt.Sprintf("another action (%s of %s)", p.Action.Kind, p.Action.Target())
		}
	}
	j := judging{Action: p.Action, Hypothesis: decide.NoFault, Cause: p.Cause, At: now, Guess: p.Guess, Step: step}
	j.promise(p.Promise, now)
	if p.Guess != nil {
		j.Hypothesis = p.Guess.Hypothesis
	}
	if r.Decision != nil && len(r.Decision.Beliefs) > 0 {
		j.Hypothesis = decide.Hypothesis(r.Decision.Beliefs[0].Hypothesis)
	}
	r.Judging = append(r.Judging, j)
	r.Judging = r.Judging[max(0, len(r.Judging)-maxApprovals):]
}

// changed confounds actions in whose window another version came: nobody can say then
// whose effect it is.
func (c *Controller) changed(ctx context.Context, rec *record) error {
	if c.cfg.Rollouts == nil || len(rec.Judging) == 0 {
		return nil
	}
	changes, err := c.cfg.Rollouts.Changes(ctx, rec.Namespace, rec.Strategy.Spec.Service)
	if err != nil {
		return err
	}
	for i := range rec.Judging {
		j := &rec.Judging[i]
		for _, x := range changes {
			own := j.Action.Lever == assay.LeverShare && (j.Action.Version == x.Version || x.Return && j.Action.Version == x.Old)
			if j.Confounded == "" && !own && x.within(j.At.Add(-cmp.Or(j.Step, slot)), j.due()) {
				j.Confounded = fmt.Sprintf("the change to version %s", x.Version)
			}
		}
	}
	return nil
}

// within reports whether a change was under way between two instants: until its rollout has
// ended, each step of it moves what is measured.
func (x Change) within(from, to time.Time) bool {
	began := x.Time
	if !x.Began.IsZero() {
		began = x.Began
	}
	return began.Before(to) && (x.Open || x.Time.After(from))
}

// judge closes the loop of the oldest action whose window is over and is known, one at a look.
func (c *Controller) judge(ctx context.Context, rec *record, in Inputs) error {
	now := c.cfg.Now().UTC()
	rec.Budget = rec.Budget.add(now, in.spent())
	for i := range rec.Judging {
		for _, m := range in.History.Moves {
			if j := &rec.Judging[i]; m.Strategy != rec.Name && m.Time.After(j.At) && m.Time.Before(j.due()) {
				j.Confounded = fmt.Sprintf("%s of %s by strategy %s", m.Kind, m.Target, m.Strategy)
			}
		}
	}
	if err := c.changed(ctx, rec); err != nil { // nothing is judged until that is known, and decisions go on
		c.cfg.Log.Warn("what was changed cannot be read", "strategy", rec.Name, "error", err)
		return nil
	}
	for i, j := range rec.Judging {
		if now.Before(j.due()) {
			break
		}
		seen, err := c.attribute(ctx, rec, j)
		switch {
		case ctx.Err() != nil: // who stops has not seen that nothing can be read
			return ctx.Err()
		case err == nil:
		case assay.CodeOf(err) != assay.CodeUnavailable || j.Confounded != "": // what comes late cannot tell whose effect it is
			seen = infer.Attribution{Effect: assay.EffectInconclusive, Why: err.Error()}
		case now.Before(j.last()):
			continue
		default:
			seen = infer.Attribution{Effect: assay.EffectInconclusive, Why: fmt.Sprintf("it was asked for until %s, %s after it should have been there: %v", now.Format(time.TimeOnly), now.Sub(j.due()).Round(time.Second), err)}
		}
		rec.Judging = slices.Delete(slices.Clone(rec.Judging), i, i+1)
		return c.conclude(ctx, rec, j, seen, now)
	}
	return nil
}

// conclude says what an action did that was judged, learns from it, and records it.
func (c *Controller) conclude(ctx context.Context, rec *record, j judging, seen infer.Attribution, now time.Time) (err error) {
	out := decide.Aftermath(j.Action, j.Hypothesis, decide.Measure{Name: "the error budget spent per minute", Share: true}, seen, j.Confounded, now)
	if why := j.could(seen); out.Effect == assay.EffectNone && why != "" {
		out.Effect, out.Reason = assay.EffectInconclusive, why+"; "+out.Reason
	}
	result := decide.Result{Service: rec.Strategy.Spec.Service, Action: j.Action, Hypothesis: j.Hypothesis, Effect: out.Effect, Gone: decide.Gone(seen), Time: now}
	if rec.Learned.HalfLife == 0 {
		rec.Learned = decide.NewLearned()
	}
	if rec.Learned, err = rec.Learned.Learn(result); err != nil {
		return err
	}
	rec.weighed(j.Guess, result)
	rec.Outcome = &out
	if out.Effect == assay.EffectHarmed {
		rec.State = rec.State.harmed(j.Action, j.At, harmOf(j, out, now))
	}
	return c.write(ctx, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactMitigationJudged, assay.RetainOperational, actor, now, []assay.FactID{j.Cause},
			JudgedPayload{Strategy: rec.Name, Outcome: out, Seen: seen, Learned: result})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}
