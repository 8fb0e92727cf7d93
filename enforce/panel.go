package enforce

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// Pull asks for another value of one lever of a route. Now is what it is believed to
// have, and Generation which owner asks, as for a Shift; the generations of levers
// and of shares are counted apart, because two owners may have them.
type Pull struct {
	Route      string      `json:"route,omitempty"` // the control API takes it from the path
	Lever      assay.Lever `json:"lever"`
	Scope      string      `json:"scope,omitempty"`
	Now        float64     `json:"now"`
	Want       float64     `json:"want"`
	Generation uint64      `json:"generation"`
	Key        string      `json:"key"`
}

// OlderError is the refusal of a generation; it comes inside an assay.Error of
// CodeConflict.
type OlderError struct{ Generation, Owner uint64 }

// Error implements error.
func (e *OlderError) Error() string {
	return fmt.Sprintf("generation %d is older than %d, which owns the route's levers now", e.Generation, e.Owner)
}

// Stand is where one lever of a route stands away from its rest.
type Stand struct {
	Lever assay.Lever `json:"lever"`
	Scope string      `json:"scope,omitempty"`
	Value float64     `json:"value"`
	Key   string      `json:"key"`   // of the change that moved it
	Since time.Time   `json:"since"` // of that change
}

// Panel is where the levers of one route stand, and who may move them. It is a value:
// Next returns the successor. The zero Panel has all levers at rest.
type Panel struct {
	Stands     []Stand `json:"stands,omitempty"` // in order of lever and scope
	Generation uint64  `json:"generation"`
}

// Value is where a lever stands, and whether the route has it.
func (p Panel) Value(l *Levers, lever assay.Lever, scope string) (float64, bool) {
	rest, known := l.rest(lever, scope)
	if !known {
		return 0, false
	}
	if i := p.index(lever, scope); i >= 0 {
		return p.Stands[i].Value, true
	}
	moved := func(s Stand) bool { return s.Lever == assay.LeverRegion } // to 0, perhaps
	if lever == assay.LeverRegion && slices.ContainsFunc(p.Stands, moved) {
		left, resting := p.division(l)
		return rest * left / resting, true
	}
	return rest, true
}

// division is the percent that regions which were not moved share, and the sum of
// their shares at rest.
func (p Panel) division(l *Levers) (left, resting float64) {
	left = 100
	for _, r := range l.Regions {
		if i := p.index(assay.LeverRegion, r.Name); i >= 0 {
			left -= p.Stands[i].Value
		} else {
			resting += r.Share
		}
	}
	return left, resting
}

func (p Panel) index(lever assay.Lever, scope string) int {
	return slices.IndexFunc(p.Stands, func(s Stand) bool { return s.Lever == lever && s.Scope == scope })
}

// Next applies x to the levers of a route. An unknown lever is assay.CodeNotFound, an
// older generation and a wrong Now are assay.CodeConflict, and what the declaration
// forbids (to drop a critical class, to take a region's probe) is assay.CodeDenied. A
// lever that stands as desired already is no change, whatever Now says.
func (p Panel) Next(l *Levers, x Pull, now time.Time) (next Panel, changed bool, err error) {
	have, known := p.Value(l, x.Lever, x.Scope)
	name := assay.Action{Lever: x.Lever, Scope: x.Scope}.Target()
	switch {
	case !(x.Want >= 0 && x.Want <= MaxLever) || math.IsNaN(x.Now) || math.IsInf(x.Now, 0):
		return p, false, at("want", "%v is no value of a lever; expected 0 to %v", x.Want, float64(MaxLever))
	case x.Generation == 0:
		return p, false, at("generation", "is missing; it counts the owners of a route's levers from 1")
	case !known:
		e := assay.Errorf(assay.CodeNotFound, "this route has no lever %q", clip(name))
		e.Hint = "declare it in the route's levers"
		return p, false, e
	case x.Generation < p.Generation:
		e := assay.Errorf(assay.CodeConflict, "%w", &OlderError{x.Generation, p.Generation})
		e.Hint = "another owner has taken over; stop acting on this route"
		return p, false, e
	}
	next = Panel{Stands: slices.Clone(p.Stands), Generation: x.Generation}
	if have == x.Want {
		return next, false, nil
	}
	if have != x.Now {
		e := assay.Errorf(assay.CodeConflict, "%s stands at %v, not at %v", name, have, x.Now)
		e.Hint = "read the route again and decide anew"
		return p, false, e
	}
	if err := p.permits(l, x); err != nil {
		return p, false, err
	}
	next.set(l, x, now)
	if len(next.Stands) > MaxStands {
		return p, false, tooMany("stands", len(next.Stands), MaxStands)
	}
	return next, true, nil
}

