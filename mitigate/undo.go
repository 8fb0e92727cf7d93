package mitigate

import (
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// harmHold is for how long a move that did harm is not made again by itself.
const harmHold = time.Hour

// Harm is a move that did harm: the lever goes back to where it stood, and stays out
// of the law's reach in that direction for a while.
type Harm struct {
	Lever assay.Lever `json:"lever"`
	Scope string      `json:"scope,omitempty"`
	From  float64     `json:"from"` // where it stood before
	To    float64     `json:"to"`   // where the move took it
	Rate  float64     `json:"rate"` // share of the budget that it cost in a minute
	Moved time.Time   `json:"moved"`
	Until time.Time   `json:"until"` // it is not done again before
	Back  bool        `json:"back"`  // it was given back
}

// harmOf is the harm of an action, by its outcome.
func harmOf(j judging, out assay.ActionOutcome, now time.Time) Harm {
	h := Harm{Lever: j.Action.Lever, Scope: j.Action.Scope, From: j.Action.Now, To: j.Action.Want, Moved: j.At, Until: now.Add(harmHold)}
	if out.Change != nil {
		h.Rate = max(*out.Change, -*out.Change)
	}
	return h
}

// chosen reports whether a move is one that its law chose to make. A class of machines is a
// price against a quality in either direction: the cheaper one gives nothing back.
func chosen(a assay.Action) bool {
	return a.Kind == assay.ActionAdjust || a.Kind == assay.ActionRestore && a.Lever == assay.LeverCostClass
}

// beyond reports whether a value lies where the move went, seen from where it began.
func (h Harm) beyond(v float64) bool {
	if h.To > h.From {
		return v > h.From
	}
	return v < h.From
}

// givenBack notes that a lever is where it stood before it did harm.
func givenBack(list []Harm, a assay.Action) []Harm {
	out := slices.Clone(list)
	for i := range out {
		if out[i].Lever == a.Lever && out[i].Scope == a.Scope && !out[i].beyond(a.Want) {
			out[i].Back = true
		}
	}
	return out
}

// undo gives back what did harm, and keeps the law from doing it again for a while. It
// is part of the decision like any option: kill switch, level and precedence hold for
// it, the intervals between moves do not.
func (v *view) undo(f *finding) {
	v.next.Harms = slices.DeleteFunc(slices.Clone(v.next.Harms), func(h Harm) bool { return !v.now.Before(h.Until) })
	for _, h := range v.next.Harms {
		target := assay.Action{Lever: h.Lever, Scope: h.Scope}.Target()
		i := slices.IndexFunc(v.in.Settings, func(s Setting) bool { return s.Lever == h.Lever && s.Scope == h.Scope })
		if i < 0 {
			continue
		}
		stands := v.in.Settings[i].Now
		if b, ok := v.next.Bands[target]; ok { // a limit that is not set stands at its greatest
			stands = b.Now
		}
		words := fmt.Sprintf("to move it from %s to %s at %s did harm", number(h.From), number(h.To), h.Moved.UTC().Format(time.TimeOnly))
		returns := !h.Back && h.beyond(stands)
		f.options = slices.DeleteFunc(f.options, func(o decide.Option) bool {
			again := chosen(o.Action) && h.beyond(o.Action.Want) && (o.Action.Want > stands) == (h.To > h.From)
			if o.Action.Target() != target || !again && !(returns && o.Action.Kind != assay.ActionStop) {
				return false
			}
			if again {
				f.held = append(f.held, fmt.Sprintf("%s: %s; it is not done again before %s", target, words, h.Until.UTC().Format(time.TimeOnly)))
			}
			return true
		})
		if !returns {
			continue
		}
		words = fmt.Sprintf("%s goes back to %s: %s", target, number(h.From), words)
		f.notes = append(f.notes, words)
		f.options = append(f.options, decide.Option{
			Action: v.action(assay.ActionRestore, h.Lever, h.Scope, stands, h.From), Words: words, Reversible: true,
			Own: -max(h.Rate, idle), Rule: &decide.Rule{Rank: 0, Fires: true, Words: words},
		})
	}
}
