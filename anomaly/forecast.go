package anomaly

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
	"assay.dev/assay/model"
	"assay.dev/assay/policy"
)

const (
	// slot is the step of forecasts of load.
	slot = 5 * time.Minute
	// slotsKept are the slots that a forecast is made from: two weeks and a day.
	slotsKept = 15 * 24 * 12
	// horizon is how many slots a forecast looks ahead: two hours.
	horizon = 24
	// renewEvery is after how many slots a forecast is made anew.
	renewEvery = 12
	// liveFrom is how many slots must have been held against their band before the
	// live coverage counts.
	liveFrom = 50
)

// Step is one slot of a forecast, in requests per minute.
type Step struct {
	Time time.Time `json:"time"` // when the slot begins
	Low  float64   `json:"low"`  // 5 of 100 slots are expected below
	Mean float64   `json:"mean"`
	High float64   `json:"high"` // 5 of 100 above
	// Deciles cut what is expected into ten equally probable parts: the fifth is the
	// median, and between the first and the ninth lie 8 of 10.
	Deciles []float64 `json:"deciles,omitempty"`
}

// Forecast is how much load is expected, and what that is worth.
type Forecast struct {
	Made time.Time `json:"made"` // the end of the last slot that it knows
	// Version of the model that decides, see package model; rules are none.
	Version string `json:"version,omitempty"`
	// Trusted says whether automatic actions may rest on it: it has skill and its
	// intervals hold what they say, in the past and since. Without it they are reactive.
	Trusted   bool    `json:"trusted"`
	Reason    string  `json:"reason"`      // in one sentence
	Skill     float64 `json:"skill"`       // 1 − error/error of repeating the last day
	Coverage  float64 `json:"coverage_90"` // share of the past that its 90 % intervals held
	Sharpness float64 `json:"sharpness"`   // mean width of the intervals, as a share of the load
	Live      float64 `json:"live_90"`     // moving share of slots since that their interval held
	LiveSlots int     `json:"live_slots"`  // how many that were; below 50 they say nothing
	Steps     []Step  `json:"steps,omitempty"`
}

// load is the requests of one objective in slots, and their forecast.
type load struct {
	s    loadState
	zone *time.Location
	made Forecast

	model  *model.Model // nil before the first forecast
	active *expected    // of the version that decides
	shadow *expected    // of the one that runs beside
	past   []Slot       // the newest, oldest first
}

// loadState is what is kept of a load.
type loadState struct {
	First   int64     `json:"first"`   // number of the first slot since 1970
	Slots   []float32 `json:"slots"`   // requests per minute; −1 is not known
	Sum     float64   `json:"sum"`     // of the open slot
	Minutes int       `json:"minutes"` // of it with data
	Open    int64     `json:"open"`    // its number
	Live    float64   `json:"live"`
	Held    int       `json:"held"`  // slots that were held against a band
	Level   float64   `json:"level"` // what intervals aim to miss, so that they miss 10 %
	// Tenths are the parts of their forecasts that the newest slots fell into, 0 to 9: of a
	// forecast that knows what it does not know, each is as frequent as any other.
	Tenths []byte `json:"tenths,omitempty"`
}

func newLoad(zone *time.Location) *load {
	return &load{zone: zone, s: loadState{Live: 0.9, Level: 0.1}}
}

// add counts a minute; NaN is one without data. It reports whether a slot ended.
func (l *load) add(at time.Time, requests float64) (ended bool) {
	n := at.Unix() / int64(slot/time.Second)
	if n != l.s.Open {
		ended = l.s.Open != 0
		l.close(n)
	}
	if !math.IsNaN(requests) {
		l.s.Sum += requests
		l.s.Minutes++
	}
	return ended
}

