package policy

import (
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of a Strategy.
const (
	// MaxSignals is how many signals one strategy may read.
	MaxSignals = 32
	// MaxScopes is how many regions, tenants, tiers, classes or jobs one strategy may name.
	MaxScopes = 64
	// MaxEvents is how many events one strategy's calendar may hold.
	MaxEvents = 200
)

// Level is how much a strategy may do by itself. Each level includes the ones before it.
type Level string

// The levels.
const (
	LevelObserve Level = "observe" // decide and record; nobody is asked and nothing is moved
	LevelPropose Level = "propose" // show what it would do
	LevelApprove Level = "approve" // ask a person before each action
	LevelAct     Level = "act"     // act
)

// Levels lists them from the least to the most that is done automatically.
var Levels = []Level{LevelObserve, LevelPropose, LevelApprove, LevelAct}

// Strategy owns one standing objective: what is watched, which lever may be
// moved and within which bounds. What is left out has a default, filled in by
// Parse.
type Strategy struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Strategy.
	Kind string `json:"kind"`
	// Metadata names the strategy.
	Metadata Metadata `json:"metadata"`
	// Spec says what is watched and what may be done about it.
	Spec StrategySpec `json:"spec"`

	Place Place `json:"-"`

	doc strict.Document // for the places of errors
}

// StrategySpec is what a strategy declares: exactly one law of scale, stabilise,
// throttle, divert, isolate, tiers, cost, contain, rollback and data, and what it
// reads.
type StrategySpec struct {
	// Service whose levers are moved, as its metrics and its door name it.
	Service string `json:"service"`
	// Environment that the service runs in; left out if there is only one.
	Environment string `json:"environment,omitempty"`
	// Objective names an OpenSLO SLO, or "slo/index"; expected losses are stated in shares of its error budget.
	Objective string `json:"objective,omitempty"`
	// OutcomeStep is how long one of the steps is by which it is judged whether an action helped: five of them from the second after it on, eight after it, held against as many others of the last 720; 1m if left out, from 500ms to 1m. It should not be shorter than the time between two of the objective's samples.
	OutcomeStep Duration `json:"outcomeStep,omitempty"`
	// BudgetWorth is what the whole error budget of the service's window is worth, in the currency of this strategy's prices: with it what an action costs or saves is weighed against harm. Left out, money is not weighed.
	BudgetWorth float64 `json:"budgetWorth,omitempty"`
	// Level is how much is done without a person: observe, propose (the default), approve or act. It is lowered by the engine while the prerequisites of act do not hold.
	Level Level `json:"level,omitempty"`
	// Precedence decides between strategies that want one lever: the higher goes first; 50 if left out.
	Precedence int `json:"precedence,omitempty"`
	// Deterministic forbids every action that rests on a model: rules alone decide.
	Deterministic bool `json:"deterministic,omitempty"`
	// MaxAge is how old a signal may be before it is unknown; 30s if left out.
	MaxAge Duration `json:"maxAge,omitempty"`
	// MinCompleteness is the share of sources, 0 to 1, that must have reported; 0.9 if left out.
	MinCompleteness float64 `json:"minCompleteness,omitempty"`
	// Signals are what the law reads, each under the name that the law gives it.
	Signals []StrategySignal `json:"signals"`
	// Levers name the door that moves a lever, or say by PromQL where one stands that no door reads back, which is never moved automatically. What is left out is moved by the proxy, if it can be.
	Levers []StrategyLever `json:"levers,omitempty"`
	// Damping changes how calmly the lever is moved; the law's own if left out.
	Damping *Damping `json:"damping,omitempty"`
	// Guardrails hold moves back where damping is mistaken.
	Guardrails *StrategyGuardrails `json:"guardrails,omitempty"`
	// Explore lets the choice among reversible actions be drawn by what is known of their effects (Thompson sampling), where their expected loss is at most that much above the least: a share of the error budget, up to 0.01; 0 (the default) always takes the best.
	Explore float64 `json:"explore,omitempty"`
	// ApprovalTimeout is how long a person has to approve; 15m if left out.
	ApprovalTimeout Duration `json:"approvalTimeout,omitempty"`
	// OnTimeout says what an unanswered proposal becomes: drop (the default) or act.
	OnTimeout string `json:"onTimeout,omitempty"`

	// Scale keeps as many replicas as the load over the start-up lead will need.
	Scale *ScaleLaw `json:"scale,omitempty"`
	// Stabilise calms an autoscaler that exists.
	Stabilise *StabiliseLaw `json:"stabilise,omitempty"`
	// Throttle limits what is let in by latency, queue and database.
	Throttle *ThrottleLaw `json:"throttle,omitempty"`
	// Divert takes traffic from a region that fails.
	Divert *DivertLaw `json:"divert,omitempty"`
	// Isolate holds a tenant that takes more than its share.
	Isolate *IsolateLaw `json:"isolate,omitempty"`
	// Tiers gives each tier the cheapest class that keeps its promise.
	Tiers *TiersLaw `json:"tiers,omitempty"`
	// Cost keeps a day's spend below its cap.
	Cost *CostLaw `json:"cost,omitempty"`
	// Contain cuts off what attacks, and lets it in again quickly when it was a mistake.
	Contain *ContainLaw `json:"contain,omitempty"`
	// Rollback takes the traffic from a version that does harm, also once its rollout has ended.
	Rollback *RollbackLaw `json:"rollback,omitempty"`
	// Data proposes retention and replicas of a data store.
	Data *DataLaw `json:"data,omitempty"`
}

