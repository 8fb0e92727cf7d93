package mitigate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
)

// Direction of a lever that takes harm away: replicas rise, limits fall.
type Direction float64

// The directions.
const (
	Up   Direction = 1
	Down Direction = -1
)

// Pace is how a lever moves in one direction.
type Pace struct {
	DeadBand float64       // relative difference below which nothing is done
	Window   time.Duration // for how long every recommendation must have agreed
	Share    float64       // greatest relative change in one Period
	Step     float64       // or absolute, in the lever's unit: the greater counts; both 0 is no limit
	Period   time.Duration
	DeadTime time.Duration // after a move, until its effect can be seen
}

// Damping is how calmly a lever is moved; one mechanism for all levers.
type Damping struct {
	Protects Direction
	Protect  Pace
	Relax    Pace
	Min, Max float64 // of the lever
	Free     bool    // at Max nothing is limited any more: no dead band keeps a limit from it
	Whole    bool    // only whole numbers
	Toggles  int     // changes of direction in an hour; the last is kept for protecting
	Burst    int     // moves at once, refilled one per Refill
	Refill   time.Duration
}

const (
	oscillationWindow = 30 * time.Minute
	oscillationAt     = 3 // reversals in the window
	toggleWindow      = time.Hour
	maxAdvice         = 256 // recommendations that one window keeps
	maxMoves          = 128
	minGap            = time.Minute // without recommendations, after which a window begins anew
)

// newDamping has the paces of algorithms for capacity: quick up, slow down.
func newDamping(protects Direction, low, high float64) Damping {
	return Damping{
		Protects: protects, Min: low, Max: high, Toggles: 5, Burst: 10, Refill: time.Minute,
		Protect: Pace{DeadBand: 0.05, Share: 1, Step: 4, Period: 15 * time.Second},
		Relax:   Pace{DeadBand: 0.15, Window: 5 * time.Minute, Share: 0.1, Step: 1, Period: time.Minute},
	}
}

// with is d with what a strategy declares otherwise.
func (d Damping) with(spec *policy.Damping) Damping {
	if spec == nil {
		return d
	}
	if spec.MaxToggles > 0 {
		d.Toggles = spec.MaxToggles
	}
	d.Protect, d.Relax = d.Protect.with(spec.Protect), d.Relax.with(spec.Relax)
	return d
}

func (p Pace) with(spec *policy.Pace) Pace {
	if spec == nil {
		return p
	}
	if spec.DeadBand != nil {
		p.DeadBand = *spec.DeadBand
	}
	if spec.Share > 0 || spec.Step > 0 {
		p.Share, p.Step = spec.Share, spec.Step
	}
	for _, f := range []struct {
		to   *time.Duration
		from policy.Duration
	}{{&p.Window, spec.Window}, {&p.Period, spec.Period}, {&p.DeadTime, spec.DeadTime}} {
		if v := f.from.Value(); v > 0 {
			*f.to = v
		}
	}
	return p
}

// Advice is where a law wanted the lever at a time.
type Advice struct {
	Time time.Time `json:"time"`
	Want float64   `json:"want"`
}

// Moved is one move of the lever.
type Moved struct {
	Time time.Time `json:"time"`
	From float64   `json:"from"`
	To   float64   `json:"to"`

	Kind   assay.ActionKind `json:"kind"`
	Harmed bool             `json:"harmed,omitempty"` // it was judged to have harmed
}

// Damper is what damping remembers of one lever. The zero value has seen nothing.
type Damper struct {
	// Most and Least are the recommendations of the relax and the protect window that
	// can still become the most and the least protective one, oldest first.
	Most  []Advice  `json:"most,omitempty"`
	Least []Advice  `json:"least,omitempty"`
	Moves []Moved   `json:"moves,omitempty"` // of the last hour, and the one before it
	Seen  time.Time `json:"seen,omitzero"`   // the newest recommendation
	// Wide is how often the dead bands and windows were doubled, Widened when last.
	Wide    int       `json:"wide,omitempty"`
	Widened time.Time `json:"widened,omitzero"`
	// Thawed is when a person lifted the freeze: how it turned before is no swing.
	Thawed time.Time `json:"thawed,omitzero"`
}

func (d Damper) clone() Damper {
	d.Most, d.Least, d.Moves = slices.Clone(d.Most), slices.Clone(d.Least), slices.Clone(d.Moves)
	return d
}

