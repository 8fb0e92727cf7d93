package api

import "time"

// ComplianceRequest asks for the evidence for a framework's controls.
type ComplianceRequest struct {
	Framework string    `json:"framework"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Lines     int       `json:"lines,omitempty"` // of each query, the newest; default 25
}

// VerificationRequest asks how many checks passed. Whatever is left out has a default.
type VerificationRequest struct {
	From        time.Time `json:"from,omitzero"`         // inclusive; default 30 days before To
	To          time.Time `json:"to,omitzero"`           // exclusive; default now, and never later
	Period      string    `json:"period,omitempty"`      // hour, day or week, in UTC; default day
	Environment string    `json:"environment,omitempty"` // only this one
	Target      float64   `json:"target,omitempty"`      // share of checks that should pass; default 0.99
}

// OperationsRequest asks what rollouts and strategies did, and what became of it. Whatever
// is left out has a default.
type OperationsRequest struct {
	From        time.Time `json:"from,omitzero"`         // inclusive; default 30 days before To
	To          time.Time `json:"to,omitzero"`           // exclusive; default now, and never later
	Service     string    `json:"service,omitempty"`     // only this one
	Environment string    `json:"environment,omitempty"` // only this one
}
