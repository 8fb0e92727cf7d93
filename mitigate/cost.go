package mitigate

import (
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// cost keeps a day's spend below its cap. At the cap every job that is not essential
// stops: that is a rule without any model, and only a person's extra allowance, which
// is a recorded approval, lifts it. Before, the spend at midnight is projected from the
// rate now: if it is above the cap, the least important job first goes to the cheaper
// class, then stops; when there is room again, the most important one comes back first.
func (v *view) cost(l *policy.CostLaw) (f finding) {
	f.indicator, f.rules = "spent", true // a cap is a rule, and so is the order of who waits
	spent, ok := v.need(&f, "spent", "")
	if !ok {
		return f
	}
	day := v.dayLeft(l.Zone)
	limit := l.DailyCap + v.in.Extra
	rate, jobs := 0.0, make([]job, 0, len(l.Jobs))
	for _, j := range l.Jobs {
		r, ok := v.need(&f, "spend_rate", j.Name)
		if !ok && spent < limit {
			return f
		}
		allowance, okA := v.setting(&f, assay.LeverClass, j.Name)
		if !okA {
			if spent < limit {
				return f
			}
			f.held = append(f.held, fmt.Sprintf("job %s cannot be stopped: nobody says whether it runs", j.Name))
			continue // the others stop all the same
		}
		class, _ := v.classOf(j.Name)
		if ok {
			v.remember(j.Name, r, allowance)
		}
		jobs = append(jobs, job{j, r, allowance, class})
		rate += r
	}
	end := spent + rate*day.Hours()
	f.notes = append(f.notes, fmt.Sprintf("%s %s spent of %s, %s at midnight at the rate now", number(spent), l.Currency, number(limit), number(end)))
	if v.in.Extra > 0 {
		f.notes = append(f.notes, fmt.Sprintf("a person allowed %s %s beyond the cap of %s", number(v.in.Extra), l.Currency, number(l.DailyCap)))
	}
	v.backstop(&f, l, limit, spent, end)
	switch {
	case spent >= limit:
		f.thin = "" // a hard stop asks for nothing else than what was spent
		v.stop(&f, l, jobs, spent, limit)
	case end > limit:
		v.cheaper(&f, l, jobs, end-limit, day)
	default:
		v.dearer(&f, l, jobs, limit-end, day)
	}
	return f
}

// nearCap is the share of the cap from which on the door has it, whatever is projected.
const nearCap = 0.8

// backstop keeps the door's own cap at the declared one: it holds when nobody decides. A
// door that has none gets it when the cap comes into sight: the spend at the rate now would
// pass it and has for a minute, or most of it is spent, which needs no projection. To lower
// a cap is a hard stop, after those of jobs; to raise it is what the level lets it be.
func (v *view) backstop(f *finding, l *policy.CostLaw, limit, spent, end float64) {
	near := v.held("cap-near", end > limit) >= v.costPaces().Protect.Window || spent >= nearCap*limit
	for _, s := range v.in.Settings {
		if s.Lever != assay.LeverSpend || s.Scope != "" || s.Now == limit || s.Now <= 0 && !near {
			continue
		}
		words, kind, rank := fmt.Sprintf("the door itself stops at %s %s a day", number(limit), l.Currency), assay.ActionStop, 1
		switch {
		case s.Now <= 0 && spent < limit: // it stops nobody yet
			kind, rank = assay.ActionAdjust, 3
		case s.Now > 0 && limit > s.Now:
			kind, rank = assay.ActionRestore, 8
		}
		f.options = append(f.options, decide.Option{
			Action: v.action(kind, assay.LeverSpend, "", s.Now, limit), Words: words, Reversible: true,
			Rule: &decide.Rule{Rank: rank, Fires: true, Words: words},
		})
	}
}

// job is a declared job with what it does now.
type job struct {
	policy.CostJob
	rate      float64 // money an hour
	allowance float64 // percent of it that is let in; 0 is stopped
	class     float64 // 0 is the dear one
}

// classOf is where a job's class stands; jobs without the lever have one class.
func (v *view) classOf(name string) (float64, bool) {
	for _, s := range v.in.Settings {
		if s.Lever == assay.LeverCostClass && s.Scope == name {
			return s.Now, true
		}
	}
	return 0, false
}

// dayLeft is the time to midnight in the zone of the cap.
func (v *view) dayLeft(zone string) time.Duration { return v.midnight(zone, 1).Sub(v.now) }

// midnight is when today began in a zone, or some days later.
func (v *view) midnight(zone string, later int) time.Time {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		loc = time.UTC
	}
	t := v.now.In(loc)
	return time.Date(t.Year(), t.Month(), t.Day()+later, 0, 0, 0, 0, loc)
}

// stop is the hard cap.
func (v *view) stop(f *finding, l *policy.CostLaw, jobs []job, spent, limit float64) {
	f.trouble = true
	for i := len(jobs) - 1; i >= 0; i-- {
		j := jobs[i]
		if j.Essential || j.allowance == 0 {
			continue
		}
		// A stop is of the day in which it was decided, also where the next look, which sees it,
		// is in the day after. A look that sees the job run forgets this.
		v.next.Since["stopped/"+j.Name] = v.now
		words := fmt.Sprintf("job %s stops: %s %s are spent, and the cap is %s", j.Name, number(spent), l.Currency, number(limit))
		f.options = append(f.options, decide.Option{
			Action: v.action(assay.ActionStop, assay.LeverClass, j.Name, j.allowance, 0), Words: words, Reversible: true,
			Money: -j.rate, Rule: &decide.Rule{Rank: 0, Fires: true, Words: words},
		})
	}
}

// costTrend is for how long a projection must have stood: a spike of a moment is no trend.
const costTrend = time.Minute

