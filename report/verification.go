package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// Limits of a verification pass rate.
const (
	// MaxPeriods is how many periods one answer tells apart.
	MaxPeriods = 400
	// MaxEnvironments is how many environments it tells apart; the checks of further
	// ones are counted together.
	MaxEnvironments = 50
	// MaxFacts is how many facts of each kind it is made of.
	MaxFacts = 500_000
)

const (
	// DefaultTarget is the share of checks that should pass.
	DefaultTarget = 0.99
	// DefaultWindow is how far an answer reaches back unless it is told.
	DefaultWindow = 30 * 24 * time.Hour
)

// periods are the lengths that an answer is divided into, in UTC. Weeks begin on Monday.
var periods = map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}

// Periods are the names of the periods, the shortest first.
var Periods = []string{"hour", "day", "week"}

// Standing says whether the target of a pass rate holds. Nothing checked is not a pass.
type Standing string

const (
	RateHolds      Standing = "holds"
	RateMissed     Standing = "missed"
	NothingChecked Standing = "nothing-checked"
)

// Rate counts checks. A check is one requirement of a recorded verdict; what the
// policies objected to about nothing that was required is one more, which did not pass.
type Rate struct {
	Verdicts int      `json:"verdicts"`
	Checks   int      `json:"checks"`
	Passed   int      `json:"passed"`
	Violated int      `json:"violated"` // present, and something that blocks objects to it
	Absent   int      `json:"absent"`   // missing, stale or unreadable; also when an exception excused that
	Excused  int      `json:"excused"`  // verdicts that an exception helped
	Flaky    int      `json:"flaky"`    // test cases that failed and passed; part of no other count
	Ratio    *float64 `json:"ratio"`    // passed of all checks; null if there are none
	Standing Standing `json:"standing"`
}

// PeriodRate is the rate of one period; the first and the last may be cut.
type PeriodRate struct {
	From time.Time `json:"from"` // inclusive
	To   time.Time `json:"to"`   // exclusive
	Rate
}

// EnvironmentRate is the rate of one environment. Verdicts about none have the name "".
type EnvironmentRate struct {
	Environment string `json:"environment"`
	Others      bool   `json:"others,omitempty"` // all beyond MaxEnvironments together
	Rate
	Periods []PeriodRate `json:"periods"` // all of them in order, those without a check too
}

// Title is the environment's name for people.
func (e EnvironmentRate) Title() string {
	switch {
	case e.Others:
		return "other environments"
	case e.Environment == "":
		return "no environment"
	}
	return e.Environment
}

// Verification is how many checks passed in a time, by environment and period.
type Verification struct {
	Namespace    string            `json:"namespace"`
	From         time.Time         `json:"from"` // inclusive
	To           time.Time         `json:"to"`   // exclusive
	Period       string            `json:"period"`
	Target       float64           `json:"target"` // share
	Made         time.Time         `json:"made"`
	Total        Rate              `json:"total"`
	Environments []EnvironmentRate `json:"environments"` // by name
}

// Checks counts the checks of one verdict, or of the payload of its fact.
func Checks(requirements []assay.Requirement, outcome assay.Outcome) Rate {
	r := Rate{Verdicts: 1, Checks: len(requirements)}
	for _, q := range requirements {
		switch q.State {
		case assay.Satisfied:
			r.Passed++
		case assay.Violated:
			r.Violated++
		default:
			r.Absent++
		}
	}
	if outcome == assay.OutcomeFail && r.Violated == 0 {
		r.Checks, r.Violated = r.Checks+1, 1
	}
	return r
}

// add adds counts.
func (r *Rate) add(o Rate) {
	r.Verdicts, r.Checks, r.Passed = r.Verdicts+o.Verdicts, r.Checks+o.Checks, r.Passed+o.Passed
	r.Violated, r.Absent = r.Violated+o.Violated, r.Absent+o.Absent
	r.Excused, r.Flaky = r.Excused+o.Excused, r.Flaky+o.Flaky
}

// judge sets the ratio and whether it reaches the target.
func (r *Rate) judge(target float64) {
	if r.Checks == 0 {
		r.Standing = NothingChecked
		return
	}
	ratio := float64(r.Passed) / float64(r.Checks)
	r.Ratio, r.Standing = &ratio, RateMissed
	if ratio >= target {
		r.Standing = RateHolds
	}
}

// Percent is the ratio for people, cut to two places so that what misses a target is
// not shown as if it held.
func (r Rate) Percent() string {
	if r.Checks == 0 {
		return "nothing checked"
	}
	p := r.Passed * 10000 / r.Checks
	return fmt.Sprintf("%d.%02d %%", p/100, p%100)
}

