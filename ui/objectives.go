package ui

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/slo"
)

// objectiveRow is an objective as a line of a table.
type objectiveRow struct {
	api.Objective
	Name     string
	Service  string
	Key      string // as Session.Objective takes it
	State    state
	Sentence string
	Left     float64 // share of the budget that is left, may be below 0
	Tone     string
	Worst    *api.Burn // the alert with the highest burn over its short span
	Chart    template.HTML
}

// OnSecond reports whether any of the minutes that are drawn rests on the second source.
func (r objectiveRow) OnSecond() bool {
	return slices.ContainsFunc(r.Minutes, func(m api.Minute) bool { return m.Second })
}

func objectiveRows(list []api.Objective) []objectiveRow {
	var out []objectiveRow
	for _, o := range list {
		out = append(out, newObjectiveRow(o))
	}
	return out
}

func newObjectiveRow(o api.Objective) objectiveRow {
	row := objectiveRow{
		Objective: o, Name: o.Objective.Name, Service: o.Objective.Service,
		Key: fmt.Sprintf("%s/%d", o.Objective.SLO, o.Objective.Index), Left: 1 - o.Spent, Tone: "ok",
	}
	if row.Name == "" {
		row.Name = o.Objective.SLO
	}
	firing := ""
	for i, b := range o.Burns {
		if row.Worst == nil || b.Short > row.Worst.Short {
			row.Worst = &o.Burns[i]
		}
		if b.State == slo.StateFiring && firing == "" {
			firing = b.Alert.Name
		}
	}
	switch {
	case o.Spent >= 1:
		row.State, row.Tone = state{"bad", "overdrawn"}, "bad"
		row.Sentence = fmt.Sprintf("%s bad responses above the budget of %s.", num(-o.Remaining), num(o.Allowed))
	case firing != "":
		row.State, row.Tone = state{"bad", "burns too fast"}, "bad"
		row.Sentence = fmt.Sprintf("the %s alert fires; %s of the budget is left.", firing, percent(row.Left))
	case !o.Known:
		row.State, row.Tone = state{"unknown", "unknown"}, "unknown"
		row.Sentence = o.Reason
	case o.Spent > 0.75:
		row.State, row.Tone = state{"warn", "low"}, "warn"
		row.Sentence = percent(row.Left) + " of the budget is left."
	default:
		row.State = state{"ok", "kept"}
		row.Sentence = percent(row.Left) + " of the budget is left."
	}
	return row
}

// services lists the services that have objectives, rollouts or traffic.
func services(v *view) (page, error) {
	p := page{Title: "Services", Nav: "/services"}
	objectives, err := v.s.Objectives(v.ctx)
	p.add(v, "objectives", "", "overview/objectives", newTable(objectiveRows(objectives), err))
	traffic, err := v.traffic()
	p.add(v, "versions", "", "service/versions", newTable(routeRows(traffic.Status, ""), trafficErr(traffic, err)))
	return p, nil
}

// service is everything about one service on one page.
func service(v *view) (page, error) {
	name := v.r.PathValue("name")
	p := page{Title: name, Nav: "/services"}
	objectives, objectiveErr := v.s.Objectives(v.ctx)
	list, rolloutErr := v.s.Rollouts(v.ctx, 200)
	traffic, trafficErrs := v.traffic()
	routes := routeRows(traffic.Status, name)
	list = slices.DeleteFunc(list, func(r api.Rollout) bool { return r.Service != name })
	objectives = slices.DeleteFunc(objectives, func(o api.Objective) bool { return o.Objective.Service != name })
	p.add(v, "title", "", "service/title", name)
	for i, o := range objectives {
		row := newObjectiveRow(o)
		if full, err := v.s.Objective(v.ctx, row.Key); err == nil {
			row = newObjectiveRow(full)
			row.Chart = burnDown(full, v.Now)
		}
		p.add(v, fmt.Sprintf("objective-%d", i), "", "service/objective", row)
	}
	if len(objectives) == 0 {
		p.add(v, "no-objective", "", "service/no-objective", newTable([]objectiveRow(nil), objectiveErr))
	}
	p.indicators(v, name)
	p.anomalies(v, name)
	p.regions(v, name)
	p.add(v, "versions", "", "service/versions", newTable(routes, trafficErr(traffic, trafficErrs)))
	p.add(v, "rollouts", "", "rollouts/list", newTable(rolloutRows(list), rolloutErr))
	return p, nil
}

