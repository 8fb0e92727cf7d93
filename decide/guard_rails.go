package decide

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
)

// Windows of the guardrails.
const (
	toggleWindow = time.Hour
	swingWindow  = 30 * time.Minute
	swingLimit   = 3 // changes of direction within swingWindow that freeze a target
	widest       = 2 // by how much a swing widens intervals; it decays over swingWindow

	leastBackOff = 10 * time.Second // after a refusal, where a target may move more often than that; doubled by each
	mostBackOff  = 10 * time.Minute
)

// Guardrails are the rails as a guard: every verdict follows from the rails, the history
// and now. A stop is held back by kill switches, limits and what the world refused just
// now alone, a restore of an action that was judged harmful by those and by who may decide.
func Guardrails(r Rails, h History, now time.Time) Guard {
	g := rails{r, h, now.UTC()}
	return func(a assay.Action) (out []assay.GuardVerdict) {
		say := func(guard, reason string) {
			v := assay.GuardVerdict{Guard: guard, Action: a.Kind, Target: a.Target(), Want: a.Want, Outcome: assay.OutcomePass, Reason: reason}
			if reason != "" {
				v.Outcome = assay.OutcomeFail
			}
			out = append(out, v)
		}
		say("kill-switch", g.halted())
		say("limit", g.limit(a))
		if why := g.backOff(a); why != "" {
			say("back-off", why)
		}
		if a.Kind == assay.ActionStop {
			return out
		}
		out = append(out, g.allowed(a))
		say("precedence", g.precedence(a))
		if a.Kind == assay.ActionRestore && g.last(a).Harmed {
			return out
		}
		say("min-interval", g.interval(a))
		say("dead-time", g.deadTime(a))
		say("hysteresis", g.hysteresis(a))
		say("toggles", g.toggles(a))
		say("oscillation", g.oscillation(a))
		return out
	}
}

type rails struct {
	Rails
	h   History
	now time.Time
}

func (g rails) halted() string {
	return Halted(g.h.Halts)
}

// String is the kill switch in one line.
func (h Halt) String() string {
	if h.Scope == HaltGlobal {
		return "the automation is halted everywhere: " + h.Reason
	}
	return fmt.Sprintf("the automation of %s %s is halted: %s", h.Scope, h.Name, h.Reason)
}

// Halted is what the first kill switch says, "" without any.
func Halted(list []Halt) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].String()
}

// limit holds a value inside its hard caps.
func (g rails) limit(a assay.Action) string {
	for _, l := range g.Limits {
		if l.Target != a.Target() && l.Target != string(a.Lever) {
			continue
		}
		switch {
		case l.Max != nil && a.Want > *l.Max:
			return fmt.Sprintf("%s is at most %s, not %s", l.Target, short(*l.Max), short(a.Want))
		case l.Min != nil && a.Want < *l.Min:
			return fmt.Sprintf("%s is at least %s, not %s", l.Target, short(*l.Min), short(a.Want))
		case l.MaxStep > 0 && a.Kind != assay.ActionStop && math.Abs(a.Want-a.Now) > l.MaxStep*math.Abs(a.Now)*(1+1e-9):
			return fmt.Sprintf("%s moves by at most %s of %s at once, not to %s", l.Target, percentOf(l.MaxStep), short(a.Now), short(a.Want))
		}
	}
	return ""
}

func percentOf(v float64) string { return string(appendPercent(nil, v)) }

func appendPercent(b []byte, v float64) []byte {
	return append(strconv.AppendFloat(b, 100*v, 'f', 0, 64), " %"...)
}

// EffectiveLevel is the declared level, or what is left of it while a prerequisite does
// not hold, and why.
func EffectiveLevel(l Level, needs []Prerequisite) (Level, string) {
	if l != LevelAutomatic {
		return l, ""
	}
	for _, p := range needs {
		if !p.Met {
			return LevelApprove, fmt.Sprintf("%s does not hold: %s", p.Name, p.Words)
		}
	}
	return l, ""
}

