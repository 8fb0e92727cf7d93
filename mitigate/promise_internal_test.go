package mitigate

import (
	"math"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// The window that is judged are the minutes 1 to 6 after the first step.
func TestTheStepsOfAnActionPromiseTogether(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		steps []promise
		after []time.Duration // the first, that a step is taken
		step  time.Duration   // of its series
		want  infer.Promise
	}{
		"one":                               {[]promise{{Gone: 0.7, Own: 1e-4}}, []time.Duration{0}, 0, infer.Promise{Gone: 0.7, Own: 1e-4}},
		"more than there is":                {[]promise{{Gone: 7}}, []time.Duration{0}, 0, infer.Promise{Gone: 1}},
		"it works before the window begins": {[]promise{{Gone: 0.7, Lead: time.Minute}}, []time.Duration{0}, 0, infer.Promise{Gone: 0.7}},
		"it works in two of five minutes":   {[]promise{{Gone: 0.5, Lead: 4 * time.Minute}}, []time.Duration{0}, 0, infer.Promise{Gone: 0.2}},
		"it works after the window":         {[]promise{{Gone: 0.7, Lead: 10 * time.Minute}}, []time.Duration{0}, 0, infer.Promise{}},
		"its window is short":               {[]promise{{Gone: 0.7, Lead: 10 * time.Second}}, []time.Duration{0}, time.Second, infer.Promise{}},
		"half, and then half of the rest":   {[]promise{{Gone: 0.5, Own: 1}, {Gone: 0.5, Own: 2}}, []time.Duration{0, 20 * time.Second}, 0, infer.Promise{Gone: 0.75, Own: 3}},
		"a second that comes late":          {[]promise{{Gone: 0.5}, {Gone: 0.5}}, []time.Duration{0, 5 * time.Minute}, 0, infer.Promise{Gone: 0.55}},
	} {
		t.Run(name, func(t *testing.T) {
			j := judging{At: at, Step: c.step}
			if j.promised() != (infer.Promise{}) {
				t.Errorf("nothing was promised, and it is %v", j.promised())
			}
			for i, p := range c.steps {
				j.promise(&p, at.Add(c.after[i]))
			}
			j.promise(nil, at.Add(time.Minute))
			if got := j.promised(); math.Abs(got.Gone-c.want.Gone) > 1e-9 || math.Abs(got.Own-c.want.Own) > 1e-9 {
				t.Errorf("%+v is promised, want %+v", got, c.want)
			}
			seen := infer.Attribution{Effect: assay.EffectNone, Before: 2e-3, Would: 2e-3}
			if why := j.could(seen); (why != "") != (c.want.Gone == 0) {
				t.Errorf("of its having had no effect it is said: %q", why)
			}
		})
	}
}

// What a decision expects of its action is its promise, less what the action is believed to
// spend itself; who decides by rules expects nothing.
func TestAPromiseIsWhatTheDecisionExpected(t *testing.T) {
	up := assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Now: 5, Want: 8}
	back := assay.Action{Kind: assay.ActionRestore, Lever: assay.LeverReplicas, Now: 8, Want: 5}
	options := []decide.Option{
		{Action: up, Own: 1e-4, Risk: map[decide.Hypothesis]float64{decide.Overload: 1e-3}, Lead: time.Minute},
		{Action: back, Own: -1e-3},
	}
	believed := []assay.Belief{{Hypothesis: string(decide.Overload), After: 0.8}, {Hypothesis: string(decide.NoFault), After: 0.2}}
	for name, c := range map[string]struct {
		decision assay.Decision
		want     *promise
	}{
		"by a model":          {assay.Decision{Action: up, Beliefs: believed, Expected: &assay.Expected{Change: -0.6}}, &promise{Gone: 0.6, Own: 9e-4, Lead: time.Minute}},
		"by rules":            {assay.Decision{Action: up}, nil},
		"it gives back":       {assay.Decision{Action: back, Beliefs: believed, Expected: &assay.Expected{Change: -0.6}}, nil},
		"it expected nothing": {assay.Decision{Action: up, Beliefs: believed, Expected: &assay.Expected{}}, nil},
		"it was no option":    {assay.Decision{Action: assay.Action{Kind: assay.ActionAdjust}, Expected: &assay.Expected{Change: -0.6}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := Record{}
			r.Mitigation.Problem.Options, r.Mitigation.Decision = options, c.decision
			got := promised(&r)
			if (got == nil) != (c.want == nil) || got != nil && (got.Gone != c.want.Gone || math.Abs(got.Own-c.want.Own) > 1e-12 || got.Lead != c.want.Lead) {
				t.Errorf("%+v is promised, want %+v", got, c.want)
			}
		})
	}
}
