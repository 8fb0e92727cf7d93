package infer

import (
	"math"
	"slices"

	"assay.dev/assay"
)

// bets are the powers that a Conformal bets on p values with, alike. The first wins
// slowly on many that are a little small, the last quickly on few that are the
// smallest possible.
var bets = [...]float64{0.92, 0.5, 0.2}

// ConformalConfig is what a Conformal goes by. The zero value is not usable; take
// DefaultConformal.
type ConformalConfig struct {
	// Keep is how many errors each bucket of the season remembers.
	Keep int `json:"keep"`
	// Least is how many it must have before the next one can be judged.
	Least int `json:"least"`
	// Buckets are the parts of the season that are judged apart, since a night's
	// errors say nothing about a morning's.
	Buckets int `json:"buckets"`
	// Alpha bounds the expected number of false alarms in Stretch observations.
	Alpha   float64 `json:"alpha"`
	Stretch int     `json:"stretch"`
}

// DefaultConformal is the configuration that bench/anomaly measures: at minutes, one
// false alarm in a hundred weeks.
func DefaultConformal() ConformalConfig {
	return ConformalConfig{Keep: 500, Least: 50, Buckets: 4, Alpha: 0.01, Stretch: 10_080}
}

// Conformal judges errors of a forecast by their rank among earlier ones. The p value
// of an error is (1 + the number of earlier ones in its bucket that are at least as
// large) / (1 + their number). Ties count against an alarm, so that nothing is drawn
// at random and a judgement can be repeated.
//
// On the p values it bets with power martingales, a new one from every observation on,
// since a change may begin at each: their sum is that of Shiryaev and Roberts, and the
// capital is its share of a stretch. The sum less the number of observations is a
// supermartingale if the errors of a bucket are exchangeable, and each alarm takes
// stretch/alpha from it. So whenever one looks, the false alarms so far are expected
// to be at most alpha in each stretch: Certainty says how far that goes.
type Conformal struct {
	cfg    ConformalConfig
	s      ConformalState
	sorted [][]float32 // the errors of s by size
}

// ConformalState is what a Conformal remembers; it goes on from it as if it had never
// stopped.
type ConformalState struct {
	Errors [][]float32        `json:"errors"` // magnitudes by bucket, a ring
	Next   []int              `json:"next"`   // place in the ring, by bucket
	Bets   [len(bets)]float64 `json:"bets"`   // sums of Shiryaev and Roberts
	Forgot bool               `json:"forgot"` // a ring is full: early errors are gone
}

// NewConformal starts with nothing seen.
func NewConformal(cfg ConformalConfig) *Conformal {
	s := ConformalState{Errors: make([][]float32, cfg.Buckets), Next: make([]int, cfg.Buckets)}
	return &Conformal{cfg: cfg, s: s, sorted: make([][]float32, cfg.Buckets)}
}

// State is what it remembers; the caller does not change it, and the next Observe does.
func (c *Conformal) State() ConformalState { return c.s }

// Restore goes on from a state of a Conformal with the same configuration; false, and
// nothing changes, if the state is of another one.
func (c *Conformal) Restore(s ConformalState) bool {
	if len(s.Errors) != c.cfg.Buckets || len(s.Next) != c.cfg.Buckets {
		return false
	}
	for b, list := range s.Errors {
		if len(list) > c.cfg.Keep || s.Next[b] < 0 || s.Next[b] >= c.cfg.Keep {
			return false
		}
		if slices.ContainsFunc(list, func(e float32) bool { return !(e >= 0) }) {
			return false
		}
	}
	for _, w := range s.Bets {
		if !(w >= 0 && w <= math.MaxFloat64) {
			return false
		}
	}
	c.s = s
	for b, list := range s.Errors {
		c.sorted[b] = slices.Sorted(slices.Values(list))
	}
	return true
}

// Rarity is what a Conformal says about one error.
type Rarity struct {
	Known   bool    // enough errors of the bucket have been seen
	P       float64 // of the error; 1 if it is not known
	Capital float64 // of the bets since the last alarm; above 1/alpha is one
	Alarm   bool
}

// Observe judges the magnitude of an error and remembers it. One that is no number is
// nothing. After an alarm the bets begin anew.
func (c *Conformal) Observe(bucket int, magnitude float64) Rarity {
	if !(magnitude >= 0 && magnitude <= MaxObservation) {
		return Rarity{P: 1, Capital: c.capital()}
	}
	e := float32(min(magnitude, math.MaxFloat32))
	sorted := c.sorted[bucket]
	at, _ := slices.BinarySearch(sorted, e) // those from here on are at least as large
	out := Rarity{P: 1}
	if len(sorted) >= c.cfg.Least {
		out.Known, out.P = true, float64(1+len(sorted)-at)/float64(1+len(sorted))
		for i, power := range bets {
			c.s.Bets[i] = min((c.s.Bets[i]+1)*power*math.Pow(out.P, power-1), math.MaxFloat32)
		}
	}
	out.Capital = c.capital()
	if out.Capital > 1/c.cfg.Alpha {
		out.Alarm = true
		c.s.Bets = [len(bets)]float64{}
	}
	c.remember(bucket, at, e)
	return out
}

// remember puts an error into its bucket, at its place by size, for the oldest one.
func (c *Conformal) remember(bucket, at int, e float32) {
	ring, next := c.s.Errors[bucket], c.s.Next[bucket]
	c.sorted[bucket] = slices.Insert(c.sorted[bucket], at, e)
	if len(ring) < c.cfg.Keep {
		c.s.Errors[bucket] = append(ring, e)
	} else {
		gone, _ := slices.BinarySearch(c.sorted[bucket], ring[next])
		c.sorted[bucket] = slices.Delete(c.sorted[bucket], gone, gone+1)
		ring[next], c.s.Forgot = e, true
	}
	c.s.Next[bucket] = (next + 1) % c.cfg.Keep
}

// quantile is the magnitude that an error of a bucket exceeds with a probability of at
// most miss; false while too few have been seen for that.
func (c *Conformal) quantile(bucket int, miss float64) (float64, bool) {
	sorted := c.sorted[bucket]
	if len(sorted) < c.cfg.Least {
		return 0, false
	}
	at := int(math.Ceil(float64(len(sorted)+1)*(1-miss))) - 1
	return float64(sorted[min(max(at, 0), len(sorted)-1)]), true
}

// capital is what the bets are worth together, each beginning with an equal share of
// a stretch.
func (c *Conformal) capital() float64 {
	sum := 0.0
	for _, w := range c.s.Bets {
		sum += w / float64(len(bets))
	}
	return sum / float64(c.cfg.Stretch)
}

// Certainty says what the bound on false alarms rests on.
func (c *Conformal) Certainty() (assay.Certainty, string) {
	const bound = "errors of the same part of the day that could have come in any order"
	if c.s.Forgot {
		return assay.Calibrated, "the bound (the supermartingale of Shiryaev and Roberts, at every look) holds for " + bound + " and are all remembered; here early ones are forgotten, so the rate of false alarms is the measured one (bench/anomaly)"
	}
	return assay.Exact, "by optional stopping of the supermartingale of Shiryaev and Roberts, at every look, for " + bound + ": a series that drifts, or errors that follow each other, is not such a one"
}
