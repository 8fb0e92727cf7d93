package decide_test

import (
	"math"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

func TestTheOutcomeOfARolloutIsHeldAgainstTheOtherArm(t *testing.T) {
	abort, finish := assay.Action{Kind: assay.ActionAbort}, assay.Action{Kind: assay.ActionFinish}
	for name, tc := range map[string]struct {
		care   decide.Aftercare
		action assay.Action
		want   assay.Effect
	}{
		"an abort that stopped the harm":       {decide.Aftercare{Canary: decide.Amount{Of: 100, To: 1000}, After: decide.Amount{Of: 10, To: 1000}}, abort, assay.EffectHelped},
		"an abort that made it worse":          {decide.Aftercare{Canary: decide.Amount{Of: 10, To: 1000}, After: decide.Amount{Of: 100, To: 1000}}, abort, assay.EffectHarmed},
		"an abort after few requests":          {decide.Aftercare{Canary: decide.Amount{Of: 2, To: 10}, After: decide.Amount{Of: 0, To: 10}}, abort, assay.EffectInconclusive},
		"bad responses that come together":     {decide.Aftercare{Canary: decide.Amount{Of: 100, To: 1000}, After: decide.Amount{Of: 10, To: 1000}, Target: decide.Target{Indicator: decide.Indicator{Dispersion: 50}}}, abort, assay.EffectInconclusive},
		"nobody came":                          {decide.Aftercare{Canary: decide.Amount{Of: 2, To: 10}}, abort, assay.EffectInconclusive},
		"a version that never had traffic":     {decide.Aftercare{After: decide.Amount{Of: 2, To: 10}}, abort, assay.EffectInconclusive},
		"a finish that kept what was promised": {decide.Aftercare{Control: decide.Amount{Of: 100, To: 10000}, After: decide.Amount{Of: 100, To: 10000}, Margin: 2}, finish, assay.EffectNone},
		"a finish that broke it":               {decide.Aftercare{Control: decide.Amount{Of: 100, To: 10000}, After: decide.Amount{Of: 500, To: 10000}, Margin: 2}, finish, assay.EffectHarmed},
		"a finish that mended it":              {decide.Aftercare{Control: decide.Amount{Of: 500, To: 10000}, After: decide.Amount{Of: 100, To: 10000}, Margin: 2}, finish, assay.EffectHelped},
	} {
		t.Run(name, func(t *testing.T) {
			out := tc.care.Judge(tc.action, start)
			if out.Effect != tc.want || out.Reason == "" || !out.Time.Equal(start) {
				t.Errorf("%s: %s, want %s", out.Effect, out.Reason, tc.want)
			}
			if out.Change != nil && !(out.Interval[0] <= *out.Change && *out.Change <= out.Interval[1]) {
				t.Errorf("%v is not between %v", *out.Change, out.Interval)
			}
		})
	}
}

func TestAnotherChangeInTheWindowConfoundsTheOutcome(t *testing.T) {
	seen := infer.Attribution{Effect: assay.EffectHelped, Before: 20, After: 2, Would: 10, Change: -8, Low: -9, High: -7, P: 0.01, PHarm: 1, Placebos: 99, Similar: 40}
	out := decide.Aftermath(replicas(8), decide.Overload, decide.Measure{Name: "errors"}, seen, "deployment v7", start)
	if out.Effect != assay.EffectConfounded || !strings.HasPrefix(out.Reason, "deployment v7 fell into the window") {
		t.Errorf("%s: %s", out.Effect, out.Reason)
	}
	out = decide.Aftermath(replicas(8), decide.Overload, decide.Measure{Name: "errors"}, seen, "", start)
	want := "errors was 20 before and 2 after, and would have been 10: 8 less, 95 % between -9 and -7 (p 0.01 for better, 1 for worse, among 99 untreated windows, 40 of them after a similar excursion)"
	if out.Effect != assay.EffectHelped || out.Reason != want || *out.Change != -8 || out.Hypothesis != "overload" {
		t.Errorf("%s: %s", out.Effect, out.Reason)
	}
	seen.Low80, seen.High80, seen.Helped, seen.Bootstrap = -8.5, -7.5, 1, &infer.Bootstrap{Seed: 7, Paths: 999, Block: 3}
	out = decide.Aftermath(replicas(8), decide.Overload, decide.Measure{Name: "errors"}, seen, "", start)
	if !strings.Contains(out.Reason, "95 % between -9 and -7, 80 % between -8.5 and -7.5, better with a probability of 99.9 %, in 999 resampled pasts (p 0.01") {
		t.Errorf("%s", out.Reason)
	}
	budget := decide.Measure{Name: "the error budget spent per minute", Share: true}
	small := infer.Attribution{Effect: assay.EffectHelped, Before: 0.0008, After: 0.0002, Would: 0.004, Change: -0.0038, Low: -0.004, High: -0.0036, P: 0.01, PHarm: 1, Placebos: 99, Similar: 40}
	want = "the error budget spent per minute was 0.08 % before and 0.02 % after, and would have been 0.4 %: 0.38 points less, 95 % between -0.4 and -0.36 (p 0.01"
	if out = decide.Aftermath(replicas(8), decide.Overload, budget, small, "", start); !strings.HasPrefix(out.Reason, want) {
		t.Errorf("shares of a budget are not in percent: %s", out.Reason)
	}
	large := infer.Attribution{Effect: assay.EffectHelped, Before: 163.6, After: 5.455, Would: 163.3, Change: -157.9, Low: -166.1, High: -152.3, P: 0.01, PHarm: 1, Placebos: 99, Similar: 40}
	want = "the error budget spent per minute was 16360 % before and 545.5 % after, and would have been 16330 %: 15790 points less, 95 % between -16610 and -15230 (p 0.01"
	if out = decide.Aftermath(replicas(8), decide.Overload, budget, large, "", start); !strings.HasPrefix(out.Reason, want) {
		t.Errorf("a large percentage has an exponent: %s", out.Reason)
	}
	// What is left over from calculating with 53 bits is no difference, and nothing is probable of it.
	same := infer.Attribution{Effect: assay.EffectNone, Before: 1e-6, After: 1e-6, Would: 1e-6, Change: 5.964e-18, Low: -1.312e-16, High: 3.4e-20, Low80: -1e-17, High80: 1e-20, Helped: 1, P: 0.011, PHarm: 1, Placebos: 88, Similar: 88, Bootstrap: &infer.Bootstrap{Seed: 7, Paths: 999, Block: 3}}
	want = "the error budget spent per minute was 0.0001 % before and 0.0001 % after, and would have been 0.0001 %: no difference (p 0.011"
	if out = decide.Aftermath(replicas(8), decide.Overload, budget, same, "", start); !strings.HasPrefix(out.Reason, want) {
		t.Errorf("rounding is told as a difference: %s", out.Reason)
	}
	if got := decide.Gone(seen); got != 0.8 {
		t.Errorf("%v of what was bad is gone, want 0.8", got)
	}
	// What had no effect is told with what was expected of it, and has made nothing worse.
	none := infer.Attribution{Effect: assay.EffectNone, Why: "it did less than half of what was promised of it", Before: 0.002, After: 0.0021, Would: 0.002, Change: 0.0001, Low: -0.0002, High: 0.0004, P: 0.7, PHarm: 0.3, Placebos: 99, Similar: 40, Promised: 0.0014}
	out = decide.Aftermath(replicas(8), decide.Overload, budget, none, "", start)
	if out.Effect != assay.EffectNone || !strings.HasPrefix(out.Reason, none.Why+"; ") || !strings.HasSuffix(out.Reason, "; when it was taken, 0.14 points less was expected of it") {
		t.Errorf("%s: %s", out.Effect, out.Reason)
	}
	if out = decide.Aftermath(replicas(8), decide.Overload, budget, none, "deployment v7", start); out.Effect != assay.EffectConfounded {
		t.Errorf("%s: %s", out.Effect, out.Reason)
	}
	worse := none
	worse.Effect = assay.EffectHarmed
	if got := decide.Gone(none); got != 0 || decide.Gone(worse) >= 0 {
		t.Errorf("%v is gone without effect, %v by harm", got, decide.Gone(worse))
	}
	if got := decide.Gone(infer.Attribution{Would: 0, Change: -3}); got != 0 {
		t.Errorf("%v of nothing is gone", got)
	}
	out = decide.Aftermath(replicas(8), decide.Overload, decide.Measure{Name: "errors"}, infer.Attribution{Effect: assay.EffectInconclusive, Why: "too little untreated past to compare with", Low: math.Inf(-1)}, "", start)
	if out.Change != nil || !strings.Contains(out.Reason, "too little untreated past") {
		t.Errorf("%s", out.Reason)
	}
}
