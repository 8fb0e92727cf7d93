package assay

import "time"

// Certainty says what an error bound rests on.
type Certainty string

const (
	Exact      Certainty = "exact"      // a theorem under the stated assumptions
	Calibrated Certainty = "calibrated" // measured; carries the measurement
)

// HarmSize is the posterior share of one size of change: the new version's rate
// (or odds) is Ratio times the old one's.
type HarmSize struct {
	Ratio float64 `json:"ratio"`
	Share float64 `json:"share"`
}

// TestValue is what one sequential test says in a decision. E values are carried
// as natural logarithms, because they overflow; Harm crosses when it reaches the
// decision's AbortAt, Safe when it reaches ShipAt.
type TestValue struct {
	Name       string     `json:"name"` // indicator, with the bound for a latency: "latency>0.25s"
	Weight     float64    `json:"weight"`
	Required   bool       `json:"required"`           // must be shown safe before the rollout advances
	Bound      float64    `json:"bound,omitempty"`    // exceedance bound, in the indicator's unit
	Canary     Rate       `json:"canary"`             // since the rollout began
	Control    Rate       `json:"control"`            // the old version at the same time
	HarmBefore float64    `json:"harm_before"`        // ln E before these readings
	Harm       float64    `json:"harm"`               // ln E after them
	SafeBefore float64    `json:"safe_before"`        // ln E before these readings
	Safe       float64    `json:"safe"`               // ln E after them
	RatioLow   float64    `json:"ratio_low"`          // anytime confidence interval of the ratio; 0 is open
	RatioHigh  float64    `json:"ratio_high"`         // 0 is open
	Remaining  float64    `json:"remaining_requests"` // canary requests until it is shown safe at these rates; -1 is never
	Sizes      []HarmSize `json:"sizes,omitempty"`    // posterior over sizes of harm, largest share first
	Certainty  Certainty  `json:"certainty"`
	Basis      string     `json:"basis"` // the assumptions, or the measurement
}

// Rate is a count of bad events among all events.
type Rate struct {
	Bad   uint64 `json:"bad"`
	Total uint64 `json:"total"`
}

// Candidate is an action that was weighed, with what it is expected to cost until
// the next look.
type Candidate struct {
	Action   Action  `json:"action"`
	Errors   float64 `json:"expected_errors"` // excess bad responses, compared with the old version alone
	Budget   float64 `json:"budget_share"`    // the same as a share of the error budget; -1 if the budget is unknown
	Eligible bool    `json:"eligible"`        // its evidence suffices
	Reason   string  `json:"reason"`
}

// Decision is one explained choice. It is a pure function of its recorded inputs.
type Decision struct {
	Engine  string    `json:"engine"` // version of the deciding code
	Plan    string    `json:"plan"`
	Service string    `json:"service"`
	Canary  string    `json:"canary"`  // new version
	Control string    `json:"control"` // old version
	Time    time.Time `json:"time"`
	Inputs  Digest    `json:"inputs"` // of the canonical plan, state, readings and guard verdicts

	Signals    []Signal       `json:"signals"`
	Tests      []TestValue    `json:"tests"`
	Harm       float64        `json:"harm"`     // combined ln E against "no harm"
	AbortAt    float64        `json:"abort_at"` // ln(1/alpha)
	Safe       float64        `json:"safe"`     // least ln E of the required tests against "harm above the margin"
	ShipAt     float64        `json:"ship_at"`  // ln(1/beta)
	Candidates []Candidate    `json:"candidates"`
	Guards     []GuardVerdict `json:"guards,omitempty"`

	Action    Action   `json:"action"` // the choice
	Remaining float64  `json:"remaining_requests"`
	Words     string   `json:"words"`   // one sentence
	Reasons   []string `json:"reasons"` // with the numbers
}