// Settled is what damping lets become of a recommendation.
type Settled struct {
	Now   float64 `json:"now"`
	Want  float64 `json:"want"` // of the law
	To    float64 `json:"to"`   // that is allowed now; Now if nothing is
	Held  string  `json:"held,omitempty"`
	Low   float64 `json:"low"` // between Low and High a recommendation changes nothing
	High  float64 `json:"high"`
	Turns int     `json:"turns"` // changes of direction in the last hour
	Wide  float64 `json:"wide"`  // factor on dead bands and windows, 1 is none
}

// Settle says where the lever may go now, with what is to be remembered of the
// recommendation. The move itself is remembered by Took, when it was made. For the
// same memory a more protective want never gives a less protective result.
func (d Damping) Settle(m Damper, now time.Time, current, want float64) (Settled, Damper) {
	want = d.bound(want)
	out := Settled{Now: current, Want: want, To: current, Turns: m.turns(now, toggleWindow), Wide: 1}
	wide := m.wide(now)
	out.Wide = math.Pow(2, float64(wide))
	relaxWindow := time.Duration(float64(d.Relax.Window) * out.Wide)
	// What stands is the first recommendation, also after a gap: otherwise a restart or
	// an outage would be followed by a move that nothing agreed with.
	if m.Seen.IsZero() || now.Sub(m.Seen) > max(relaxWindow/2, minGap) {
		m.Most = []Advice{{now, current}}
		m.Least = nil
		if d.Protect.Window > 0 {
			m.Least = []Advice{{now, current}}
		}
	}
	m.Seen = now
	m.Most = remember(m.Most, Advice{now, want}, now.Add(-relaxWindow), float64(d.Protects))
	m.Least = remember(m.Least, Advice{now, want}, now.Add(-d.Protect.Window), -float64(d.Protects))
	sign := float64(d.Protects)
	protect, relax := m.Least[0].Want, m.Most[0].Want
	up, down := d.Protect.DeadBand*out.Wide, d.Relax.DeadBand*out.Wide
	if d.Free && relax == d.Max {
		down = 0
	}
	unit := max(math.Abs(current), 1e-9)
	out.Low, out.High = current-sign*down*unit, current+sign*up*unit
	if out.Low > out.High {
		out.Low, out.High = out.High, out.Low
	}
	switch {
	case sign*(protect-current) > up*unit:
		d.toward(&out, m, now, d.Protect, protect, true)
	case sign*(current-relax) > down*unit:
		d.toward(&out, m, now, d.Relax, relax, false)
	case sign*(want-current) > up*unit:
		out.Held = "it has not been wanted for " + d.Protect.Window.String() + " yet"
	case sign*(current-want) > down*unit:
		out.Held = "in the last " + relaxWindow.String() + " as much as " + number(relax) + " was wanted"
	case want != current:
		out.Held = "it is inside the dead band from " + number(out.Low) + " to " + number(out.High)
	}
	return out, m
}

// toward limits a move by dead time, toggles, tokens and rate.
func (d Damping) toward(out *Settled, m Damper, now time.Time, p Pace, target float64, protects bool) {
	if n := len(m.Moves); n > 0 && p.DeadTime > 0 {
		if left := p.DeadTime - now.Sub(m.Moves[n-1].Time); left > 0 {
			out.Held = fmt.Sprintf("the last move %s ago cannot be seen yet: another %s", now.Sub(m.Moves[n-1].Time).Round(time.Second), left.Round(time.Second))
			return
		}
	}
	if why := m.swings(now); !protects && why != "" {
		out.Held = why
		return
	}
	if !protects && out.Turns >= d.Toggles-1 {
		out.Held = fmt.Sprintf("it changed its direction %d times in the last hour: nothing is given back", out.Turns)
		return
	}
	if spent := m.since(now.Add(-time.Duration(d.Burst) * d.Refill)); d.Burst > 0 && spent >= d.Burst {
		out.Held = fmt.Sprintf("it was moved %d times in the last %s", spent, time.Duration(d.Burst)*d.Refill)
		return
	}
	to := target
	if p.Period > 0 && (p.Share > 0 || p.Step > 0) {
		base := m.at(now.Add(-p.Period), out.Now)
		most := max(p.Share*math.Abs(base), p.Step)
		to = min(max(target, base-most), base+most)
		// What moved in this period already may have used it up, never more: a rate
		// limit must not turn a move round.
		if sign := math.Copysign(1, target-out.Now); sign*(to-out.Now) <= 0 {
			out.Held = number(most) + " in " + p.Period.String() + " is as far as it goes"
			return
		}
	}
	if out.To = d.bound(to); out.To == out.Now {
		out.Held = "it is at its bound of " + number(out.Now)
	}
}

