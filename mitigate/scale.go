package mitigate

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// Tau is the quantile of the load that is worth keeping capacity for: the newsvendor's
// 1 − C_r/(C_v·mu), where one replica costs C_r an hour, one request per second that
// is not served costs C_v an hour, and a replica serves mu requests per second. A
// replica more than that quantile costs more than what it is expected to save. It is
// kept between 0.5 and 0.999; without costs it is 0.95.
func Tau(l policy.ScaleLaw) float64 {
	if l.CostReplica <= 0 || l.CostViolation <= 0 || l.PerReplica <= 0 {
		return 0.95
	}
	return min(max(1-l.CostReplica/(l.CostViolation*l.PerReplica), 0.5), 0.999)
}

// scale keeps as many replicas as the load over the start-up lead will need.
//
// Trusted forecast: the tau quantile over the lead asks for more, and only when that
// over the lead and the relax window together is lower too may anything be given back:
// a forecast alone never scales in, and the present alone does not either. Otherwise
// the law is reactive and says so: the load now at the declared utilisation.
func (v *view) scale(l *policy.ScaleLaw) (f finding) {
	f.indicator = "load"
	load, ok := v.need(&f, "load", "")
	current, there := v.setting(&f, assay.LeverReplicas, "")
	if !ok || !there {
		return f
	}
	d := newDamping(Up, float64(l.Min), float64(l.Max))
	d.Whole = true
	d.Relax.DeadTime = l.Lead.Value()
	f.stands = stands + l.Lead.Value() // what comes later than a choice stands would never be worth it
	lead, long := l.Lead.Value(), l.Lead.Value()+d.with(v.s.Spec.Damping).Relax.Window
	soon, later, capacity, why := v.demand(l, load, lead, long)
	now := load / (l.PerReplica * l.Target)
	if capacity == l.PerReplica { // a forecast's quantile is the reserve
		now = load / l.PerReplica
	}
	event, named := v.event(l, load, lead)
	up := max(now, soon/capacity, event/l.PerReplica)
	down := max(up, later/capacity)
	f.notes = append(f.notes, why)
	if named != "" {
		f.notes = append(f.notes, named)
	}
	want := current
	switch {
	case math.Ceil(up-1e-9) > current:
		want = up
	case math.Ceil(down-1e-9) < current:
		want = down
	}
	set := v.settle(d, assay.LeverReplicas, "", current, want)
	// What is short is short of what is kept for the load, the declared utilisation included:
	// at full capacity users wait already.
	reach, room := max(load, soon, event), current*l.PerReplica
	if up > 0 {
		room = current * reach / up
	}
	short := 0.0
	if reach > 0 {
		short = max(0, 1-room/reach)
	}
	f.burn, f.trouble = burnOf(short), math.Ceil(up-1e-9) > current
	f.clues = append(f.clues, overloadClue(reach, room))
	if set.Held != "" {
		f.held = append(f.held, "replicas stay at "+number(current)+": "+set.Held)
	}
	if set.To == current {
		return f
	}
	f.options = append(f.options, v.replicas(set, l, short, reach, up))
	return f
}

// demand is the load that capacity is kept for soon (over the lead) and later (until
// what is given back could be there again), and what of it one replica may take.
func (v *view) demand(l *policy.ScaleLaw, load float64, lead, long time.Duration) (soon, later, capacity float64, why string) {
	reactive := func(reason string) (float64, float64, float64, string) {
		return load, load, l.PerReplica * l.Target, "reactive: " + reason
	}
	if l.Forecast == nil {
		return reactive("no forecast is declared")
	}
	if v.s.Spec.Deterministic {
		return reactive("the scope is deterministic")
	}
	for _, fc := range v.in.Forecasts {
		if fc.Signal != "load" {
			continue
		}
		if !fc.Trusted {
			return reactive(fc.Why)
		}
		a, okA := fc.upper(v.now, lead)
		b, okB := fc.upper(v.now, long)
		if !okA || !okB {
			return reactive(fmt.Sprintf("the forecast of %s does not reach %s ahead", fc.At.UTC().Format(time.TimeOnly), long))
		}
		return a, b, l.PerReplica, fmt.Sprintf("predictive: with a probability of %.1f %% the load stays below %s requests/s over the next %s (skill %.2f, 90 %% intervals held %.0f %%)",
			100*fc.Tau, number(a), lead, fc.Skill, 100*fc.Cover)
	}
	return reactive("there is no forecast yet")
}

