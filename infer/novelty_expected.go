package infer

import (
	"fmt"
	"math"
	"time"

	"assay.dev/assay"
)

// ChannelForecast is the channel of an Expectation: what came is not what was expected.
const ChannelForecast Channel = "forecast"

// The predictors of an Expectation: a level that learns at one of these rates, with the
// hours of the day and without.
var levelRates = [...]float64{0.02, 0.2, 0.7}

const predictors = 2 * len(levelRates)

const (
	learnError = 0.01 // of the mean error by which a predictor is chosen
	hourMost   = 600  // observations that an hour's mean looks back on
	bandMiss   = 0.1  // share of observations that a band may miss
	// adapt is how fast a band follows what it missed (adaptive conformal inference).
	adapt       = 0.01
	learnCover  = 0.005
	coverFrom   = 200 // observations before the coverage of bands is known
	coverLeast  = 0.8
	coverMost   = 0.97
	tinyMeasure = 1e-9
	mostSpreads = 1e30 // that an error may be: a number for whatever comes after nothing ever moved
)

// Expectation forecasts the next observation of a series from those before, and judges
// what came by a Conformal on the errors: the second detector beside Novelty. It finds
// what goes on, such as a level that moved a little and stays, where a single record is
// no news; and it gives every observation the band it was expected in.
//
// The forecast is that of the best of six simple predictors so far. Its cost and its
// memory are bounded.
type Expectation struct {
	zone *time.Location
	rest NoveltyConfig // how long nothing else is an alarm after one
	odds *Conformal
	s    ExpectationState
}

// ExpectationState is what an Expectation remembers, beside its errors.
type ExpectationState struct {
	Seen     int                 `json:"seen"`
	Levels   [predictors]float64 `json:"levels"`
	Mistakes [predictors]float64 `json:"mistakes"` // mean absolute errors
	Hours    [24]float64         `json:"hours"`    // usual difference from the mean, by hour
	HourSeen [24]int             `json:"hour_seen"`
	Spreads  [24]float64         `json:"spreads"` // usual magnitude of an error, by hour
	Mean     float64             `json:"mean"`
	Resting  int                 `json:"resting"`
	Miss     float64             `json:"miss"`    // what the band aims to miss, so that it misses bandMiss
	Covered  float64             `json:"covered"` // moving share of observations that their bands held
	Bands    int                 `json:"bands"`   // observations that had one
	Errors   ConformalState      `json:"errors"`
}

// NewExpectation starts with nothing seen; hours are told in zone, nil is UTC.
func NewExpectation(cfg ConformalConfig, zone *time.Location) *Expectation {
	if zone == nil {
		zone = time.UTC
	}
	return &Expectation{zone: zone, rest: DefaultNovelty(), odds: NewConformal(cfg), s: ExpectationState{Miss: bandMiss, Covered: 1 - bandMiss}}
}

// State is what it remembers, for Restore; the next Observe changes it.
func (x *Expectation) State() ExpectationState {
	s := x.s
	s.Errors = x.odds.State()
	return s
}

// Restore goes on from a state as if it had never stopped; false, and nothing changes,
// if the state is of another configuration.
func (x *Expectation) Restore(s ExpectationState) bool {
	for _, list := range [][]float64{s.Levels[:], s.Mistakes[:], s.Hours[:], s.Spreads[:], {s.Mean, s.Miss, s.Covered}} {
		for _, v := range list {
			if !(math.Abs(v) <= 2*MaxObservation) {
				return false
			}
		}
	}
	if s.Seen < 0 || s.Resting < 0 || !x.odds.Restore(s.Errors) {
		return false
	}
	s.Errors = ConformalState{}
	s.Miss = min(max(s.Miss, 0), 1) // a state of before it was kept within
	x.s = s
	return true
}

// Surprise is what an Expectation says about one observation.
type Surprise struct {
	Expected float64 `json:"expected"`
	Low      float64 `json:"low"` // of the band that holds 90 of 100 observations
	High     float64 `json:"high"`
	Band     bool    `json:"band"`    // the band is known
	P        float64 `json:"p"`       // of an error as large as this one, by rank
	Capital  float64 `json:"capital"` // won by betting against the forecast; an alarm above 1/alpha
	Alarm    bool    `json:"alarm"`
	Why      string  `json:"why,omitempty"` // in words, set with an alarm
}

// Expect is the forecast for an observation at a time, before it is seen: Expected and
// the band.
func (x *Expectation) Expect(at time.Time) Surprise {
	out := Surprise{Expected: x.forecast(x.best(), at), P: 1}
	if half, ok := x.odds.quantile(x.bucket(at), x.s.Miss); ok {
		half *= x.spread(at)
		out.Low, out.High, out.Band = out.Expected-half, out.Expected+half, true
	}
	return out
}

