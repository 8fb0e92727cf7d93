package decide

import (
	"slices"
	"sync/atomic"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// HorizonPolicy says what happens when a rollout has reached its horizon and the
// evidence has not decided.
type HorizonPolicy string

const (
	// HorizonAsk asks a person. It is also what the other two become when signals
	// are unknown: nothing is aborted or promoted blindly.
	HorizonAsk HorizonPolicy = "ask"
	// HorizonAbort takes the new version out: not shown safe in time.
	HorizonAbort HorizonPolicy = "abort"
	// HorizonPromote goes on although safety was not shown, and says so.
	HorizonPromote HorizonPolicy = "promote-with-watch"
)

// Indicator is one thing that the plan watches. Without Bounds, a bad event is one
// that the reading does not count as good; with Bounds, the reading's histogram is
// watched at each of them, and a bad event is one above the bound.
type Indicator struct {
	Name string `json:"name"`
	// Weight is the indicator's share of the combined evidence of harm, relative to
	// the other indicators; its bounds share it equally.
	Weight float64 `json:"weight"`
	// Required indicators must be shown safe before the rollout advances.
	Required bool `json:"required"`
	// Bounds are frozen before the rollout, for example with infer.Freeze. They must
	// be bounds of the readings' histograms.
	Bounds []float64 `json:"bounds,omitempty"`
	// Tolerable is a bad rate that is acceptable whatever the old version does, 0 if
	// there is none. Without one, an indicator with hardly any bad events in either
	// version takes very long to be shown safe.
	Tolerable float64 `json:"tolerable,omitempty"`
	// Dispersion is what evidence is divided by because bad events come in bursts, 0
	// or 1 if they come independently; Calibrate measures it. Above 1 the evidence is
	// labelled calibrated.
	Dispersion float64 `json:"dispersion,omitempty"`
	// SafeDispersion is what evidence of safety is divided by, from 1 to Dispersion; 0 if
	// by that. Calibrate measures it: the upper bound of the dispersion, without what
	// harm adds for the tail of bursts, which counts for less at Beta than at Alpha.
	SafeDispersion float64 `json:"safe_dispersion,omitempty"`
	// Persistence is how counts or values of requests hang together in time, because work
	// stays with a version for a while: the longer a rollout lasts, the more evidence is
	// divided by, up to its Limit. Calibrate measures it; nil if they do not.
	Persistence *infer.Index `json:"persistence,omitempty"`
	// Calibration is the measurement that Dispersion rests on, if there was one.
	Calibration *Calibration `json:"calibration,omitempty"`
	// Kind is what the readings count; "" is KindRatio.
	Kind IndicatorKind `json:"kind,omitempty"`
	// Max is the greatest value of a KindValue or a KindGauge, and Min the least of a
	// KindGauge: values are counted in units of what lies between. One outside is refused.
	Max float64 `json:"max,omitempty"`
	Min float64 `json:"min,omitempty"`
	// Less says that less is worse, for counts, values and gauges: of counts the ratio is
	// turned around, values and gauges are compared by how far they are from Max.
	Less bool `json:"less,omitempty"`
	// PerTime counts events per time of a replica instead of per request: the readings'
	// Total is milliseconds.
	PerTime bool `json:"per_time,omitempty"`
	// Every is how much time of a gauge makes one value of each version, nanoseconds.
	// Readings that are closer to each other mostly say the same thing again.
	Every time.Duration `json:"every,omitempty"`
	// WarmUp is how long after the rollout began readings of a count, value or gauge are no
	// evidence, because a version that just started fills its caches; nanoseconds.
	WarmUp time.Duration `json:"warm_up,omitempty"`
	// Margin and Accept stand instead of the plan's for this indicator; 0 if those hold.
	Margin float64 `json:"margin,omitempty"`
	Accept float64 `json:"accept,omitempty"`
	// Expected is what the old version has of a count, value or gauge: events per request
	// or per hour of all replicas together, or the mean value. It is used to say how long a plan takes and decides nothing; 0 is unknown.
	Expected float64 `json:"expected,omitempty"`
	// Classes are kinds of bad events that are tested one by one, each with an equal
	// share of the indicator's weight, for example "timeout" and "5xx". Readings
	// count them by class. Not together with Bounds.
	Classes []string `json:"classes,omitempty"`
	// Clusters counts distinct clusters instead of requests: traces, users or
	// replica-minutes that had a bad event, of all that there were. Readings carry the
	// numbers. Clusters come independently where requests do not.
	Clusters bool `json:"clusters,omitempty"`
	// Replicas says that readings tell the replicas of the old version apart, and that how
	// these differ side by side is what evidence is divided by: what hits all of them together
	// hits the new version too. True only where requests come to a version as they come to a
	// replica, each by itself.
	Replicas bool `json:"replicas,omitempty"`
}

// Plan is what a rollout declared before it began. NewPlan has the defaults.
type Plan struct {
	Name        string `json:"name"`
	Service     string `json:"service"`
	Environment string `json:"environment,omitempty"`
	Canary      string `json:"canary"`  // version label of the new version
	Control     string `json:"control"` // version label of the old version

	Alpha float64 `json:"alpha"` // probability of ever aborting a version that is no worse
	Beta  float64 `json:"beta"`  // probability of ever shipping a version that is Margin times worse
	// Margin is how many times worse is too bad to ship: 2 is twice the bad rate
	// (for latency bounds: twice the odds).
	Margin float64 `json:"margin"`
	// Accept is how many times worse is not yet harm, from 1 up to below Margin.
	Accept float64 `json:"accept"`

	Steps       []int         `json:"steps"`        // shares of traffic in percent, ascending, the last is 100
	MinRequests uint64        `json:"min_requests"` // canary requests at each step before it may advance
	MinDuration time.Duration `json:"min_duration"` // at each step, nanoseconds

	MaxAge          time.Duration `json:"max_age"`          // an older signal is unknown, nanoseconds
	MinCompleteness float64       `json:"min_completeness"` // a less complete reading is not used
	Horizon         time.Duration `json:"horizon"`          // since the rollout began, nanoseconds
	OnHorizon       HorizonPolicy `json:"on_horizon"`

	Look   time.Duration `json:"look"`             // expected time between looks, for expected losses, nanoseconds
	Budget float64       `json:"budget,omitempty"` // bad events the objective's window allows; 0 is unknown

	// Certainty is what the bound of alpha rests on. Calibrated, the default, corrects
	// the threshold for the overshoot and learns from the old version how far bad
	// events come in bursts; Exact keeps ln(1/alpha) and the stated dispersion, which
	// a theorem bounds for independent events.
	Certainty assay.Certainty `json:"certainty,omitempty"`
	// HarmBudget is the share of Budget that the rollout may spend on the new version,
	// 0 if it may spend all: a step is not taken while the worst ratio that is still
	// plausible would spend more before the next look could stop it. It needs Budget.
	HarmBudget float64 `json:"harm_budget,omitempty"`
	// StepBudget is the share of Budget that steps may put at risk which are taken before
	// safety is shown, because more traffic brings the evidence sooner; 0 if every step
	// waits for it, as they do without a Budget. The last step always waits.
	StepBudget float64 `json:"step_budget,omitempty"`
	// Fixed plans a few looks up to a number of requests instead of one at every
	// reading, for those who know how long a rollout lasts: less evidence is needed
	// at the last look, and nothing is aborted between two.
	Fixed *FixedLooks `json:"fixed,omitempty"`

	Indicators []Indicator `json:"indicators"`
}

const (
	defaultAccept = 1
	defaultMargin = 2
	// DefaultStepBudget is a thousandth of what the objective's window allows: what a
	// person who is asked or an hour of waiting is worth, about.
	DefaultStepBudget = 0.001
)

// NewPlan has the defaults for everything but names and indicators.
func NewPlan() Plan {
	return Plan{
		Alpha: 0.01, Beta: 0.05, Margin: defaultMargin, Accept: defaultAccept,
		Steps: []int{10, 25, 50, 100}, MinRequests: 100, MinDuration: 10 * time.Second,
		MaxAge: 30 * time.Second, MinCompleteness: 0.9,
		Horizon: time.Hour, OnHorizon: HorizonAsk, Look: time.Second,
		StepBudget: DefaultStepBudget,
	}
}

// Check says what is wrong with a plan; CodeInvalid with the field.
func (p Plan) Check() error {
	bad := func(field, format string, args ...any) error {
		err := assay.Errorf(assay.CodeInvalid, format, args...)
		err.Field = field
		return err
	}
	switch {
	case p.Service == "" || p.Canary == "" || p.Control == "" || p.Canary == p.Control:
		return bad("canary", "plan %q needs a service and two different versions", p.Name)
	case !(p.Alpha > 0 && p.Alpha <= 0.5):
		return bad("alpha", "%v is not above 0 and at most 0.5", p.Alpha)
	case !(p.Beta > 0 && p.Beta <= 0.5):
		return bad("beta", "%v is not above 0 and at most 0.5", p.Beta)
	case !(p.Accept >= 1 && p.Accept < p.Margin && p.Margin <= 100):
		return bad("margin", "accept %v and margin %v do not satisfy 1 ≤ accept < margin ≤ 100", p.Accept, p.Margin)
	case len(p.Steps) == 0 || len(p.Steps) > 100 || p.Steps[0] < 1 || p.Steps[len(p.Steps)-1] != 100:
		return bad("steps", "%v do not lead from at least 1 to 100 percent", p.Steps)
	case !(p.MinCompleteness >= 0 && p.MinCompleteness <= 1):
		return bad("min_completeness", "%v is not between 0 and 1", p.MinCompleteness)
	case p.MaxAge <= 0 || p.Horizon <= 0 || p.Look <= 0 || p.MinDuration < 0:
		return bad("max_age", "max_age, horizon and look must be above 0")
	case p.OnHorizon != HorizonAsk && p.OnHorizon != HorizonAbort && p.OnHorizon != HorizonPromote:
		return bad("on_horizon", "%q is not one of ask, abort, promote-with-watch", p.OnHorizon)
	case !(p.Budget >= 0 && p.Budget <= 1e15):
		return bad("budget", "%v is not a number of events", p.Budget)
	case p.Certainty != "" && p.Certainty != assay.Calibrated && p.Certainty != assay.Exact:
		return bad("certainty", "%q is not one of exact, calibrated", p.Certainty)
	case !(p.HarmBudget >= 0 && p.HarmBudget <= 1):
		return bad("harm_budget", "%v is not a share from 0 to 1", p.HarmBudget)
	case !(p.StepBudget >= 0 && p.StepBudget <= 1):
		return bad("step_budget", "%v is not a share from 0 to 1", p.StepBudget)
	case p.HarmBudget > 0 && p.Budget == 0:
		return bad("harm_budget", "a share of the error budget needs to know the budget: name an objective")
	case p.Fixed != nil && (p.Fixed.Requests < 10 || p.Fixed.Requests > 1e12 || p.Fixed.Looks < 1 || p.Fixed.Looks > MaxLooks):
		return bad("fixed", "%d looks up to %d requests are not 1 to %d looks up to at least 10", p.Fixed.Looks, p.Fixed.Requests, MaxLooks)
	case p.Fixed != nil && p.Fixed.Spending != infer.OBrienFleming && p.Fixed.Spending != infer.Pocock:
		return bad("fixed", "spending %q is not one of obrien-fleming, pocock", p.Fixed.Spending)
	}
	for i := 1; i < len(p.Steps); i++ {
		if p.Steps[i] <= p.Steps[i-1] {
			return bad("steps", "%v do not ascend", p.Steps)
		}
	}
	if !slices.ContainsFunc(p.Indicators, func(i Indicator) bool { return i.Required }) {
		return bad("indicators", "none is required: the rollout could never be shown safe")
	}
	return p.checkIndicators(bad)
}

func (p Plan) checkIndicators(bad func(field, format string, args ...any) error) error {
	for n := range p.Indicators {
		i := &p.Indicators[n]
		switch {
		case i.Name == "" || slices.ContainsFunc(p.Indicators[:n], func(o Indicator) bool { return o.Name == i.Name }):
			return bad("indicators", "name %q is empty or used twice", i.Name)
		case !(i.Weight > 0 && i.Weight <= 1e6):
			return bad("indicators", "%s has weight %v, want above 0", i.Name, i.Weight)
		case !(i.Tolerable >= 0 && i.Tolerable < 1):
			return bad("indicators", "%s tolerates a rate of %v, want 0 to below 1", i.Name, i.Tolerable)
		case i.Dispersion != 0 && !(i.Dispersion >= 1 && i.Dispersion <= 1e6):
			return bad("indicators", "%s has dispersion %v, want at least 1", i.Name, i.Dispersion)
		case i.SafeDispersion != 0 && !(i.SafeDispersion >= 1 && i.SafeDispersion <= max(i.Dispersion, 1)):
			return bad("indicators", "%s has a dispersion of %v for safety, want 1 to that of harm", i.Name, i.SafeDispersion)
		case len(i.Bounds) > 20 || !slices.IsSorted(i.Bounds):
			return bad("indicators", "%s needs at most 20 bounds in ascending order", i.Name)
		case i.plain() && len(i.Bounds)+len(i.Classes) > 0 || len(i.Bounds) > 0 && len(i.Classes) > 0 || i.Clusters && i.plain():
			return bad("indicators", "%s: bounds, classes, clusters and counts or values do not go together", i.Name)
		case i.plain() && i.Tolerable > 0:
			return bad("indicators", "%s: a tolerable rate is one of requests, not of counts or values", i.Name)
		case len(i.Classes) > 20:
			return bad("indicators", "%s has %d classes, at most 20 are tested", i.Name, len(i.Classes))
		}
		for j, c := range i.Classes {
			if c == "" || slices.Contains(i.Classes[:j], c) {
				return bad("indicators", "%s: class %q is empty or named twice", i.Name, c)
			}
		}
		for j, b := range i.Bounds {
			if !(b > 0 && b < 1e9) || j > 0 && b == i.Bounds[j-1] {
				return bad("indicators", "%s has the bound %v, want different ones above 0", i.Name, b)
			}
		}
		if err := p.checkMeasure(i, bad); err != nil {
			return err
		}
		if err := i.checkPersistence(bad); err != nil {
			return err
		}
		if err := i.checkReplicas(&p, bad); err != nil {
			return err
		}
	}
	if n := p.slots(); n > MaxTests {
		return bad("indicators", "make %d tests in all, one for each indicator, or for each of its bounds or classes; at most %d are kept: leave some out", n, MaxTests)
	}
	return nil
}

// MaxTests bounds the tests of a plan: the evidence of all of them is stored with the
// rollout at every look, and a record that the store refuses could abort nothing.
const MaxTests = 200

// slots is how many tests the plan has.
func (p Plan) slots() (n int) {
	for i := range p.Indicators {
		n += p.Indicators[i].slots()
	}
	return n
}

// slots is how many tests the indicator is watched with.
func (i *Indicator) slots() int { return max(1, len(i.Bounds), len(i.Classes)) }

// FixedLooks is a group-sequential design: alpha is spent over Looks equally spaced
// looks up to Requests canary requests. Calibrated: it rests on normal scores.
type FixedLooks struct {
	Requests uint64         `json:"requests"`
	Looks    int            `json:"looks"`
	Spending infer.Spending `json:"spending"`
}

// MaxLooks bounds the looks of a FixedLooks.
const MaxLooks = 20

// test is one sequential test of a plan.
type test struct {
	indicator  int // in Plan.Indicators
	slot       int // in Watch.Tests
	name       string
	bound      float64 // 0: bad is what is not good
	class      string  // "": all bad events
	weight     float64
	undivided  *infer.Comparison // its evidence divided by nothing
	comparison *infer.Comparison
	safely     *infer.Comparison // the same, its evidence divided as that of safety is
	ceiling    *infer.Known      // nil: no tolerable rate
}

// boundsShare is how much an indicator with bounds weighs beside one without: errors
// decide most aborts, and every share given to bounds makes those later.
const boundsShare = 0.12

// tests compiles the plan: one test per indicator, or per bound or class of it.
func (p *Plan) tests() ([]test, error) { return p.testsIn(make([]test, 0, p.slots())) }

// testsIn is tests that are appended to out, which is empty.
func (p *Plan) testsIn(out []test) ([]test, error) {
	mixed := false
	for n := range p.Indicators {
		mixed = mixed || len(p.Indicators[n].Bounds) == 0
	}
	for n := range p.Indicators {
		i := &p.Indicators[n]
		undivided, err := p.compiled(i) // one for all bounds: they differ in what they count
		if err != nil {
			return nil, err
		}
		comparison := undivided.Deflated(i.Dispersion)
		safely := comparison.Deflated(i.safeDispersion(i.Dispersion))
		weight := i.Weight / float64(i.slots())
		if mixed && len(i.Bounds) > 0 {
			weight *= boundsShare
		}
		for slot := range i.slots() {
			t := test{indicator: n, slot: slot, name: i.Name, weight: weight, undivided: undivided, comparison: comparison, safely: safely}
			switch {
			case len(i.Bounds) > 0:
				t.bound = i.Bounds[slot]
			case len(i.Classes) > 0:
				t.class = i.Classes[slot]
			}
			if i.Tolerable > 0 {
				t.ceiling = &infer.Known{Rate: i.Tolerable, Sizes: ceilingSizes(), Dispersion: i.Dispersion}
			}
			out = append(out, t)
		}
		i.named(out[len(out)-i.slots():])
	}
	return out, nil
}

// named gives the indicator's tests their names, if it has one by bound or class.
func (i *Indicator) named(tests []test) {
	if len(i.Bounds)+len(i.Classes) == 0 {
		return
	}
	for n, name := range i.names() {
		tests[n].name = name
	}
}

// naming is what the tests of an indicator are called.
type naming struct {
	indicator string
	bounds    []float64
	classes   []string
	names     []string
}

// maxNamed bounds the names that are kept: of so many indicators.
const maxNamed = 32

// namings are the names that were asked for lately; the list is replaced and never changed.
var namings atomic.Pointer[[]naming]

// names are those of the indicator's tests: whoever asks twice mostly gets the same ones.
func (i *Indicator) names() []string {
	var kept []naming
	if list := namings.Load(); list != nil {
		kept = *list
	}
	for n := range kept {
		k := &kept[n]
		if k.indicator == i.Name && slices.Equal(k.bounds, i.Bounds) && slices.Equal(k.classes, i.Classes) {
			return k.names
		}
	}
	k := naming{indicator: i.Name, bounds: slices.Clone(i.Bounds), classes: slices.Clone(i.Classes)}
	for _, bound := range i.Bounds {
		k.names = append(k.names, i.Name+">"+number(bound)+"s")
	}
	for _, class := range i.Classes {
		k.names = append(k.names, i.Name+":"+class)
	}
	next := append(slices.Clone(kept[max(0, len(kept)-maxNamed+1):]), k)
	namings.Store(&next)
	return k.names
}

// comparing is what a comparison is compiled from, but for a dispersion, which is put in at
// each look.
type comparing struct {
	kind           infer.Kind
	accept, margin float64
	reversed       bool
	exact          bool
}

// comparison is one that was compiled.
type comparison struct {
	of comparing
	by *infer.Comparison
}

// maxCompiled bounds the comparisons that are kept. Plans mostly have the default margins,
// so few are asked for, and the list is gone through quicker than a map is asked.
const maxCompiled = 32

// compiled are the comparisons that plans asked for lately; the list is replaced and never
// changed.
var compiled atomic.Pointer[[]comparison]

// compiled is the comparison of an indicator, without its dispersion: whoever asks twice
// mostly gets the same one.
func (p *Plan) compiled(i *Indicator) (*infer.Comparison, error) {
	key := comparing{i.comparedBy(), p.accept(i), p.margin(i), i.reversed(), p.Certainty == assay.Exact}
	var kept []comparison
	if list := compiled.Load(); list != nil {
		kept = *list
	}
	for n := range kept {
		if kept[n].of == key {
			return kept[n].by, nil
		}
	}
	config := p.Comparison(*i)
	config.Dispersion = 0
	c, err := infer.New(config)
	if err != nil {
		return nil, err
	}
	next := append(slices.Clone(kept[max(0, len(kept)-maxCompiled+1):]), comparison{key, c})
	compiled.Store(&next)
	return c, nil
}

// comparedBy is what the two versions are compared by.
func (i *Indicator) comparedBy() infer.Kind {
	switch {
	case i.Kind == KindCount:
		return infer.Counts
	case i.Kind == KindGauge:
		return infer.Means
	case len(i.Bounds) > 0:
		return infer.Odds
	}
	return infer.Ratio
}

// lateShare is the weight that the evidence of harm keeps for faults that begin
// later than the rollout: an immediate one is stopped about 1 % later for it.
const lateShare = 0.03

// gatherRequests is how many canary requests make a block unless bounds are exact.
const gatherRequests = 32

// Comparison is the test that an indicator, or each of its bounds, is watched with:
// rates for bad events, which are rare, and odds for bounds, which half of all
// requests may exceed. The default sizes are spread around the plan's two nulls.
func (p Plan) Comparison(i Indicator) infer.Config {
	if i.Kind == KindGauge {
		return p.bets(&i)
	}
	harm, safe := infer.HarmSizes(), infer.SafeSizes()
	for n := range harm {
		harm[n].Ratio *= p.accept(&i)
	}
	for n := range safe {
		safe[n].Ratio *= p.margin(&i) / 2
	}
	gather := uint64(gatherRequests)
	if p.Certainty == assay.Exact {
		gather = 0
	}
	config := infer.Config{
		Gather:     gather,
		Kind:       i.comparedBy(),
		Harm:       infer.Side{Null: p.accept(&i), Sizes: harm},
		Safe:       infer.Side{Null: p.margin(&i), Sizes: safe},
		Lattice:    infer.DefaultLattice(),
		Dispersion: i.Dispersion,
		Late:       lateShare,
	}
	if i.reversed() {
		reverse(&config)
	}
	return config
}

// ceilingSizes are the alternatives to a tolerable rate: mostly none at all.
func ceilingSizes() []infer.Size {
	return []infer.Size{{Ratio: 0.01, Weight: 2}, {Ratio: 0.1, Weight: 1}, {Ratio: 0.3, Weight: 1}, {Ratio: 0.6, Weight: 1}}
}
