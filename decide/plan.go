package decide

import (
	"slices"
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
	// Dispersion is the measured variance-to-mean ratio of bad events, 0 or 1 if
	// they come independently. Above 1 the evidence is labelled calibrated.
	Dispersion float64 `json:"dispersion,omitempty"`
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

	Indicators []Indicator `json:"indicators"`
}

// NewPlan has the defaults for everything but names and indicators.
func NewPlan() Plan {
	return Plan{
		Alpha: 0.01, Beta: 0.05, Margin: 2, Accept: 1,
		Steps: []int{10, 25, 50, 100}, MinRequests: 100, MinDuration: 10 * time.Second,
		MaxAge: 30 * time.Second, MinCompleteness: 0.9,
		Horizon: time.Hour, OnHorizon: HorizonAsk, Look: time.Second,
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
	seen := map[string]bool{}
	for _, i := range p.Indicators {
		switch {
		case i.Name == "" || seen[i.Name]:
			return bad("indicators", "name %q is empty or used twice", i.Name)
		case !(i.Weight > 0 && i.Weight <= 1e6):
			return bad("indicators", "%s has weight %v, want above 0", i.Name, i.Weight)
		case !(i.Tolerable >= 0 && i.Tolerable < 1):
			return bad("indicators", "%s tolerates a rate of %v, want 0 to below 1", i.Name, i.Tolerable)
		case i.Dispersion != 0 && !(i.Dispersion >= 1 && i.Dispersion <= 1e6):
			return bad("indicators", "%s has dispersion %v, want at least 1", i.Name, i.Dispersion)
		case len(i.Bounds) > 20 || !slices.IsSorted(i.Bounds):
			return bad("indicators", "%s needs at most 20 bounds in ascending order", i.Name)
		}
		for j, b := range i.Bounds {
			if !(b > 0 && b < 1e9) || j > 0 && b == i.Bounds[j-1] {
				return bad("indicators", "%s has the bound %v, want different ones above 0", i.Name, b)
			}
		}
		seen[i.Name] = true
	}
	return nil
}

// test is one sequential test of a plan.
type test struct {
	indicator  int // in Plan.Indicators
	slot       int // in Watch.Tests
	name       string
	bound      float64 // 0: bad is what is not good
	weight     float64
	comparison *infer.Comparison
	ceiling    *infer.Known // nil: no tolerable rate
}

// tests compiles the plan: one test per indicator, or per bound of it.
func (p Plan) tests() ([]test, error) {
	var out []test
	for n, i := range p.Indicators {
		bounds := i.Bounds
		if len(bounds) == 0 {
			bounds = []float64{0}
		}
		for slot, b := range bounds {
			t := test{indicator: n, slot: slot, name: i.Name, bound: b, weight: i.Weight / float64(len(bounds))}
			if len(i.Bounds) > 0 {
				t.name = i.Name + ">" + number(b) + "s"
			}
			if i.Tolerable > 0 {
				t.ceiling = &infer.Known{Rate: i.Tolerable, Sizes: ceilingSizes()}
			}
			var err error
			if t.comparison, err = infer.New(p.Comparison(i)); err != nil {
				return nil, err
			}
			out = append(out, t)
		}
	}
	return out, nil
}

// Comparison is the test that an indicator, or each of its bounds, is watched with:
// rates for bad events, which are rare, and odds for bounds, which half of all
// requests may exceed. The default sizes are spread around the plan's two nulls.
func (p Plan) Comparison(i Indicator) infer.Config {
	kind := infer.Ratio
	if len(i.Bounds) > 0 {
		kind = infer.Odds
	}
	harm, safe := infer.HarmSizes(), infer.SafeSizes()
	for i := range harm {
		harm[i].Ratio *= p.Accept
	}
	for i := range safe {
		safe[i].Ratio *= p.Margin / 2
	}
	return infer.Config{
		Kind:       kind,
		Harm:       infer.Side{Null: p.Accept, Sizes: harm},
		Safe:       infer.Side{Null: p.Margin, Sizes: safe},
		Lattice:    infer.DefaultLattice(),
		Dispersion: i.Dispersion,
	}
}

// ceilingSizes are the alternatives to a tolerable rate: mostly none at all.
func ceilingSizes() []infer.Size {
	return []infer.Size{{Ratio: 0.01, Weight: 2}, {Ratio: 0.1, Weight: 1}, {Ratio: 0.3, Weight: 1}, {Ratio: 0.6, Weight: 1}}
}
