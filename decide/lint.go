package decide

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Finding is something about a plan that its author should know before it runs.
type Finding struct {
	Field string        `json:"field"`
	Words string        `json:"words"`
	Needs time.Duration `json:"needs,omitempty"` // until the first step may be left, 0 if it never may
}

// LintPlan says how long a plan takes for a version that is as good as the old one,
// at requests per minute of both versions together and the old one's bad rate from 0
// to below 1, and finds what can never be in time. An empty answer is a plan that can.
// Errors: CodeInvalid for a plan that cannot be, or figures that are none.
func LintPlan(p Plan, perMinute, badRate float64) ([]Finding, error) {
	if p.Canary == "" && p.Control == "" {
		p.Canary, p.Control = "new", "old" // versions come with each rollout
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !(perMinute > 0 && perMinute < 1e12) || !(badRate >= 0 && badRate < 1) {
		return nil, assay.Errorf(assay.CodeInvalid, "%v requests per minute with a bad rate of %v are no traffic", perMinute, badRate)
	}
	tests, err := p.tests()
	if err != nil {
		return nil, err
	}
	var out []Finding
	first := float64(p.Steps[0]) / 100
	if first >= 1 {
		out = append(out, Finding{Field: "steps", Words: "the first step is 100 %: nothing is left to compare with, and nothing can be shown"})
		return out, nil
	}
	for _, t := range tests {
		i := p.Indicators[t.indicator]
		if !i.Required || t.bound != 0 {
			continue // bounds are exceeded often enough
		}
		need := t.needs(p, badRate, first)
		at := fmt.Sprintf("at %s requests/min and %d %% weight", number(perMinute), p.Steps[0])
		if need < 0 {
			out = append(out, Finding{Field: "indicators." + i.Name, Words: fmt.Sprintf("%s %s is never shown safe: with a bad rate of %s %% and no tolerable rate there is nothing to compare", at, t.name, number(100*badRate))})
			continue
		}
		took := time.Duration(min(need/(perMinute*first), 1e6) * float64(time.Minute))
		if took > p.Horizon {
			out = append(out, Finding{Field: "horizon", Needs: took,
				Words: fmt.Sprintf("%s this needs about %s: %s takes about %.0f canary requests, and the horizon is %s", at, longSpan(took), t.name, math.Ceil(need), longSpan(p.Horizon))})
		}
	}
	steps := time.Duration(0)
	for _, s := range p.Steps[:len(p.Steps)-1] {
		took := time.Duration(min(float64(p.MinRequests)/(perMinute*float64(s)/100), 1e6) * float64(time.Minute))
		steps += max(took, p.MinDuration)
	}
	if steps > p.Horizon {
		out = append(out, Finding{Field: "min_requests", Needs: steps,
			Words: fmt.Sprintf("the steps alone need about %s at %s requests/min: each asks for %d canary requests and %s, and the horizon is %s", longSpan(steps), number(perMinute), p.MinRequests, p.MinDuration, longSpan(p.Horizon))})
	}
	return out, nil
}

// needs is how many canary requests it takes until the test shows safety for a version
// that is as good as the old one; −1 is never.
func (t test) needs(p Plan, badRate, share float64) float64 {
	at := -math.Log(p.Beta)
	best := -1.0
	// Many requests stand for the rates; the answer is proportional.
	const n = 1 << 22
	treated := uint64(math.Round(n * share))
	pair := infer.Pair{Treated: infer.Count{Exposure: treated, Events: uint64(badRate * float64(treated))},
		Control: infer.Count{Exposure: n - treated, Events: uint64(badRate * float64(n-treated))}}
	if s, err := t.comparison.Evaluate([]infer.Pair{pair}); err == nil {
		if t.ceiling != nil {
			at += math.Ln2
			best = t.ceiling.FromNothing(badRate, at)
		}
		if m := t.safely.FromNothing(s, at); m >= 0 && (best < 0 || m < best) {
			best = m
		}
	}
	return best
}

// longSpan writes a duration that may be days.
func longSpan(d time.Duration) string {
	if d >= 72*time.Hour {
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	if d >= 2*time.Hour {
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return span(d)
}
