package mitigate

import (
	"fmt"
	"math"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Proposed is a change before it is made, as far as its risk is concerned.
type Proposed struct {
	Lines        int     `json:"lines"`             // changed
	Files        int     `json:"files"`             // changed
	Unsized      bool    `json:"unsized,omitempty"` // nobody said how large it is: it counts as if it were as large as can be
	Blast        float64 `json:"blast"`             // share of users that it reaches at once if it fails, 0 to 1
	Failed       int     `json:"failed"`
	Changes      int     `json:"changes"`     // earlier ones of the service, of which Failed were taken back
	Exceptions   int     `json:"exceptions"`  // active ones that it needs
	BudgetLeft   float64 `json:"budget_left"` // of the error budget, 0 to 1; below 0 nobody knows
	Irreversible bool    `json:"irreversible,omitempty"`
	Repairs      bool    `json:"repairs,omitempty"` // it is to end an incident
}

// Risk scores a change. More of anything that is a risk never lowers the score.
// CodeInvalid for numbers that cannot be.
func Risk(c Proposed) (api.Risk, error) {
	switch {
	case c.Lines < 0 || c.Files < 0 || c.Failed < 0 || c.Exceptions < 0 || c.Failed > c.Changes:
		return api.Risk{}, assay.Errorf(assay.CodeInvalid, "%d lines, %d files, %d of %d changes taken back and %d exceptions are no counts of a change", c.Lines, c.Files, c.Failed, c.Changes, c.Exceptions)
	case !(c.Blast >= 0 && c.Blast <= 1) || !(c.BudgetLeft <= 1):
		return api.Risk{}, assay.Errorf(assay.CodeInvalid, "a blast radius of %v and a budget of %v are not shares", c.Blast, c.BudgetLeft)
	}
	var r api.Risk
	add := func(name string, share float64, most int, format string, args ...any) {
		p := int(math.Round(min(max(share, 0), 1) * float64(most)))
		r.Factors = append(r.Factors, api.RiskFactor{Name: name, Points: p, Most: most, Words: fmt.Sprintf(format, args...)})
		r.Score += p
	}
	// Half of what size can add is reached at 200 lines or 10 files.
	size := max(float64(c.Lines)/(float64(c.Lines)+200), float64(c.Files)/(float64(c.Files)+10))
	if c.Unsized {
		add("size", 1, 20, "nobody said how large it is")
	} else {
		add("size", size, 20, "%d lines in %d files", c.Lines, c.Files)
	}
	blast := c.Blast
	if c.Irreversible {
		blast = max(blast, 0.8)
	}
	add("blast radius", math.Sqrt(blast), 25, "it reaches %.0f %% of the users at once%s", 100*c.Blast, irreversible(c))
	// One failure in ten is reckoned with before anything is known.
	rate := (float64(c.Failed) + 0.5) / (float64(c.Changes) + 5)
	add("history", rate/0.4, 25, "%d of %d earlier changes were taken back", c.Failed, c.Changes)
	add("exceptions", float64(c.Exceptions)/3, 10, "%d active exceptions", c.Exceptions)
	switch {
	case c.BudgetLeft < 0:
		add("budget", 0.5, 20, "nobody knows how much of the error budget is left")
	default:
		add("budget", 1-c.BudgetLeft, 20, "%.0f %% of the error budget is left", 100*c.BudgetLeft)
	}
	riskGate(&r, c)
	return r, nil
}

func irreversible(c Proposed) string {
	if c.Irreversible {
		return ", and what it changes cannot be changed back"
	}
	return ""
}

// riskGate says what a score asks for. What repairs goes out with a spent budget too,
// but not without a person.
func riskGate(r *api.Risk, c Proposed) {
	switch {
	case c.BudgetLeft == 0 && !c.Repairs:
		r.Gate, r.Steps, r.Slower, r.Words = api.RiskFreeze, []int{1, 5, 10, 25, 50, 100}, 2, "the error budget is spent: only what repairs should go out"
	case r.Score >= 60 || c.Irreversible && r.Score >= 40 || c.BudgetLeft == 0:
		r.Gate, r.Steps, r.Slower, r.Words = api.RiskApprove, []int{1, 5, 10, 25, 50, 100}, 2, "a person should say yes first, and it should go slowly"
	case r.Score >= 35:
		r.Gate, r.Steps, r.Slower, r.Words = api.RiskSlow, []int{5, 10, 25, 50, 100}, 1.5, "it should go in smaller steps"
	default:
		r.Gate, r.Steps, r.Slower, r.Words = api.RiskNormal, []int{10, 25, 50, 100}, 1, "it may go as declared"
	}
}
