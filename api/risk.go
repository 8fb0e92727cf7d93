package api

import "time"

// Change is what somebody says about a change before it gets traffic.
type Change struct {
	Lines        int  `json:"lines"`                  // changed
	Files        int  `json:"files"`                  // changed
	Irreversible bool `json:"irreversible,omitempty"` // it changes data that cannot be changed back
	Repairs      bool `json:"repairs,omitempty"`      // it is to end an incident: it goes out although the error budget is spent
}

// Gates of a change, by its risk.
const (
	RiskNormal  = "normal"  // as declared
	RiskSlow    = "slow"    // smaller steps
	RiskApprove = "approve" // smaller steps, and a person says yes first
	RiskFreeze  = "freeze"  // not now, unless it repairs
)

// Risk is an explained score of a change. It is a declared convention, and no
// probability: what it is for is that two people look at the same number.
type Risk struct {
	Score   int          `json:"score"` // 0 to 100, the sum of the factors
	Factors []RiskFactor `json:"factors"`
	Gate    string       `json:"gate"`
	Steps   []int        `json:"steps"`  // of the rollout, percent
	Slower  float64      `json:"slower"` // factor on the least time of a step
	Words   string       `json:"words"`
}

// RiskFactor is what one cause adds to a score.
type RiskFactor struct {
	Name   string `json:"name"`
	Points int    `json:"points"`
	Most   int    `json:"most"` // that it can add
	Words  string `json:"words"`
}

// Approval is the yes of a person that a rollout needs before its first request.
type Approval struct {
	By     string    `json:"by,omitempty"` // "" while it waits
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time,omitzero"`
}
