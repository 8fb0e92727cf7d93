package decide

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// early says in words why the next step is taken before safety is shown, and whether it
// is: as long as the evidence does not lean to harm, and no size of regression that it
// leaves plausible is expected to cost more than the plan's StepBudget until it is shown
// or a person is asked. Both versions still serve then, so that what hits both is still
// told from what the new one does; all traffic is only given to a version that is shown
// to be safe.
func early(p Plan, s State, e evidence, d *assay.Decision) (words string, ok bool) {
	weight := p.Steps[min(s.Step+1, len(p.Steps)-1)]
	if p.StepBudget == 0 || p.Budget == 0 || p.Fixed != nil || weight == 100 || d.Time.Sub(s.Began) >= p.Horizon || !e.known || d.Harm > 0 || missing(p, s, d) != "" {
		return "", false
	}
	may, had := p.StepBudget*p.Budget, max(spent(d), 0)
	if had >= may {
		return "", false
	}
	most, ratio := 0.0, 1.0
	traffic := perSecond(d, s) * float64(weight) / 100
	total := 0.0
	for i := range d.Tests {
		total += d.Tests[i].Weight
	}
	reckoned := false
	for i := range d.Tests {
		if d.Tests[i].Measure != "" {
			continue // what is no bad event spends nothing of the budget
		}
		reckoned = true
		cost, r := atRisk(p, &d.Tests[i], risk{
			share: float64(weight) / 100, alpha: p.Alpha * d.Tests[i].Weight / total,
			wait: traffic * (p.Look + p.MaxAge).Seconds(), horizon: traffic * p.Horizon.Seconds(),
		})
		if !(had+cost <= may) { // what cannot be reckoned is not risked either
			return "", false
		}
		if cost > most {
			most, ratio = cost, r
		}
	}
	if !reckoned {
		return "", false // nothing is known of bad events, so nothing of what they may cost
	}
	return fmt.Sprintf("a regression of %.2g times, the dearest that is not excluded, would cost about %.0f of the %.0f bad events that steps may risk",
		ratio, math.Ceil(had+most), may), true
}

// prove remembers since when safety has been shown. A plan whose steps wait goes from the
// proof to the next share and looks there again before it gives all traffic; where the
// share was there before the proof, the same look is owed.
func (s *State) prove(p Plan, safe bool, now time.Time) {
	switch {
	case p.StepBudget == 0 || p.Budget == 0:
	case !safe:
		s.Shown = time.Time{}
	case s.Shown.IsZero():
		s.Shown = now
	}
}

// risk is what a test's regression is priced under at a new share of traffic.
type risk struct {
	share, alpha float64
	wait         float64 // canary requests until a look that suffices is acted upon
	// horizon is canary requests of the plan's whole horizon: whoever is asked at its end
	// answers later, so that a step shortly before it risks no less.
	horizon float64
}

// atRisk is how many bad events beyond the old version's a regression is expected to
// cost at the most, of those sizes that the test's evidence leaves plausible, and that
// size. Each costs until harm is shown, about a quarter above the floor and a look later,
// or for a horizon. Rates are plugged in: an expectation, not a bound for every run.
func atRisk(p Plan, t *assay.TestValue, k risk) (events, ratio float64) {
	if t.Canary.Total == 0 || t.Control.Total == 0 || t.Control.Bad > t.Control.Total {
		return math.NaN(), 0
	}
	q := (float64(t.Control.Bad) + 0.5) / (float64(t.Control.Total) + 1)
	high := t.RatioHigh
	if high == 0 {
		high = math.Inf(1)
	}
	ratio = 1
	for _, size := range infer.HarmSizes() {
		r := min(size.Ratio*p.Accept, high)
		bad := min(r*q, 0.99)
		if t.Bound != 0 { // odds, because half of all requests may exceed a bound
			bad = r * q / (1 - q + r*q)
		}
		if bad <= q {
			continue
		}
		shown := 1.25*infer.TwoSampleFloor(q, bad, k.share, k.alpha)*max(t.Dispersion, 1) + k.wait
		if cost := (bad - q) * min(shown, k.horizon); !(cost <= events) {
			events, ratio = cost, r
		}
	}
	return events, ratio
}
