package api

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
)

// RolloutRequest asks for a rollout: the new version gets traffic step by step
// while the evidence allows it.
type RolloutRequest struct {
	Rollout string       `json:"rollout,omitempty"` // name of the Rollout resource; may be empty if the policy has exactly one
	Canary  string       `json:"canary"`            // version label of the new version
	Digest  assay.Digest `json:"digest"`            // of the artifact that it runs, as the platform reports it
	Backend string       `json:"backend,omitempty"` // "http://host:port"; may be empty if the enforcer knows the version already
	// Change says how large the change is, where its risk sets gate and steps; a change
	// that nothing is said about counts as large.
	Change *Change `json:"change,omitempty"`
}

// RolloutStatus says where a rollout stands.
type RolloutStatus string

const (
	// RolloutStarting has been accepted; the new version has no traffic yet.
	RolloutStarting RolloutStatus = "starting"
	// RolloutRunning is being watched.
	RolloutRunning RolloutStatus = "running"
	// RolloutAsking waits for a person: promote or abort it.
	RolloutAsking RolloutStatus = "asking"
	// RolloutWatching has given the new version all the traffic and goes on looking:
	// harm that shows only now takes it back.
	RolloutWatching RolloutStatus = "watching"
	// RolloutPromoted ended with all the traffic on the new version.
	RolloutPromoted RolloutStatus = "promoted"
	// RolloutAborted ended with no traffic on the new version.
	RolloutAborted RolloutStatus = "aborted"
	// RolloutReverted ended with the old version's traffic given back after the new one
	// had had all of it.
	RolloutReverted RolloutStatus = "reverted"
	// RolloutRefused ended before it began: the enforcer did not let the version in.
	RolloutRefused RolloutStatus = "refused"
	// RolloutFailed ended because it could not be carried out, for example because
	// somebody else moved the traffic.
	RolloutFailed RolloutStatus = "failed"
)

// Ended reports whether nothing more will happen to the rollout.
func (s RolloutStatus) Ended() bool {
	return s != RolloutStarting && s != RolloutRunning && s != RolloutAsking && s != RolloutWatching
}

// Unapproved reports whether the rollout waits for the yes of a person before its first
// request.
func (r Rollout) Unapproved() bool {
	return !r.Status.Ended() && r.Approval != nil && r.Approval.By == ""
}

// Strategy is how a new version gets its traffic.
type Strategy string

const (
	// StrategyCanary gives it a growing share.
	StrategyCanary Strategy = "canary"
	// StrategyBlueGreen gives it all the traffic at once and watches.
	StrategyBlueGreen Strategy = "blue-green"
	// StrategyMirrored sends it copies of requests, whose answers nobody gets.
	StrategyMirrored Strategy = "mirrored"
	// StrategyAB gives it the requests that carry a header or cookie.
	StrategyAB Strategy = "a-b"
)

// Ruled reports whether requests reach the new version by a rule of the enforcer
// instead of by a share.
func (s Strategy) Ruled() bool { return s == StrategyMirrored || s == StrategyAB }

// OnHarm says what happens when harm shows after the new version got all the traffic.
type OnHarm string

const (
	// RevertOnHarm gives the traffic back.
	RevertOnHarm OnHarm = "revert"
	// AskOnHarm asks a person.
	AskOnHarm OnHarm = "ask"
)

// Watch is the time after a new version got all the traffic. It is held against the
// old version's past: what that counted in [From, To) is spread over the watch.
type Watch struct {
	Duration time.Duration `json:"duration"` // declared, nanoseconds
	OnHarm   OnHarm        `json:"on_harm"`
	Began    time.Time     `json:"began,omitzero"` // zero before it
	Until    time.Time     `json:"until,omitzero"`
	From     time.Time     `json:"from,omitzero"` // of the old version's past
	To       time.Time     `json:"to,omitzero"`
	// UntilLoad is declared: the watch goes on until the new version has had this share of
	// the greatest load of the old one's last day, at most for Longest; 0 waits for no load.
	UntilLoad float64       `json:"until_load,omitempty"`
	Longest   time.Duration `json:"longest,omitempty"` // nanoseconds
	Met       time.Time     `json:"met,omitzero"`      // when it had that load
	// Path of the evidence since it began; only in the answer about one rollout.
	Path []PathPoint `json:"path,omitempty"`
}

