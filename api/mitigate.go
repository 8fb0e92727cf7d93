package api

import (
	"time"

	"assay.dev/assay"
)

// StrategyStatus is what is known of one declared strategy.
type StrategyStatus struct {
	Name       string    `json:"name"`
	Service    string    `json:"service"`
	Law        string    `json:"law"`
	Level      string    `json:"level"`           // declared
	Effective  string    `json:"effective"`       // what of it holds now
	Lowered    string    `json:"lowered"`         // why it is lower than declared, "" if it is not
	Precedence int       `json:"precedence"`      // the higher goes first
	Rules      bool      `json:"rules,omitempty"` // deterministic: no model
	Revision   string    `json:"revision"`        // of the policy it is from
	Paused     string    `json:"paused,omitempty"`
	Halted     string    `json:"halted,omitempty"` // why the kill switch is on; then nothing is done by any strategy
	Decided    time.Time `json:"decided,omitzero"`

	Decision *assay.Decision `json:"decision,omitempty"` // the newest
	Bands    []StrategyBand  `json:"bands"`
	Doors    []StrategyDoor  `json:"doors,omitempty"` // one for each lever that it moves
	Model    *StrategyModel  `json:"model,omitempty"`
	Question *assay.Action   `json:"question,omitempty"` // that waits for a person
	// QuestionID names the question in an answer to it.
	QuestionID string        `json:"question_id,omitempty"`
	Asked      time.Time     `json:"asked,omitzero"`
	Pending    *assay.Action `json:"pending,omitempty"` // that was decided and is not read back yet
	Fact       assay.FactID  `json:"fact,omitempty"`    // of the newest recorded decision

	// Frozen are its levers that swing, and are held for it.
	Frozen []StrategyFreeze `json:"frozen,omitempty"`

	// Outcome is what the newest judged action did; Helped of Attempts is how many of all
	// that could be judged did what they should, and still did at the end of the window.
	Outcome  *assay.ActionOutcome `json:"outcome,omitempty"`
	Helped   int                  `json:"helped,omitempty"`
	Attempts int                  `json:"attempts,omitempty"`

	// MostToggles is how often a lever may change its direction in an hour.
	MostToggles int `json:"most_toggles,omitempty"`
	// Trail is where levers and signals stood, one point a minute for up to three hours,
	// and Moves are those of the last hour; oldest first, only in the answer about one
	// strategy.
	Trail []StrategyPoint `json:"trail,omitempty"`
	Moves []StrategyMove  `json:"moves,omitempty"`
}

// StrategyPoint is where a strategy's levers and signals stood when it looked.
type StrategyPoint struct {
	Time    time.Time     `json:"time"`
	Levers  []LeverPoint  `json:"levers,omitempty"`
	Signals []SignalPoint `json:"signals,omitempty"` // that are one number, and were known
}

// LeverPoint is one lever, as in StrategyBand.
type LeverPoint struct {
	Target string  `json:"target"`
	Now    float64 `json:"now"`
	Want   float64 `json:"want"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// SignalPoint is one signal.
type SignalPoint struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// StrategyMove is one move of a lever that the world took.
type StrategyMove struct {
	Time   time.Time        `json:"time"`
	Target string           `json:"target"`
	Kind   assay.ActionKind `json:"kind"`
	From   float64          `json:"from"`
	To     float64          `json:"to"`
	Harmed bool             `json:"harmed,omitempty"` // it was judged to have harmed
}

// StrategyBand is one lever: where it stands, where the law wants it, and between
// which bounds a recommendation changes nothing.
type StrategyBand struct {
	Target  string  `json:"target"`
	Now     float64 `json:"now"`
	Want    float64 `json:"want"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Held    string  `json:"held,omitempty"`
	Toggles int     `json:"toggles"` // changes of direction in the last hour
}

// StrategyFreeze is a lever that changed its direction too often in half an hour, and is
// held until that is past or a person lifts it.
type StrategyFreeze struct {
	Target string    `json:"target"`
	Turns  int       `json:"turns"`
	Until  time.Time `json:"until"`         // if it does not turn again
	All    bool      `json:"all,omitempty"` // nothing moves it; otherwise nothing is given back
	Words  string    `json:"words"`
}

// StrategyDoor is what moves one lever of a strategy, and where it stood when the
// door was asked last.
type StrategyDoor struct {
	Lever  string          `json:"lever"`
	Door   string          `json:"door"`
	Class  string          `json:"class,omitempty"` // what it promises: fenced, idempotent, at-most-once
	Why    string          `json:"why,omitempty"`   // it moves nothing
	Asked  time.Time       `json:"asked,omitzero"`
	Stands []StrategyStand `json:"stands,omitempty"`
	// Acknowledged is the newest value that was asked for, and read back.
	Acknowledged *StrategyStand `json:"acknowledged,omitempty"`
}

// StrategyStand is where a lever stands.
type StrategyStand struct {
	Scope string    `json:"scope,omitempty"`
	Value float64   `json:"value"`
	Time  time.Time `json:"time,omitzero"` // of an acknowledgement
	Key   string    `json:"key,omitempty"` // of the action that was acknowledged
}

// StrategyModel is the health of the forecast that a strategy may act on.
type StrategyModel struct {
	At      time.Time `json:"at"`
	Skill   float64   `json:"skill"`    // above 0 it is better than repeating the last season
	Cover   float64   `json:"cover_90"` // share of the past that 90 % intervals held
	Trusted bool      `json:"trusted"`
	Why     string    `json:"why,omitempty"` // it is not
	Upper   []float64 `json:"upper,omitempty"`
	Mean    []float64 `json:"mean,omitempty"`
	Step    float64   `json:"step_seconds"`
}

// StrategyAnswer is what a person tells a strategy.
type StrategyAnswer struct {
	// Told is approve or refuse (Question), pause or resume, allow (more spend until the
	// day ends), clear (call a source harmless for a day) or thaw (let a lever that swung
	// move again).
	Told   string  `json:"told"`
	Reason string  `json:"reason"`           // why, one line
	Amount float64 `json:"amount,omitempty"` // to allow, in the strategy's currency
	Source string  `json:"source,omitempty"` // to clear
	Target string  `json:"target,omitempty"` // to thaw; may be left out if there is one
	// Question is the QuestionID that is approved or refused.
	Question string `json:"question,omitempty"`
}
