package assay

import "time"

// ExceptionState is where an exception stands in its life.
type ExceptionState string

const (
	// ExceptionRequested waits for a second person.
	ExceptionRequested ExceptionState = "requested"
	// ExceptionApproved excuses what it covers between NotBefore and NotAfter.
	ExceptionApproved ExceptionState = "approved"
	// ExceptionRevoked excuses nothing, for ever.
	ExceptionRevoked ExceptionState = "revoked"
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
	ID        string         `json:"id"` // UUIDv7
	Namespace string         `json:"namespace"`
	Scope     ExceptionScope `json:"scope"`
	Reason    string         `json:"reason"`
	Ticket    string         `json:"ticket,omitempty"`
	State     ExceptionState `json:"state"`
	Requester string         `json:"requester"`
	Requested time.Time      `json:"requested"`
	Approver  string         `json:"approver,omitempty"` // never equal to Requester
	Approved  time.Time      `json:"approved,omitzero"`
	Revoker   string         `json:"revoker,omitempty"`
	Revoked   time.Time      `json:"revoked,omitzero"`
	NotBefore time.Time      `json:"not_before"`
	NotAfter  time.Time      `json:"not_after"` // mandatory; an exception without an end never matches
}

// ActiveAt reports whether e excuses anything at t.
func (e Exception) ActiveAt(t time.Time) bool {
	return e.State == ExceptionApproved && e.Approver != "" && e.Approver != e.Requester &&
		!e.NotAfter.IsZero() && !t.Before(e.NotBefore) && t.Before(e.NotAfter)
}