// upper is the greatest tau quantile from now on over a length of time; false if the
// forecast does not cover it.
func (fc Forecast) upper(now time.Time, ahead time.Duration) (float64, bool) {
	if fc.Step <= 0 || len(fc.Upper) == 0 {
		return 0, false
	}
	first := int(now.Sub(fc.At) / fc.Step)
	last := int(now.Add(ahead).Sub(fc.At) / fc.Step)
	if now.Before(fc.At) && last >= 0 {
		first = 0
	}
	if first < 0 || last >= len(fc.Upper) {
		return 0, false
	}
	most := 0.0
	for _, u := range fc.Upper[first : last+1] {
		most = max(most, u)
	}
	return most, true
}

// event is the load that the calendar says, 0 without one: what the load was before
// the event came into reach, times its factor, until it is over.
func (v *view) event(l *policy.ScaleLaw, load float64, lead time.Duration) (most float64, words string) {
	for _, e := range l.Events {
		start, err := time.Parse(time.RFC3339, e.Start)
		end, err2 := time.Parse(time.RFC3339, e.End)
		name := "event/" + e.Name + "/" + e.Start
		if err != nil || err2 != nil || v.now.Add(lead).Before(start) || !v.now.Before(end) {
			delete(v.next.Last, name)
			continue
		}
		base, seen := v.next.Last[name]
		if !seen || v.now.Before(start) {
			base = max(base, load)
			v.next.Last[name] = base
		}
		if want := base * e.Factor; want > most {
			most = want
			words = fmt.Sprintf("event %s from %s: %s times the load, %s requests/s", e.Name, start.UTC().Format(time.RFC3339), number(e.Factor), number(want))
		}
	}
	return most, words
}

// replicas is the option of a settled move.
func (v *view) replicas(set Settled, l *policy.ScaleLaw, short, reach, up float64) decide.Option {
	kind, gone, lead := assay.ActionAdjust, map[decide.Hypothesis]decide.Size(nil), l.Lead.Value()
	words := fmt.Sprintf("%s replicas instead of %s: %s requests/s need %s", number(set.To), number(set.Now), number(reach), number(set.Want))
	if set.To < set.Now {
		kind, lead = assay.ActionRestore, 0 // a replica that goes need not start
		words = fmt.Sprintf("%s replicas instead of %s: now and for the relax window %s are enough", number(set.To), number(set.Now), number(set.Want))
	} else {
		left := max(0, 1-set.To/max(up, 1e-9))
		share := 1.0
		if short > 0 {
			share = min(max((short-left)/short, 0), 1)
		}
		gone = map[decide.Hypothesis]decide.Size{
			decide.Overload: sized(share, 0.2), decide.Attack: sized(0.5*share, 0.3), decide.NoisyTenant: sized(0.7*share, 0.3),
		}
	}
	return decide.Option{
		Action: v.action(kind, assay.LeverReplicas, "", set.Now, set.To), Words: words, Reversible: true, Gone: gone,
		Money: (set.To - set.Now) * l.CostReplica, Lead: lead,
		Rule: &decide.Rule{Fires: true, Words: words},
	}
}

// overloadClue holds the load against the capacity: a factor of e^8 per unit of ln
// load over capacity, so that 10 % above is worth about 2 and 45 % above the cap.
func overloadClue(load, capacity float64) decide.Clue {
	ratio := load / max(capacity, 1e-9)
	lr := min(max(8*math.Log(max(ratio, 1e-3)), -3), 3)
	return decide.Clue{
		Name: "load-over-capacity", Source: "load",
		Words: fmt.Sprintf("%s requests/s for a capacity of %s", number(load), number(capacity)),
		LogLR: map[decide.Hypothesis]float64{decide.Overload: lr, decide.Attack: lr / 2, decide.NoisyTenant: lr / 3, decide.NoFault: -lr},
	}
}

// sized is a share of what is bad that goes away, uncertain in proportion: capacity
// that is added may turn out to matter less, but it does not harm.
func sized(mean, spread float64) decide.Size { return decide.Size{Mean: mean, SD: spread * mean} }
