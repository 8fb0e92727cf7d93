package main

import (
	"math"
	"time"
)

// optimum is the best controller that a cell can have if it knows everything but which
// of three releases it decides: a healthy one, the cell's regression, or one of the
// plan's margin whose old version fails at another rate. It bounds every other one.
//
// It sees both versions' requests at steps, each a trial of its own, and at each step
// goes on, aborts or promotes; what still runs at the end is held. Its expected losses
// are those of the page. Let V(l) be the least of
//
//	P(promoted | margin) + l·(the cell's expected loss)
//
// over all ways to stop. Then every controller of this cell misses at least
// V(l) − l·loss, and if it misses at most beta its loss is at least (V(l) − beta)/l, for
// every l and every rate of the old version: that is weak duality, and holds for those
// too who draw lots. V is reckoned exactly, backwards from the end: under the healthy
// release the two counts of failures are a Markov chain, and each of the other two weighs
// a state with its likelihood ratio (optimal stopping; Wald and Wolfowitz 1948).
//
// The new version has the cell's weight until the end: with a weight that changes the
// counts alone would not tell what was seen.
type optimum struct {
	cell
	dispersion float64 // so many requests tell as much as one
	steps      int
	step       time.Duration
}

// atFirstWeight counts information as the floors do: dispersion is phi. That is exact
// where failures come in bursts of phi each.
func atFirstWeight(c cell) optimum {
	return optimum{c, c.Phi, int(period / time.Minute), time.Minute}
}

// tellsBursts tells every burst for the one event that it is here, where their lengths are
// geometric: (phi+1)/2 in the mean.
func (o optimum) tellsBursts() optimum {
	o.dispersion = (o.Phi + 1) / 2
	return o
}

// requests are those of one step, rounded up: nobody is told more.
func (o optimum) requests() (canary, control int) {
	n := o.Traffic * o.step.Seconds() / o.dispersion
	return int(math.Ceil(n*o.Weight - 1e-9)), int(math.Ceil(n*(1-o.Weight) - 1e-9))
}

// nearest is the old version's rate whose margin is the hardest to tell from a healthy
// release: the one that clearing counts with, where failures are few. Any rate bounds.
func (o optimum) nearest() float64 { return o.Base / (margin*o.Weight + 1 - o.Weight) }

// missed is the least share of regressions of the margin that anybody promotes whose
// expected loss in the cell is the given one, in percent of the error budget; 1 too where
// nobody has so low a loss.
func (o optimum) missed(loss float64) float64 {
	least := highest(func(l float64) float64 { return o.least(l) - l*(loss+o.late()) })
	return min(1, max(0, least))
}

// loss is the least that anybody has who promotes at most the share missed of them.
func (o optimum) loss(missed float64) float64 {
	return max(0, highest(func(l float64) float64 { return (o.least(l) - missed) / l })-o.late())
}

// late is what a step costs: whoever looks in between does the same at the end of the
// step, for that.
func (o optimum) late() float64 { return o.wait(1) }

// highest is the maximum of f over multipliers, f having one peak: by the golden section
// of their logarithm. Any multiplier bounds, so that it need not be met to the digit.
func highest(f func(float64) float64) float64 {
	golden := (math.Sqrt(5) - 1) / 2
	low, high := math.Log(1e-2), math.Log(1e5)
	a, b := high-golden*(high-low), low+golden*(high-low)
	left, right := f(math.Exp(a)), f(math.Exp(b))
	for high-low > 0.02 {
		if left < right {
			low, a, left = a, b, right
			b = low + golden*(high-low)
			right = f(math.Exp(b))
		} else {
			high, b, right = b, a, left
			a = high - golden*(high-low)
			left = f(math.Exp(a))
		}
	}
	return max(left, right)
}

// wait is the cell's expected loss of going on for a step, where the regression is
// bad times as likely as before anything was seen and the healthy release as likely.
func (o optimum) wait(bad float64) float64 {
	harm := 100 * (o.Ratio - 1) * o.Base * o.Traffic * o.Weight * o.step.Seconds() / errorBudget(o.cell)
	return (1-badShare)*costHour*o.step.Hours() + badShare*bad*harm
}

