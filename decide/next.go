package decide

import (
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Engine names the rules of this package in a decision about a plan that compares replicas side
// by side, see Indicator.Replicas. It changes whenever the same inputs may give another
// decision.
const Engine = "decide/8"

// EngineOfLasting names the rules of plans of which counts or values last, see
// Indicator.Persistence, EngineOfMeasures those of plans with counts, values, gauges or own
// margins of which nothing lasts, and EngineOfRates those of plans that watch bad events
// alone: decide/8 learns dispersion from replicas, decide/7 divides evidence by what lasts,
// decide/6 learns how far counts come in bursts and bets on gauges, and none of them changed
// anything else. What such a plan decides is what it decided, so it says so, and old records
// are made again to the byte.
const (
	EngineOfLasting  = "decide/7"
	EngineOfMeasures = "decide/6"
	EngineOfRates    = "decide/4"
)

// engine is the name of the rules that decide a plan.
func (p *Plan) engine() string {
	name := EngineOfRates
	for n := range p.Indicators {
		i := &p.Indicators[n]
		switch {
		case i.Replicas:
			return Engine
		case i.Persistence != nil:
			name = EngineOfLasting
		case name == EngineOfRates && (i.plain() || i.Margin != 0 || i.Accept != 0):
			name = EngineOfMeasures
		}
	}
	return name
}

// MaxReadings bounds the readings of one decision.
const MaxReadings = 10_000

// Guard says whether an action may be taken; every verdict that is not a pass
// forbids it. It is asked only about actions that change the world and whose
// evidence suffices, at most once each, and must answer from what it was built of.
type Guard func(assay.Action) []assay.GuardVerdict

// Next decides. It returns the decision and the state with the readings folded in;
// the caller stores both together, and hands the state to Applied after the
// action. s is not changed. Errors: CodeInvalid for a plan or reading that cannot
// be, CodeConflict for a state of another plan or a rollout that has ended.
func Next(p Plan, s State, readings []assay.Reading, guard Guard, now time.Time) (assay.Decision, State, error) {
	if err := p.Check(); err != nil {
		return assay.Decision{}, s, err
	}
	if len(readings) > MaxReadings {
		return assay.Decision{}, s, assay.Errorf(assay.CodeTooLarge, "%d readings for one decision, at most %d are taken", len(readings), MaxReadings)
	}
	if s.Phase != Running {
		return assay.Decision{}, s, assay.Errorf(assay.CodeConflict, "rollout %q has %s: nothing is left to decide", p.Name, s.Phase)
	}
	if guard == nil {
		return assay.Decision{}, s, assay.Errorf(assay.CodeInvalid, "plan %q is decided without a guard", p.Name)
	}
	var room [mostTests]test
	tests, err := p.testsIn(room[:0])
	if err != nil {
		return assay.Decision{}, s, err
	}
	if err := s.check(p, tests); err != nil {
		return assay.Decision{}, s, err
	}
	now = now.UTC()
	before, next := s, s.clone()
	signals, err := fold(p, tests, &next, readings, now)
	if err != nil {
		return assay.Decision{}, s, err
	}
	d := assay.Decision{
		Engine: p.engine(), Plan: p.Name, Service: p.Service, Canary: p.Canary, Control: p.Control, Time: now,
		Signals: signals, ShipAt: -math.Log(p.Beta),
	}
	e := weigh(p, tests, before, &next, &d)
	if err := p.look(tests, &next, &e, &d); err != nil {
		return assay.Decision{}, s, err
	}
	next.prove(p, e.safe, now)
	d.Mix = trafficMix(next)
	choose(p, next, e, guard, &d)
	d.Inputs = digest(p, before, readings, d.Guards, now)
	return d, next, nil
}

// evidence is what the three questions are answered from.
type evidence struct {
	harm    float64 // combined ln E of the known tests; unknown ones count as 0
	harmful bool
	alone   string // why harm that was shown is not believed yet, "" if it is
	lasting string // why harm that would be shown if counts did not last is not, "" if it would not
	safe    bool
	known   bool   // every required signal is known
	unknown string // the first signal that is not, and why
}

// weigh fills d's test values and combines them.
func weigh(p Plan, tests []test, before State, after *State, d *assay.Decision) evidence {
	e := evidence{known: true}
	for i, sig := range d.Signals {
		if !sig.Known && e.unknown == "" {
			e.unknown = sig.Indicator + " is unknown: " + sig.Reason
		}
		e.known = e.known && (sig.Known || !p.Indicators[i].Required)
	}
	var rooms [2][fewTests]infer.Weighted
	var room [2][fewTests]float64
	all, known, safe, phis := rooms[0][:0], rooms[1][:0], room[0][:0], room[1][:0]
	total, knownWeight := 0.0, 0.0
	d.Tests, after.said = make([]assay.TestValue, len(tests)), make([]said, len(tests))
	sizes := make([]assay.HarmSize, 0, len(tests)*harmSizes) // of all tests
	eta, requests := arrival{}, counted(&p, tests, after)
	for i := range tests {
		t := &tests[i]
		new := &after.Watches[t.indicator]
		phi, calm, why := t.dispersion(&p, new, new.Through.Sub(after.Began))
		phis = append(phis, phi)
		t.deflate(phi, calm)
		then, now := t.before(&before, i, phi, calm), &after.said[i]
		*now = t.say(&new.Tests[t.slot], phi, calm, &then)
		v := &d.Tests[i]
		t.value(v, &p, d.ShipAt, &new.Tests[t.slot], &then, now)
		scale := measure(&p.Indicators[t.indicator], v, &new.Tests[t.slot], requests)
		if sizes = t.sizes(sizes, v, &new.Tests[t.slot]); phi > 1 {
			v.Dispersion, v.Basis = phi, why
		}
		w := infer.Weighted{LogE: v.Harm, Weight: t.weight}
		all = append(all, w)
		total += t.weight
		if d.Signals[t.indicator].Known {
			known = append(known, w)
			knownWeight += t.weight
		}
		if !v.Required {
			continue
		}
		safe = append(safe, v.Safe)
		eta = eta.later(t.arrival(&new.Tests[t.slot], v.Safe, d.ShipAt, phi, calm).times(scale))
	}
	d.Remaining, d.RemLow, d.RemHigh = eta.median, eta.low, eta.high
	diverge(d.Tests, tests)
	d.Harm, _ = infer.Average(all) // weights were checked with the plan
	d.Safe = infer.All(safe...)
	if e.harm = d.Harm; len(known) < len(all) {
		e.harm = harmOfKnown(known, knownWeight/total)
	}
	d.AbortAt, d.AbortBasis = p.abortAt(*after, tests, phis)
	if e.harmful = e.harm >= d.AbortAt; e.harmful {
		e.alone = p.alone(*after, tests, d.Signals, phis, total)
		e.harmful = e.alone == ""
	}
	e.safe, e.lasting = d.Safe >= d.ShipAt, p.outlasted(after, tests, d, &e, total)
	d.Score = new(score(d))
	return e
}

// harmOfKnown is the combined harm where only some of the tests are known, which have so much of
// the weight: unknown ones count as 0.
func harmOfKnown(known []infer.Weighted, share float64) float64 {
	if len(known) == 0 {
		return math.Inf(-1)
	}
	mean, _ := infer.Average(known) // weights were checked with the plan
	return mean + math.Log(share)
}

// deflate divides the test's evidence of harm and of safety. Bursts flatter a tolerable
// rate as they do the old version's.
func (t *test) deflate(harm, safe float64) {
	t.comparison = t.comparison.Deflated(harm)
	t.safely = t.comparison.Deflated(safe)
	if t.ceiling != nil {
		known := *t.ceiling
		known.Dispersion = max(1, safe)
		t.ceiling = &known
	}
}

// mostTests is how many tests most plans have at the most.
const mostTests = 8

// fewTests is how many tests fit without being allocated.
const fewTests = 24

// fewSizes is how many sizes a mixture of harm has at the most in the tests of plans.
const fewSizes = 8

// harmSizes is how many sizes the mixture of harm has.
var harmSizes = len(infer.HarmSizes())

// value describes the test in v, which is nothing yet: then is what it said before the readings
// and now what it says after them.
func (t *test) value(v *assay.TestValue, p *Plan, shipAt float64, after *infer.State, then, now *said) {
	c := t.comparison
	v.Name, v.Weight, v.Bound, v.Required = t.name, t.weight, t.bound, p.Indicators[t.indicator].Required
	v.Canary = assay.Rate{Bad: after.Treated.Events, Total: after.Treated.Exposure}
	v.Control = assay.Rate{Bad: after.Control.Events, Total: after.Control.Exposure}
	v.HarmBefore, v.Harm, v.SafeBefore, v.Safe = then.harm, now.harm, then.safe, now.safe
	v.Certainty, v.Basis = c.Certainty()
	ci := c.Interval(*after, p.Alpha)
	v.RatioLow = ci.Low
	if !math.IsInf(ci.High, 1) {
		v.RatioHigh = ci.High
	}
	v.Remaining = t.remaining(after, v.Safe, shipAt)
}

// sizes gives v its sizes of harm, most probable first. They are appended to room, which
// those of all tests share, and which is returned.
func (t *test) sizes(room []assay.HarmSize, v *assay.TestValue, after *infer.State) []assay.HarmSize {
	from := len(room)
	var few [fewSizes]infer.Size
	for n, z := range t.comparison.AppendPosterior(few[:0], after) {
		room = append(room, assay.HarmSize{})
		sizes := room[from:]
		for ; n > 0 && sizes[n-1].Share < z.Weight; n-- { // there are few, and equal ones keep their order
			sizes[n] = sizes[n-1]
		}
		sizes[n] = assay.HarmSize{Ratio: z.Ratio, Share: z.Weight}
	}
	v.Sizes = room[from:len(room):len(room)]
	return room
}

// safe is ln E against "too bad to ship". With a tolerable rate that is "at least
// Margin times worse and above the tolerable rate": an e value against either half
// is one against both, and so is their mean.
func (t *test) safe(s *infer.State) float64 {
	e := t.safely.Safe(*s)
	if t.ceiling == nil {
		return e
	}
	mean, _ := infer.Average([]infer.Weighted{{LogE: e, Weight: 1}, {LogE: t.ceiling.LogE(s.Treated), Weight: 1}})
	return mean
}

// remaining is canary requests until safe, which it is now, reaches at; −1 is never at
// these rates. The two halves of safe are each given the whole threshold plus ln 2.
func (t *test) remaining(s *infer.State, safe, at float64) float64 {
	if safe >= at {
		return 0
	}
	if t.ceiling == nil {
		if n, ok := t.safely.UntilSafe(*s, at); ok {
			return n
		}
		return -1
	}
	best := -1.0
	if n, ok := t.safely.UntilSafe(*s, at+math.Ln2); ok {
		best = n
	}
	if n, ok := t.ceiling.Until(s.Treated, at+math.Ln2); ok && (best < 0 || n < best) {
		best = n
	}
	return best
}
