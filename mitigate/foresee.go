package mitigate

import (
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
	"assay.dev/assay/policy"
)

// Ahead is for how long a scale law needs its forecast: the lead, the window in which
// nothing is given back, and the time until the next forecast.
func Ahead(s Strategy) time.Duration {
	if s.Spec.Scale == nil || s.Spec.Scale.Forecast == nil {
		return 0
	}
	d := newDamping(Up, 0, 0).with(s.Spec.Damping)
	return s.Spec.Scale.Lead.Value() + 2*d.Relax.Window + Refresh(s)
}

// Refresh is how often a forecast is made anew: every ten minutes of a day, and as often in
// a season of another length.
func Refresh(s Strategy) time.Duration {
	if s.Spec.Scale == nil || s.Spec.Scale.Forecast == nil {
		return 0
	}
	f := *s.Spec.Scale.Forecast
	return max(f.Cycles()[0]/144, f.Step.Value(), refreshFloor)
}

// refreshFloor bounds what forecasts of short seasons cost: one takes some 50 ms.
const refreshFloor = time.Second

// Foresee forecasts the load of a scale law from its past: one value for each step of
// the declared forecast, the last of which ends at end; not a number where there is
// none. The seasons, the day and the week unless others are declared, are placed by the
// clocks of the declared zone, so that daylight saving time moves the place in the season
// and not the curve. A forecast
// that is not better than repeating the last season, or whose intervals do not hold what they
// say, comes back untrusted with the reason. CodeInvalid for a strategy without a
// forecast.
func Foresee(s Strategy, past []float64, end time.Time) (Forecast, error) {
	out, _, err := foresee(s, past, end, 1)
	return out, err
}

// foresee is Foresee with its upper quantile stretched by a factor, and the prediction
// itself, nil if there is too little.
func foresee(s Strategy, past []float64, end time.Time, stretch float64) (Forecast, *infer.Prediction, error) {
	l := s.Spec.Scale
	if l == nil || l.Forecast == nil {
		return Forecast{}, nil, assay.Errorf(assay.CodeInvalid, "strategy %q declares no forecast", s.Name)
	}
	step := l.Forecast.Step.Value()
	out := Forecast{Signal: "load", At: end.UTC(), Step: step, Tau: Tau(*l)}
	cfg, err := seasons(*l.Forecast, len(past), end, int(Ahead(s)/step)+2)
	if err != nil {
		return out, nil, err
	}
	p, err := infer.Predict(past, cfg)
	if assay.CodeOf(err) == assay.CodeInvalid { // too little of it
		out.Why = err.Error()
		return out, nil, nil
	}
	if err != nil {
		return out, nil, err
	}
	out.Skill, out.Cover, out.Trusted = p.Skill, p.Cover90, p.Trusted()
	if !out.Trusted {
		out.Why = "the forecast is not trusted: " + distrust(p)
	}
	for i, m := range p.Mean {
		out.Mean = append(out.Mean, max(m, 0))
		out.Upper = append(out.Upper, max(infer.Stretch(p.Quantile(i, out.Tau), p.Quantile(i, 0.5), stretch), m, 0))
	}
	return out, &p, nil
}

// distrust says in words why no action may rest on a prediction. That of a load which never
// changes is no bad one: there is nothing that it could be better than.
func distrust(p infer.Prediction) string {
	switch {
	case p.Still():
		return "the load repeats itself exactly, so that nothing is better than repeating it, and nothing is known of how far it may stray"
	case p.Origins < 2:
		return "too little of the load has been seen to check it"
	case p.Skill <= 0:
		return fmt.Sprintf("it is no better than repeating the last season (skill %.2f, above 0 is wanted)", p.Skill)
	}
	return fmt.Sprintf("its 90 %% intervals held %.1f %% of the past (85 to 97 %% are wanted), though it is better than repeating the last season (skill %.2f)", 100*p.Cover90, p.Skill)
}

// seasons are those of the load in steps, placed by the clocks of the zone. A longer one is
// learnt once it was seen twice.
func seasons(f policy.ForecastSpec, n int, end time.Time, horizon int) (infer.ForecastConfig, error) {
	step := f.Step.Value()
	zone, err := time.LoadLocation(f.Zone)
	if err != nil {
		return infer.ForecastConfig{}, assay.Errorf(assay.CodeInvalid, "zone %q is not known: %w", f.Zone, err)
	}
	cycles := f.Cycles()
	short, long := int(cycles[0]/step), int(cycles[1]/step)
	cfg := infer.ForecastConfig{Horizon: min(horizon, infer.MaxHorizon)}
	if short < 2 || n < 2*short {
		return cfg, nil
	}
	cfg.Seasons[0] = short
	if n >= 2*long {
		cfg.Seasons[1] = long
	}
	first := end.Add(-time.Duration(n) * step)
	cfg.Phase = func(i int) (at [2]int) {
		t := first.Add(time.Duration(i) * step).In(zone)
		_, offset := t.Zone()
		clock := t.Sub(firstSunday) + time.Duration(offset)*time.Second // what the clocks say, as a time since
		for k, cycle := range cycles {
			if cycle > 0 {
				at[k] = int(clock % cycle / step)
			}
		}
		return at
	}
	return cfg, nil
}

// firstSunday is where weeks are counted from, and every other season.
var firstSunday = time.Date(1970, 1, 4, 0, 0, 0, 0, time.UTC)
