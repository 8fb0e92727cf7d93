package api

import (
	"time"

	"assay.dev/assay"
)

// MaxOwners is the largest file of owners that a gate run may send, in bytes.
const MaxOwners = 256 << 10

// BypassRequest asks for an emergency bypass: an exception that is in force at once.
type BypassRequest struct {
	Scope    assay.ExceptionScope `json:"scope"`
	Reason   string               `json:"reason"`
	Ticket   string               `json:"ticket,omitempty"`
	NotAfter time.Time            `json:"not_after"` // mandatory, at most assay.MaxBypass from now
}

// ExceptionReport says which exceptions a namespace lives with, how old they are and whose.
type ExceptionReport struct {
	Time       time.Time        `json:"time"`
	Owners     []ExceptionOwner `json:"owners"`     // of open exceptions, who has the oldest first
	Exceptions []ExceptionAge   `json:"exceptions"` // the open ones, oldest first
	Closed     int              `json:"closed"`     // that expired or were revoked
}

// ExceptionOwner sums up the open exceptions that one person asked for.
type ExceptionOwner struct {
	Owner     string `json:"owner"`
	Waiting   int    `json:"waiting"`   // for approvals
	InForce   int    `json:"in_force"`  // or to come into force
	Emergency int    `json:"emergency"` // of those in force, bypasses
	Uses      int    `json:"uses"`      // verdicts that they let pass
	OldestAge int64  `json:"oldest_age_seconds"`
}

// ExceptionAge is one open exception as the report lists it.
type ExceptionAge struct {
	ID        string               `json:"id"`
	State     assay.ExceptionState `json:"state"`
	Emergency bool                 `json:"emergency,omitempty"`
	Owner     string               `json:"owner"` // who asked for it
	Rules     []string             `json:"rules"`
	Ticket    string               `json:"ticket,omitempty"`
	Age       int64                `json:"age_seconds"`  // since it was asked for
	Left      int64                `json:"left_seconds"` // until it ends
	Uses      int                  `json:"uses"`
	LastUsed  time.Time            `json:"last_used,omitzero"`
}
