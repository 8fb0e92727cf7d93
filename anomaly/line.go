package anomaly

import (
	"math"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

const (
	// PointsShown is how many of the newest observations a snapshot shows.
	PointsShown = 180
	// quietAfter is how long an indicator that had an alarm has no other.
	quietAfter = 10 * time.Minute
)

// Point is one observation of an indicator with the band it was expected in.
type Point struct {
	Time  time.Time `json:"time"`
	Known bool      `json:"known"`
	Value float64   `json:"value"`
	Band  bool      `json:"band"` // low and high are known
	Low   float64   `json:"low"`
	High  float64   `json:"high"`
	Alarm string    `json:"alarm,omitempty"` // in words
}

// line is one indicator with its detectors.
type line struct {
	name   string
	novel  *infer.Novelty
	expect *infer.Expectation
	quiet  time.Time // no alarm before
	recent []Point
}

// lineState is what is kept of a line.
type lineState struct {
	Novel  infer.NoveltyState     `json:"novel"`
	Expect infer.ExpectationState `json:"expect"`
	Quiet  time.Time              `json:"quiet"`
}

func newLine(name string, zone *time.Location) *line {
	cfg := infer.DefaultNovelty()
	cfg.Zone = zone
	return &line{name: name, novel: infer.NewNovelty(cfg), expect: infer.NewExpectation(infer.DefaultConformal(), zone)}
}

func (l *line) state() lineState {
	return lineState{l.novel.State(), l.expect.State(), l.quiet}
}

func (l *line) restore(s lineState) bool {
	l.quiet = s.Quiet
	return l.novel.Restore(s.Novel) && l.expect.Restore(s.Expect)
}

// observe takes the value at a time, NaN where there is none, and returns an alarm and
// the error of the forecast, NaN without one. While aside is set nothing is learnt:
// what is measured then says nothing about the usual.
func (l *line) observe(at time.Time, v float64, aside bool) (found *Found, err float64) {
	p := Point{Time: at}
	defer func() { l.show(p) }()
	if math.IsNaN(v) {
		return nil, math.NaN()
	}
	p.Known, p.Value = true, v
	if aside {
		found = l.glance(at, v)
		p.Band = false
	} else {
		found, err = l.learn(at, v, &p)
	}
	if found == nil || at.Before(l.quiet) {
		return nil, err
	}
	l.quiet = at.Add(quietAfter)
	p.Alarm = found.Words
	found.Indicator, found.Time, found.Value = l.name, at, &v
	return found, err
}

// learn lets both detectors take the observation.
func (l *line) learn(at time.Time, v float64, p *Point) (*Found, float64) {
	surprise, news := l.expect.Observe(at, v), l.novel.Observe(at, v)
	p.Band, p.Low, p.High = surprise.Band, surprise.Low, surprise.High
	var found *Found
	switch {
	case news.Alarm:
		found = l.record(news)
	case surprise.Alarm:
		certainty, basis := l.expect.Certainty()
		found = &Found{Channel: infer.ChannelForecast, Words: l.name + ": " + surprise.Why, Score: surprise.Capital, Certainty: string(certainty), Basis: basis}
	default:
		return nil, v - surprise.Expected
	}
	found.Expected = new(surprise.Expected)
	if surprise.Band {
		found.Low, found.High = new(surprise.Low), new(surprise.High)
	}
	return found, v - surprise.Expected
}

// glance asks the detector of records and leaves it as it was.
func (l *line) glance(at time.Time, v float64) *Found {
	other := *l.novel
	news := other.Observe(at, v)
	if !news.Alarm {
		return nil
	}
	return l.record(news)
}

func (l *line) record(news infer.News) *Found {
	return &Found{
		Channel: news.Channel, Words: l.name + ": " + news.Why, Score: news.Score, Certainty: string(assay.Calibrated),
		Basis: "the rate of false alarms is that of records in series like the benchmark's (bench/anomaly)",
	}
}

func (l *line) show(p Point) {
	if len(l.recent) == PointsShown {
		copy(l.recent, l.recent[1:])
		l.recent = l.recent[:PointsShown-1]
	}
	l.recent = append(l.recent, p)
}