// close ends the open slot and opens slot n.
func (l *load) close(n int64) {
	if l.s.Open != 0 {
		v := float32(-1)
		if l.s.Minutes > 0 {
			v = float32(l.s.Sum / float64(l.s.Minutes))
			l.hold(l.s.Open, float64(v))
			l.watch(l.s.Open, float64(v))
			l.remember(l.s.Open, float64(v))
		}
		if len(l.s.Slots) == 0 {
			l.s.First = l.s.Open
		}
		l.s.Slots = append(l.s.Slots, v)
		for next := l.s.Open + 1; next < n && next-l.s.Open < slotsKept; next++ {
			l.s.Slots = append(l.s.Slots, -1)
		}
		if more := len(l.s.Slots) - slotsKept; more > 0 {
			l.s.Slots = append([]float32(nil), l.s.Slots[more:]...)
		}
		l.s.First = n - int64(len(l.s.Slots))
	}
	l.s.Open, l.s.Sum, l.s.Minutes = n, 0, 0
}

// hold compares what came with the band that it was expected in, and moves what
// intervals aim at (adaptive conformal inference).
func (l *load) hold(n int64, v float64) {
	for _, s := range l.made.Steps {
		if s.Time.Unix()/int64(slot/time.Second) != n {
			continue
		}
		got, missed := 1.0, 0.0
		if left := sameness * math.Abs(v); v < s.Low-left || v > s.High+left {
			got, missed = 0, 1
		}
		if len(s.Deciles) == deciles {
			l.s.Tenths = append(l.s.Tenths[max(0, len(l.s.Tenths)-tenthsKept+1):], tenth(s.Deciles, v, math.Mod(float64(n)*goldenRatio, 1)))
		}
		l.s.Level = min(max(l.s.Level+0.01*(0.1-missed), 0.01), 0.4)
		l.s.Live += (got - l.s.Live) / 100
		l.s.Held++
	}
}

func slotTime(n int64) time.Time { return time.Unix(n*int64(slot/time.Second), 0).UTC() }

// due reports whether the forecast is to be made anew: it is old, or another version decides.
func (l *load) due() bool {
	return l.made.Made.IsZero() || l.old() || l.made.Version != l.model.Care.Active
}

// old reports whether a forecast that was made has to be made anew.
func (l *load) old() bool {
	return !l.made.Made.IsZero() && slotTime(l.s.Open).Sub(l.made.Made) >= renewEvery*slot
}

// input is what a forecast is made from; what was planned is taken out, for what is
// planned is put in.
func (l *load) input(planned []policy.Planned) []float64 {
	y := make([]float64, len(l.s.Slots))
	for i, v := range l.s.Slots {
		y[i] = math.NaN()
		if f, ok := factor(planned, slotTime(l.s.First+int64(i))); v >= 0 && ok {
			y[i] = float64(v) / f
		}
	}
	return y
}

// factor is what calendars say of the load at a time; false in a maintenance.
func factor(planned []policy.Planned, at time.Time) (float64, bool) {
	f := 1.0
	for _, p := range planned {
		if !p.Covers(at) {
			continue
		}
		if p.Kind == policy.CalendarMaintenance {
			return 1, false
		}
		f *= p.Factor
	}
	return f, true
}

// byVersions predicts by the version that decides and by the one that runs beside, nil if
// there is none. It is slow and pure, as forecast.
func byVersions(y []float64, first int64, zone *time.Location, s loadState, planned []policy.Planned, m model.Model) (f Forecast, active, shadow *expected) {
	v, learns := m.Active()
	f, active = forecast(y, first, zone, s, planned, v, m.Care.Stretched())
	if why := m.Care.Doubt(decide.DefaultCare(slot)); why != "" && f.Trusted {
		f.Trusted, f.Reason = false, "reactive: "+why
	}
	if !learns { // rules expect no load to come: what is written down of a version is to hold rules against
		f = Forecast{Made: f.Made, Version: decide.ModelRules, Reason: "reactive: " + m.Why(), Live: f.Live, LiveSlots: f.LiveSlots}
	}
	if v, ok := m.Shadow(); ok {
		_, shadow = forecast(y, first, zone, s, planned, v, 1)
	}
	return f, active, shadow
}

