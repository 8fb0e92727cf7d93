package decide

import (
	"fmt"
	"math"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// spent is how many bad events the new version had beyond the old one's rate, of the
// worst test of all bad events.
func spent(d *assay.Decision) float64 {
	worst := 0.0
	for i := range d.Tests {
		t := &d.Tests[i]
		if t.Bound == 0 && t.Measure == "" && t.Control.Total > 0 {
			worst = max(worst, float64(t.Canary.Bad)-float64(t.Canary.Total)*rate(t.Control))
		}
	}
	return worst
}

// exposed is how many bad events beyond the old version's rate the worst ratio that is
// still plausible would cost at a weight before the evidence stops it: until harm is
// shown, about a quarter above the floor, and one look and one age of a signal more.
// And that ratio. An estimate: rates are plugged in.
func exposed(p Plan, s State, d *assay.Decision, weight int) (events, ratio float64) {
	w := min(float64(weight)/100, 0.99)
	wait := perSecond(d, s) * w * (p.Look + p.MaxAge).Seconds()
	for i := range d.Tests {
		t := &d.Tests[i]
		if t.Bound != 0 || t.Measure != "" || t.Canary.Total == 0 || t.Control.Total == 0 {
			continue
		}
		q := (float64(t.Control.Bad) + 0.5) / (float64(t.Control.Total) + 1)
		r := t.RatioHigh
		if r == 0 {
			r = infer.HarmSizes()[len(infer.HarmSizes())-1].Ratio
		}
		if r <= 1 || q*r >= 1 {
			r = min(max(r, 1), 0.99/q)
		}
		if r <= 1 {
			continue
		}
		requests := 1.25*infer.TwoSampleFloor(q, q*r, w, p.Alpha)*max(t.Dispersion, 1) + wait
		if weight == 100 {
			// Nothing is left to compare with: the watch after it ends the harm.
			requests = 1.25*infer.PowerOneFloor(q, q*r, p.Alpha)*max(t.Dispersion, 1) + wait
		}
		if cost := (r - 1) * q * requests; cost > events {
			events, ratio = cost, r
		}
	}
	return events, ratio
}

// withinBudget says why the next weight would not keep the harm budget, "" if it does.
func withinBudget(p Plan, s State, d *assay.Decision, weight int) string {
	if p.HarmBudget == 0 {
		return ""
	}
	may := p.HarmBudget * p.Budget
	had := max(spent(d), 0)
	more, ratio := exposed(p, s, d, weight)
	if had+more <= may {
		return ""
	}
	return fmt.Sprintf("the harm budget is %.0f bad events and %.0f are spent: at %d %% a regression of %.2g times, which is not excluded yet, would cost %.0f before it is seen",
		may, math.Ceil(had), weight, ratio, math.Ceil(more))
}

// overspent says that the harm budget is gone, "" if it is not.
func overspent(p Plan, d *assay.Decision) string {
	if p.HarmBudget == 0 || spent(d) < p.HarmBudget*p.Budget {
		return ""
	}
	return fmt.Sprintf("the harm budget of %.0f bad events is spent", p.HarmBudget*p.Budget)
}
