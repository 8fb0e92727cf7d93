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
	cfg              NoveltyConfig
	seen             int
	fast, slow       float64
	spreadM, spreadV float64
	hours            [24]float64
	hourSeen         [24]int
	low, high        [channels]float64
	counts           [channels]int
	rest             int
}

// NewNovelty starts with nothing seen.
func NewNovelty(cfg NoveltyConfig) *Novelty {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	return &Novelty{cfg: cfg}
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
	n.seen++
	var out News
	lead, low, high := -1, 0.0, 0.0
	for c := range channels {
		if !ok[c] {
			continue
		}
		over := 0.0
		if n.counts[c] >= n.cfg.Warmup {
			if width := n.high[c] - n.low[c]; width > 0 {
				over = max(0, x[c]-n.high[c], n.low[c]-x[c]) / width
			} else if x[c] != n.high[c] {
				over = 1 // anything is news where nothing ever moved
			}
		}
		if over > out.Score {
			out.Score, lead, low, high = over, c, n.low[c], n.high[c]
		}
		n.record(c, x[c])
	}
	if lead < 0 {
		n.rest = max(0, n.rest-1)
		return out
	}
	out.Channel = channelNames[lead]
	if n.rest > 0 {
		n.rest--
		return out
	}
	if out.Score > n.cfg.Threshold {
		out.Alarm = true
		out.Why = why(out.Channel, x[lead], low, high, n.seen)
		n.rest = min(int(n.cfg.RestShare*float64(n.seen)), n.cfg.RestMost)
	}
	return out
}

func (n *Novelty) record(c int, x float64) {
	if n.counts[c] == 0 {
		n.low[c], n.high[c] = x, x
	}
	if n.cfg.Leak > 0 {
		shrink := n.cfg.Leak * (n.high[c] - n.low[c])
		n.low[c], n.high[c] = n.low[c]+shrink, n.high[c]-shrink
	}
	n.low[c], n.high[c] = min(n.low[c], x), max(n.high[c], x)
	n.counts[c]++
}

// views are the channels at this observation; the moving ones learn from it.
func (n *Novelty) views(at time.Time, v float64) (x [channels]float64, ok [channels]bool) {
	hour := at.In(n.cfg.Zone).Hour()
	if n.seen == 0 {
		n.fast, n.slow, n.spreadM = v, v, v
	}
	ok = [channels]bool{true, true, true, n.seen >= spreadFrom, n.hourSeen[hour] >= hourFrom, true, true}
	n.fast += learnFast * (v - n.fast)
	n.slow += learnSlow * (v - n.slow)
	d := v - n.spreadM
	n.spreadM += learnSpread * d
	n.spreadV = (1 - learnSpread) * (n.spreadV + learnSpread*d*d)
	floor := spreadFloor*(n.high[0]-n.low[0]) + 1e-9
	x = [channels]float64{v, n.fast, n.slow, math.Log(math.Sqrt(n.spreadV) + floor), v - n.hours[hour], v - n.slow, n.fast - n.slow}
	if n.hourSeen[hour] == 0 {
		n.hours[hour] = v
	}
	n.hours[hour] += learnHour * (v - n.hours[hour])
	n.hourSeen[hour]++
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
