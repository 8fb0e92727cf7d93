package assay

import (
	"crypto/sha256"
	"encoding/json"
	"time"
)

// ExceptionState is where an exception stands in its life.
type ExceptionState string

const (
	ExceptionRequested ExceptionState = "requested" // waits for a second person
	ExceptionApproved  ExceptionState = "approved"  // excuses what it covers between NotBefore and NotAfter
	ExceptionRevoked   ExceptionState = "revoked"   // excuses nothing, for ever
)

// ExceptionScope says what an exception covers. Rules is mandatory; every other
// list narrows the scope, and an empty one does not narrow it.
type ExceptionScope struct {
	Rules        []string `json:"rules"`                  // exact rule names, or "absent/<requirement>"
	Subjects     []Digest `json:"subjects,omitempty"`     // artifacts
	Packages     []string `json:"packages,omitempty"`     // component names or package URLs
	Advisories   []string `json:"advisories,omitempty"`   // advisory ids or finding fingerprints
	Environments []string `json:"environments,omitempty"` // environments of the gate run
}

// Exception is a time-boxed permission, asked for by one person and given by another.
type Exception struct {
	ID           string         `json:"id"` // UUIDv7
	Namespace    string         `json:"namespace"`
	Scope        ExceptionScope `json:"scope"`
	Reason       string         `json:"reason"`
	Ticket       string         `json:"ticket,omitempty"`
	State        ExceptionState `json:"state"`
	Requester    string         `json:"requester"`
	Requested    time.Time      `json:"requested"`
	Approver     string         `json:"approver,omitempty"` // never equal to Requester
	Approved     time.Time      `json:"approved,omitzero"`
	Revoker      string         `json:"revoker,omitempty"`
	Revoked      time.Time      `json:"revoked,omitzero"`
	RevokeReason string         `json:"revoke_reason,omitempty"`
	NotBefore    time.Time      `json:"not_before"`
	NotAfter     time.Time      `json:"not_after"`           // mandatory; an exception without an end never matches
	Statement    Digest         `json:"statement,omitempty"` // of the bundle that signs the approval, "" if nobody signed it
}

// ActiveAt reports whether e excuses anything at t.
func (e Exception) ActiveAt(t time.Time) bool {
	return e.State == ExceptionApproved && e.Approver != "" && e.Approver != e.Requester &&
		!e.NotAfter.IsZero() && !t.Before(e.NotBefore) && t.Before(e.NotAfter)
}

// Digest is the SHA-256 of e's canonical form: its JSON with every time in UTC
// and without Statement, which is made of it. A verdict and an attestation name an
// exception by the digest it had when it was approved.
func (e Exception) Digest() Digest {
	e.Statement = ""
	for _, t := range []*time.Time{&e.Requested, &e.Approved, &e.Revoked, &e.NotBefore, &e.NotAfter} {
		*t = t.UTC()
	}
	b, err := json.Marshal(e)
	if err != nil {
		return "" // a year beyond 9999; such an exception has no digest and matches nothing
	}
	return DigestOf(sha256.Sum256(b))
}
