package infer

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// A series counts as growing if its rise has at most such a probability with none. Where the past
// knows the level it also knows how such a level goes on, and a rise must be shown; what the past
// does not know is held against its staying alone, and nothing but its own steps speaks for that.
const (
	growingKnown   = tenth
	growingUnknown = 0.25
)

// young is why an action in what was growing is not called a harm.
const young = "it had only begun or was still growing when it was acted on, and going on so it would have become as bad by itself"

// grown is what would have been, had the series gone on growing as it did before the action. To have
// gone on is not to be expected, for forecasts that let a trend die down are hard to beat (Gardner
// and McKenzie 2011, J. Oper. Res. Soc. 62:1177), so nothing is predicted from it. But it cannot be
// excluded, and the trend before bounds what may have come by itself (Rambachan and Roth 2023, A More
// Credible Approach to Parallel Trends): harm must be shown against it too. Which of the two would have
// been nobody knows, and each is tested at the level of one: an intersection-union test.
type grown struct {
	p     float64 // that the judged steps are as bad; 0 if it was not growing
	would float64 // their mean; not a number if nobody can say
}

// grownOf follows the steps of the excursion that was acted on, if its level is new, and otherwise as many
// of the newest as an excursion may have; without those that were the trigger, because one extreme step
// at the end looks like a rise. It goes on by as much a step, or by the same share of itself:
// whichever is more.
func grownOf(y []float64, a Aftermath, same kindred) grown {
	if same.low { // a rise from below is a way back, which is asked for elsewhere
		return grown{would: math.NaN()}
	}
	from, n, level := a.At-a.recent(), kindredSteps*a.Window, growingKnown
	if same.steps > 0 {
		from, n, level = a.At, same.steps, growingUnknown
	}
	past, after := measured(y, a.At, from, n, true), measured(y, a.At, a.At+a.Dead+a.Window, a.Window, false)
	if len(past) < 3 {
		if same.steps > 0 {
			return grown{p: 1, would: math.NaN()}
		}
		return grown{would: math.NaN()}
	}
	by, share := lineOf(past), line{}
	rises := by.flat()
	logs, positive := logarithms(past)
	logsAfter, positiveAfter := logarithms(after)
	if positive && positiveAfter {
		share = lineOf(logs)
		rises = min(rises, share.flat())
	}
	if rises > level {
		return grown{would: math.NaN()}
	}
	p, would := by.least(after)
	if share.n > 0 {
		q, log := share.least(logsAfter)
		p, would = max(p, q), max(would, math.Exp(log))
	}
	return grown{p: p, would: would}
}

// point is a measured step, counted from the first after the action.
type point struct{ x, y float64 }

// measured are the measured ones of the n steps before one; with all, of as many as it takes to have n.
func measured(y []float64, at, before, n int, all bool) (out []point) {
	for i := before - 1; i >= 0 && len(out) < n && (all || i >= before-n); i-- {
		if !math.IsNaN(y[i]) {
			out = append(out, point{float64(i - at), y[i]})
		}
	}
	return out
}

func logarithms(points []point) (out []point, ok bool) {
	for _, p := range points {
		if p.y <= 0 {
			return nil, false
		}
		out = append(out, point{p.x, math.Log(p.y)})
	}
	return out, true
}

// line is a straight line through steps, by least squares.
type line struct {
	n             float64
	x, y          float64 // means
	slope         float64
	spread, width float64 // standard deviation of the steps around it, sum of squares of x
}

func lineOf(points []point) (l line) {
	l.n = float64(len(points))
	size, xy, rest := 0.0, 0.0, 0.0
	for _, p := range points {
		l.x, l.y, size = l.x+p.x/l.n, l.y+p.y/l.n, max(size, math.Abs(p.y))
	}
	for _, p := range points {
		l.width, xy = l.width+(p.x-l.x)*(p.x-l.x), xy+(p.x-l.x)*(p.y-l.y)
	}
	l.slope = xy / l.width
	for _, p := range points {
		e := p.y - l.at(p.x)
		rest += e * e
	}
	l.spread = max(math.Sqrt(rest/(l.n-2)), ridge*size+tiny) // what is left over by rounding is no noise
	return l
}

func (l line) at(x float64) float64 { return l.y + l.slope*(x-l.x) }

// flat is the probability of such a rise where there is none.
func (l line) flat() float64 { return studentTail(l.slope*math.Sqrt(l.width)/l.spread, l.n-2) }

// least is the probability that the mean of later steps is at least what it is, did they follow
// the line, and what it says that it is.
func (l line) least(after []point) (p, would float64) {
	m, x, y := float64(len(after)), 0.0, 0.0
	for _, q := range after {
		x, y = x+q.x/m, y+q.y/m
	}
	would = l.at(x)
	return studentTail((y-would)/(l.spread*math.Sqrt(1/m+1/l.n+(x-l.x)*(x-l.x)/l.width)), l.n-2), would
}

// studentTail is the probability that Student's t with so many degrees of freedom is at least t.
func studentTail(t, freedom float64) float64 {
	p := mathext.RegIncBeta(freedom/2, 0.5, freedom/(freedom+t*t)) / 2
	if t < 0 {
		return 1 - p
	}
	return p
}