// shipped is that of promoting.
func (o optimum) shipped(bad float64) float64 {
	return badShare * bad * 100 * (o.Ratio - 1) * o.Base * o.Traffic * missHours * 3600 / errorBudget(o.cell)
}

// odds are a release's likelihood against the healthy one: by failure of either version,
// and by step.
type odds struct{ canary, control, step float64 }

func (o optimum) odds(canary, control float64) odds {
	n, m := o.requests()
	ratio := func(p float64) (fail, pass float64) {
		pass = math.Log1p(-p) - math.Log1p(-o.Base)
		return math.Log(p/o.Base) - pass, pass
	}
	a, missA := ratio(canary)
	b, missB := ratio(control)
	return odds{a, b, float64(n)*missA + float64(m)*missB}
}

// powers are exp(by·k) for k from 0 on.
func powers(by float64, n int) []float64 {
	out := make([]float64, n)
	for k := range out {
		out[k] = math.Exp(by * float64(k))
	}
	return out
}

// least is V of a multiplier.
func (o optimum) least(l float64) float64 {
	n, m := o.requests()
	inCanary, inControl := failures(n, o.Base), failures(m, o.Base)
	width := o.reach(m, o.steps) + 1
	rate := o.nearest()
	worse, bad := o.odds(margin*rate, rate), o.odds(min(o.Ratio*o.Base, 1), o.Base)
	worseC, worseB, badC := powers(worse.canary, o.reach(n, o.steps)+1), powers(worse.control, width), powers(bad.canary, o.reach(n, o.steps)+1)

	value, mid := make([]float64, len(worseC)*width), make([]float64, len(worseC)*width)
	abort := l * (1 - badShare) * costFalseAbort
	for t := o.steps; t >= 0; t-- {
		rows, columns := o.reach(n, t), o.reach(m, t)
		if t < o.steps { // what is to be expected of going on
			nextRow, nextColumn := o.reach(n, t+1), o.reach(m, t+1)
			for i := range nextRow + 1 {
				row := value[i*width : i*width+nextColumn+1]
				for j := range columns + 1 {
					mid[i*width+j] = mean(inControl, row, j, 1)
				}
			}
			for j := range columns + 1 {
				for i := range rows + 1 {
					value[i*width+j] = mean(inCanary, mid[j:nextRow*width+j+1], i, width)
				}
			}
		}
		worseT, badT := math.Exp(worse.step*float64(t)), math.Exp(bad.step*float64(t))
		for i := range rows + 1 {
			asBad := badC[i] * badT
			on, promote := l*o.wait(asBad), l*o.shipped(asBad)
			hold := l * costAsk * (1 - badShare + badShare*asBad)
			for j := range columns + 1 {
				at := &value[i*width+j]
				*at += on
				if t == o.steps {
					*at = hold
				}
				*at = min(*at, abort, worseC[i]*worseT*worseB[j]+promote)
			}
		}
	}
	return value[0]
}

// reach is the largest count of failures that is kept after so many steps of n requests:
// more are a matter of 1e-12, and count as that many.
func (o optimum) reach(n, steps int) int {
	mean := float64(n*steps) * o.Base
	return min(n*steps, int(mean+8*math.Sqrt(mean)+12))
}

// failures are the probabilities of none, one, two and so on of n requests.
func failures(n int, p float64) (out []float64) {
	q, rest := math.Exp(float64(n)*math.Log1p(-p)), 1.0
	for k := 0; k <= n && rest > 1e-12; k++ {
		out = append(out, q)
		rest -= q
		q *= float64(n-k) / float64(k+1) * p / (1 - p)
	}
	return out
}

// mean is the expected value so many failures on, from the i-th of values that stand
// so far apart; beyond the last it is that of the last.
func mean(of, values []float64, i, apart int) (sum float64) {
	last := len(values) - 1
	at := i * apart
	for _, q := range of {
		sum += q * values[min(at, last)]
		at += apart
	}
	return sum
}
