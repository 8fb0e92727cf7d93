package mitigate

import (
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/policy"
)

// Engine names the rules of this package in records. It changes whenever the same
// inputs may give another decision.
const Engine = "mitigate/8"

// Bounds of Inputs.
const (
	// MaxValues is how many values one decision may rest on.
	MaxValues = 2_000
	// MaxSettings is how many levers one decision may look at.
	MaxSettings = 500
)

// Strategy is a declared standing objective.
type Strategy struct {
	Name      string              `json:"name"`
	Namespace string              `json:"namespace"`
	Spec      policy.StrategySpec `json:"spec"`
}

// Of is the strategy that a resource declares.
func Of(r policy.Strategy) Strategy {
	return Strategy{Name: r.Metadata.Name, Namespace: r.Metadata.Namespace, Spec: r.Spec}
}

// Value is what one signal said last.
type Value struct {
	Name         string    `json:"name"`            // as the strategy declares it, for example "load"
	Scope        string    `json:"scope,omitempty"` // region, tenant, class, tier, job, version; "" for one number
	Value        float64   `json:"value"`
	Time         time.Time `json:"time"`         // event time of the newest sample in it
	Completeness float64   `json:"completeness"` // share of the sources that reported, 0 to 1
}

// Second is a signal of which the second source was read, because the first was of no use.
type Second struct {
	Name string `json:"name"` // of the signal, or "the burn of" an objective
	Why  string `json:"why"`  // the first was not read, one sentence
}

// Setting is where a lever stands, as the world was read back.
type Setting struct {
	Lever assay.Lever `json:"lever"`
	Scope string      `json:"scope,omitempty"` // for a share of traffic: the version
	Now   float64     `json:"now"`
}

// Forecast is what a signal is expected to be, with what is known about the quality of
// such forecasts. Foresee makes one.
type Forecast struct {
	Signal string        `json:"signal"`
	At     time.Time     `json:"at"`   // the first step begins here
	Step   time.Duration `json:"step"` // of one value
	Tau    float64       `json:"tau"`  // of Upper
	Mean   []float64     `json:"mean"`
	Upper  []float64     `json:"upper"` // tau quantile
	Skill  float64       `json:"skill"` // above 0 it is better than repeating the last season
	Cover  float64       `json:"cover"` // share of the past that 90 % intervals held
	// Trusted says whether an action may rest on it; Why says why not.
	Trusted bool   `json:"trusted"`
	Why     string `json:"why,omitempty"`
	Version string `json:"version,omitempty"` // of the model, or rules
}

// Change is something that was done to the service on purpose: the cause that is
// suspected first.
type Change struct {
	Time    time.Time `json:"time"`           // it got its first traffic; all of it, if its rollout has ended
	Began   time.Time `json:"began,omitzero"` // it got its first traffic, if Time is later
	Version string    `json:"version"`        // the new one
	Old     string    `json:"old"`            // that it replaces
	Open    bool      `json:"open,omitempty"` // its rollout is under way

	// Return says that Version was gone back to: it is not suspected.
	Return bool `json:"return,omitempty"`
	// Back is the version that would be gone back to once its rollout has ended, and Stuck
	// why there is none; both empty if nobody asked.
	Back  string `json:"back,omitempty"`
	Stuck string `json:"stuck,omitempty"`
	// WasBad and WasTotal are what the signals said of Old when the change began, of a
	// change that left none of Old's requests to compare with; at WasTime, if they are of an
	// earlier moment because the load was more like that of now.
	WasBad   float64   `json:"was_bad,omitempty"`
	WasTotal float64   `json:"was_total,omitempty"`
	WasTime  time.Time `json:"was_time,omitzero"`
}

// Inputs is everything that one decision is made of, besides the strategy, its state,
// the guard and the time.
type Inputs struct {
	Values    []Value    `json:"values"`
	Settings  []Setting  `json:"settings"`
	Forecasts []Forecast `json:"forecasts,omitempty"`
	Changes   []Change   `json:"changes,omitempty"`
	// Second are the signals whose second source was read.
	Second []Second `json:"second,omitempty"`
	// Unknown is what could not be read beside the declared signals: nothing is done
	// automatically without it.
	Unknown []assay.Signal `json:"unknown,omitempty"`
	// Burn is the share of the whole error budget that the service spends in a minute
	// now; below 0 it is not known, and the law estimates it from what it reads.
	Burn float64 `json:"burn"`
	// Worth is what the whole error budget is worth in the currency of the strategy, as it
	// declares; 0 means that money is not weighed.
	Worth float64 `json:"worth,omitempty"`
	// Extra is spend that a person allowed beyond today's cap.
	Extra float64 `json:"extra,omitempty"`
	// Cleared are sources that a person called harmless.
	Cleared []string `json:"cleared,omitempty"`
	// Omitted are sources that were left out, because others are more conspicuous.
	Omitted int `json:"omitted,omitempty"`
	// History is what the guardrails look back at beside the strategy's own moves.
	History decide.History `json:"history"`
	// Learned is what earlier actions taught.
	Learned decide.Learned `json:"learned"`
	// Seed makes the draws of a strategy that explores.
	Seed uint64 `json:"seed,omitempty"`
	// Reactive is why what was learned may not be weighed now and rules decide, "" if it may.
	Reactive string `json:"reactive,omitempty"`
}

func (in Inputs) check() error {
	switch {
	case len(in.Values) > MaxValues:
		return assay.Errorf(assay.CodeTooLarge, "%d values for one decision, at most %d are taken", len(in.Values), MaxValues)
	case len(in.Settings) > MaxSettings:
		return assay.Errorf(assay.CodeTooLarge, "%d levers for one decision, at most %d are looked at", len(in.Settings), MaxSettings)
	}
	return nil
}
