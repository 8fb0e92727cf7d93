package policy

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"assay.dev/assay"
)

// Input is the document that Rego sees as `input`. Fields with empty values are
// left out, so that `not finding.suppressed` reads as one expects.
type Input struct {
	// Subject is the judged artifact.
	Subject assay.Subject `json:"subject"`
	// Environment the artifact is to enter; left out if the run names none.
	Environment string `json:"environment,omitempty"`
	// Time is the instant the verdict is about, RFC 3339 in UTC. Rego has no other clock.
	Time time.Time `json:"time"`
	// Gate that asks.
	Gate InputGate `json:"gate"`
	// Evidence lists every report that was presented, required or not, sorted by kind and digest.
	Evidence []InputEvidence `json:"evidence"`
	// Action that a rollout or a strategy proposes; left out for a gate. Then there is no
	// subject and no evidence, and only packages named action or action.… are asked.
	Action *InputAction `json:"action,omitempty"`
}

// InputAction is what Rego sees of a proposed action.
type InputAction struct {
	// Plan is the declared rollout or strategy that proposes it.
	Plan string `json:"plan"`
	// Kind of the action: advance, finish, abort, adjust, restore or stop.
	Kind assay.ActionKind `json:"kind"`
	// Service that it is about.
	Service string `json:"service"`
	// Version that gets or loses traffic, of a rollout.
	Version string `json:"version,omitempty"`
	// From is the version's share of the traffic before, in percent.
	From int `json:"from"`
	// Weight is the version's share of the traffic after, in percent.
	Weight int `json:"weight"`
	// Lever that is moved, of a strategy.
	Lever assay.Lever `json:"lever,omitempty"`
	// Scope of the lever: a region, tenant, class or route.
	Scope string `json:"scope,omitempty"`
	// Now is the lever's value, in its unit.
	Now float64 `json:"now"`
	// Want is the value that the lever is to have.
	Want float64 `json:"want"`
}

// InputGate is what Rego sees of the gate.
type InputGate struct {
	// Name of the gate.
	Name string `json:"name"`
	// Namespace of the gate.
	Namespace string `json:"namespace"`
	// Mode of the gate.
	Mode assay.Mode `json:"mode"`
}

// InputEvidence is what Rego sees of one report.
type InputEvidence struct {
	// Kind of the report.
	Kind assay.EvidenceKind `json:"kind"`
	// Format of the report, for example sarif-2.1.0.
	Format string `json:"format"`
	// Tool that made the report.
	Tool assay.Tool `json:"tool"`
	// Origin of the report: live or recorded.
	Origin assay.Origin `json:"origin"`
	// Digest of the report's bytes.
	Digest assay.Digest `json:"digest"`
	// Subject is the digest of the artifact that the report says it is about, if it says so.
	Subject assay.Digest `json:"subject,omitempty"`
	// AgeSeconds is how old the report was at Time.
	AgeSeconds int64 `json:"age_seconds"`
	// Requirements names the gate's requirements that accepted the report; left out if none did.
	Requirements []string `json:"requirements,omitempty"`
	// Tests counts test cases, for test reports.
	Tests *assay.TestCounts `json:"tests,omitempty"`
	// Components of a bill of materials.
	Components []assay.Component `json:"components,omitempty"`
	// Findings of the report. What an accepted VEX document says does not matter is suppressed, with the words "vex: …".
	Findings []assay.Finding `json:"findings,omitempty"`
	// Measures of a coverage or performance report.
	Measures []assay.Measure `json:"measures,omitempty"`
	// Predicate type, of an attestation.
	Predicate string `json:"predicate,omitempty"`
	// Producer is the verified identity of who made the report; left out if nobody vouches for it.
	Producer string `json:"producer,omitempty"`
}

// Digest names the document: the SHA-256 of its JSON form as encoding/json writes it.
func (in Input) Digest() (assay.Digest, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(in); err != nil {
		return "", assay.Errorf(assay.CodeInvalid, "input cannot be written as JSON: %w", err)
	}
	return assay.DigestOf([32]byte(h.Sum(nil))), nil
}

// Objection is one thing that a Rego package said against the input.
type Objection struct {
	// Rule is the name the rule gave, or "deny" or "warn" where it gave only a text.
	Rule string
	// Advice is true for members of `warn`: they never block, whatever the policy's mode.
	Advice bool
	// Message says what was found and what was expected; never empty.
	Message string
	// Severity of the objection; unknown if the rule gave none.
	Severity assay.Severity
	// Remedy says how to fix it, "" if the rule does not say.
	Remedy string
	// Kind of evidence it is about, "" if the rule does not say.
	Kind assay.EvidenceKind
	// Location in the judged source, zero if the rule does not say.
	Location assay.Location
	// Component that is affected, zero if the rule does not say.
	Component assay.Component
	// Fingerprint of the finding it is about, "" if the rule does not say.
	Fingerprint string
}