// burnDown draws what was left of an objective's budget in each of the newest
// minutes, with the bad responses that took it. A minute without data is hatched.
func burnDown(o api.Objective, now time.Time) template.HTML {
	// What lies before the first known minute is not missing: nobody kept it.
	first := slices.IndexFunc(o.Minutes, func(m api.Minute) bool { return m.Known })
	if first < 0 || len(o.Minutes)-first < 2 {
		return ""
	}
	o.Minutes = o.Minutes[first:]
	minutes, left := o.Minutes, budgetLeft(o)
	end := minutes[len(minutes)-1].Time.Add(slo.Slot)
	p := plot{x: scale{seconds(minutes[0].Time), seconds(end)}, height: 180}
	low := 0.0
	for _, q := range left {
		if !math.IsNaN(q.y) {
			low = min(low, q.y)
		}
	}
	p.y = scale{max(low, -1) * 1.05, 1}
	most := 1.0
	for _, m := range minutes {
		most = max(most, float64(m.Total-min(m.Good, m.Total)))
	}
	for _, x := range o.SecondSpans {
		if from, to := max(seconds(x.From), p.x.lo), min(seconds(x.To), p.x.hi); from < to {
			fmt.Fprintf(&p.marks, `<rect class="second" x="%s" width="%s" height="100%%"/>`, share(p.x.at(from)), share(p.x.at(to)-p.x.at(from)))
		}
	}
	for _, m := range minutes {
		at := seconds(m.Time)
		if !m.Known {
			p.hatch(at, at+slo.Slot.Seconds())
			continue
		}
		if bad := float64(m.Total - min(m.Good, m.Total)); bad > 0 {
			p.column("spent", at+5, at+55, p.y.lo+bad/most*0.3*(p.y.hi-p.y.lo))
		}
	}
	p.across("zero", 0)
	p.across("grid", 0.5)
	p.across("grid", 1)
	p.area("canary", left, 0, false)
	p.line("canary", left)
	p.yTick(1, "100 %")
	p.yTick(0.5, "50 %")
	p.yTick(0, "0 %")
	if low < 0 {
		p.text("label harm", "start", p.x.lo, 0, 6, 14, "overdrawn")
	}
	p.timeTicks()
	return p.svg(fmt.Sprintf("Budget left over the newest %d minutes, now %s", len(minutes), percent(1-o.Spent)))
}

// budgetLeft is the share of the budget that was left after each minute. Where
// the minutes cover a whole window before it, it is counted; before that it is
// what is left now and what was spent since.
func budgetLeft(o api.Objective) []pt {
	minutes := o.Minutes
	window := int(o.Objective.Window.Longest() / slo.Slot)
	out := make([]pt, len(minutes))
	allowed := float64(max(o.Allowed, 1))
	after := 0.0 // bad events after this minute
	for i := len(minutes) - 1; i >= 0; i-- {
		m := minutes[i]
		y := (float64(o.Remaining) + after) / allowed
		if o.Objective.Window.Rolling && window > 0 && i+1 >= window {
			y = windowLeft(o, minutes[i+1-window:i+1])
		}
		if !m.Known {
			y = math.NaN()
		}
		out[i] = pt{seconds(m.Time.Add(slo.Slot)), y}
		after += float64(m.Total - min(m.Good, m.Total))
	}
	return out
}

// windowLeft is the share of the budget that is left in a window of minutes.
func windowLeft(o api.Objective, minutes []api.Minute) float64 {
	var sum slo.Budget
	sum.Target = o.Objective.Target
	for _, m := range minutes {
		sum.Good += min(m.Good, m.Total)
		sum.Total += m.Total
	}
	if sum.Total == 0 {
		return 1
	}
	spent, _ := sum.Spent().Float64()
	return 1 - spent
}
