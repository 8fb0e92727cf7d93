package main

import (
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

var epoch = time.Unix(1_800_000_000, 0).UTC()

// plan is our one default configuration. A cell says only what a scenario has to: the
// first share of traffic and how long everybody bakes.
func plan(c cell) decide.Plan {
	p := decide.NewPlan()
	p.Name, p.Service, p.Canary, p.Control = "scoreboard", "shop", "v2", "v1"
	p.Steps = []int{int(100 * c.Weight), 50, 100}
	if bake := c.bake(); bake > 0 {
		p.Steps, p.MinDuration = []int{int(100 * c.Weight), 100}, bake
	}
	p.Budget = errorBudget(c)
	p.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true}}
	return p
}

// ours is decide.Next, as the product runs it.
type ours struct {
	plan  decide.Plan
	state decide.State
	last  assay.Decision
	at    time.Duration // of the last look
	asked bool          // a person, at the horizon
}

func beginOurs(w *world) (controller, error) { return begin(w, plan(w.cell)) }

// beginWaiting lets every step wait for safety: what is announced is canary requests at
// the present share, and a step changes how many it takes.
func beginWaiting(w *world) (controller, error) {
	p := plan(w.cell)
	p.StepBudget = 0
	return begin(w, p)
}

func begin(w *world, p decide.Plan) (controller, error) {
	if w.known != nil {
		p.Indicators[0] = *w.known
	}
	s, err := decide.Begin(p, epoch)
	return &ours{plan: p, state: s}, err
}

func (o *ours) baseline() bool { return false }

func pass(assay.Action) []assay.GuardVerdict { return nil }

func (o *ours) look(t time.Duration, canary, control *count) (float64, end, error) {
	var readings []assay.Reading
	if canary != nil {
		from, to := epoch.Add(o.at), epoch.Add(t)
		readings = append(readings, reading("v2", *canary, from, to), reading("v1", *control, from, to))
	}
	o.at = t
	d, next, err := decide.Next(o.plan, o.state, readings, pass, epoch.Add(t))
	if err != nil {
		return 0, running, err
	}
	o.last, o.asked = d, o.asked || d.Action.Kind == assay.ActionAsk
	if o.state, err = next.Applied(o.plan, d.Action, epoch.Add(t)); err != nil {
		return 0, running, err
	}
	switch o.state.Phase {
	case decide.Aborted:
		return 0, aborted, nil
	case decide.Finished:
		return 1, promoted, nil
	}
	return float64(o.state.Weight(o.plan)) / 100, running, nil
}