// forecast predicts by a version of the model from slots that begin with number first. It
// is slow (tens of milliseconds) and pure; its deciles are stretched by a factor. What is
// expected is nil if there is too little.
func forecast(y []float64, first int64, zone *time.Location, s loadState, planned []policy.Planned, v model.Version, stretch float64) (Forecast, *expected) {
	day, week := int(24*time.Hour/slot), int(7*24*time.Hour/slot)
	rules := repeated(y, day)
	y, first = since(y, first, v)
	out := Forecast{Made: slotTime(first + int64(len(y))), Version: v.Name, Live: s.Live, LiveSlots: s.Held}
	cfg := infer.ForecastConfig{Horizon: horizon, Phase: func(i int) [2]int {
		at := slotTime(first + int64(i)).In(zone)
		n := (at.Hour()*60 + at.Minute()) / int(slot/time.Minute)
		return [2]int{n, int(at.Weekday())*day + n}
	}}
	if len(y) >= 2*day {
		cfg.Seasons[0] = day
		if len(y) >= 2*week {
			cfg.Seasons[1] = week
		}
	}
	p, err := infer.Predict(y, cfg)
	if err != nil {
		out.Reason = "reactive: " + err.Error()
		return out, nil
	}
	out.Skill, out.Coverage, out.Sharpness = p.Skill, p.Cover90, p.Width90
	out.Trusted, out.Reason = judge(p, s, cfg.Seasons[0] > 0)
	e := &expected{first: first + int64(len(y)), mean: p.Mean, rules: rules, trusted: out.Trusted, stretch: stretch}
	for k := range p.Mean {
		at := slotTime(e.first + int64(k))
		f, _ := factor(planned, at)
		e.factor, e.deciles = append(e.factor, f), append(e.deciles, p.Deciles(k).Stretched(stretch))
		out.Steps = append(out.Steps, Step{
			Time: at, Mean: max(0, f*p.Mean[k]),
			Low: max(0, f*p.Quantile(k, s.Level/2)), High: max(0, f*p.Quantile(k, 1-s.Level/2)),
			Deciles: decilesOf(e.deciles[k], f),
		})
	}
	return out, e
}

// repeated is what repeating the last season says of the steps to come, or the last value
// if less than a season is known.
func repeated(y []float64, season int) []float64 {
	last := math.NaN()
	for _, v := range y {
		if !math.IsNaN(v) {
			last = v
		}
	}
	out := make([]float64, horizon)
	for k := range out {
		out[k] = last
		if i := len(y) + k - season; i >= 0 && i < len(y) && !math.IsNaN(y[i]) {
			out[k] = y[i]
		}
	}
	return out
}

// judge says whether decisions may rest on a forecast. One that knows no day yet is held
// against nothing but its own last hours, which are alike.
func judge(p infer.Prediction, s loadState, seasonal bool) (trusted bool, reason string) {
	switch {
	case !seasonal:
		return false, "reactive: less than two days are known, so there is no day before to compare with"
	case p.Origins < 2:
		return false, "reactive: too little has been seen to check a forecast"
	case p.Still():
		return false, "reactive: it repeats itself exactly, so that nothing is better than repeating it, and nothing is known of how far it may stray"
	case p.Skill <= 0:
		return false, fmt.Sprintf("reactive: no better than repeating the last day (skill %.2f)", p.Skill)
	case !p.Trusted():
		return false, fmt.Sprintf("reactive: its 90 %% intervals held %.0f %% of the past, outside 85 to 97", 100*p.Cover90)
	case s.Held >= liveFrom && (s.Live < 0.8 || s.Live > 0.99):
		return false, fmt.Sprintf("reactive: the coverage drifted, its 90 %% intervals held %.0f %% of the latest slots", 100*s.Live)
	}
	return true, fmt.Sprintf("%.0f %% better than repeating the last day, and its 90 %% intervals held %.0f %% of the past", 100*p.Skill, 100*p.Cover90)
}