// StrategySignal is one thing that a strategy reads.
type StrategySignal struct {
	// Name is one that the law knows, for example load or latency.
	Name string `json:"name"`
	// Query is PromQL that gives one number, or one for each value of the label in by.
	Query string `json:"query"`
	// Fallback is PromQL over a second source of the same, of the same labels: it is read while what Query gives is missing, stale or incomplete, and every decision says so.
	Fallback string `json:"fallback,omitempty"`
	// By is the label that tells regions, tenants, classes, tiers, jobs, sources or versions apart; left out for one number.
	By string `json:"by,omitempty"`
}

// StrategyLever is what moves a lever, or where it stands.
type StrategyLever struct {
	// Lever is its name, for example replicas.
	Lever assay.Lever `json:"lever"`
	// Door moves it and says where it stands: the name of one of the installation's doors, or proxy.
	Door string `json:"door,omitempty"`
	// Query is PromQL that gives where it stands, or one number for each value of the label in by; only without a door.
	Query string `json:"query,omitempty"`
	// By is the label that tells its scopes apart; left out for one.
	By string `json:"by,omitempty"`
}

// Damping says how calmly a lever is moved. Protect is the direction that takes
// load or harm away; relax gives back.
type Damping struct {
	// Protect is the pace of taking harm away.
	Protect *Pace `json:"protect,omitempty"`
	// Relax is the pace of giving back.
	Relax *Pace `json:"relax,omitempty"`
	// MaxToggles is how often the direction may change in an hour; 5 if left out. At the last but one nothing is given back any more.
	MaxToggles int `json:"maxToggles,omitempty"`
}

// Pace is how a lever moves in one direction.
type Pace struct {
	// DeadBand is the relative difference, for example 0.05, below which nothing is done.
	DeadBand *float64 `json:"deadBand,omitempty"`
	// Window is for how long every recommendation must have agreed.
	Window Duration `json:"window,omitempty"`
	// Share is the greatest relative change in one period, for example 0.1.
	Share float64 `json:"share,omitempty"`
	// Step is the greatest change in one period in the lever's unit; the greater of both counts.
	Step float64 `json:"step,omitempty"`
	// Period is the time that share and step are counted over.
	Period Duration `json:"period,omitempty"`
	// DeadTime is how long after a move nothing is done in this direction, because its effect cannot be seen yet.
	DeadTime Duration `json:"deadTime,omitempty"`
}

// Laws lists the names of the laws in the order of the fields.
var Laws = []string{"scale", "stabilise", "throttle", "divert", "isolate", "tiers", "cost", "contain", "rollback", "data"}

// Law is the name of the law that is declared, the first of them if there are several.
func (s StrategySpec) Law() string {
	if list := s.declared(); len(list) > 0 {
		return list[0]
	}
	return ""
}

func (s StrategySpec) declared() (out []string) {
	for i, set := range []bool{
		s.Scale != nil, s.Stabilise != nil, s.Throttle != nil, s.Divert != nil, s.Isolate != nil,
		s.Tiers != nil, s.Cost != nil, s.Contain != nil, s.Rollback != nil, s.Data != nil,
	} {
		if set {
			out = append(out, Laws[i])
		}
	}
	return out
}

// Errorf is an error at the place of one of the strategy's fields, for checks
// that other packages make; numbers of list entries are written in decimal.
func (s Strategy) Errorf(field []string, format string, args ...any) error {
	return s.errorf(field, format, args...)
}

func (s Strategy) errorf(field []string, format string, args ...any) *assay.Error {
	if s.doc == (strict.Document{}) { // not made by Parse
		e := assay.Errorf(assay.CodeInvalid, format, args...)
		e.Field = strings.Join(field, ".")
		return e.In(s.Place.File)
	}
	return s.doc.Errorf(field, format, args...).In(s.Place.File)
}
