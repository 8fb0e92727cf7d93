package anomaly

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/policy"
)

const (
	// deciles cut a distribution into ten parts.
	deciles = 9
	// tenthsKept is how many slots the calibration is judged on: a week.
	tenthsKept = 7 * 24 * 12
	// slotsShown is how many slots of the past a Foreseen has: two days.
	slotsShown = 2 * 24 * 12
	// plannedAhead is how far ahead planned events are shown.
	plannedAhead = 7 * 24 * time.Hour
)

// Slot is five minutes of load that are over, next to what was expected of them before
// they began.
type Slot struct {
	Time    time.Time `json:"time"`
	Value   float64   `json:"value"`             // requests per minute
	Deciles []float64 `json:"deciles,omitempty"` // of the forecast; absent if there was none
}

// Planned is a planned time that lies in what a Foreseen shows.
type Planned struct {
	Calendar string              `json:"calendar"`
	Name     string              `json:"name"`
	Kind     policy.CalendarKind `json:"kind"`
	Start    time.Time           `json:"start"`
	End      time.Time           `json:"end"`
	Factor   float64             `json:"factor"` // of the usual load
}

// Foreseen is the load of one objective: what it was, what is expected, and how well what
// was expected described what came.
type Foreseen struct {
	Service   string   `json:"service"`
	Zone      string   `json:"zone"`
	Objective string   `json:"objective"` // "slo/index"
	Name      string   `json:"name"`
	Load      Forecast `json:"load"`
	Past      []Slot   `json:"past"` // the newest, oldest first; slots without data are left out
	// Calibration is of the slots of the last week that had a forecast; nil if they are too
	// few to judge.
	Calibration *infer.Calibration `json:"calibration,omitempty"`
	Planned     []Planned          `json:"planned"`
	Lines       []Indicator        `json:"indicators"` // minute by minute
}

// sameness is the share of a value that calculating with it may leave over.
const sameness = 1e-9

// tenth is the part of a forecast that a value fell into, 0 to 9. What equals several deciles
// falls into any of theirs, by u from 0 to 1: see infer.Deciles.PIT.
func tenth(deciles []float64, v, u float64) byte {
	var of infer.Deciles
	copy(of[:], deciles)
	for i, d := range of {
		if math.Abs(d-v) <= sameness*math.Abs(v) {
			of[i] = v
		}
	}
	return byte(min(float64(len(deciles)), 10*of.PIT(v, u)))
}

// decilesOf are those of a step, in the unit of the load.
func decilesOf(d infer.Deciles, factor float64) []float64 {
	out := make([]float64, len(d))
	for i, v := range d {
		out[i] = max(0, factor*v)
	}
	return out
}

// remember keeps a slot that is over for people.
func (l *load) remember(n int64, v float64) {
	s := Slot{Time: slotTime(n), Value: seen(v)}
	for _, step := range l.made.Steps {
		if step.Time.Equal(s.Time) {
			s.Deciles = nil
			for _, d := range step.Deciles {
				s.Deciles = append(s.Deciles, seen(d))
			}
		}
	}
	l.past = append(l.past[max(0, len(l.past)-slotsShown+1):], s)
}

// shown is the past of the load: what the notebook has, with the forecasts of its slots.
func (l *load) shown() []Slot {
	out := []Slot{}
	from := max(0, len(l.s.Slots)-slotsShown)
	for i, v := range l.s.Slots[from:] {
		if v >= 0 {
			out = append(out, Slot{Time: slotTime(l.s.First + int64(from+i)), Value: float64(v)})
		}
	}
	for _, p := range l.past {
		if i, ok := slices.BinarySearchFunc(out, p.Time, func(s Slot, at time.Time) int { return s.Time.Compare(at) }); ok {
			out[i] = p
		}
	}
	return out
}

// calibration judges the forecasts by what came; nil if that were too few.
func (l *load) calibration() *infer.Calibration {
	pits := make([]float64, len(l.s.Tenths))
	for i, t := range l.s.Tenths {
		pits[i] = (float64(min(t, deciles)) + 0.5) / (deciles + 1)
	}
	c, err := infer.Calibrate(pits)
	if err != nil {
		return nil
	}
	return &c
}

// Foreseen returns the load of an objective, "slo/index", of a service; CodeNotFound if
// it is not watched.
func (w *Watcher) Foreseen(service, objective string, now time.Time) (Foreseen, error) {
	seen, err := w.Service(service)
	if err != nil {
		return Foreseen{}, err
	}
	i := slices.IndexFunc(seen.Objectives, func(o Objective) bool { return o.Objective == objective })
	if i < 0 {
		e := assay.Errorf(assay.CodeNotFound, "service %q has no objective %q that is watched", service, objective)
		e.Hint = "see those that are with: assay anomaly show " + service
		return Foreseen{}, e
	}
	o := seen.Objectives[i]
	out := Foreseen{Service: service, Zone: seen.Zone, Objective: objective, Name: o.Name, Load: o.Load, Past: []Slot{}, Planned: []Planned{}, Lines: o.Lines}
	w.mu.Lock()
	for _, s := range w.services {
		for _, u := range s.subjects {
			if s.name == service && u.id == objective {
				out.Past, out.Calibration = u.load.shown(), u.load.calibration()
			}
		}
	}
	w.mu.Unlock()
	rev, err := w.cfg.Policy()
	if err != nil {
		return Foreseen{}, err
	}
	for _, p := range rev.Planned(w.cfg.Namespace, service) {
		if p.End.After(now.Add(-slotsShown*slot)) && p.Start.Before(now.Add(plannedAhead)) {
			out.Planned = append(out.Planned, Planned{p.Calendar, p.Name, p.Kind, p.Start, p.End, p.Factor})
		}
	}
	return out, nil
}