// allowed says whether the action may be taken without, or was allowed by, a person.
func (g rails) allowed(a assay.Action) assay.GuardVerdict {
	v := assay.GuardVerdict{Guard: GuardApproval, Action: a.Kind, Target: a.Target(), Want: a.Want, Outcome: assay.OutcomePass}
	level, why := EffectiveLevel(g.Level, g.h.Prerequisites)
	if level == LevelAutomatic {
		// What is beyond the bounds of the automatic was asked about, and may be answered.
		if q := newest(g.h.Approvals, a); q != nil && q.Answer != "" && g.counts(*q) {
			v.Outcome, v.Reason = g.answer(a)
		}
		return v
	}
	if level != LevelApprove {
		v.Guard, v.Outcome, v.Reason = "level", assay.OutcomeFail, fmt.Sprintf("the level is %q: decisions are recorded and nothing is done", level)
		return v
	}
	v.Outcome, v.Reason = g.answer(a)
	if v.Outcome == assay.OutcomeAbsent && why != "" {
		v.Reason = "a person must allow it, because " + why
	}
	return v
}

// answer is what was said to the newest question about the action.
func (g rails) answer(a assay.Action) (assay.Outcome, string) {
	q := newest(g.h.Approvals, a)
	if q == nil {
		return assay.OutcomeAbsent, "a person must allow it"
	}
	age := g.now.Sub(q.Asked)
	switch {
	case q.Answer == "yes" && g.counts(*q):
		return assay.OutcomePass, q.By + " allowed it"
	case q.Answer == "no" && g.counts(*q):
		return assay.OutcomeFail, q.By + " refused it"
	case q.Answer != "" || age > 2*g.ApprovalTimeout:
		return assay.OutcomeAbsent, "a person must allow it"
	case age < g.ApprovalTimeout:
		return assay.OutcomeAbsent, fmt.Sprintf("a person was asked %s ago, and has %s", span(age), span(g.ApprovalTimeout))
	case g.ApprovalDefault:
		return assay.OutcomePass, fmt.Sprintf("nobody answered in %s, and the default is to do it", span(g.ApprovalTimeout))
	}
	return assay.OutcomeFail, fmt.Sprintf("nobody answered in %s, and the default is not to do it", span(g.ApprovalTimeout))
}

// precedence refuses a target that a strategy of lower rank number holds.
func (g rails) precedence(a assay.Action) string {
	for i := len(g.h.Moves) - 1; i >= 0; i-- {
		m := g.h.Moves[i]
		if m.Stands && m.Strategy != g.h.Strategy && m.Target == a.Target() && (m.Rank < g.Rank || m.Rank == g.Rank && m.Strategy < g.h.Strategy) {
			return fmt.Sprintf("strategy %s goes before this one (rank %d before %d) and holds %s at %s", m.Strategy, m.Rank, g.Rank, m.Target, short(m.To))
		}
	}
	return ""
}

// last is the newest move of the action's target.
func (g rails) last(a assay.Action) Move {
	for i := len(g.h.Moves) - 1; i >= 0; i-- {
		if m := g.h.Moves[i]; m.Target == a.Target() {
			return m
		}
	}
	return Move{}
}

func (g rails) interval(a assay.Action) string {
	m := g.last(a)
	if m.Time.IsZero() {
		return ""
	}
	least := time.Duration(float64(g.MinInterval) * g.widening(a))
	if age := g.now.Sub(m.Time); age < least {
		return fmt.Sprintf("%s moved %s ago, and moves at most every %s", m.Target, span(age), span(least))
	}
	return ""
}

// backOff waits after a refusal, twice as long after each further one.
func (g rails) backOff(a assay.Action) string {
	for _, r := range g.h.Refusals {
		if r.Target != a.Target() {
			continue
		}
		wait := min(max(g.MinInterval, leastBackOff)<<min(max(r.Count, 0), 8), mostBackOff)
		if age := g.now.Sub(r.Time); age < wait {
			return fmt.Sprintf("moving %s was refused %s ago, %d times in a row, and is tried again after %s: %s", r.Target, span(age), r.Count, span(wait), r.Reason)
		}
	}
	return ""
}

// deadTime refuses to act on an indicator that cannot show yet what the last move did.
func (g rails) deadTime(a assay.Action) string {
	for i := len(g.h.Moves) - 1; i >= 0; i-- {
		if m := g.h.Moves[i]; m.Service == a.Service {
			if age := g.now.Sub(m.Time); age < g.DeadTime {
				return fmt.Sprintf("what moving %s did %s ago cannot be seen for %s", m.Target, span(age), span(g.DeadTime))
			}
			return ""
		}
	}
	return ""
}

