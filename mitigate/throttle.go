package mitigate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// limit is where one of the throttle's controllers wants the limit.
type limit struct {
	want    float64
	trouble bool
	by      string // which controller
	signal  string // that it reads
	whole   bool   // it is known, and need not be felt for in steps
	words   string
	cause   decide.Hypothesis
}

// throttle limits what is let in. Three controllers each say where the limit should
// be, and the strictest counts:
//
//   - latency: the gradient of the p95 against the promised latency, not against the
//     best latency ever seen, so that the limit means the objective;
//   - queue: CoDel and AIMD, a cut of 30 % when entries have waited longer than the
//     target for the interval and the queue grows or is above its bound, room otherwise;
//   - database: the wait that its utilisation predicts, S·rho ⁄ (1 − rho), held below
//     the budget.
//
// Below the limit, classes are let in by importance: critical ones always, the others
// as far as room is left; what is not let in goes the cheaper path. A backlog above its
// bound sends all of them that way.
func (v *view) throttle(l *policy.ThrottleLaw) (f finding) {
	f.indicator = "latency"
	current, there := v.setting(&f, l.Lever, "")
	if !there {
		return f
	}
	stands := current
	if current <= 0 { // no limit
		current = l.Max
	}
	used := v.used(l, current)
	all := make([]limit, 0, 3)
	f.notes, f.clues = make([]string, 0, 4), make([]decide.Clue, 0, cap(all))
	for _, one := range []func(*policy.ThrottleLaw, float64, float64) (limit, bool, bool){v.gradient, v.queue, v.database} {
		x, declared, known := one(l, current, used)
		if !declared {
			continue
		}
		if !known {
			f.thin = orElse(f.thin, x.words)
			continue
		}
		all = append(all, x)
		f.notes = append(f.notes, x.by+": "+x.words)
	}
	full := v.full(&f, l)
	if f.thin != "" || len(all) == 0 {
		if full { // that bound rests on nothing else
			v.classes(&f, l, current, full)
		}
		return f
	}
	v.outdated(&f, l, all, current)
	least := all[0]
	for _, x := range all[1:] {
		if x.want < least.want {
			least = x
		}
	}
	for i := range all {
		f.trouble = f.trouble || all[i].trouble
		f.clues = append(f.clues, all[i].clue())
	}
	if i := slices.IndexFunc(all, func(x limit) bool { return x.whole && x.want > current }); i >= 0 && !f.trouble {
		least = all[i] // who feels for room in steps need not find what is known
	}
	v.limitOption(&f, l, stands, current, used, least)
	if len(l.Classes) > 0 {
		v.classes(&f, l, current, full)
	}
	return f
}

