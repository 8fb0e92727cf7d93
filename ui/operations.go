package ui

import (
	"context"
	"fmt"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/report"
)

// operationsWindow is how far the page reaches back.
const operationsWindow = 30 * 24 * time.Hour

// targetRow is one measure of all services together.
type targetRow struct {
	Word   state
	Name   string
	Value  string
	Detail string
	Target string
}

// operationsDetail is what the parts of the page show.
type operationsDetail struct {
	Days     int
	State    state
	Sentence string
	Empty    bool
	Targets  []targetRow
	Services table[report.ServiceOperations]
}

// operationsPage says how often versions are taken back, how fast, and whether actions help.
func operationsPage(v *view) (page, error) {
	p := page{Title: "Operations", Nav: "/operations"}
	o, err := shared(v, v.ui.operated, func(ctx context.Context) (report.Operations, error) {
		return v.s.Operations(ctx, api.OperationsRequest{From: v.ui.cfg.Now().Add(-operationsWindow)})
	})
	d := newOperationsDetail(o, err)
	p.add(v, "targets", "", "operations/targets", d)
	p.add(v, "services", "", "operations/services", d)
	return p, nil
}

func newOperationsDetail(o report.Operations, err error) operationsDetail {
	d := operationsDetail{Days: int(operationsWindow / (24 * time.Hour)), Services: newTable(o.Services, err), Empty: o.Total.Empty(), Targets: targets(o.Total)}
	missed, held := 0, 0
	for _, t := range d.Targets {
		switch t.Word.Tone {
		case "warn":
			missed++
		case "ok":
			held++
		}
	}
	switch {
	case err != nil || held+missed == 0:
		d.State, d.Sentence = state{"unknown", "nothing measured"}, "No target is known to hold."
	case missed > 0:
		d.State, d.Sentence = state{"warn", "target missed"}, fmt.Sprintf("%d of %s %s missed.", missed, plural(held+missed, "target", "targets"), map[bool]string{true: "is", false: "are"}[missed == 1])
	default:
		d.State, d.Sentence = state{"ok", "targets hold"}, "Every target that could be measured holds."
	}
	return d
}

// targets are the measures that have one.
func targets(o report.OperationsOfOne) []targetRow {
	r, a := o.Rollouts, o.Actions
	rows := []targetRow{
		{standingState(r.Revert.Standing), "Time to revert", "–", "no bad version was taken back by itself", "below " + took(report.TargetRevert)},
		{standingState(a.CarriedOutStanding), "Actions carried out", "–", "no strategy acted", "at least " + percent(report.TargetDone)},
		{standingState(a.SuccessStanding), "Actions that helped", "–", "no action was judged", "above " + percent(report.TargetHelped)},
		{standingState(a.BurnStanding), "Burn after actions", "–", "no action was judged while budget was spent", fmt.Sprintf("below %g× of before", report.TargetBurn)},
		{standingState(a.TogglesStanding), "Toggles of a lever", "–", "no lever moved", fmt.Sprintf("below %d in an hour", report.TargetToggles)},
	}
	if v := r.Revert; v.Measured > 0 {
		rows[0].Value = took(time.Duration(v.Slowest * float64(time.Second)))
		rows[0].Detail = fmt.Sprintf("the slowest of %d; %s in the middle, %d within the target", v.Measured, took(time.Duration(v.Median*float64(time.Second))), v.Within)
	}
	if a.CarriedOut != nil {
		rows[1].Value, rows[1].Detail = percent(*a.CarriedOut), fmt.Sprintf("%s of %s", num(a.Done), num(a.Tried))
	}
	if a.Success != nil {
		rows[2].Value, rows[2].Detail = percent(*a.Success), fmt.Sprintf("%s of %s; %s harmed, of %s nobody can say", num(a.Helped), num(a.Judged()+a.Refused), num(a.Harmed), num(a.Unclear()))
	}
	if a.Burn != nil {
		rows[3].Value, rows[3].Detail = fmt.Sprintf("%.2f×", *a.Burn), "budget spent in the judged windows"
	}
	if a.TogglesStanding != report.NothingHappened {
		rows[4].Value, rows[4].Detail = num(a.Toggles), "the lever that swung most; "+plural(a.Frozen, "freeze", "freezes")
	}
	return rows
}