// Rollout is one change on its way from proposal to outcome.
type Rollout struct {
	ID          string        `json:"id"` // UUIDv7
	Name        string        `json:"name"`
	Service     string        `json:"service"`
	Environment string        `json:"environment,omitempty"`
	Digest      assay.Digest  `json:"digest"` // of the canary's artifact
	Actor       string        `json:"actor"`  // who asked for it
	Status      RolloutStatus `json:"status"`
	Reason      string        `json:"reason"` // one sentence: why it stands where it stands
	// Warnings say what the plan cannot do in time at the traffic that was measured
	// when it was asked for.
	Warnings []string    `json:"warnings,omitempty"`
	Plan     decide.Plan `json:"plan"`
	// Load of the versions, nil where nothing was known of the old one's.
	Load *Load `json:"load,omitempty"`
	// Risk is the score that set the gate and the steps, nil where the policy does not ask for it.
	Risk *Risk `json:"risk,omitempty"`
	// Approval is the yes that it needs before its first request, nil if it needs none.
	Approval *Approval `json:"approval,omitempty"`
	Weight   int       `json:"weight"`             // the canary's share as last read back, percent
	Observed *float64  `json:"observed,omitempty"` // the canary's share of the requests counted since the step began, 0 to 1; absent before the first
	Created  time.Time `json:"created"`
	Began    time.Time `json:"began,omitzero"` // when the canary got its first traffic

	Strategy Strategy        `json:"strategy,omitempty"` // "" is a canary
	Mirror   *enforce.Mirror `json:"mirror,omitempty"`   // what is copied, of a mirrored one
	Match    *enforce.Match  `json:"match,omitempty"`    // whose requests it gets, of an A/B test
	Watch    *Watch          `json:"watch,omitempty"`    // nil if it ends when it has all the traffic

	Back *Back `json:"back,omitempty"` // of a rollback, whose new version is an older one; nil for a rollout

	Ended time.Time `json:"ended,omitzero"`

	Canary  assay.Rate `json:"canary_errors"`  // of the first indicator without bounds, since it began, or since the watch did
	Control assay.Rate `json:"control_errors"` // the old version at the same time, or its past that the watch is held against

	Decision *assay.Decision `json:"decision,omitempty"` // the newest evaluation, recorded or not
	Path     []PathPoint     `json:"path,omitempty"`     // of the evidence; only in the answer about one rollout
	// Latencies are the distributions of both versions; only in the answer about one rollout.
	Latencies []Latency `json:"latencies,omitempty"`

	StartedFact assay.FactID `json:"started_fact"`
	DecidedFact assay.FactID `json:"decided_fact,omitempty"` // the newest recorded decision
	EndedFact   assay.FactID `json:"ended_fact,omitempty"`
	// Outcome is what the last action did, judged after its window.
	Outcome *assay.ActionOutcome `json:"outcome,omitempty"`
}

// What is ordered of a rollout.
const (
	CommandPromote = "promote"
	CommandAbort   = "abort"
	CommandApprove = "approve" // of one that waits for a yes before its first request
)

// Back says of a rollback what it takes back and why.
type Back struct {
	Of     string `json:"of,omitempty"` // id of the rollout that brought the version which is left; "" if none did
	Reason string `json:"reason"`       // of whoever asked for it
	// Cause is the decision of a strategy that asked for it; "" if a person did.
	Cause assay.FactID `json:"cause,omitempty"`
	// Passed are the versions that had all the traffic later than the one that gets it
	// again, and why they do not.
	Passed []PassedOver `json:"passed,omitempty"`
}

// PassedOver is a version that is not gone back to.
type PassedOver struct {
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

// Evidence is the path of the evidence that is decided by: since the watch began, if
// it has.
func (r Rollout) Evidence() []PathPoint {
	if r.Watch != nil && !r.Watch.Began.IsZero() {
		return r.Watch.Path
	}
	return r.Path
}

// SelfChecks say how often the old version would have been stopped if it had been
// compared with itself, one sentence for each indicator that was tried.
func (r Rollout) SelfChecks() (out []string) {
	for _, i := range r.Plan.Indicators {
		c := i.Calibration
		if c == nil || c.Runs == 0 {
			continue
		}
		words := fmt.Sprintf("%s: on this service's own past, %d of %d pretended rollouts would have been stopped: false-abort rate ≤ %.2g %%", i.Name, c.Aborts, c.Runs, 100*c.High)
		if i.Dispersion > 1 {
			words += fmt.Sprintf(", with evidence divided by %.2g", i.Dispersion)
		}
		out = append(out, words)
	}
	return out
}

// PathPoint is the evidence of a rollout after one evaluation. Counts are since it began.
type PathPoint struct {
	Time    time.Time  `json:"time"`
	Weight  int        `json:"weight"` // percent
	Harm    float64    `json:"harm"`   // combined ln E
	Safe    float64    `json:"safe"`   // least ln E of the required tests
	Canary  assay.Rate `json:"canary"`
	Control assay.Rate `json:"control"`
}

// Latency is what both versions counted of one histogram since the rollout began.
type Latency struct {
	Indicator    string    `json:"indicator"`
	Bounds       []float64 `json:"bounds"`  // in the histogram's unit, ascending
	Canary       []uint64  `json:"canary"`  // requests up to each bound
	Control      []uint64  `json:"control"` // requests up to each bound
	CanaryTotal  uint64    `json:"canary_total"`
	ControlTotal uint64    `json:"control_total"`
}

// RolloutCommand is what a person tells a rollout.
type RolloutCommand struct {
	Reason string `json:"reason"`
}

// RollbackRequest asks to go back from the version that has all the traffic of a service
// to one that had it before.
type RollbackRequest struct {
	Of     string `json:"of"`           // id of the rollout that brought the version, or name of the service
	To     string `json:"to,omitempty"` // version; "" is the last one that had all the traffic and may be entered
	Reason string `json:"reason"`
}

// Decision is a recorded decision.
type Decision struct {
	ID       assay.FactID   `json:"id"`                 // of the rollout.decided or mitigation.decided fact
	Rollout  string         `json:"rollout"`            // "" for a strategy's
	Strategy string         `json:"strategy,omitempty"` // that decided
	Recorded time.Time      `json:"recorded"`
	Record   assay.Digest   `json:"record"` // of the canonical inputs and outputs, for replay
	Decision assay.Decision `json:"decision"`
	// Action is what became of it: nil if nothing was to be done or is done yet.
	Action *Acted `json:"action,omitempty"`
}

// Acted is an action that an adapter took and read back.
type Acted struct {
	Fact     assay.FactID `json:"fact"`
	Action   assay.Action `json:"action"`
	Time     time.Time    `json:"time"`             // when the world took it
	Observed int          `json:"observed"`         // share read back, percent
	Stands   float64      `json:"stands,omitempty"` // lever read back, in its unit
	Detail   string       `json:"detail,omitempty"`
}

// Traffic is what the enforcer says about itself.
type Traffic struct {
	Status enforce.Status `json:"status"`
	Error  string         `json:"error,omitempty"` // why Status is empty
}