// permits refuses values that the declaration or another lever forbids.
func (p Panel) permits(l *Levers, x Pull) error {
	rest, _ := l.rest(x.Lever, x.Scope)
	switch x.Lever {
	case assay.LeverClass:
		if x.Want > 100 {
			return at("want", "is %v; expected 0 to 100 percent", x.Want)
		}
		if l.Classes[l.class(x.Scope)].Critical && x.Want < 100 {
			return assay.Errorf(assay.CodeDenied, "class %s is critical, and never dropped", x.Scope)
		}
	case assay.LeverQuarantine:
		if x.Want != 0 && x.Want != 1 {
			return at("want", "is %v; a source is cut off (1) or let in (0)", x.Want)
		}
	case assay.LeverRegion:
		probe := l.Probe
		if probe == 0 {
			probe = DefaultProbe
		}
		if least := rest * float64(probe) / 100; x.Want < least && !(l.Drain && x.Want == 0) {
			return assay.Errorf(assay.CodeDenied, "region %s keeps %v percent as a probe, and would get %v", x.Scope, least, x.Want)
		}
		after := p
		after.Stands = slices.Clone(p.Stands)
		after.set(l, x, time.Time{})
		if left, resting := after.division(l); left < 0 || resting == 0 {
			return assay.Errorf(assay.CodeConflict, "no region would take what the others do not get: give another one its share back first")
		}
	}
	return nil
}

// set puts the lever where x wants it.
func (p *Panel) set(l *Levers, x Pull, now time.Time) {
	if i := p.index(x.Lever, x.Scope); i >= 0 {
		p.Stands = slices.Delete(p.Stands, i, i+1)
	}
	p.Stands = append(p.Stands, Stand{x.Lever, x.Scope, x.Want, x.Key, now.UTC()})
	p.tidy(l)
}

// tidy keeps nothing of levers at rest, and the order. A region is at rest only when
// all are: the share of one that was not moved follows from the others.
func (p *Panel) tidy(l *Levers) {
	rests := func(s Stand) bool {
		rest, _ := l.rest(s.Lever, s.Scope)
		return rest == s.Value
	}
	moved := slices.ContainsFunc(p.Stands, func(s Stand) bool { return s.Lever == assay.LeverRegion && !rests(s) })
	p.Stands = slices.DeleteFunc(p.Stands, func(s Stand) bool { return rests(s) && !(moved && s.Lever == assay.LeverRegion) })
	slices.SortFunc(p.Stands, func(a, b Stand) int {
		return cmp.Or(strings.Compare(string(a.Lever), string(b.Lever)), strings.Compare(a.Scope, b.Scope))
	})
}

// over keeps what another declaration of the same route still has.
func (p Panel) over(l *Levers) Panel {
	out := Panel{Generation: p.Generation}
	for _, s := range p.Stands {
		_, known := l.rest(s.Lever, s.Scope)
		if known && out.permits(l, Pull{Lever: s.Lever, Scope: s.Scope, Want: s.Value}) == nil {
			out.Stands = append(out.Stands, s)
		}
	}
	out.tidy(l)
	return out
}

// fits reports whether every lever that was moved is one of the route's.
func (p Panel) fits(route string, l *Levers) error {
	if n := len(p.Stands); n > MaxStands {
		return tooMany("panels."+route, n, MaxStands)
	}
	for _, s := range p.Stands {
		if !(s.Value >= 0 && s.Value <= MaxLever) {
			return at("panels."+route, "has %s at %v", s.Lever, s.Value)
		}
	}
	if kept := p.over(l); len(kept.Stands) != len(p.Stands) {
		return at("panels."+route, "does not fit the levers of the route")
	}
	return nil
}

// Pull moves one lever of one route; Panel.Next says how and what it refuses. Keys
// are remembered as for Shift.
func (s State) Pull(x Pull, now time.Time) (next State, r Receipt, replayed bool, err error) {
	request := digestOf("pull %q %q %q %v %v", x.Route, x.Lever, x.Scope, x.Now, x.Want)
	if r, replayed, err = s.answered(x.Key, request); replayed || err != nil {
		return s, r, replayed, err
	}
	i := slices.IndexFunc(s.Config.Routes, func(r Route) bool { return r.Name == x.Route })
	if i < 0 {
		return s, r, false, assay.Errorf(assay.CodeNotFound, "there is no route %q", clip(x.Route))
	}
	panel, changed, err := s.Panels[x.Route].Next(s.Config.Routes[i].Levers, x, now)
	if err != nil {
		return s, r, false, err
	}
	next = s
	next.Panels = map[string]Panel{x.Route: panel}
	for name, p := range s.Panels {
		if name != x.Route {
			next.Panels[name] = p
		}
	}
	r = Receipt{
		Key: x.Key, Time: now.UTC(), Lever: x.Lever, Scope: x.Scope, Value: x.Want, Changed: changed,
		Route: x.Route, Generation: x.Generation, Revision: next.Revision(), Request: request,
	}
	next.Receipts = remember(s.Receipts, r)
	return next, r, false, nil
}
