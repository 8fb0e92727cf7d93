package rollout

import (
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
)

// StartedPayload is the payload of a rollout.started fact, version 2. Version 1 was a
// canary without a watch, and has neither rules nor what the old version's past said.
type StartedPayload struct {
	Rollout string       `json:"rollout"` // id
	Name    string       `json:"name"`
	Digest  assay.Digest `json:"digest"` // of the canary's artifact
	Canary  string       `json:"canary"`
	Control string       `json:"control"`
	Plan    decide.Plan  `json:"plan"`

	Strategy api.Strategy       `json:"strategy,omitempty"` // "" is a canary
	Mirror   *enforce.Mirror    `json:"mirror,omitempty"`
	Match    *enforce.Match     `json:"match,omitempty"`
	Watch    *api.Watch         `json:"watch,omitempty"` // as declared
	After    []decide.Indicator `json:"after,omitempty"` // tested in the watch, if not what the plan tests
	Risk     *api.Risk          `json:"risk,omitempty"`  // the score that set its gate and its steps
	Back     *api.Back          `json:"back,omitempty"`  // of a rollback: what it takes back and why
}

// DecidedPayload is the payload of a rollout.decided fact, version 1.
type DecidedPayload struct {
	Rollout  string         `json:"rollout"`
	Record   assay.Digest   `json:"record"` // blob with the inputs and the decision, decide.Record.Encode
	Decision assay.Decision `json:"decision"`
}

// ActedPayload is the payload of a rollout.acted fact, version 1.
type ActedPayload struct {
	Rollout string       `json:"rollout"`
	Action  assay.Action `json:"action"`
	Receipt act.Receipt  `json:"receipt"`
}

// RefusedPayload is the payload of a rollout.refused fact, version 1: the world
// did not take an action.
type RefusedPayload struct {
	Rollout string       `json:"rollout"`
	Action  assay.Action `json:"action"`
	Code    assay.Code   `json:"code"`
	Detail  string       `json:"detail"`
}

// CommandedPayload is the payload of a rollout.commanded fact, version 1.
type CommandedPayload struct {
	Rollout string `json:"rollout"`
	Command string `json:"command"`
	Reason  string `json:"reason"`
}

// EndedPayload is the payload of a rollout.ended fact, version 1.
type EndedPayload struct {
	Rollout string            `json:"rollout"`
	Status  api.RolloutStatus `json:"status"`
	Reason  string            `json:"reason"`
	Canary  assay.Rate        `json:"canary"`  // bad responses since it began, when it was decided
	Control assay.Rate        `json:"control"` // the old version at the same time
	// TrafficBack is how long after the decision the last action was read back, in
	// seconds; 0 if there was none.
	TrafficBack float64 `json:"traffic_back"`
	// Began is when the new version got its first traffic; absent if it got none.
	Began time.Time `json:"began,omitzero"`
	Back  *api.Back `json:"back,omitempty"` // of a rollback: what it takes back and why
}

// JudgedPayload is the payload of a rollout.judged fact, version 1.
type JudgedPayload struct {
	Rollout string              `json:"rollout"`
	Outcome assay.ActionOutcome `json:"outcome"`
	Canary  assay.Rate          `json:"canary"` // of the canary from its first request to the end of the window
	After   assay.Rate          `json:"after"`  // of the whole service in the window after the action

	// Indicator is what Canary and After count, with the Bound of a latency that counts are
	// above; of values and gauges they are shares of the declared range. Facts recorded
	// before it count bad requests.
	Indicator string  `json:"indicator,omitempty"`
	Bound     float64 `json:"bound,omitempty"`
}

// RenewedPayload is the payload of a rollout.renewed fact, version 1: the evidence was
// begun anew at the step where the rollout stood.
type RenewedPayload struct {
	Rollout string `json:"rollout"`
	Step    int    `json:"step"` // index into the plan's steps
	Weight  int    `json:"weight"`
	Detail  string `json:"detail"` // what is wrong with the evidence until then
}
