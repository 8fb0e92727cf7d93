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
		switch {
		case !i.Required || t.bound != 0:
			continue // bounds are exceeded often enough
		case !i.plain():
			out = append(out, t.inTime(p, pace{perMinute, badRate, fmt.Sprintf("at %s requests/min and %d %% weight", number(perMinute), p.Steps[0]),
				fmt.Sprintf("with a bad rate of %s %% and no tolerable rate", number(100*badRate)), "canary requests", 1})...)
		case i.Expected != 0:
			out = append(out, t.inTime(p, i.pace(p, perMinute))...)
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

// LintSteps finds a plan whose steps last longer than its horizon, whatever the traffic.
func LintSteps(p Plan) []Finding {
	before := len(p.Steps) - 1 // the last one is not waited for
	if steps := time.Duration(before) * p.MinDuration; steps > p.Horizon {
		return []Finding{{Field: "min_duration", Needs: steps,
			Words: fmt.Sprintf("%s at each of the %d steps before the last is %s in all, and the horizon is %s", longSpan(p.MinDuration), before, longSpan(steps), longSpan(p.Horizon))}}
	}
	return nil
}

// pace is how fast the exposure of a test grows, in both versions together.
type pace struct {
	perMinute float64
	rate      float64 // of what is counted, per exposure
	at, with  string  // both in words
	unit      string  // of the exposure, and how much of it is one
	per       float64
}

// inTime says what is wrong with how long the first step takes for a test, nothing if it is
// in time.
func (t test) inTime(p Plan, f pace) []Finding {
	i, first := p.Indicators[t.indicator], float64(p.Steps[0])/100
	need := t.needs(p, f.rate, first)
	if need < 0 {
		return []Finding{{Field: "indicators." + i.Name, Words: fmt.Sprintf("%s %s is never shown safe: %s there is nothing to compare", f.at, t.name, f.with)}}
	}
	share := first
	if i.Kind == KindGauge {
		share = 1 // a version is looked at as often as the other, whatever its share
	}
	took := time.Duration(min(need/(f.perMinute*share), 1e6) * float64(time.Minute))
	if took <= p.Horizon {
		return nil
	}
	return []Finding{{Field: "horizon", Needs: took,
		Words: fmt.Sprintf("%s this needs about %s: %s takes about %.0f %s, and the horizon is %s", f.at, longSpan(took), t.name, math.Ceil(need/f.per), f.unit, longSpan(p.Horizon))}}
}

// needs is how many canary requests it takes until the test shows safety for a version
// that is as good as the old one; −1 is never.
func (t test) needs(p Plan, badRate, share float64) float64 {
	at := -math.Log(p.Beta)
	best := -1.0
	if t.comparison.Bets() { // one value stands for all that are like it
		same := infer.Values(badRate, 1)
		s, err := t.comparison.Evaluate([]infer.Pair{{Treated: same, Control: same}})
		if err != nil {
			return -1
		}
		return t.safely.Deflated(t.assumed(&p)).FromNothing(s, at)
	}
	// Many requests stand for the rates; the answer is proportional.
	n := 1 << 22
	for badRate*float64(n) > infer.ExposureLimit/4 && n > 1<<8 {
		n >>= 1
	}
	treated := uint64(math.Round(float64(n) * share))
	pair := infer.Pair{Treated: infer.Count{Exposure: treated, Events: uint64(badRate * float64(treated))},
		Control: infer.Count{Exposure: uint64(n) - treated, Events: uint64(badRate * float64(uint64(n)-treated))}}
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
