package ui

import (
	"html/template"
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
	u := &ui{}
	var err error
	if u.templates, err = template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/*.html"); err != nil {
		t.Fatal(err)
	}
	weighed := func(d assay.Decision) string {
		var p page
		p.add(&view{ui: u, Now: time.Unix(1_700_000_000, 0)}, "weighed", "", "rollout/weighed", rolloutDetail{Candidates: candidateRows(&d)})
		if p.err != nil {
			t.Fatal(p.err)
		}
		return string(p.Parts[0].HTML)
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