// Observe takes the next observation. One that is no number, or beyond MaxObservation,
// is none.
func (x *Expectation) Observe(at time.Time, v float64) Surprise {
	if !(math.Abs(v) <= MaxObservation) {
		return Surprise{P: 1}
	}
	if x.s.Seen == 0 {
		x.s.Mean = v
		for i := range x.s.Levels {
			x.s.Levels[i] = v
		}
		x.learn(at, v)
		return Surprise{Expected: v, P: 1}
	}
	out := x.Expect(at)
	e := v - out.Expected
	r := x.odds.Observe(x.bucket(at), min(math.Abs(e)/x.spread(at), mostSpreads))
	out.P, out.Capital = r.P, r.Capital
	if out.Band {
		x.cover(v >= out.Low && v <= out.High)
	}
	if x.s.Resting > 0 {
		x.s.Resting--
	} else if r.Alarm {
		out.Alarm, out.Why = true, out.words(v)
		x.s.Resting = min(int(x.rest.RestShare*float64(x.s.Seen)), x.rest.RestMost)
	}
	x.learn(at, v)
	h := at.In(x.zone).Hour()
	x.s.Spreads[h] += (math.Abs(e) - x.s.Spreads[h]) / float64(min(x.s.HourSeen[h], hourMost))
	return out
}

// cover counts an observation with a band, and moves what the next band aims to miss.
func (x *Expectation) cover(held bool) {
	got, missed := 1.0, 0.0
	if !held {
		got, missed = 0, 1
	}
	// Kept within what can be aimed at: a series that stood still for a year, whose bands
	// held everything, would have to miss for a month until its band is one again.
	x.s.Miss = min(max(x.s.Miss+adapt*(bandMiss-missed), 0), 1)
	x.s.Covered += learnCover * (got - x.s.Covered)
	x.s.Bands++
}

// Coverage is the moving share of observations that their 90 % band held, and, once
// there are enough, whether that is as it should be.
func (x *Expectation) Coverage() (share float64, known, fits bool) {
	return x.s.Covered, x.s.Bands >= coverFrom, x.s.Covered >= coverLeast && x.s.Covered <= coverMost
}

// Certainty says what the bound on false alarms rests on.
func (x *Expectation) Certainty() (assay.Certainty, string) { return x.odds.Certainty() }

func (s Surprise) words(v float64) string {
	side := "above"
	if v < s.Expected {
		side = "below"
	}
	band := ""
	if s.Band {
		band = fmt.Sprintf(" (%.4g to %.4g in 9 of 10 cases)", s.Low, s.High)
	}
	return fmt.Sprintf("%.4g is %s the expected %.4g%s, and so are the latest: a row of errors this large has odds of 1 to %.3g", v, side, s.Expected, band, s.Capital)
}

// bucket is the part of the day whose errors are compared.
func (x *Expectation) bucket(at time.Time) int {
	return at.In(x.zone).Hour() * x.odds.cfg.Buckets / 24
}

// hour is what a time of day usually has beyond the mean: between two middles of hours,
// the share of each.
func (x *Expectation) hour(at time.Time) float64 { return x.between(at, &x.s.Hours) }

// spread is how large an error usually is at a time of day: an error counts in its
// hour's measure, since a busy hour has larger ones.
func (x *Expectation) spread(at time.Time) float64 {
	return max(x.between(at, &x.s.Spreads), tinyMeasure*(1+math.Abs(x.s.Mean)))
}

func (x *Expectation) between(at time.Time, hours *[24]float64) float64 {
	local := at.In(x.zone)
	place := float64(local.Hour()) + float64(local.Minute())/60 - 0.5
	low := math.Floor(place)
	a, b := (int(low)+24)%24, (int(low)+25)%24
	return hours[a] + (place-low)*(hours[b]-hours[a])
}

func (x *Expectation) forecast(i int, at time.Time) float64 {
	if i < len(levelRates) {
		return x.s.Levels[i]
	}
	return x.s.Levels[i] + x.hour(at)
}

func (x *Expectation) best() int {
	best := 0
	for i, e := range x.s.Mistakes {
		if e < x.s.Mistakes[best]-tinyMeasure*math.Abs(x.s.Mean) {
			best = i
		}
	}
	return best
}

func (x *Expectation) learn(at time.Time, v float64) {
	rate := max(learnError, 1/float64(x.s.Seen+1))
	season := x.hour(at)
	for i := range x.s.Levels {
		x.s.Mistakes[i] += rate * (math.Abs(v-x.forecast(i, at)) - x.s.Mistakes[i])
		rest := v
		if i >= len(levelRates) {
			rest -= season
		}
		x.s.Levels[i] += levelRates[i%len(levelRates)] * (rest - x.s.Levels[i])
	}
	x.s.Seen++
	x.s.Mean += (v - x.s.Mean) / float64(min(x.s.Seen, 24*hourMost))
	h := at.In(x.zone).Hour()
	x.s.HourSeen[h]++
	x.s.Hours[h] += (v - x.s.Mean - x.s.Hours[h]) / float64(min(x.s.HourSeen[h], hourMost))
}
