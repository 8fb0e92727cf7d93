package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// tick is the time between two looks of ours, and the grain of everything: ten
// seconds, and where nothing was decided in ten minutes and in half an hour, more.
const tick = 10 * time.Second

// step is the time until the look after t. Every step divides what is left of a minute.
func step(t time.Duration) time.Duration {
	switch {
	case t < 10*time.Minute:
		return tick
	case t < 30*time.Minute:
		return 2 * tick
	}
	return 6 * tick
}

// outcome is one rollout.
type outcome struct {
	end      end
	at       time.Duration // of the end; the period if it is held
	requests float64       // of the new version until then
	harmed   float64       // requests that failed and would not have on the old version, over the period
	widest   float64       // largest share that the new version had until then
}

// play runs one rollout to its end or to the end of the period. What is lost in
// [from, to) reaches nobody: telemetry is out.
func play(w *world, c contender, outage [2]time.Duration) (outcome, error) {
	k, err := c.begin(w)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{at: period}
	share := w.Weight
	if o, ok := k.(*oracle); ok { // knows before the first request
		if share, out.end, err = o.look(0, nil, nil); err != nil || out.end != running {
			out.at = 0
			return out.settle(w, share), err
		}
	}
	fine := outage[1] > 0 || c.Name == "Kayenta tuned"
	for t := time.Duration(0); t < period; {
		d := tick
		if !fine {
			d = step(t)
		}
		canary, base, rest := w.arms(t, d, share, k.baseline())
		old, now := w.fails(t)
		out.requests += float64(canary.total)
		out.widest = max(out.widest, share)
		out.harmed += w.rate(t, d) * share * (now - old)
		if k.baseline() {
			rest = base
		}
		seen, other := &canary, &rest
		if t >= outage[0] && t < outage[1] {
			seen, other = nil, nil
		}
		t += d
		var e end
		if share, e, err = k.look(t, seen, other); err != nil {
			return out, err
		}
		if e != running {
			out.end, out.at = e, t
			return out.settle(w, share), nil
		}
	}
	return out, nil
}

// settle adds the harm of the rest of the period.
func (o outcome) settle(w *world, share float64) outcome {
	for t := o.at; share > 0 && t < period; t += time.Minute {
		old, now := w.fails(t)
		o.harmed += w.rate(t, min(time.Minute, period-t)) * share * (now - old)
	}
	return o
}

// The declared costs, in percent of the error budget: what the objective, which allows
// twice the old version's error rate, allows in 30 days.
const (
	costFalseAbort = 1.0  // the release is taken apart and done again
	costAsk        = 0.05 // a person decides a rollout that is held at the end
	costHour       = 0.02 // a healthy version waits for an hour
	missHours      = 24.0 // a bad version that was promoted stays this long
	badShare       = 0.1  // of all releases are bad
)

// errorBudget is the failed requests that the objective allows in 30 days.
func errorBudget(c cell) float64 { return 2 * c.Base * c.Traffic * (30 * 24 * time.Hour).Seconds() }

// loss is what one rollout cost, in percent of the error budget.
func loss(c cell, o outcome) float64 {
	budget := errorBudget(c)
	l := 100 * o.harmed / budget
	if o.end == running {
		l += costAsk
	}
	if c.Ratio > 1 {
		if o.end == promoted {
			l += 100 * (c.Ratio - 1) * c.Base * c.Traffic * missHours * 3600 / budget
		}
		return l
	}
	if o.end == aborted {
		l += costFalseAbort
	}
	return l + costHour*o.at.Hours()
}

// tally is what many rollouts of one cell came to under one controller.
type tally struct {
	runs                    int
	aborted, promoted, held int
	loss, harmed, seconds   moments // seconds until the end, of those that ended as they should
	requests                moments // of the new version until an abort
	widest                  float64 // largest share of the new version before the end, of all
}

func (y *tally) add(c cell, o outcome) {
	y.runs++
	y.loss.add(loss(c, o))
	y.harmed.add(o.harmed)
	y.widest = max(y.widest, o.widest)
	switch o.end {
	case aborted:
		y.aborted++
		y.requests.add(o.requests)
	case promoted:
		y.promoted++
	default:
		y.held++
	}
	if right := promoted; o.end == right && c.Ratio == 1 || o.end == aborted && c.Ratio > 1 {
		y.seconds.add(o.at.Seconds())
	}
}

// moments sums what a mean and its standard error need.
type moments struct {
	n, sum, squares float64
}

func (m *moments) add(v float64) { m.n, m.sum, m.squares = m.n+1, m.sum+v, m.squares+v*v }

func (m moments) mean() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return m.sum / m.n
}

// se is the standard error of the mean.
func (m moments) se() float64 {
	if m.n < 2 {
		return math.Inf(1)
	}
	v := m.squares/m.n - m.mean()*m.mean()
	return math.Sqrt(max(0, v) / (m.n - 1))
}

// stream is one run's own random numbers: cell, contender and run do not share any,
// and figures do not depend on how many processors there are.
func stream(seed uint64, cell, contender, run int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(cell)<<40|uint64(contender)<<32|uint64(run)))
}
