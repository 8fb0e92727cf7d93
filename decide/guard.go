package decide

import (
	"time"

	"assay.dev/assay"
)

// Level is how much a service lets its automation do.
type Level string

const (
	LevelObserve   Level = "observe"   // decide and record, never act
	LevelApprove   Level = "approve"   // act when a person has said yes
	LevelAutomatic Level = "automatic" // act
)

// Prerequisite is something that must hold before a service's automation may act by
// itself, for example "its objective has counted for 30 days".
type Prerequisite struct {
	Name  string `json:"name"`
	Met   bool   `json:"met"`
	Words string `json:"words"`
}

// Limit is a hard cap of one target. It rests on no model.
type Limit struct {
	Target string   `json:"target"` // lever or lever/scope; a lever alone means all its scopes
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`
	// MaxStep is the largest change at once, as a share of the value now; 0 is any.
	MaxStep float64 `json:"max_step,omitempty"`
}

// Rails are the declared guardrails of a strategy.
type Rails struct {
	MinInterval time.Duration `json:"min_interval"` // between two moves of one target
	DeadTime    time.Duration `json:"dead_time"`    // after a move its effect cannot be seen: nothing else moves for the same service
	Dwell       time.Duration `json:"dwell"`        // how long it must have been quiet before anything is given back
	Band        float64       `json:"band"`         // a smaller move, as a share of the value now, is not worth making
	Toggles     int           `json:"toggles"`      // changes of direction of one target per hour; the last is kept for protecting
	Level       Level         `json:"level"`
	Limits      []Limit       `json:"limits,omitempty"`
	// Rank is the precedence of the strategy: where two want one target, the lower wins.
	Rank int `json:"rank"`
	// ApprovalTimeout and ApprovalDefault say what an unanswered question means.
	ApprovalTimeout time.Duration `json:"approval_timeout"`
	ApprovalDefault bool          `json:"approval_default,omitempty"` // true: after the time-out it is done
}

// Move is one action that was taken.
type Move struct {
	Time     time.Time        `json:"time"`
	Strategy string           `json:"strategy"`
	Rank     int              `json:"rank"` // of the strategy
	Kind     assay.ActionKind `json:"kind"`
	Service  string           `json:"service"`
	Target   string           `json:"target"` // as Action.Target
	From     float64          `json:"from"`
	To       float64          `json:"to"`
	Stands   bool             `json:"stands"`           // it was not given back yet
	Harmed   bool             `json:"harmed,omitempty"` // its outcome was harm: giving it back waits for nothing
}

// Refusal is that the world did not take an action: nothing moved, and to try the same at
// every look would change nothing and keep what comes next from being tried.
type Refusal struct {
	Time   time.Time `json:"time"` // the newest
	Target string    `json:"target"`
	Count  int       `json:"count"` // in a row
	Reason string    `json:"reason"`
}

// Thaw is that a person lifted the freeze of a target: how it turned before is no swing.
type Thaw struct {
	Time   time.Time `json:"time"`
	Target string    `json:"target"`
}

// Scopes of kill switches.
const (
	HaltGlobal    = "global"
	HaltNamespace = "namespace"
	HaltService   = "service"
)

// Halt is a kill switch that is on.
type Halt struct {
	Scope  string `json:"scope"` // global, namespace or service
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason"`
}

// Approval is a question to a person about one action.
type Approval struct {
	Action assay.Action `json:"action"` // kind, lever, scope and value count
	Asked  time.Time    `json:"asked"`
	// Answer is yes, no, or nothing yet; a yes counts for the time-out from Answered on.
	Answer   string    `json:"answer,omitempty"`
	Answered time.Time `json:"answered,omitzero"`
	By       string    `json:"by,omitempty"`
}

// History is everything that the guardrails look back at, recorded with the decision.
type History struct {
	Strategy      string         `json:"strategy"`
	Moves         []Move         `json:"moves,omitempty"` // of the service, by any strategy, oldest first
	Halts         []Halt         `json:"halts,omitempty"`
	Approvals     []Approval     `json:"approvals,omitempty"`
	Prerequisites []Prerequisite `json:"prerequisites,omitempty"`
	Refusals      []Refusal      `json:"refusals,omitempty"` // one of a target
	Thaws         []Thaw         `json:"thaws,omitempty"`    // one of a target
	// Quiet is since when the indicator has been good without a break; zero if it is not.
	Quiet time.Time `json:"quiet,omitzero"`
}