// hysteresis refuses moves that are too small to matter, and to give back before it has
// been quiet for long enough.
func (g rails) hysteresis(a assay.Action) string {
	if g.Band > 0 && a.Lever != "" && math.Abs(a.Want-a.Now) < g.Band*math.Abs(a.Now) {
		return fmt.Sprintf("a move from %s to %s is less than %s of it", short(a.Now), short(a.Want), percentOf(g.Band))
	}
	if a.Kind != assay.ActionRestore {
		return ""
	}
	need := time.Duration(float64(g.Dwell) * g.widening(a))
	switch {
	case g.h.Quiet.IsZero():
		return "the indicator is not good"
	case g.now.Sub(g.h.Quiet) < need:
		return fmt.Sprintf("the indicator has been good for %s of %s", span(g.now.Sub(g.h.Quiet)), span(need))
	}
	return ""
}

// turns are when the action's target changed its direction since a time, the action
// itself counted as the last if it does.
func (g rails) turns(a assay.Action, since time.Duration) (past []time.Time, now bool) {
	before := 0.0
	for _, m := range g.h.Moves {
		if m.Target != a.Target() || m.To == m.From {
			continue
		}
		direction := math.Copysign(1, m.To-m.From)
		if before != 0 && direction != before && g.now.Sub(m.Time) < since {
			past = append(past, m.Time)
		}
		before = direction
	}
	return past, before != 0 && a.Want != a.Now && math.Copysign(1, a.Want-a.Now) != before
}

// toggles keeps changes of direction below the budget of an hour. The last is kept for
// protecting, so that a target does not end the hour unprotected.
func (g rails) toggles(a assay.Action) string {
	past, turn := g.turns(a, toggleWindow)
	if !turn {
		return ""
	}
	most := g.Toggles
	if a.Kind == assay.ActionRestore {
		most--
	}
	if len(past) >= most {
		return fmt.Sprintf("%s changed its direction %d times in an hour, at most %d are made%s", a.Target(), len(past), g.Toggles, keptWords(a))
	}
	return ""
}

func keptWords(a assay.Action) string {
	if a.Kind == assay.ActionRestore {
		return ", the last one to protect"
	}
	return ""
}

// oscillation freezes a target that changed its direction too often, until that is past or
// a person lifts it.
func (g rails) oscillation(a assay.Action) string {
	n, until := Swing(g.h, a, g.now)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s swings: it changed its direction %d times in %s and is frozen for another %s", a.Target(), n, span(swingWindow), span(until.Sub(g.now)))
}

// Swing is how often an action's target changed its direction in half an hour, whoever moved
// it, and until when it is frozen for that: nothing moves it. 0 if it is not.
func Swing(h History, a assay.Action, now time.Time) (turns int, until time.Time) {
	past := rails{h: h, now: now}.swings(a, swingWindow)
	if len(past) < swingLimit {
		return 0, time.Time{}
	}
	return len(past), past[len(past)-swingLimit].Add(swingWindow)
}

// swings are the turns of the action's target that count as one: those after a person lifted
// its freeze.
func (g rails) swings(a assay.Action, since time.Duration) []time.Time {
	past, _ := g.turns(a, since)
	for _, t := range g.h.Thaws {
		if t.Target == a.Target() {
			past = slices.DeleteFunc(past, func(at time.Time) bool { return !at.After(t.Time) })
		}
	}
	return past
}

// widening is by how much intervals and dwells of a target are stretched: twice at its
// last swing, down to once over half an hour.
func (g rails) widening(a assay.Action) float64 {
	past := g.swings(a, 2*swingWindow)
	if len(past) < swingLimit {
		return 1
	}
	// The freeze lasts until the third last turn is half an hour old; the stretch goes on
	// from there.
	thawed := g.now.Sub(past[len(past)-swingLimit].Add(swingWindow))
	return 1 + (widest-1)*(1-min(max(float64(thawed)/float64(swingWindow), 0), 1))
}
