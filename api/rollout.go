package api

import (
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
	// RolloutPromoted ended with all the traffic on the new version.
	RolloutPromoted RolloutStatus = "promoted"
	// RolloutAborted ended with no traffic on the new version.
	RolloutAborted RolloutStatus = "aborted"
	// RolloutRefused ended before it began: the enforcer did not let the version in.
	RolloutRefused RolloutStatus = "refused"
	// RolloutFailed ended because it could not be carried out, for example because
	// somebody else moved the traffic.
	RolloutFailed RolloutStatus = "failed"
)

// Ended reports whether nothing more will happen to the rollout.
func (s RolloutStatus) Ended() bool {
	return s != RolloutStarting && s != RolloutRunning && s != RolloutAsking
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
	Plan        decide.Plan   `json:"plan"`
	Weight      int           `json:"weight"` // the canary's share as last read back, percent
	Created     time.Time     `json:"created"`
	Began       time.Time     `json:"began,omitzero"` // when the canary got its first traffic
	Ended       time.Time     `json:"ended,omitzero"`

	Canary  assay.Rate `json:"canary_errors"`  // of the first indicator without bounds, since it began
	Control assay.Rate `json:"control_errors"` // the old version at the same time

	Decision *assay.Decision `json:"decision,omitempty"` // the newest evaluation, recorded or not
	Path     []PathPoint     `json:"path,omitempty"`     // of the evidence; only in the answer about one rollout

	StartedFact assay.FactID `json:"started_fact"`
	DecidedFact assay.FactID `json:"decided_fact,omitempty"` // the newest recorded decision
	EndedFact   assay.FactID `json:"ended_fact,omitempty"`
	// Outcome is what the last action did, judged after its window.
	Outcome *assay.ActionOutcome `json:"outcome,omitempty"`
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

// RolloutCommand is what a person tells a rollout.
type RolloutCommand struct {
	Reason string `json:"reason"`
}

// Decision is a recorded decision.
type Decision struct {
	ID       assay.FactID   `json:"id"` // of the rollout.decided fact
	Rollout  string         `json:"rollout"`
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
	Time     time.Time    `json:"time"`     // when the world took it
	Observed int          `json:"observed"` // share read back, percent
	Detail   string       `json:"detail,omitempty"`
}

// Traffic is what the enforcer says about itself.
type Traffic struct {
	Status enforce.Status `json:"status"`
	Error  string         `json:"error,omitempty"` // why Status is empty
}
