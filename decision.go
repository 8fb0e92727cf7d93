package assay

import (
	"strconv"
	"time"
)

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

	// Measure says what Canary and Control count; "" is bad events of all. Of the others
	// CanaryMean and ControlMean are what is compared, in the unit that Measured.Unit names.
	Measure     Measured `json:"measure,omitempty"`
	Less        bool     `json:"less,omitempty"` // less is worse
	CanaryMean  float64  `json:"canary_mean,omitempty"`
	ControlMean float64  `json:"control_mean,omitempty"`
	// Ratio is how many times the old version's the new one's is; of values and gauges of
	// which less is worse, of their distances from the best. 0 if the old version has none.
	Ratio  float64 `json:"ratio,omitempty"`
	Margin float64 `json:"margin,omitempty"` // how many times worse is too bad, where it is not the plan's

	Dispersion float64     `json:"dispersion,omitempty"` // what the evidence was divided by, if above 1
	Divergence *Divergence `json:"divergence,omitempty"` // absent until both versions have bad events
}

// Measured is what a test compares beside bad events of all: nothing that an error budget
// knows.
type Measured string

const (
	MeasureCount Measured = "count" // events per request; Rate has events and requests
	MeasureTime  Measured = "time"  // events per hour of a replica; Rate has events and milliseconds
	MeasureValue Measured = "value" // the mean of a value per request; Rate has units of its maximum and requests
	MeasureGauge Measured = "gauge" // the mean of a value that was looked at; Rate has no events, and samples
)

// Unit says what a mean is per; "" for a gauge, which is a value itself.
func (m Measured) Unit() string {
	switch m {
	case MeasureCount, MeasureValue:
		return "per request"
	case MeasureTime:
		return "per hour"
	}
	return ""
}

// Words are a mean in its unit.
func (m Measured) Words(mean float64) string {
	out := strconv.FormatFloat(mean, 'g', 3, 64)
	if unit := m.Unit(); unit != "" {
		out += " " + unit
	}
	return out
}

// Divergence is how far the new version is from the old one, with the interval that
// belongs to the test's ratio.
type Divergence struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high,omitempty"` // absent if the interval is open
	Unit  string  `json:"unit"`           // "points": percentage points of a rate; "relative": 0.1 is 10 % slower; "more": 0.1 is 10 % more of what is measured; "further": 10 % further from the best
}

// TrafficMix is how unlike the traffic of the two versions is.
type TrafficMix struct {
	Distance float64   `json:"distance"` // share of the new version's requests that would have to move, 0 to 1
	Differs  bool      `json:"differs"`  // more than chance and enough to matter
	Words    string    `json:"words"`    // one sentence that names where
	Strata   []Stratum `json:"strata"`
}

// PlannedLook is one look of a rollout that looks at fixed numbers of requests.
type PlannedLook struct {
	Number   int     `json:"number"` // from 1
	Of       int     `json:"of"`
	Test     string  `json:"test"` // the one that is closest to its boundary
	Z        float64 `json:"z"`
	Boundary float64 `json:"boundary"`
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
	Loss     *Loss   `json:"loss,omitempty"` // of a mitigation; absent for a rollout
}

// Loss is what an action is expected to cost until the next choice. Every part is a
// share of the error budget: 1 is all that the objective's window allows.
type Loss struct {
	Burn       float64 `json:"burn"`                 // spent by what is wrong, as far as the action leaves it
	Own        float64 `json:"own,omitempty"`        // spent by the action itself, for example requests that it drops
	Money      float64 `json:"money,omitempty"`      // by the declared worth of the budget; negative saves
	Disruption float64 `json:"disruption,omitempty"` // of making the change
	Blast      float64 `json:"blast,omitempty"`      // of failing, for all that it touches
	Total      float64 `json:"total"`
	Harm       float64 `json:"p_harm"`          // probability that it spends more budget than doing nothing
	Drawn      float64 `json:"drawn,omitempty"` // the total at the drawn effects, where the choice was made by a draw
}

// ClueWeight is what one clue was worth to one hypothesis.
type ClueWeight struct {
	Clue   string  `json:"clue"`
	LogLR  float64 `json:"log_lr"`           // ln of the likelihood ratio, as used
	Stated float64 `json:"stated,omitempty"` // before the cap, where it was capped
}

// Clue is one piece of evidence about what is wrong.
type Clue struct {
	Name  string `json:"name"`
	Words string `json:"words"` // with the numbers
}

// Belief is the probability of one hypothesis about what is wrong.
type Belief struct {
	Hypothesis string       `json:"hypothesis"`
	Before     float64      `json:"before"`
	After      float64      `json:"after"`
	Clues      []ClueWeight `json:"clues,omitempty"`
}

// Expected is what the chosen action should do, and when that is looked at.
type Expected struct {
	Indicator string     `json:"indicator"`
	Change    float64    `json:"change"`   // in share of what is bad now: −0.8 is four fifths less
	Interval  [2]float64 `json:"interval"` // that holds it with a probability of 80 %
	CheckAt   time.Time  `json:"check_at"`
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
	Harm       float64        `json:"harm"`                  // combined ln E against "no harm"
	AbortAt    float64        `json:"abort_at"`              // ln(1/alpha), or less where AbortBasis says why
	AbortBasis string         `json:"abort_basis,omitempty"` // absent if the bound of alpha is a theorem
	Safe       float64        `json:"safe"`                  // least ln E of the required tests against "harm above the margin"
	ShipAt     float64        `json:"ship_at"`               // ln(1/beta)
	Score      *int           `json:"score,omitempty"`       // 0 is harm shown, 100 is safety shown, 50 is nothing known
	Mix        *TrafficMix    `json:"mix,omitempty"`         // absent without strata
	Look       *PlannedLook   `json:"look,omitempty"`        // the latest, of a plan with fixed looks
	Clues      []Clue         `json:"clues,omitempty"`       // of a mitigation
	Beliefs    []Belief       `json:"beliefs,omitempty"`     // of a mitigation, most probable first
	Candidates []Candidate    `json:"candidates"`
	Guards     []GuardVerdict `json:"guards,omitempty"`

	Action    Action    `json:"action"`                  // the choice
	Proposed  *Action   `json:"proposed,omitempty"`      // what a person is asked about, where the choice is to ask
	Expected  *Expected `json:"expected,omitempty"`      // of a mitigation that changes something
	Remaining float64   `json:"remaining_requests"`      // canary requests until safety is shown, median; -1 is never at these rates
	RemLow    float64   `json:"remaining_low,omitempty"` // that and RemHigh hold it with a probability of 80 %
	RemHigh   float64   `json:"remaining_high,omitempty"`
	Words     string    `json:"words"`   // one sentence
	Reasons   []string  `json:"reasons"` // with the numbers
}
