package api

import "time"

// ComplianceRequest asks for the evidence for a framework's controls.
type ComplianceRequest struct {
	Framework string    `json:"framework"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Lines     int       `json:"lines,omitempty"` // of each query, the newest; default 25
}
