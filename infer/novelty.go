package infer

import (
	"fmt"
	"math"
	"time"
)

// Channel is one view of a series in which a record is news.
type Channel string

// The channels of a Novelty, in the order that ties are told in.
const (
	ChannelValue  Channel = "value"         // the observation itself
	ChannelFast   Channel = "short mean"    // its moving average over about 5 observations
	ChannelSlow   Channel = "long mean"     // its moving average over about 20
	ChannelSpread Channel = "spread"        // the logarithm of its moving standard deviation: a line gone flat is news, too
	ChannelSeason Channel = "time of day"   // the difference from what this hour of the day usually has
	ChannelGap    Channel = "off long mean" // the difference from the long mean
	ChannelTrend  Channel = "trend"         // the short mean's difference from the long one
)

// channelNames are the channels by their index.
var channelNames = [...]Channel{ChannelValue, ChannelFast, ChannelSlow, ChannelSpread, ChannelSeason, ChannelGap, ChannelTrend}

const channels = len(channelNames)

// How fast the moving figures learn, and from when on they say something.
const (
	learnFast   = 0.2
	learnSlow   = 0.05
	learnSpread = 0.05
	learnHour   = 0.1
	spreadFrom  = 20   // observations
	hourFrom    = 10   // observations of that hour
	spreadFloor = 1e-3 // of the range of values: less movement than this is none
)

// NoveltyConfig is what a Novelty goes by. The zero value is not usable; take
// DefaultNovelty.
type NoveltyConfig struct {
	// Threshold is how far beyond its record a channel must go, as a share of the
	// record's range, to be an alarm.
	Threshold float64 `json:"threshold"`
	// Warmup is how many observations a channel learns from before it can alarm.
	Warmup int `json:"warmup"`
	// RestShare and RestMost say how long nothing else is an alarm after one: that
	// share of the observations so far, RestMost at most.
	RestShare float64 `json:"rest_share"`
	RestMost  int     `json:"rest_most"`
	// Leak draws every record towards the middle of its range, by this share of the
	// range an observation, so that an old incident is forgotten.
	Leak float64 `json:"leak"`
	// Zone is where the hours of the day are told; nil is UTC.
	Zone *time.Location `json:"-"`
}

// DefaultNovelty is the configuration that bench/anomaly measures.
func DefaultNovelty() NoveltyConfig {
	return NoveltyConfig{Threshold: 0.05, Warmup: 20, RestShare: 0.03, RestMost: 150, Leak: 5e-6}
}

// Novelty watches one series for what it has never been like: in each of seven
// channels it keeps the lowest and the highest so far, and how far an observation
// goes beyond, as a share of the range, is its score. It looks at the past only. Its
// cost and its memory are a few numbers an observation and a series.
//
// A change that comes in many small steps makes a small record with each of them and
// is found late or never; that is the work of a forecast's residuals.
//
// What it finds is calibrated, not exact: records come at a rate that depends on the
// series. bench/anomaly measures it on the Numenta Anomaly Benchmark.
type Novelty struct {
	cfg NoveltyConfig
	s   NoveltyState
}

// NoveltyState is what a Novelty remembers.
type NoveltyState struct {
	Seen       int               `json:"seen"`
	Fast       float64           `json:"fast"`
	Slow       float64           `json:"slow"`
	SpreadMean float64           `json:"spread_mean"`
	SpreadVar  float64           `json:"spread_var"`
	Hours      [24]float64       `json:"hours"`
	HourSeen   [24]int           `json:"hour_seen"`
	Low        [channels]float64 `json:"low"`
	High       [channels]float64 `json:"high"`
	Counts     [channels]int     `json:"counts"`
	Resting    int               `json:"resting"`
}

// NewNovelty starts with nothing seen.
func NewNovelty(cfg NoveltyConfig) *Novelty {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	return &Novelty{cfg: cfg}
}

// State is what it remembers, for Restore.
func (n *Novelty) State() NoveltyState { return n.s }

// Restore goes on from a state as if it had never stopped; false, and nothing changes,
// if it is no state of a Novelty.
func (n *Novelty) Restore(s NoveltyState) bool {
	if s.Seen < 0 || s.Resting < 0 || s.SpreadVar < 0 {
		return false
	}
	for _, list := range [][]float64{s.Hours[:], s.Low[:], s.High[:], {s.Fast, s.Slow, s.SpreadMean}} {
		for _, v := range list {
			if !(math.Abs(v) <= 4*MaxObservation) {
				return false
			}
		}
	}
	n.s = s
	return true
}

