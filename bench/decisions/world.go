package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

const (
	// period is how long a rollout is followed: the lifetime of Kayenta's documented
	// canary, the slowest of all.
	period = 3 * time.Hour
	// horizon is when our plan asks a person; it is also the time in which a cell's
	// traffic has to be enough.
	horizon = time.Hour
	// alpha is the false-abort rate that our plan promises, and that of the floor.
	alpha = 0.01
	// beta is how often our plan ships a version that fails margin times as often, and
	// margin the largest ratio that it accepts on purpose.
	beta   = 0.05
	margin = 2
)

// scene is what happens beside the change itself.
type scene string

const (
	steady   scene = "steady"
	incident scene = "shared incidents" // both versions fail ten times as often, 5 minutes in every half hour
	late     scene = "late fault"       // the change shows after 20 minutes; everybody bakes for 30
	daily    scene = "day and night"    // traffic between a tenth and all, error rate up to twice at night
	nasa     scene = "NASA"             // recorded intensity from a random second on
	worldcup scene = "WorldCup98"       // recorded intensity from a random minute on
)

const (
	lateStart = 20 * time.Minute
	lateBake  = 30 * time.Minute
)

// cell is one setting of the grid.
type cell struct {
	Scene   scene
	Traffic float64 // requests per second of both versions
	Base    float64 // share of the old version's requests that fail
	Ratio   float64 // the new version fails Ratio times as often; 1 is healthy
	Phi     float64 // variance to mean of failures
	Weight  float64 // first share of the new version
}

func (c cell) String() string {
	return fmt.Sprintf("%s, %g/s, %g %%, x%g, phi %g, weight %g %%", c.Scene, c.Traffic, 100*c.Base, c.Ratio, c.Phi, 100*c.Weight)
}

// healthy is the same setting without the regression.
func (c cell) healthy() cell {
	c.Ratio = 1
	return c
}

// floor is the mean number of canary requests below which no test of this error rate
// finds the regression: the two-sample bound, times the dispersion, because a burst
// is one event.
func (c cell) floor() float64 {
	return c.Phi * infer.TwoSampleFloor(c.Base, c.Ratio*c.Base, c.Weight, alpha)
}

// clearing is the same bound for a healthy release: below it no test shows that it does
// not fail margin times as often, at the plan's probability of shipping one that does.
// The old version's rate is unknown, so the nearest pair of such rates counts.
func (c cell) clearing() float64 {
	information := func(rate float64) float64 {
		return c.Weight*infer.KL(c.Base, margin*rate) + (1-c.Weight)*infer.KL(c.Base, rate)
	}
	low, high := c.Base/margin, c.Base
	for range 60 { // it is convex between: thirds
		a, b := low+(high-low)/3, high-(high-low)/3
		if information(a) < information(b) {
			high = b
		} else {
			low = a
		}
	}
	return c.Phi * c.Weight * -math.Log(beta) / information(low)
}

// expected is the canary requests of the plan's horizon at the first weight.
func (c cell) expected() float64 { return c.Traffic * c.Weight * horizon.Seconds() }

// finds reports whether the traffic is twice the floor of the regression, enough
// whether it is also twice what a healthy release needs: a cell is made of both.
func (c cell) finds() bool  { return c.expected() >= 2*c.floor() }
func (c cell) enough() bool { return c.finds() && c.expected() >= 2*c.clearing() }

// bake is how long everybody stays at the canary's weights at least.
func (c cell) bake() time.Duration {
	if c.Scene == late {
		return lateBake
	}
	return 0
}

// world is one run of a cell: the intensity and what fails, and the draws.
type world struct {
	cell
	rng   *rand.Rand
	known *decide.Indicator // what our side learned before the rollout
	trace []float64         // relative intensity per step, mean 1; nil is constant
	step  time.Duration
	shift time.Duration // where the trace, the day or the incidents begin
}

func newWorld(c cell, traces traces, rng *rand.Rand) *world {
	w := &world{cell: c, rng: rng}
	switch c.Scene {
	case nasa:
		w.trace, w.step = traces.nasa, time.Second
	case worldcup:
		w.trace, w.step = traces.worldcup, time.Minute
	}
	around := 24 * time.Hour
	if w.trace != nil {
		around = time.Duration(len(w.trace)) * w.step
	}
	w.shift = time.Duration(rng.Int64N(int64(around)))
	return w
}

// rate is the requests of both versions that are expected in [t, t+d). t may be
// negative: before the rollout.
func (w *world) rate(t, d time.Duration) float64 {
	flat := w.Traffic * d.Seconds()
	switch {
	case w.Scene == daily:
		day := float64(t+w.shift) / float64(24*time.Hour)
		return flat * (0.55 + 0.45*math.Sin(2*math.Pi*day))
	case w.trace == nil:
		return flat
	}
	n := max(1, int(d/w.step))
	at := int((t + w.shift + 7*24*time.Hour) / w.step)
	sum := 0.0
	for i := range n {
		sum += w.trace[(at+i)%len(w.trace)]
	}
	return flat * sum / float64(n)
}

// fails is the share of the old and of the new version's requests that fails at t.
func (w *world) fails(t time.Duration) (old, now float64) {
	old = w.Base
	switch w.Scene {
	case incident:
		if (t+w.shift)%(30*time.Minute) < 5*time.Minute {
			old = min(0.5, 10*old)
		}
	case daily:
		day := float64(t+w.shift) / float64(24*time.Hour)
		old *= 1.5 - 0.5*math.Sin(2*math.Pi*day)
	case late:
		if t < lateStart {
			return old, old
		}
	}
	return old, min(1, w.Ratio*old)
}

// arms draws what the canary, a baseline of the same size if one is wanted, and the
// rest of the old version serve in [t, t+d) at a share.
func (w *world) arms(t, d time.Duration, share float64, baseline bool) (canary, base, rest count) {
	rate := w.rate(t, d)
	old, now := w.fails(t)
	canary = served(w.rng, rate*share, now, w.Phi)
	if baseline {
		base = served(w.rng, rate*share, old, w.Phi)
		return canary, base, count{}
	}
	return canary, count{}, served(w.rng, rate*(1-share), old, w.Phi)
}
