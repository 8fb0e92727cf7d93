package assay

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
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
	Names        []string `json:"names,omitempty"`        // patterns of artifact names: * is any characters but /, ** any
	Packages     []string `json:"packages,omitempty"`     // component names or package URLs
	Advisories   []string `json:"advisories,omitempty"`   // advisory ids or finding fingerprints
	Environments []string `json:"environments,omitempty"` // environments of the gate run
}

// MaxBypass is the longest an emergency bypass may be in force.
const MaxBypass = 4 * time.Hour

// Approval is one person's agreement to an exception.
type Approval struct {
	Approver  string    `json:"approver"`
	Time      time.Time `json:"time"`
	Statement Digest    `json:"statement,omitempty"` // of the bundle that signs it, "" if nobody signed it
}

// Exception is a time-boxed permission, asked for by one person and given by
// others; or an emergency bypass, which nobody gave and everybody sees.
type Exception struct {
	ID           string         `json:"id"` // UUIDv7
	Namespace    string         `json:"namespace"`
	Scope        ExceptionScope `json:"scope"`
	Reason       string         `json:"reason"`
	Ticket       string         `json:"ticket,omitempty"`
	State        ExceptionState `json:"state"`
	Requester    string         `json:"requester"`
	Requested    time.Time      `json:"requested"`
	Emergency    bool           `json:"emergency,omitempty"` // a bypass: in force at once, for at most MaxBypass, approved by nobody
	Needs        int            `json:"needs,omitempty"`     // approvals that it takes; 0 means 1
	Approvals    []Approval     `json:"approvals,omitempty"` // all that were given, where it takes more than one
	Approver     string         `json:"approver,omitempty"`  // who gave the last one needed; never equal to Requester
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
	return e.Granted() && !e.NotAfter.IsZero() && !t.Before(e.NotBefore) && t.Before(e.NotAfter)
}

// Granted reports whether enough people other than the requester approved e, or
// whether it is a bypass that is short enough. Whether it is in force is for ActiveAt.
func (e Exception) Granted() bool {
	if e.State != ExceptionApproved {
		return false
	}
	if e.Emergency {
		return e.Requester != "" && !e.NotBefore.IsZero() && e.NotAfter.Sub(e.NotBefore) <= MaxBypass
	}
	others := map[string]bool{identity(e.Approver): true}
	for _, a := range e.Approvals {
		others[identity(a.Approver)] = true
	}
	delete(others, "")
	delete(others, identity(e.Requester))
	return e.Approver != "" && identity(e.Approver) != identity(e.Requester) && len(others) >= e.Needs
}

// identity is the form in which two names of one person are equal.
func identity(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// Digest is the SHA-256 of e's canonical form: its JSON with every time in UTC
// and without Statement, which is made of it. A verdict and an attestation name an
// exception by the digest it had when it was approved.
func (e Exception) Digest() Digest {
	e.Statement = ""
	e.Approvals = slices.Clone(e.Approvals)
	for i := range e.Approvals {
		e.Approvals[i].Time = e.Approvals[i].Time.UTC()
	}
	for _, t := range []*time.Time{&e.Requested, &e.Approved, &e.Revoked, &e.NotBefore, &e.NotAfter} {
		*t = t.UTC()
	}
	b, err := json.Marshal(e)
	if err != nil {
		return "" // a year beyond 9999; such an exception has no digest and matches nothing
	}
	return DigestOf(sha256.Sum256(b))
}