// News is what one observation was.
type News struct {
	Score   float64 `json:"score"` // how far beyond its record the leading channel went, as a share of the record's range; 0 is nothing new
	Alarm   bool    `json:"alarm"`
	Channel Channel `json:"channel,omitempty"` // the leading one
	Why     string  `json:"why,omitempty"`     // in words, set with an alarm
}

// MaxObservation is the largest magnitude that a Novelty takes for an observation.
const MaxObservation = 1e100

// Observe takes the next observation. One that is no number, or beyond MaxObservation,
// is no observation and no news: missing data is another question.
func (n *Novelty) Observe(at time.Time, v float64) News {
	if !(math.Abs(v) <= MaxObservation) {
		return News{}
	}
	x, ok := n.views(at, v)
	n.s.Seen++
	var out News
	lead, low, high := -1, 0.0, 0.0
	for c := range channels {
		if !ok[c] {
			continue
		}
		over := 0.0
		if n.s.Counts[c] >= n.cfg.Warmup {
			if width := n.s.High[c] - n.s.Low[c]; width > 0 {
				over = max(0, x[c]-n.s.High[c], n.s.Low[c]-x[c]) / width
			} else if x[c] != n.s.High[c] {
				over = 1 // anything is news where nothing ever moved
			}
		}
		if over > out.Score {
			out.Score, lead, low, high = over, c, n.s.Low[c], n.s.High[c]
		}
		n.record(c, x[c])
	}
	if lead < 0 {
		n.s.Resting = max(0, n.s.Resting-1)
		return out
	}
	out.Channel = channelNames[lead]
	if n.s.Resting > 0 {
		n.s.Resting--
		return out
	}
	if out.Score > n.cfg.Threshold {
		out.Alarm = true
		out.Why = why(out.Channel, x[lead], low, high, n.s.Seen)
		n.s.Resting = min(int(n.cfg.RestShare*float64(n.s.Seen)), n.cfg.RestMost)
	}
	return out
}

func (n *Novelty) record(c int, x float64) {
	if n.s.Counts[c] == 0 {
		n.s.Low[c], n.s.High[c] = x, x
	}
	if n.cfg.Leak > 0 {
		shrink := n.cfg.Leak * (n.s.High[c] - n.s.Low[c])
		n.s.Low[c], n.s.High[c] = n.s.Low[c]+shrink, n.s.High[c]-shrink
	}
	n.s.Low[c], n.s.High[c] = min(n.s.Low[c], x), max(n.s.High[c], x)
	n.s.Counts[c]++
}

// views are the channels at this observation; the moving ones learn from it.
func (n *Novelty) views(at time.Time, v float64) (x [channels]float64, ok [channels]bool) {
	hour := at.In(n.cfg.Zone).Hour()
	if n.s.Seen == 0 {
		n.s.Fast, n.s.Slow, n.s.SpreadMean = v, v, v
	}
	ok = [channels]bool{true, true, true, n.s.Seen >= spreadFrom, n.s.HourSeen[hour] >= hourFrom, true, true}
	n.s.Fast += learnFast * (v - n.s.Fast)
	n.s.Slow += learnSlow * (v - n.s.Slow)
	d := v - n.s.SpreadMean
	n.s.SpreadMean += learnSpread * d
	n.s.SpreadVar = (1 - learnSpread) * (n.s.SpreadVar + learnSpread*d*d)
	floor := spreadFloor*(n.s.High[0]-n.s.Low[0]) + 1e-9
	x = [channels]float64{v, n.s.Fast, n.s.Slow, math.Log(math.Sqrt(n.s.SpreadVar) + floor), v - n.s.Hours[hour], v - n.s.Slow, n.s.Fast - n.s.Slow}
	if n.s.HourSeen[hour] == 0 {
		n.s.Hours[hour] = v
	}
	n.s.Hours[hour] += learnHour * (v - n.s.Hours[hour])
	n.s.HourSeen[hour]++
	return x, ok
}

// why says in words what was new.
func why(c Channel, x, low, high float64, seen int) string {
	side, record := "above", high
	if x < low {
		side, record = "below", low
	}
	return fmt.Sprintf("%s %.4g is %s anything in %d observations (%.4g)", c, x, side, seen, record)
}
