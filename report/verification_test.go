package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/report"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

// past is a store whose clock the test sets, with verdicts in it.
type past struct {
	*mem.Store
	t   *testing.T
	now time.Time
}

func newPast(t *testing.T) *past {
	p := &past{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	p.Store = mem.New(mem.Config{Now: func() time.Time { return p.now }})
	return p
}

// tell appends a fact of now.
func (p *past) tell(kind, environment, payload string) {
	p.t.Helper()
	err := p.Update(p.t.Context(), func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{
			Kind: kind, Version: 1, Time: p.now, Namespace: "shop", Environment: environment, Actor: "ci",
			Retention: assay.RetainOperational, Payload: []byte(payload),
		})
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// verdict records what became of each requirement.
func (p *past) verdict(environment string, outcome assay.Outcome, states ...assay.RequirementState) {
	p.t.Helper()
	var list []string
	for _, s := range states {
		list = append(list, fmt.Sprintf(`{"name":"n","kind":"sbom","reason":"r","state":%q}`, s))
	}
	p.tell(assay.FactVerdict, environment, fmt.Sprintf(`{"outcome":%q,"requirements":[%s]}`, outcome, strings.Join(list, ",")))
}

func (p *past) rates(req api.VerificationRequest) report.Verification {
	p.t.Helper()
	v, err := report.Rates(p.t.Context(), p, "shop", req, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func TestChecksAreTheRequirementsAndWhatPoliciesObjectToBesides(t *testing.T) {
	of := func(states ...assay.RequirementState) (out []assay.Requirement) {
		for _, s := range states {
			out = append(out, assay.Requirement{State: s})
		}
		return out
	}
	for name, c := range map[string]struct {
		requirements []assay.Requirement
		outcome      assay.Outcome
		want         report.Rate
	}{
		"all is well":               {of(assay.Satisfied, assay.Satisfied), assay.OutcomePass, report.Rate{Verdicts: 1, Checks: 2, Passed: 2}},
		"one is violated":           {of(assay.Satisfied, assay.Violated), assay.OutcomeFail, report.Rate{Verdicts: 1, Checks: 2, Passed: 1, Violated: 1}},
		"one is absent":             {of(assay.Missing, assay.Satisfied), assay.OutcomeAbsent, report.Rate{Verdicts: 1, Checks: 2, Passed: 1, Absent: 1}},
		"absent and excused":        {of(assay.Missing), assay.OutcomePass, report.Rate{Verdicts: 1, Checks: 1, Absent: 1}},
		"an objection about none":   {of(assay.Satisfied), assay.OutcomeFail, report.Rate{Verdicts: 1, Checks: 2, Passed: 1, Violated: 1}},
		"another one, and absent":   {of(assay.Missing), assay.OutcomeFail, report.Rate{Verdicts: 1, Checks: 2, Absent: 1, Violated: 1}},
		"violated is the verdict's": {of(assay.Violated), assay.OutcomeFail, report.Rate{Verdicts: 1, Checks: 1, Violated: 1}},
	} {
		if got := report.Checks(c.requirements, c.outcome); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAPassRateIsByEnvironmentAndPeriodAndHoldsItsTarget(t *testing.T) {
	p := newPast(t)
	begin := p.now
	for range 99 {
		p.verdict("prod", assay.OutcomePass, assay.Satisfied)
	}
	p.verdict("prod", assay.OutcomeFail, assay.Violated) // 99 of 100: exactly the target
	p.now = begin.Add(30 * time.Hour)
	p.verdict("staging", assay.OutcomeAbsent, assay.Satisfied, assay.Missing)
	p.now = begin.Add(72 * time.Hour)
	v := p.rates(api.VerificationRequest{From: begin, To: begin.Add(999 * time.Hour)})
	if !v.To.Equal(p.now) {
		t.Errorf("it ends at %s, after now", v.To)
	}
	if len(v.Environments) != 2 || v.Environments[0].Environment != "prod" {
		t.Fatalf("%+v", v.Environments)
	}
	prod, staging := v.Environments[0], v.Environments[1]
	if prod.Standing != report.RateHolds || prod.Percent() != "99.00 %" || staging.Standing != report.RateMissed || staging.Percent() != "50.00 %" {
		t.Errorf("prod %s %s, staging %s %s", prod.Standing, prod.Percent(), staging.Standing, staging.Percent())
	}
	if v.Total.Checks != 102 || v.Total.Passed != 100 || v.Total.Standing != report.RateMissed || v.Total.Percent() != "98.03 %" {
		t.Errorf("all together %+v, %s", v.Total, v.Total.Percent())
	}
	if len(staging.Periods) != 3 {
		t.Fatalf("%d days, want 3", len(staging.Periods))
	}
	for i, want := range []report.Standing{report.NothingChecked, report.RateMissed, report.NothingChecked} {
		if day := staging.Periods[i]; day.Standing != want || (day.Ratio == nil) != (want == report.NothingChecked) {
			t.Errorf("day %d of staging: %+v, want %s", i, day, want)
		}
	}
}

func TestWhereNothingWasCheckedThereIsNoRate(t *testing.T) {
	p := newPast(t)
	p.tell(assay.FactTestsObserved, "prod", `{"flaky":["a","b"]}`)
	p.tell(assay.FactTestsObserved, "staging", `{"flaky":[]}`)
	p.now = p.now.Add(time.Hour)
	v := p.rates(api.VerificationRequest{})
	if v.Total.Standing != report.NothingChecked || v.Total.Ratio != nil || v.Total.Percent() != "nothing checked" || v.Total.Flaky != 2 {
		t.Errorf("%+v", v.Total)
	}
	if len(v.Environments) != 1 || v.Environments[0].Standing != report.NothingChecked {
		t.Errorf("%+v", v.Environments)
	}
}

func TestFlakyTestsAreCountedApart(t *testing.T) {
	p := newPast(t)
	p.verdict("prod", assay.OutcomePass, assay.Satisfied)
	p.tell(assay.FactTestsObserved, "prod", `{"flaky":["a","b","c"]}`)
	p.now = p.now.Add(time.Hour)
	want := report.Rate{Verdicts: 1, Checks: 1, Passed: 1, Flaky: 3}
	got := p.rates(api.VerificationRequest{}).Total
	if got.Ratio == nil || *got.Ratio != 1 {
		t.Fatalf("%+v", got)
	}
	if got.Ratio, got.Standing = nil, ""; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestOnlyWhatIsOfTheTimeAndTheEnvironmentCounts(t *testing.T) {
	p := newPast(t)
	begin := p.now
	for range 5 { // more than one page of facts each
		for range 60 {
			p.verdict("prod", assay.OutcomePass, assay.Satisfied)
			p.verdict("staging", assay.OutcomeFail, assay.Violated)
		}
		p.now = p.now.Add(24 * time.Hour)
	}
	for name, c := range map[string]struct {
		req  api.VerificationRequest
		want int
	}{
		"all":                   {api.VerificationRequest{}, 600},
		"one environment":       {api.VerificationRequest{Environment: "prod"}, 300},
		"from the third day":    {api.VerificationRequest{From: begin.Add(48 * time.Hour)}, 360},
		"after its instant":     {api.VerificationRequest{From: begin.Add(48*time.Hour + 1)}, 240},
		"up to the third day":   {api.VerificationRequest{From: begin, To: begin.Add(48 * time.Hour)}, 240},
		"an unknown one":        {api.VerificationRequest{Environment: "moon"}, 0},
		"weeks, begun midweek":  {api.VerificationRequest{From: begin, Period: "week"}, 600},
		"hours, cut at the end": {api.VerificationRequest{From: begin.Add(96*time.Hour - 30*time.Minute), To: begin.Add(96*time.Hour + 90*time.Minute), Period: "hour"}, 120},
	} {
		v := p.rates(c.req)
		sum := 0
		for _, e := range v.Environments {
			for i, period := range e.Periods {
				sum += period.Checks
				if i > 0 && !period.From.Equal(e.Periods[i-1].To) {
					t.Errorf("%s: a period begins at %s, the one before ended at %s", name, period.From, e.Periods[i-1].To)
				}
			}
		}
		if v.Total.Checks != c.want || sum != c.want {
			t.Errorf("%s: %d checks, %d in its periods; want %d", name, v.Total.Checks, sum, c.want)
		}
	}
}

func TestEnvironmentsBeyondTheLimitAreCountedTogether(t *testing.T) {
	p := newPast(t)
	for i := range report.MaxEnvironments + 7 {
		p.verdict(fmt.Sprintf("env-%02d", i), assay.OutcomePass, assay.Satisfied)
	}
	p.now = p.now.Add(time.Hour)
	v := p.rates(api.VerificationRequest{})
	last := v.Environments[len(v.Environments)-1]
	if len(v.Environments) != report.MaxEnvironments+1 || !last.Others || last.Checks != 7 || v.Total.Checks != report.MaxEnvironments+7 {
		t.Errorf("%d environments, the last %+v, all together %d", len(v.Environments), last.Rate, v.Total.Checks)
	}
}

func TestAQuestionThatHasNoAnswerIsRefused(t *testing.T) {
	p := newPast(t)
	for name, c := range map[string]struct {
		req  api.VerificationRequest
		code assay.Code
		says string
	}{
		"an unknown period":  {api.VerificationRequest{Period: "fortnight"}, assay.CodeInvalid, "hour, day, week"},
		"no time":            {api.VerificationRequest{From: p.now}, assay.CodeInvalid, "not before the end"},
		"a share above one":  {api.VerificationRequest{Target: 99}, assay.CodeInvalid, "share"},
		"too many hours":     {api.VerificationRequest{From: p.now.Add(-401 * time.Hour), Period: "hour"}, assay.CodeTooLarge, "401 periods of one hour"},
		"two thousand years": {api.VerificationRequest{From: time.Date(26, 1, 1, 0, 0, 0, 0, time.UTC), Period: "week"}, assay.CodeTooLarge, "at most 400"},
	} {
		_, err := report.Rates(t.Context(), p, "shop", c.req, p.now)
		if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := report.Rates(t.Context(), p, "shop", api.VerificationRequest{From: p.now.Add(-400 * time.Hour), Period: "hour"}, p.now); err != nil {
		t.Errorf("as many as are told apart: %v", err)
	}
}
