package mitigate

import (
	"maps"
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
}

func (s State) clone() State {
	s.Dampers, s.Since, s.Last, s.Bands = maps.Clone(s.Dampers), maps.Clone(s.Since), maps.Clone(s.Last), maps.Clone(s.Bands)
	return s
}

// Applied remembers a move that was made: the world was read back as wanted.
func (s State) Applied(a assay.Action, now time.Time) State {
	if a.Lever == "" || !a.Kind.Changes() {
		return s
	}
	s = s.clone()
	if s.Dampers == nil {
		s.Dampers = map[string]Damper{}
	}
	s.Dampers[a.Target()] = s.Dampers[a.Target()].Took(now, a.Kind, a.Now, a.Want)
	return s
}

// Toggles is how often any of its levers changed direction in the last hour.
func (s State) Toggles(now time.Time) (most int) {
	for _, d := range s.Dampers {
		most = max(most, d.turns(now, toggleWindow))
	}
	return most
}
