package mitigate

import (
	"maps"
	"slices"
	"time"

	"assay.dev/assay"
)

// State is what a strategy remembers between two decisions. It is a value: Next
// returns the next one and changes nothing. The zero value has seen nothing.
type State struct {
	Dampers map[string]Damper `json:"dampers,omitempty"` // by target, as assay.Action.Target
	// Since says from when on a condition has held without a break, by its name.
	Since map[string]time.Time `json:"since,omitempty"`
	// Last are numbers of earlier decisions that a law compares with, by their name.
	Last map[string]float64 `json:"last,omitempty"`
	// Bands are the levers' dead bands at the last decision, for people.
	Bands map[string]Settled `json:"bands,omitempty"`
	Quiet time.Time          `json:"quiet,omitzero"` // since when nothing was wrong
	// Frozen are the levers that swing, by target, as of the last decision.
	Frozen map[string]Freeze `json:"frozen,omitempty"`
	// Harms are moves that did harm, at most one of a target: they are given back.
	Harms []Harm `json:"harms,omitempty"`
}

// clone shares the bands and what is frozen: each decision makes its own.
func (s State) clone() State {
	s.Dampers, s.Since, s.Last = maps.Clone(s.Dampers), maps.Clone(s.Since), maps.Clone(s.Last)
	return s
}

// forget drops what is remembered of levers that were given back and that nothing was
// said about for so long that it changes nothing any more: sources and tenants come and
// go, and each that was ever moved would be kept for good.
func (v *view) forget() {
	moved := max(toggleWindow, v.rails.DeadTime, widest*v.rails.MinInterval)
	said := 24 * time.Hour // the longest window that a law has
	if d := v.s.Spec.Damping; d != nil && d.Relax != nil {
		said = max(said, d.Relax.Window.Value())
	}
	maps.DeleteFunc(v.next.Dampers, func(_ string, d Damper) bool {
		n := len(d.Moves)
		back := n == 0 || d.Moves[n-1].Kind == assay.ActionRestore && v.now.Sub(d.Moves[n-1].Time) > moved
		return back && v.now.Sub(d.Seen) > widest*said
	})
}

// widest is by how much swings stretch intervals. Windows are stretched by twice that, and
// begin anew after a gap of half their length.
const widest = 2

// Applied remembers a move that was made: the world was read back as wanted.
func (s State) Applied(a assay.Action, now time.Time) State {
	if a.Lever == "" || !a.Kind.Changes() {
		return s
	}
	s = s.clone()
	if s.Dampers == nil {
		s.Dampers = map[string]Damper{}
	}
	from := a.Now
	if b, ok := s.Bands[a.Target()]; ok { // a limit that is not set stands at its greatest
		from = b.Now
	}
	s.Dampers[a.Target()] = s.Dampers[a.Target()].Took(now, a.Kind, from, a.Want)
	s.Harms = givenBack(s.Harms, a)
	return s
}

// harmed remembers that an action, all its steps from a time on, did harm: to give it
// back waits for nothing.
func (s State) harmed(a assay.Action, at time.Time, h Harm) State {
	d, ok := s.Dampers[a.Target()]
	if !ok {
		return s
	}
	s, d = s.clone(), d.clone()
	for i := range d.Moves {
		if m := &d.Moves[i]; !m.Time.Before(at) && m.Kind == a.Kind {
			m.Harmed = true
		}
	}
	s.Dampers[a.Target()] = d
	if chosen(a) { // a hard cap stands whatever it costs, and what was given back is taken again by its law
		s.Harms = append(slices.DeleteFunc(slices.Clone(s.Harms), func(x Harm) bool { return x.Lever == a.Lever && x.Scope == a.Scope }), h)
	}
	return s
}