// costDeadTime is how long after a move the rates are given to show it.
const costDeadTime = 5 * time.Minute

// costCalm is for how long there must have been room before anything comes back: the
// rate of a minute swings by more than what a job needs.
const costCalm = 30 * time.Minute

// costPaces are the waits of this law, unless the strategy declares others: it moves by
// whole jobs, so that of its paces only windows and the time after a move count.
func (v *view) costPaces() Damping {
	return Damping{Protect: Pace{Window: costTrend, DeadTime: costDeadTime}, Relax: Pace{Window: costCalm}}.with(v.s.Spec.Damping)
}

// movedLast is when what a job costs was moved last; the door's own cap saves nothing.
func (v *view) movedLast() (last time.Time) {
	door := assay.Action{Lever: assay.LeverSpend}.Target()
	for target, d := range v.next.Dampers {
		if n := len(d.Moves); target != door && n > 0 && d.Moves[n-1].Time.After(last) {
			last = d.Moves[n-1].Time
		}
	}
	return last
}

// cheaper makes the least important job that can be made cheaper so.
func (v *view) cheaper(f *finding, l *policy.CostLaw, jobs []job, over float64, day time.Duration) {
	f.trouble = true
	delete(v.next.Since, "cost-room")
	pace := v.costPaces().Protect
	if v.held("cost-over", true) < pace.Window {
		f.held = append(f.held, "the projection must stand for "+strings.Replace(pace.Window.String(), "m0s", "m", 1))
		return
	}
	if last := v.movedLast(); v.now.Sub(last) < pace.DeadTime {
		f.held = append(f.held, fmt.Sprintf("what the last move saves is seen after %s", pace.DeadTime))
		return
	}
	for _, stops := range []bool{false, true} {
		for i := len(jobs) - 1; i >= 0; i-- {
			j := jobs[i]
			if j.Essential || j.allowance == 0 || j.rate <= 0 {
				continue
			}
			_, has := v.classOf(j.Name)
			switch {
			case !stops && has && j.class == 0 && l.Saving > 0:
				words := fmt.Sprintf("job %s goes to the cheaper class and saves %s %s until midnight; %s are too many", j.Name, number(j.rate*l.Saving*day.Hours()), l.Currency, number(over))
				f.options = append(f.options, v.costOption(assay.ActionAdjust, assay.LeverCostClass, j, 0, 1, -j.rate*l.Saving, words, 1))
				return
			case stops:
				words := fmt.Sprintf("job %s, the least important, stops and saves %s %s until midnight; %s are too many", j.Name, number(j.rate*day.Hours()), l.Currency, number(over))
				f.options = append(f.options, v.costOption(assay.ActionAdjust, assay.LeverClass, j, j.allowance, 0, -j.rate, words, 2))
				return
			}
		}
	}
	f.notes = append(f.notes, "only essential jobs are left; the cap will not hold")
}

// remember keeps what a job spends while it runs, and from when on it does not. What a
// stopped job spends falls to nothing and says nothing about it: who let it back because
// of that would stop it again at once.
func (v *view) remember(name string, rate, allowance float64) {
	if v.held("stopped/"+name, allowance == 0); allowance > 0 && rate > 0 {
		v.next.Last["rate/"+name] = rate
	}
}

// freed reports whether a job was stopped for the spend of an earlier day: the cap of a
// new one gives every job its chance.
func (v *view) freed(name, zone string) bool {
	since, ok := v.next.Since["stopped/"+name]
	return ok && since.Before(v.midnight(zone, 0))
}

// dearer gives the most important job back what was taken, if there is room for it.
func (v *view) dearer(f *finding, l *policy.CostLaw, jobs []job, room float64, day time.Duration) {
	delete(v.next.Since, "cost-over")
	wait := v.costPaces().Relax.Window
	calm := v.held("cost-room", true)
	if last := v.movedLast(); !last.IsZero() {
		calm = min(calm, v.now.Sub(last)) // what the last move saves or costs must be in it
	}
	for _, j := range jobs {
		last, seen := v.next.Last["rate/"+j.Name]
		stopped := j.allowance == 0
		if j.Essential || !stopped && j.class == 0 {
			continue
		}
		need := last * day.Hours()
		if !stopped {
			need = last * l.Saving / max(1-l.Saving, 0.01) * day.Hours()
		}
		freed := stopped && v.freed(j.Name, l.Zone)
		// Without a known rate nobody can say that there is room.
		if !freed && (!seen || 1.2*need > room) || calm < wait {
			f.held = append(f.held, fmt.Sprintf("job %s comes back when %s %s are left for it for %s; %s are", j.Name, number(1.2*need), l.Currency, wait, number(room)))
			return
		}
		words := fmt.Sprintf("job %s comes back: it needs %s %s until midnight, and %s are left", j.Name, number(need), l.Currency, number(room))
		if freed {
			words = fmt.Sprintf("job %s comes back: a new day has begun, and %s %s are left", j.Name, number(room), l.Currency)
		}
		if stopped {
			f.options = append(f.options, v.costOption(assay.ActionRestore, assay.LeverClass, j, 0, 100, last, words, 6))
		} else {
			f.options = append(f.options, v.costOption(assay.ActionRestore, assay.LeverCostClass, j, j.class, 0, last*l.Saving, words, 7))
		}
		return
	}
}

func (v *view) costOption(kind assay.ActionKind, lever assay.Lever, j job, from, to, money float64, words string, rank int) decide.Option {
	return decide.Option{
		Action: v.action(kind, lever, j.Name, from, to), Words: words, Reversible: true, Money: money,
		Rule: &decide.Rule{Rank: rank, Fires: true, Words: words},
	}
}
