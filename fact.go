package assay

import (
	"encoding/json"
	"time"
)

// FactID is a UUIDv7 in its 36-character text form.
type FactID string

// Retention says how long a fact's payload is kept. A ledger proof outlives the payload.
type Retention string

const (
	// RetainAudit facts are sequenced into the ledger.
	RetainAudit Retention = "audit"
	// RetainOperational facts are kept for as long as boards and reports look back.
	RetainOperational Retention = "operational"
)

// Fact is something that happened. It is appended once, in the transaction that
// changes the state it speaks of, and never altered.
type Fact struct {
	ID             FactID          `json:"id"`
	Kind           string          `json:"kind"`              // "stage.event", for example "gate.verdict"
	Version        int             `json:"version"`           // of the payload's shape, from 1
	Time           time.Time       `json:"time"`              // when it happened
	Recorded       time.Time       `json:"recorded,omitzero"` // when the store took it; the store sets it
	Namespace      string          `json:"namespace"`
	Service        string          `json:"service,omitempty"`
	Environment    string          `json:"environment,omitempty"`
	Subject        Digest          `json:"subject,omitempty"`
	TraceID        string          `json:"trace_id,omitempty"`
	DeploymentID   string          `json:"deployment_id,omitempty"`
	PolicyRevision Digest          `json:"policy_revision,omitempty"`
	Actor          string          `json:"actor"`            // the person or machine that made it happen
	Causes         []FactID        `json:"causes,omitempty"` // why it happened; walk up for reasons, down for effects
	Retention      Retention       `json:"retention"`
	Payload        json.RawMessage `json:"payload"`
}

// Kinds of fact, one constant each, so that a reader can find every writer.
const (
	FactVerdict            = "gate.verdict"
	FactAttested           = "attest.signed"
	FactStatementSigned    = "statement.signed"
	FactExceptionRequested = "exception.requested"
	FactExceptionApproved  = "exception.approved"
	FactExceptionRevoked   = "exception.revoked"
	FactExceptionUsed      = "exception.used"
	FactExceptionEndorsed  = "exception.endorsed" // an approval that is not yet enough
	FactExceptionBypassed  = "exception.bypassed"
	FactExceptionExpiring  = "exception.expiring"
	FactExceptionExpired   = "exception.expired"
	FactTestsObserved      = "tests.observed"
	FactInventoryObserved  = "inventory.observed"
	FactInventoryScanned   = "inventory.scanned"
	FactFindingOpened      = "finding.opened"
	FactFindingClosed      = "finding.closed"
	FactFindingAssessed    = "finding.assessed" // a VEX document says that it does not matter, or no longer does
	FactKeyCreated         = "key.created"
	FactKeyRotated         = "key.rotated"
	FactKeyRevoked         = "key.revoked"
	FactTokenCreated       = "token.created"
	FactTokenRevoked       = "token.revoked"
	FactLedgerEpoch        = "ledger.epoch"
	FactLedgerHalted       = "ledger.halted"
	FactLedgerAudited      = "ledger.audited"
	FactPayloadExpired     = "payload.expired"
	FactRolloutStarted     = "rollout.started"
	FactRolloutDecided     = "rollout.decided"
	FactRolloutActed       = "rollout.acted"
	FactRolloutRefused     = "rollout.refused"
	FactRolloutCommanded   = "rollout.commanded"
	FactRolloutEnded       = "rollout.ended"
	FactRolloutJudged      = "rollout.judged"
	FactRolloutRenewed     = "rollout.renewed"
	FactMitigationDecided  = "mitigation.decided"
	FactMitigationActed    = "mitigation.acted"
	FactMitigationRefused  = "mitigation.refused"
	FactMitigationTold     = "mitigation.told"
	FactMitigationJudged   = "mitigation.judged"
	FactMitigationFrozen   = "mitigation.frozen" // a lever swings: it is held where it stands
	FactAdmissionDenied    = "admission.denied"
	FactAdmissionAllowed   = "admission.allowed"
	FactAnomalyFound       = "anomaly.found"
	FactDivergenceJudged   = "divergence.judged"
	FactAutomationHalted   = "automation.halted" // a kill switch was pulled
	FactAutomationLifted   = "automation.lifted"
	FactModelRefitted      = "model.refitted"
	FactModelDemoted       = "model.demoted"
	FactModelPromoted      = "model.promoted"
	FactModelRolledBack    = "model.rolled-back"
	FactTelemetryImported  = "telemetry.imported" // history of another server or file came into the series
)