// used is how much of the limit is in use: a cut begins there, because above it a limit
// limits nothing, and to come down to it step by step would be time in which nothing is
// done.
func (v *view) used(l *policy.ThrottleLaw, current float64) float64 {
	if inflight, ok := v.get("inflight", ""); ok && l.Lever == assay.LeverConcurrency {
		return min(current, max(inflight, l.Min))
	}
	return current
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// limitOption moves the limit from where it stands, which counts as current.
func (v *view) limitOption(f *finding, l *policy.ThrottleLaw, stands, current, used float64, x limit) {
	d := newDamping(Down, l.Min, l.Max)
	d.Protect = Pace{DeadBand: 0.03, Share: 0.5, Step: max(1, current-used/2), Period: 10 * time.Second}
	d.Relax = Pace{DeadBand: 0.03, Window: 30 * time.Second, Share: 0.1, Step: 1, Period: 30 * time.Second}
	if x.whole {
		d.Protect.Step, d.Relax.Step = max(1, current-x.want), max(1, x.want-current)
	}
	d.Free, d.Toggles, d.Burst = true, 5, 20
	set := v.settle(d, l.Lever, "", current, x.want)
	if set.Held != "" {
		f.held = append(f.held, "the limit stays at "+number(current)+": "+set.Held)
	}
	if f.trouble {
		f.burn = burnOf(0.05)
	}
	if set.To == current {
		return
	}
	cut := max(0, 1-set.To/max(current, 1e-9))
	o := decide.Option{
		Action: v.action(assay.ActionAdjust, l.Lever, "", stands, set.To), Reversible: true,
		Words: fmt.Sprintf("%s %s instead of %s, by %s: %s", l.Lever, number(set.To), number(current), x.by, x.words),
		Gone: map[decide.Hypothesis]decide.Size{
			decide.Overload: {Mean: min(0.9, 0.5+cut), SD: 0.2}, decide.DependencySlow: {Mean: min(0.8, 0.4+cut), SD: 0.25},
			decide.Attack: {Mean: 0.5, SD: 0.3}, decide.NoisyTenant: {Mean: 0.4, SD: 0.3},
		},
		Own: 0.02 * cut * burnOf(0.05), // what is refused is retried or goes the cheaper path
	}
	if set.To > current {
		o.Action.Kind, o.Gone, o.Own = assay.ActionRestore, nil, 0
	}
	o.Rule = &decide.Rule{Rank: 1, Fires: true, Words: o.Words}
	f.options = append(f.options, o)
}

// clue: one controller in trouble is evidence; one that is not says little, because a
// full queue and a slow database need not come together.
func (x limit) clue() decide.Clue {
	c := decide.Clue{Name: x.by, Words: x.words, LogLR: map[decide.Hypothesis]float64{x.cause: -0.3}}
	if x.trouble {
		c.LogLR = map[decide.Hypothesis]float64{decide.Overload: 1.5, decide.Attack: 1, decide.NoisyTenant: 0.5, decide.NoFault: -3, decide.TelemetryFault: -0.5, decide.BadDeploy: -0.5}
		c.LogLR[x.cause] += 1
	}
	return c
}

// gradient is the limit by latency: it is frozen while too few requests were measured,
// and while less than half of it is used, because then it is not what limits.
func (v *view) gradient(l *policy.ThrottleLaw, current, used float64) (x limit, declared, known bool) {
	x.by, x.signal, x.cause = "latency", "latency", decide.Overload
	if l.Latency <= 0 || !v.declared("latency") {
		return x, false, false
	}
	p95, ok := v.get("latency", "")
	if !ok {
		x.words = v.why["latency"]
		return x, true, false
	}
	x.want = current
	x.trouble = p95 > l.Latency
	if n, ok := v.get("samples", ""); ok && n < l.MinSamples {
		x.words, x.trouble = fmt.Sprintf("%s requests were measured, and %s are needed", number(n), number(l.MinSamples)), false
		return x, true, true
	}
	if inflight, ok := v.get("inflight", ""); ok && inflight < current/2 && p95 <= l.Latency {
		x.words = number(inflight) + " of " + number(current) + " are in use: the limit is not what limits"
		return x, true, true
	}
	g := min(max(l.Latency/max(p95, 1e-9), 0.5), 1.1)
	x.want = 0.8*current + 0.2*(current*g+math.Sqrt(current))
	if p95 > l.Latency { // the square root looks for room; above the promise there is none
		x.want = 0.8*used + 0.2*used*g
	}
	x.words = "p95 is " + number(p95) + " s for a promise of " + number(l.Latency) + " s: gradient " + digits(g, 2)
	return x, true, true
}

// queue is the limit by the age of what waits.
func (v *view) queue(l *policy.ThrottleLaw, current, used float64) (x limit, declared, known bool) {
	x.by, x.signal, x.cause = "queue", "queue_age", decide.Overload
	if l.QueueAge <= 0 || !v.declared("queue_age") {
		return x, false, false
	}
	age, ok := v.get("queue_age", "")
	if !ok {
		x.words = v.why["queue_age"]
		return x, true, false
	}
	depth, hasDepth := v.get("queue_depth", "")
	before, seen := v.next.Last["queue_depth"]
	if hasDepth {
		v.next.Last["queue_depth"] = depth
	}
	// One that is full cannot grow: it turns away what comes.
	growing := !hasDepth || !seen || depth >= before || l.MaxBacklog > 0 && depth > l.MaxBacklog
	late := v.held("queue-late", age > l.QueueAge)
	x.want = 1.1 * current
	x.words = "entries wait " + number(age) + " s for a target of " + number(l.QueueAge) + " s"
	if age > l.QueueAge {
		x.want, x.trouble = current, true
		if late >= l.QueueInterval.Value() && growing {
			x.want = 0.7 * used
			x.words += fmt.Sprintf(" for %s, and the queue grows or is full", late)
		}
	}
	return x, true, true
}

// database is the limit by what the database's utilisation predicts.
func (v *view) database(l *policy.ThrottleLaw, current, used float64) (x limit, declared, known bool) {
	x.by, x.signal, x.cause = "database", "db_utilisation", decide.DependencySlow
	if l.ServiceTime <= 0 || l.WaitBudget <= 0 || !v.declared("db_utilisation") {
		return x, false, false
	}
	rho, ok := v.get("db_utilisation", "")
	if !ok {
		x.words = v.why["db_utilisation"]
		return x, true, false
	}
	wait := math.Inf(1)
	if rho < 1 {
		wait = l.ServiceTime * rho / (1 - rho)
	}
	most := fullest(l)
	x.want = current * min(most/max(rho, 1e-9), 1.1)
	x.trouble = wait > l.WaitBudget
	x.words = "utilisation " + digits(rho, 2) + " predicts a wait of " + number(min(wait, 1e6)) + " s, the budget is " + number(l.WaitBudget) + " s (utilisation " + digits(most, 2) + ")"
	if rho > most {
		x.want = used * max(most/rho, 0.5)
		if l.Lever == assay.LeverConcurrency {
			// Near saturation what is inside waits, and the rate hardly tells how much of it: the
			// root of what the wait says is half of the way in each step, and never too far.
			x.want = used * max(most/rho*math.Sqrt(max(1-rho, 0)/(1-most)), 0.5)
		}
	}
	v.bears(&x, l, rho, current, used)
	return x, true, true
}

// full reports whether the backlog is above its bound.
func (v *view) full(f *finding, l *policy.ThrottleLaw) bool {
	depth, ok := v.get("queue_depth", "")
	if !ok || l.MaxBacklog <= 0 || depth <= l.MaxBacklog {
		return false
	}
	f.notes = append(f.notes, fmt.Sprintf("the backlog of %s is above its bound of %s", number(depth), number(l.MaxBacklog)))
	return true
}

// classes lets classes in by importance; none that is not critical while the backlog is
// full, whatever else is known.
func (v *view) classes(f *finding, l *policy.ThrottleLaw, current float64, full bool) {
	room, total := current, 0.0
	demand := make([]float64, len(l.Classes))
	for i, c := range l.Classes {
		x, ok := v.need(f, "demand", c.Name)
		if !ok && !full {
			return
		}
		demand[i] = x
		total += x
		if c.Critical {
			room -= x
		}
	}
	if l.Lever == assay.LeverConcurrency { // a limit of requests at once is not one of requests a second
		switch used, ok := v.get("inflight", ""); {
		case ok && used > 0:
			room = total*current/used - (current - room)
		case ok || full: // nothing of it is in use, or it does not matter how much is
			room = math.Inf(1)
		default:
			return
		}
	}
	var cuts, back []decide.Option
	for i, c := range l.Classes {
		want := 100.0
		if !c.Critical {
			if demand[i] > 0 {
				want = 100 * min(max(room/demand[i], 0), 1)
			}
			if full {
				want = 0
			}
			room = max(0, room-demand[i])
		}
		switch o, moves := v.class(f, c, demand[i]/max(total, 1e-9), want, full); {
		case moves && o.Action.Kind == assay.ActionRestore:
			back = append(back, o)
		case moves:
			cuts = append(cuts, o)
		}
	}
	slices.Reverse(cuts) // one is moved at a look: the least important goes first, and comes back last
	f.options = slices.Concat(f.options, cuts, back)
}

// class is the option for one class, false if it stays. A critical one is only ever let in.
func (v *view) class(f *finding, c policy.ThrottleClass, share, want float64, full bool) (o decide.Option, moves bool) {
	current, there := v.setting(f, assay.LeverClass, c.Name)
	if !there {
		return o, false
	}
	d := newDamping(Down, 0, 100)
	d.Free = true
	d.Protect = Pace{DeadBand: 0.05, Share: 1, Step: 50, Period: 10 * time.Second}
	d.Relax = Pace{DeadBand: 0.05, Window: time.Minute, Step: 20, Period: 30 * time.Second}
	if full || c.Critical { // a bound is a bound
		d.Protect.Step = 100
	}
	set := v.settle(d, assay.LeverClass, c.Name, current, want)
	if c.Critical && current < 100 {
		set.To = 100
	}
	if set.To == current {
		return o, false
	}
	o = decide.Option{
		Action: v.action(assay.ActionAdjust, assay.LeverClass, c.Name, current, set.To), Reversible: true, Blast: 0.3 * share * max(0, current-set.To) / 100, // the cheaper path answers too
		Words: fmt.Sprintf("%s %% of class %s instead of %s %%; the rest goes the cheaper path", number(set.To), c.Name, number(current)),
		Gone: map[decide.Hypothesis]decide.Size{
			decide.Overload: {Mean: 0.6, SD: 0.2}, decide.DependencySlow: {Mean: 0.5, SD: 0.25}, decide.Attack: {Mean: 0.3, SD: 0.3},
		},
	}
	if set.To > current {
		o.Action.Kind, o.Gone, o.Blast = assay.ActionRestore, nil, 0
	}
	o.Rule = &decide.Rule{Rank: 2, Fires: true, Words: o.Words}
	if full && set.To < current { // the bound of the backlog rests on no model
		o.Action.Kind, f.trouble = assay.ActionStop, true
		f.burn = max(f.burn, burnOf(0.05))
	}
	return o, true
}