// Rates says how many checks of a namespace's recorded verdicts passed. Its time
// follows the verdicts recorded since req.From, its memory MaxPeriods times
// MaxEnvironments. More than MaxFacts is assay.CodeTooLarge.
func Rates(ctx context.Context, s store.Store, namespace string, req api.VerificationRequest, now time.Time) (Verification, error) {
	v := Verification{Namespace: namespace, Period: cmp.Or(req.Period, "day"), Target: cmp.Or(req.Target, DefaultTarget), Made: now.UTC()}
	v.From, v.To = req.From.UTC(), req.To.UTC()
	if req.To.IsZero() || v.To.After(v.Made) {
		v.To = v.Made // nothing was checked tomorrow
	}
	if req.From.IsZero() {
		v.From = v.To.Add(-DefaultWindow)
	}
	if err := v.check(); err != nil {
		return v, err
	}
	t := &tally{v: &v, length: periods[v.Period], environments: map[string]*EnvironmentRate{}}
	of := span{namespace: namespace, environment: req.Environment, from: v.From, to: v.To}
	if err := of.walk(ctx, s, assay.FactVerdict, t.verdict); err != nil {
		return v, err
	}
	if err := of.walk(ctx, s, assay.FactTestsObserved, t.flaky); err != nil {
		return v, err
	}
	t.finish()
	return v, nil
}

// check refuses what cannot be answered.
func (v *Verification) check() error {
	length, ok := periods[v.Period]
	switch {
	case !ok:
		return &assay.Error{Code: assay.CodeInvalid, Field: "period", Msg: strict.OneOf(v.Period, Periods)}
	case !(v.Target > 0 && v.Target <= 1):
		return &assay.Error{Code: assay.CodeInvalid, Field: "target", Msg: fmt.Sprintf("%v is not a share above 0 and up to 1", v.Target)}
	case !v.From.Before(v.To):
		return &assay.Error{Code: assay.CodeInvalid, Field: "from", Msg: "is not before the end, " + v.To.Format(time.RFC3339)}
	}
	first, last := v.From.Truncate(length), v.To.Add(-1).Truncate(length)
	// In seconds, because a duration holds only 292 years.
	if n := (last.Unix()-first.Unix())/int64(length/time.Second) + 1; n > MaxPeriods {
		return &assay.Error{
			Code: assay.CodeTooLarge, Field: "from", Msg: fmt.Sprintf("is %d periods of one %s before the end; at most %d are told apart", n, v.Period, MaxPeriods),
			Hint: "ask for a shorter time or for longer periods",
		}
	}
	return nil
}

// tally adds up facts.
type tally struct {
	v            *Verification
	length       time.Duration
	environments map[string]*EnvironmentRate
	others       *EnvironmentRate
}

func (t *tally) verdict(f assay.Fact) error {
	var said struct {
		Outcome      assay.Outcome       `json:"outcome"`
		Requirements []assay.Requirement `json:"requirements"`
		Exceptions   []string            `json:"exceptions"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	r := Checks(said.Requirements, said.Outcome)
	if len(said.Exceptions) > 0 {
		r.Excused = 1
	}
	t.count(f, r)
	return nil
}

func (t *tally) flaky(f assay.Fact) error {
	var said struct {
		Flaky []string `json:"flaky"`
	}
	if err := decode(f, &said); err != nil {
		return err
	}
	t.count(f, Rate{Flaky: len(said.Flaky)})
	return nil
}

// count adds to the period of the fact's time in its environment.
func (t *tally) count(f assay.Fact, r Rate) {
	if r == (Rate{}) {
		return // a report without a flaky test
	}
	e := t.environment(f.Environment)
	e.add(r)
	e.Periods[int(f.Time.UTC().Truncate(t.length).Sub(t.v.From.Truncate(t.length))/t.length)].add(r)
}

func (t *tally) environment(name string) *EnvironmentRate {
	if e, known := t.environments[name]; known {
		return e
	}
	if len(t.environments) < MaxEnvironments {
		t.environments[name] = &EnvironmentRate{Environment: name, Periods: t.empty()}
		return t.environments[name]
	}
	if t.others == nil {
		t.others = &EnvironmentRate{Others: true, Periods: t.empty()}
	}
	return t.others
}

// empty are the periods of the time.
func (t *tally) empty() (out []PeriodRate) {
	for from := t.v.From; from.Before(t.v.To); {
		to := from.Truncate(t.length).Add(t.length)
		if to.After(t.v.To) {
			to = t.v.To
		}
		out = append(out, PeriodRate{From: from, To: to})
		from = to
	}
	return out
}

// finish puts everything in order and judges it.
func (t *tally) finish() {
	list := []EnvironmentRate{}
	for _, e := range t.environments {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b EnvironmentRate) int { return cmp.Compare(a.Environment, b.Environment) })
	if t.others != nil {
		list = append(list, *t.others)
	}
	for i := range list {
		e := &list[i]
		t.v.Total.add(e.Rate)
		e.judge(t.v.Target)
		for j := range e.Periods {
			e.Periods[j].judge(t.v.Target)
		}
	}
	t.v.Total.judge(t.v.Target)
	t.v.Environments = list
}
