package decide

import (
	"time"

	"assay.dev/assay"
)

// Size is how much of something is expected, and how far off that may be.
type Size struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
}

// Rule is what a threshold says about an option, without any model.
type Rule struct {
	Rank  int    `json:"rank"` // of those that fire the least goes first
	Fires bool   `json:"fires"`
	Words string `json:"words"` // the threshold and the value
}

// Option is one action that could be taken now, proposed by a strategy's law. Doing
// nothing, asking and paging are always possible and need not be proposed.
type Option struct {
	Action     assay.Action `json:"action"`
	Words      string       `json:"words"` // why it is proposed, one sentence
	Reversible bool         `json:"reversible"`
	// Gone is, by hypothesis, the share of what is bad that goes away: 1 is all, 0
	// nothing, below 0 it gets worse. A hypothesis not named: nothing.
	Gone map[Hypothesis]Size `json:"gone,omitempty"`
	// Own is what the action itself spends while it stands, for example by refusing
	// requests: a share of the error budget per minute. Negative gives back what an
	// earlier action spends.
	Own float64 `json:"own,omitempty"`
	// Risk is what it spends besides, by hypothesis: giving back capacity costs nothing
	// unless there is an overload. A share of the error budget per minute.
	Risk map[Hypothesis]float64 `json:"risk,omitempty"`
	// Money is what it costs while it stands, in the declared currency per hour;
	// negative saves.
	Money float64 `json:"money,omitempty"`
	// Disruption is what making the change costs once: a share of the error budget.
	Disruption float64 `json:"disruption,omitempty"`
	// Blast is the share of the service's users that it touches, 0 to 1.
	Blast float64 `json:"blast"`
	// Lead is how long it takes until it works.
	Lead time.Duration `json:"lead,omitempty"`
	Rule *Rule         `json:"rule,omitempty"`
	// Told marks a restore that a person asked for: it rests on no input, and guards alone
	// hold it back.
	Told bool `json:"told,omitempty"`
}

// Rates convert what is not an error budget into one.
type Rates struct {
	// BudgetWorth is what the whole error budget is worth, in the declared currency; 0
	// means that money is not weighed.
	BudgetWorth float64 `json:"budget_worth,omitempty"`
	// Failure is the share of the budget that is reckoned to be lost when an action that
	// touches everybody fails.
	Failure float64 `json:"failure"`
	// Ask is what interrupting a person is reckoned at, a share of the budget, and Answer
	// how long it takes until somebody has answered and it is done.
	Ask    float64       `json:"ask"`
	Answer time.Duration `json:"answer"`
}

// Problem is everything that one choice of a mitigation is made of. NewProblem has the
// defaults.
type Problem struct {
	Strategy    string         `json:"strategy"`
	Service     string         `json:"service"`
	Environment string         `json:"environment,omitempty"`
	Indicator   string         `json:"indicator"` // that is to become better
	Signals     []assay.Signal `json:"signals"`   // the inputs, with their age; an unknown one forbids what is automatic

	// Burn is the share of the whole error budget that what is wrong spends in a minute
	// if nothing is done, now or by the forecast: a burn rate of 1 over 30 days is 1/43200.
	Burn float64 `json:"burn"`
	// Stands is how long the choice stands: losses are reckoned until then.
	Stands time.Duration `json:"stands"`
	// Check is when after the choice its effect is looked at.
	Check time.Duration `json:"check"`

	Prior   Prior    `json:"prior,omitempty"` // nil is DefaultPrior
	Clues   []Clue   `json:"clues,omitempty"`
	Cap     float64  `json:"cap"` // of |ln LR| of one clue
	Options []Option `json:"options"`
	Rates   Rates    `json:"rates"`

	// Margin is by how much, as a share of the budget, an action must be expected to be
	// better than doing nothing. It is also what counts as harm.
	Margin float64 `json:"margin"`
	// MaxHarm is the largest probability of harm that an automatic action may have, MaxBlast
	// the largest share of users that it may touch; above either a person is asked.
	MaxHarm  float64 `json:"max_harm"`
	MaxBlast float64 `json:"max_blast"`
	// Answers are what people said about actions that were above them, as Rails.Answers
	// gives it: a yes lifts both for exactly that action, and a no ends the question.
	Answers []Approval `json:"answers,omitempty"`
	// Explore allows to choose by a draw among reversible actions whose expected loss is
	// at most that much (a share of the budget) above the least; 0 never draws.
	Explore float64 `json:"explore,omitempty"`
	// Rules means that there is no model: thresholds in their order, nothing else.
	Rules bool `json:"rules,omitempty"`
	// Deterministic marks a scope that never gets a probabilistic action: it is decided
	// by rules, whatever else is said.
	Deterministic bool `json:"deterministic,omitempty"`

	// Learned is what earlier actions taught, as Learned.About gives it.
	Learned Learned `json:"learned"`
}

// NewProblem has the defaults for everything but names, burn and options.
func NewProblem() Problem {
	return Problem{
		Stands: 10 * time.Minute, Check: 5 * time.Minute, Cap: DefaultCap,
		Rates: Rates{Failure: 0.01, Ask: 1e-4, Answer: 5 * time.Minute}, Margin: 1e-5, MaxHarm: 0.2, MaxBlast: 0.5,
		Learned: NewLearned(),
	}
}

// Bounds of a Problem.
const (
	MaxOptions = 100
	MaxSignals = 1_000
)
