package analyze

import (
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// Score is what one observation was. Score is null where nothing was measured.
type Score struct {
	Time  time.Time `json:"time"`
	Value *float64  `json:"value"`
	Score *float64  `json:"score"` // of the detector of records
	Alarm bool      `json:"alarm"` // of it
	Why   string    `json:"why,omitempty"`
	// Surprise is what the detector of forecast errors says; null where nothing was measured.
	Surprise *infer.Surprise `json:"surprise"`
}

// AnomalyReport has one score for each observation, in the order of time.
type AnomalyReport struct {
	Scores    []Score `json:"scores"`
	Alarms    int     `json:"alarms"`          // of the detector of records
	Surprises int     `json:"surprise_alarms"` // of the detector of forecast errors
	Gaps      int     `json:"gaps"`            // observations without a value
	Coverage  float64 `json:"coverage_90"`     // moving share of observations that their 90 % band held, at the end
	Certainty string  `json:"certainty"`       // of the second detector's bound on false alarms
	Basis     string  `json:"basis"`
}

// Anomaly scores a series as it would have been seen when it came.
func Anomaly(points []Point, zone *time.Location) AnomalyReport {
	cfg := infer.DefaultNovelty()
	cfg.Zone = zone
	n, x := infer.NewNovelty(cfg), infer.NewExpectation(infer.DefaultConformal(), zone)
	out := AnomalyReport{Scores: make([]Score, len(points))}
	for i, p := range points {
		s := &out.Scores[i]
		s.Time = p.Time
		if math.IsNaN(p.Value) {
			out.Gaps++
			continue
		}
		news, surprise := n.Observe(p.Time, p.Value), x.Observe(p.Time, p.Value)
		s.Value, s.Score, s.Alarm, s.Why, s.Surprise = &points[i].Value, &news.Score, news.Alarm, news.Why, &surprise
		if news.Alarm {
			out.Alarms++
		}
		if surprise.Alarm {
			out.Surprises++
		}
	}
	out.Coverage, _, _ = x.Coverage()
	certainty, basis := x.Certainty()
	out.Certainty, out.Basis = string(certainty), basis
	return out
}

// Step is one step of a forecast.
type Step struct {
	Time time.Time `json:"time"`
	Q05  float64   `json:"q05"`
	Q50  float64   `json:"q50"`
	Q95  float64   `json:"q95"`
}

// ForecastReport is a forecast with the backtest that says what it is worth.
type ForecastReport struct {
	Skill      float64             `json:"skill"`       // 1 − error/error of repeating the last season: above 0 it is better
	Coverage90 float64             `json:"coverage_90"` // share of the past that the 90 % intervals held
	MASE       float64             `json:"mase"`
	Sharpness  float64             `json:"sharpness"` // mean width of the 90 % intervals, as a share of the forecast
	Trusted    bool                `json:"trusted"`   // an automatic action may rest on it
	Reason     string              `json:"reason"`    // in one sentence
	StepSecs   float64             `json:"step_seconds"`
	Seasons    []string            `json:"seasons"`
	Gaps       int                 `json:"gaps"`    // steps without an observation
	Origins    int                 `json:"origins"` // points of the past from which it was checked
	Models     []infer.ModelWeight `json:"models"`
	Forecast   []Step              `json:"forecast"`
}

// Forecast forecasts the steps after the last point. Times are put on a regular grid of
// the commonest distance between two; a day and a week are its seasons where the series
// holds two of them, told by the clocks of the zone.
func Forecast(points []Point, horizon int, zone *time.Location) (ForecastReport, error) {
	step, first, values, err := grid(points)
	if err != nil {
		return ForecastReport{}, err
	}
	cfg := infer.ForecastConfig{Horizon: horizon}
	out := ForecastReport{StepSecs: step.Seconds()}
	for k, s := range []struct {
		name   string
		length time.Duration
	}{{"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}} {
		n := int(s.length / step)
		if s.length%step == 0 && n >= 2 && len(values) >= 2*n {
			cfg.Seasons[k] = n
			out.Seasons = append(out.Seasons, s.name)
		}
	}
	cfg.Phase = func(i int) [2]int { return clock(first.Add(time.Duration(i)*step).In(zone), step) }
	if cfg.Seasons[0] == 0 {
		cfg.Seasons, cfg.Phase = [2]int{cfg.Seasons[1], 0}, nil
	}
	p, err := infer.Predict(values, cfg)
	if err != nil {
		return out, err
	}
	for _, v := range values {
		if math.IsNaN(v) {
			out.Gaps++
		}
	}
	out.Skill, out.Coverage90, out.MASE, out.Sharpness = p.Skill, p.Cover90, p.MASE, p.Width90
	out.Trusted, out.Origins, out.Models = p.Trusted(), p.Origins, p.Models
	out.Reason = reason(p)
	for k := range horizon {
		out.Forecast = append(out.Forecast, Step{
			Time: first.Add(time.Duration(len(values)+k) * step).In(zone),
			Q05:  p.Quantile(k, 0.05), Q50: p.Quantile(k, 0.5), Q95: p.Quantile(k, 0.95),
		})
	}
	return out, nil
}

func reason(p infer.Prediction) string {
	switch {
	case p.Origins < 2:
		return "too short to check: one forecast of the past says nothing about the intervals; decisions stay reactive"
	case p.Still():
		return "it repeats itself exactly, so that nothing is better than repeating it, and nothing is known of how far it may stray: the intervals have no width; decisions stay reactive"
	case p.Skill <= 0:
		return fmt.Sprintf("no better than repeating the last season (skill %.2f): decisions stay reactive", p.Skill)
	case !p.Trusted():
		return fmt.Sprintf("its 90 %% intervals held %.0f %% of the past, outside 85 to 97: decisions stay reactive", 100*p.Cover90)
	}
	return fmt.Sprintf("%.0f %% better than repeating the last season, and its 90 %% intervals held %.0f %% of the past", 100*p.Skill, 100*p.Cover90)
}

// clock is the place of a time in its day and its week by the wall clock.
func clock(at time.Time, step time.Duration) [2]int {
	of := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
	day := int(of / step)
	return [2]int{day, int((time.Duration(at.Weekday())*24*time.Hour + of) / step)}
}

// grid puts the points on steps of their commonest distance; what is between two steps
// goes to the nearer, the later one of two counts, and a step without a point is NaN.
func grid(points []Point) (step time.Duration, first time.Time, values []float64, err error) {
	if len(points) < infer.MinSteps {
		return 0, first, nil, assay.Errorf(assay.CodeInvalid, "%s: at least %d are needed to forecast", counted(len(points), "observation"), infer.MinSteps)
	}
	first = points[0].Time
	last := first
	var distances []time.Duration
	for i, p := range points {
		if p.Time.Before(first) {
			first = p.Time
		}
		if p.Time.After(last) {
			last = p.Time
		}
		if i > 0 && p.Time.After(points[i-1].Time) {
			distances = append(distances, p.Time.Sub(points[i-1].Time))
		}
	}
	if len(distances) == 0 {
		return 0, first, nil, assay.Errorf(assay.CodeInvalid, "all observations are of the same time")
	}
	slices.Sort(distances)
	step = distances[len(distances)/2]
	n := int64(last.Sub(first)/step) + 1
	if n > infer.MaxSteps {
		return 0, first, nil, assay.Errorf(assay.CodeTooLarge, "%d steps of %s from the first time to the last: at most %d are taken", n, step, infer.MaxSteps)
	}
	values = make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	for _, p := range points {
		i := int64((p.Time.Sub(first) + step/2) / step)
		values[min(i, n-1)] = p.Value
	}
	return step, first, values, nil
}

// Divergence is how far the canary is from its control, in percentage points of
// requests that failed.
type Divergence struct {
	Points float64  `json:"percentage_points"` // canary − control; 0 where one of them had no requests
	Ratio  *float64 `json:"ratio"`             // canary/control, null without errors in the control, or without requests of one of them
	Low    float64  `json:"ratio_low"`         // of the confidence sequence for the ratio at level 1 − α
	High   *float64 `json:"ratio_high"`        // null if it is open
}

// CanaryReport is what the tests of a rollout say about recorded counts.
type CanaryReport struct {
	Verdict    string      `json:"verdict"` // promote, abort or hold
	Reason     string      `json:"reason"`  // in one sentence
	EHarm      float64     `json:"e_harm"`  // evidence against "no worse"; abort at 1/α
	ESafe      float64     `json:"e_safe"`  // evidence against "margin times worse"; promote at 1/β
	DecidedAt  *time.Time  `json:"decided_at"`
	Requests   uint64      `json:"canary_requests"` // up to the decision, or all of them
	Errors     uint64      `json:"canary_errors"`
	Work       bool        `json:"work,omitempty"` // errors are events of work, of which one request may cause many
	Control    infer.Count `json:"control"`
	Divergence Divergence  `json:"divergence"`
	ETA        *float64    `json:"eta_requests"` // more canary requests until either side decides if all goes on like this; null if never
	Certainty  string      `json:"certainty"`    // exact or calibrated
	Basis      string      `json:"basis"`        // under which assumptions
}

// Canary replays the counts stretch by stretch and stops where a rollout with the plan's
// error rates would have stopped. Evidence of work is divided by how far the control's comes
// in bursts, as far as that is known by then.
func Canary(counts []Count, plan decide.Plan, work bool) (CanaryReport, error) {
	ind, bursts := decide.Indicator{Name: "errors"}, infer.Dispersion{}
	if work {
		ind.Kind = decide.KindCount
	}
	k, err := infer.New(plan.Comparison(ind))
	if err != nil {
		return CanaryReport{}, err
	}
	harm, safe := math.Log(1/plan.Alpha), math.Log(1/plan.Beta)
	var s infer.State
	out := CanaryReport{Verdict: "hold", Work: work}
	for i := 0; i < len(counts) && out.DecidedAt == nil; {
		at, pair := counts[i].Time, infer.Pair{}
		for ; i < len(counts) && counts[i].Time.Equal(at); i++ {
			arm := &pair.Control
			if counts[i].Arm == ArmCanary {
				arm = &pair.Treated
			}
			arm.Events += counts[i].Errors
			arm.Exposure += counts[i].Requests
		}
		if s, err = k.Update(s, pair); err != nil {
			return out, err
		}
		if work {
			if bursts, err = bursts.ObserveCounts(infer.Slot{pair.Control}); err != nil {
				return out, err
			}
			k = k.Deflated(bursts.Beyond(1))
		}
		switch {
		case k.Harm(s) >= harm:
			out.Verdict, out.DecidedAt = "abort", &at
		case k.Safe(s) >= safe:
			out.Verdict, out.DecidedAt = "promote", &at
		}
	}
	out.fill(k, s, plan)
	return out, nil
}

func (r *CanaryReport) fill(k *infer.Comparison, s infer.State, plan decide.Plan) {
	const largest = 700 // e^700 is a number, e^710 is none
	r.EHarm, r.ESafe = math.Exp(min(k.Harm(s), largest)), math.Exp(min(k.Safe(s), largest))
	r.Requests, r.Errors, r.Control = s.Treated.Exposure, s.Treated.Events, s.Control
	certainty, basis := k.Certainty()
	r.Certainty, r.Basis = string(certainty), basis
	interval := k.Interval(s, plan.Alpha)
	r.Divergence.Low = interval.Low
	both := s.Treated.Exposure > 0 && s.Control.Exposure > 0
	if both { // a rate of nothing is none
		r.Divergence.Points = 100 * (s.Treated.Rate() - s.Control.Rate())
	}
	if !math.IsInf(interval.High, 0) {
		r.Divergence.High = &interval.High
	}
	if both && s.Control.Events > 0 {
		r.Divergence.Ratio = new(s.Treated.Rate() / s.Control.Rate())
	}
	if r.Verdict == "hold" {
		h, willHarm := k.UntilHarm(s, math.Log(1/plan.Alpha))
		q, willSafe := k.UntilSafe(s, math.Log(1/plan.Beta))
		switch {
		case willHarm && willSafe:
			r.ETA = new(min(h, q))
		case willHarm:
			r.ETA = &h
		case willSafe:
			r.ETA = &q
		}
	} else {
		r.ETA = new(0.0)
	}
	r.Reason = r.sentence(plan)
}

func (r *CanaryReport) sentence(plan decide.Plan) string {
	for _, arm := range []struct {
		name     string
		requests uint64
	}{{ArmCanary, r.Requests}, {ArmControl, r.Control.Exposure}} {
		if arm.requests == 0 { // a rate of nothing is none
			return fmt.Sprintf("the %s had no requests: there is nothing to compare", arm.name)
		}
	}
	rates := fmt.Sprintf("%.3g %% of the canary's requests failed against %.3g %% of the control's", 100*ratio(r.Errors, r.Requests), 100*r.Control.Rate())
	if r.Work {
		rates = fmt.Sprintf("%.3g of the canary's per request against %.3g of the control's", ratio(r.Errors, r.Requests), r.Control.Rate())
	}
	switch r.Verdict {
	case "abort":
		return fmt.Sprintf("%s after %d canary requests: it is worse (at most %.3g %% of good versions are ever stopped)", rates, r.Requests, 100*plan.Alpha)
	case "promote":
		return fmt.Sprintf("%s after %d canary requests: it is not %g times worse (error at most %.3g %%)", rates, r.Requests, plan.Margin, 100*plan.Beta)
	}
	if r.ETA == nil {
		return rates + ": neither worse nor safe is shown, and going on like this will not show it"
	}
	return fmt.Sprintf("%s: neither worse nor safe is shown yet; about %.0f more canary requests would", rates, *r.ETA)
}

// counted is a number of things in words.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ratio(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
