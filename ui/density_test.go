package ui

import (
	"html/template"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

func TestTheDensityOfTheRatioIsDrawnWithItsIntervalAndMargin(t *testing.T) {
	got := string(ratioChart(assay.TestValue{Canary: assay.Rate{Bad: 40, Total: 1000}, Control: assay.Rate{Bad: 90, Total: 9000}, RatioLow: 2, RatioHigh: 8}, 2))
	for _, want := range []string{"most likely 4.", "2.0× to 8.0×", "too bad to ship", "<path"} {
		if !strings.Contains(got, want) {
			t.Errorf("the chart does not have %q: %s", want, got)
		}
	}
	// A wide scale leaves labels out rather than write them over each other.
	wide := string(ratioChart(assay.TestValue{Canary: assay.Rate{Total: 58}, Control: assay.Rate{Bad: 3, Total: 473}}, 3))
	var at []float64
	for _, label := range regexp.MustCompile(`class="tick" text-anchor="middle" x="([0-9.]+)%"`).FindAllStringSubmatch(wide, -1) {
		x, err := strconv.ParseFloat(label[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, x)
	}
	slices.Sort(at)
	for i := range at {
		if i > 0 && at[i]-at[i-1] < 14.9 {
			t.Errorf("labels at %v", at)
		}
	}
	if !strings.Contains(wide, ">1×<") || len(at) < 3 {
		t.Errorf("labels at %v: %s", at, wide)
	}
	for name, v := range map[string]assay.TestValue{
		"nothing": {}, "no bad events": {Canary: assay.Rate{Total: 10}, Control: assay.Rate{Total: 10}},
		"one version": {Canary: assay.Rate{Bad: 1, Total: 10}},
	} {
		if got := ratioChart(v, 2); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := string(ratioChart(assay.TestValue{Canary: assay.Rate{Total: 10}, Control: assay.Rate{Bad: 1, Total: 10}}, 2)); strings.Contains(got, "NaN") || got == "" {
		t.Errorf("one bad event: %s", got)
	}
}

func TestLatenciesOfBothVersionsAreOverlaid(t *testing.T) {
	l := api.Latency{Indicator: "latency", Bounds: []float64{0.01, 0.1}, Canary: []uint64{5, 9}, Control: []uint64{90, 100}, CanaryTotal: 10, ControlTotal: 100}
	got := string(latencyChart(l))
	for _, want := range []string{"up to 10 ms: new 50 %, old 90 %", "above 100 ms: new 10 %, old 0 %"} {
		if !strings.Contains(got, want) {
			t.Errorf("the chart does not say %q: %s", want, got)
		}
	}
	for name, bad := range map[string]api.Latency{"nothing": {}, "no canary": {Bounds: []float64{1}, Canary: []uint64{0}, Control: []uint64{1}, ControlTotal: 1}, "other bounds": {Bounds: []float64{1, 2}, Canary: []uint64{1}, Control: []uint64{1}, CanaryTotal: 1, ControlTotal: 1}} {
		if got := latencyChart(bad); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAMitigationsLossesFallFromNothingToTheirTotal(t *testing.T) {
	d := assay.Decision{
		Action: assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Scope: "eu", Now: 4, Want: 6},
		Candidates: []assay.Candidate{
			{Action: assay.Action{Kind: assay.ActionHold, Lever: assay.LeverReplicas, Scope: "eu", Now: 4, Want: 4}, Loss: &assay.Loss{Burn: 0.2, Total: 0.2}},
			{Action: assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Scope: "eu", Now: 4, Want: 6}, Loss: &assay.Loss{Burn: 0.05, Money: -0.01, Disruption: 0.02, Total: 0.06}},
		},
		Clues:   []assay.Clue{{Name: "queue", Words: "the queue grew threefold"}},
		Beliefs: []assay.Belief{{Hypothesis: "overload", Before: 0.2, After: 0.9, Clues: []assay.ClueWeight{{Clue: "queue", LogLR: 3, Stated: 5}, {Clue: "errors", LogLR: 0.01}}}},
	}
	rows := candidateRows(&d)
	if rows[0].Chosen || !rows[1].Chosen || rows[1].Name != "adjust replicas of eu: 4 → 6" {
		t.Errorf("%+v", rows)
	}
	if got := string(rows[1].Fall); strings.Count(got, `class="lost`) != 3 || !strings.Contains(got, "money: −1 % of the error budget") {
		t.Errorf("%s", got)
	}
	beliefs := beliefRows(d)
	if len(beliefs) != 1 || len(beliefs[0].Clues) != 1 || beliefs[0].Clues[0].Words != "the queue grew threefold" || beliefs[0].Clues[0].Capped == "" {
		t.Errorf("%+v", beliefs)
	}
}

// A strategy that may use no model weighs nothing, and has no share of the traffic to hold.
func TestTheRulesOfAStrategyDoNotSpeakOfARollout(t *testing.T) {
	hold := assay.Action{Kind: assay.ActionHold}
	weighed := func(d assay.Decision) string {
		return partOf(t, "rollout/weighed", rolloutDetail{Candidates: candidateRows(&d)})
	}
	ruled := weighed(assay.Decision{Action: hold, Candidates: []assay.Candidate{{Action: hold, Eligible: true, Reason: "doing nothing is always possible"}}})
	if !strings.Contains(ruled, "<b>do nothing</b>") || !strings.Contains(ruled, "By the declared rules") || strings.Contains(ruled, "hold at") || strings.Contains(ruled, "failures") {
		t.Errorf("of a strategy: %s", ruled)
	}
	hold.Weight = 10
	rolled := weighed(assay.Decision{Canary: "v2", Action: hold, Candidates: []assay.Candidate{{Action: hold, Eligible: true, Errors: 2.5}}})
	if !strings.Contains(rolled, "<b>hold at 10 %</b>") || !strings.Contains(rolled, "Expected extra failures") || !strings.Contains(rolled, "2.5") {
		t.Errorf("of a rollout: %s", rolled)
	}
}

// A version that was stopped because of its queries is not shown by its errors alone.
func TestBothVersionsShowTheIndicatorThatTheHarmWasShownIn(t *testing.T) {
	errors := assay.TestValue{Name: "errors", Weight: 0.5, Harm: -0.6, Canary: assay.Rate{Total: 58}, Control: assay.Rate{Bad: 3, Total: 473}, RatioHigh: 9, Certainty: assay.Calibrated}
	queries := assay.TestValue{
		Name: "queries", Weight: 0.25, Harm: 41, Measure: assay.MeasureCount, Canary: assay.Rate{Bad: 348, Total: 58}, Control: assay.Rate{Bad: 1419, Total: 473},
		CanaryMean: 6, ControlMean: 3, Ratio: 2, RatioLow: 1.5, RatioHigh: 2.6, Certainty: assay.Calibrated,
	}
	slow := assay.TestValue{Name: "latency>0.25s", Weight: 0.25, Harm: 30, Bound: 0.25, Canary: assay.Rate{Bad: 29, Total: 58}, Control: assay.Rate{Bad: 43, Total: 430}, RatioLow: 2, Certainty: assay.Calibrated}
	pool := assay.TestValue{Name: "pool", Weight: 0.25, Harm: 9, Measure: assay.MeasureGauge, Canary: assay.Rate{Total: 240}, Control: assay.Rate{Total: 240}, CanaryMean: 0.6, ControlMean: 0.3, Ratio: 2, RatioLow: 1.2, Certainty: assay.Calibrated}
	failing := errors
	failing.Harm = 99
	show := func(harm bool, tests ...assay.TestValue) string {
		d := assay.Decision{Tests: tests, AbortAt: 3.7, Candidates: []assay.Candidate{{Action: assay.Action{Kind: assay.ActionAbort}, Eligible: harm}}}
		r := api.Rollout{Status: api.RolloutAborted, Decision: &d, Canary: errors.Canary, Control: errors.Control}
		r.Plan.Canary, r.Plan.Control, r.Plan.Margin = "v2", "v1", 3
		return partOf(t, "rollout/arms", newRolloutDetail(&view{}, r))
	}
	const shown = "what showed the harm"
	for name, tc := range map[string]struct {
		page string
		want []string
		not  string
	}{
		"a count":                  {show(true, errors, queries, pool), []string{shown, ">queries<", "6 per request", "3 per request", "2.0× <span>the old queries", "1.5× to 2.6×", "and their errors", "0 of 58 requests failed"}, "latency"},
		"a gauge":                  {show(true, errors, pool), []string{shown, ">pool<", "0.6", "0.3", "2.0× <span>the old pool"}, "queries"},
		"a latency":                {show(true, errors, slow, pool), []string{shown, "latency&gt;0.25s", "50 %, 29 of 58", "10 %, 43 of 430", "5.0× <span>the old"}, "pool"},
		"errors":                   {show(true, failing, queries), []string{"0 of 58 requests failed"}, shown},
		"nothing, but by a person": {show(false, errors, queries), []string{"0 of 58 requests failed"}, shown},
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range tc.want {
				if !strings.Contains(tc.page, want) {
					t.Errorf("the page does not say %q: %s", want, tc.page)
				}
			}
			if strings.Contains(tc.page, tc.not) {
				t.Errorf("the page says %q: %s", tc.not, tc.page)
			}
		})
	}
}

// partOf is a part of a page as it is sent.
func partOf(t *testing.T, name string, data any) string {
	t.Helper()
	u := &ui{}
	var err error
	if u.templates, err = template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/*.html"); err != nil {
		t.Fatal(err)
	}
	var p page
	if p.add(&view{ui: u, Now: time.Unix(1_700_000_000, 0)}, "part", "", name, data); p.err != nil {
		t.Fatal(p.err)
	}
	return string(p.Parts[0].HTML)
}