func (d Damping) bound(v float64) float64 {
	if d.Whole {
		if v = math.Ceil(v - 1e-9); d.Protects == Down {
			v = math.Floor(v + 1e-9)
		}
	}
	return min(max(v, d.Min), d.Max)
}

// Took remembers a move.
func (m Damper) Took(now time.Time, kind assay.ActionKind, from, to float64) Damper {
	m = m.clone()
	// The one before the hour says whether the first one in it was a turn.
	if first := slices.IndexFunc(m.Moves, func(x Moved) bool { return now.Sub(x.Time) <= toggleWindow }); first > 1 {
		m.Moves = m.Moves[first-1:]
	} else if n := len(m.Moves); first < 0 && n > 1 {
		m.Moves = m.Moves[n-1:]
	}
	if m.Moves = append(m.Moves, Moved{Time: now, From: from, To: to, Kind: kind}); len(m.Moves) > maxMoves {
		m.Moves = m.Moves[1:]
	}
	turned := len(m.Moves) > 1 && (to-from)*(m.Moves[len(m.Moves)-2].To-m.Moves[len(m.Moves)-2].From) < 0
	if turned && len(m.swung(now)) >= oscillationAt {
		m.Wide, m.Widened = min(m.wide(now)+1, 2), now
	}
	return m
}

// wide is how often everything is doubled now: one is forgotten in half an hour.
func (m Damper) wide(now time.Time) int {
	return max(0, m.Wide-int(now.Sub(m.Widened)/oscillationWindow))
}

// turns counts changes of direction.
func (m Damper) turns(now time.Time, window time.Duration) (n int) {
	last := 0.0
	for _, x := range m.Moves {
		way := x.To - x.From
		if now.Sub(x.Time) <= window && last*way < 0 {
			n++
		}
		last = way
	}
	return n
}

// swung are the changes of direction that count as a swing, oldest first.
func (m Damper) swung(now time.Time) (out []time.Time) {
	last := 0.0
	for _, x := range m.Moves {
		way := x.To - x.From
		if now.Sub(x.Time) <= oscillationWindow && last*way < 0 && (m.Thawed.IsZero() || x.Time.After(m.Thawed)) {
			out = append(out, x.Time)
		}
		last = way
	}
	return out
}

// swings says why nothing is given back, "" if it may be: one more move back, and the
// next one to protect would be the turn at which the target is frozen.
func (m Damper) swings(now time.Time) string {
	if n := len(m.swung(now)); n >= oscillationAt-1 {
		return fmt.Sprintf("it changed its direction %d times in %.0fm: nothing is given back", n, oscillationWindow.Minutes())
	}
	return ""
}

func (m Damper) since(t time.Time) (n int) {
	for _, x := range m.Moves {
		if x.Time.After(t) {
			n++
		}
	}
	return n
}

// at is where the lever stood at t.
func (m Damper) at(t time.Time, current float64) float64 {
	for _, x := range m.Moves {
		if x.Time.After(t) {
			return x.From
		}
	}
	return current
}

// remember is a window of which only the extreme is asked, with one entry more: an entry
// that a newer one outdoes can never be it again. sign 1 keeps the greatest first. The list
// is not changed.
func remember(list []Advice, a Advice, from time.Time, sign float64) []Advice {
	for len(list) > 0 && sign*(list[len(list)-1].Want-a.Want) <= 0 {
		list = list[:len(list)-1]
	}
	for len(list) > 0 && list[0].Time.Before(from) {
		list = list[1:]
	}
	out := make([]Advice, 0, len(list)+1)
	if len(list) >= maxAdvice {
		out, list = append(out, list[0]), list[2:] // the extreme stays
	}
	return append(append(out, list...), a)
}

// number writes a value for people.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return digits(v, 0)
	case a >= 1:
		return digits(v, 2)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// digits writes a value with so many of them after the point. Every decision has many.
func digits(v float64, n int) string { return strconv.FormatFloat(v, 'f', n, 64) }
