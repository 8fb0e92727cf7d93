package decide

import (
	"math"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// DefaultEvery is how much time of a gauge makes one value unless the plan says otherwise.
const DefaultEvery = 10 * time.Second

// IndicatorKind is what an indicator's readings count.
type IndicatorKind string

const (
	KindRatio IndicatorKind = "ratio" // bad of all events
	KindCount IndicatorKind = "count" // events per exposure, of which one may have many: Reading.Count of Reading.Total
	KindValue IndicatorKind = "value" // a value from 0 to Max for each event: Reading.Sum over Reading.Total
	KindGauge IndicatorKind = "gauge" // a value from Min to Max, looked at from time to time: Reading.Sum over Reading.Total samples
)

// plain reports whether an indicator counts something else than bad requests: its tests
// are evidence as all others are, but what they count is no error that a budget knows.
func (i *Indicator) plain() bool {
	return i.Kind == KindCount || i.Kind == KindValue || i.Kind == KindGauge
}

// measures is what the indicator's tests count, "" for bad events of all.
func (i *Indicator) measures() assay.Measured {
	switch {
	case i.Kind == KindCount && i.PerTime:
		return assay.MeasureTime
	case i.Kind == KindCount:
		return assay.MeasureCount
	case i.Kind == KindValue:
		return assay.MeasureValue
	case i.Kind == KindGauge:
		return assay.MeasureGauge
	}
	return ""
}

// CountsRequests reports whether the Total of the indicator's readings is requests: not
// that of gauges, which is samples, nor that of counts per time.
func (i Indicator) CountsRequests() bool { return i.Kind != KindGauge && !i.PerTime }

// Rated reports whether the indicator is a rate of bad requests, without bounds.
func (i Indicator) Rated() bool { return len(i.Bounds) == 0 && !i.plain() }

// reversed reports whether the ratio of a test is turned around: values and gauges of
// which less is worse are turned around before they are counted.
func (i *Indicator) reversed() bool { return i.Less && i.Kind == KindCount }

// measured reports whether the overshoot of the indicator's test was measured: of bets it
// was not, and of fewer events it is small.
func (i *Indicator) measured() bool { return i.Kind != KindGauge && !i.reversed() }

// margin and accept are those that hold for an indicator.
func (p *Plan) margin(i *Indicator) float64 {
	if i.Margin != 0 {
		return i.Margin
	}
	return p.Margin
}

func (p *Plan) accept(i *Indicator) float64 {
	if i.Accept != 0 {
		return i.Accept
	}
	return p.Accept
}

// checkMeasure says what is wrong with what belongs to counts, values and gauges, and with
// an indicator's own margins.
func (p *Plan) checkMeasure(i *Indicator, bad func(field, format string, args ...any) error) error {
	width := i.Max - i.Min
	switch {
	case i.Kind != "" && i.Kind != KindRatio && !i.plain():
		return bad("indicators", "%s has kind %q, which is not one of ratio, count, value, gauge", i.Name, i.Kind)
	case i.Kind == KindValue && !(i.Max > 0 && i.Max < 1e15 && i.Min == 0):
		return bad("indicators", "%s: a kind value needs its max above 0, and begins at 0", i.Name)
	case i.Kind == KindGauge && !(width > 0 && math.Abs(i.Min) < 1e15 && math.Abs(i.Max) < 1e15):
		return bad("indicators", "%s: a kind gauge needs a max above its min, which are %v and %v", i.Name, i.Max, i.Min)
	case i.Kind != KindValue && i.Kind != KindGauge && (i.Max != 0 || i.Min != 0):
		return bad("indicators", "%s: min and max belong to values and gauges", i.Name)
	case (i.Kind == KindGauge) != (i.Every > 0) || i.Every > time.Hour:
		return bad("indicators", "%s: every is %s; a gauge needs it, at most an hour, and nothing else has it", i.Name, i.Every)
	case i.WarmUp < 0 || i.WarmUp > 0 && (!i.plain() || i.WarmUp >= p.Horizon):
		return bad("indicators", "%s: a warm-up of %s belongs to counts, values and gauges and ends before the horizon of %s", i.Name, i.WarmUp, p.Horizon)
	case i.PerTime && i.Kind != KindCount:
		return bad("indicators", "%s: events per time belong to counts", i.Name)
	case i.Less && !i.plain():
		return bad("indicators", "%s: less is never worse where bad events are counted", i.Name)
	case i.Kind == KindGauge && p.Fixed != nil:
		return bad("fixed", "looks at fixed numbers of requests do not go together with the gauge %s", i.Name)
	case i.Less && p.Fixed != nil:
		return bad("fixed", "looks at fixed numbers of requests do not go together with %s, of which less is worse", i.Name)
	case !(i.Expected >= 0 && i.Expected < 1e15) && i.Kind != KindGauge || math.Abs(i.Expected) >= 1e15 || math.IsNaN(i.Expected):
		return bad("indicators", "%s is expected to be %v, which is no number of it", i.Name, i.Expected)
	}
	if accept, margin := p.accept(i), p.margin(i); !(accept >= 1 && accept < margin && margin <= 100) {
		return bad("indicators", "%s: accept %v and margin %v do not satisfy 1 ≤ accept < margin ≤ 100", i.Name, accept, margin)
	}
	return nil
}

// overshootOf is overshoot for an indicator with its own margins, and 1 where it was not
// measured.
func (p Plan) overshootOf(i *Indicator, share, phi float64) float64 {
	if !i.measured() {
		return 1
	}
	p.Accept = p.accept(i)
	return p.overshoot(share, phi)
}

// meansLattice are the ratios at which the interval of a gauge looks: 1/4 to 4.
func meansLattice() []float64 {
	return []float64{0.25, 1 / (2 * math.Sqrt2), 0.5, 1 / math.Sqrt2, 1 / math.Sqrt(math.Sqrt2), 1, math.Sqrt(math.Sqrt2), math.Sqrt2, 2, 2 * math.Sqrt2, 4}
}

// bets is the test of a gauge.
func (p *Plan) bets(i *Indicator) infer.Config {
	return infer.Config{
		Kind: infer.Means, Harm: infer.Side{Null: p.accept(i)}, Safe: infer.Side{Null: p.margin(i)},
		Lattice: meansLattice(), Dispersion: i.Dispersion,
	}
}

// reverse turns a test around: what was so many times more is so many times less.
func reverse(c *infer.Config) {
	c.Less = true
	for _, s := range []*infer.Side{&c.Harm, &c.Safe} {
		s.Null = 1 / s.Null
		for n := range s.Sizes {
			s.Sizes[n].Ratio = 1 / s.Sizes[n].Ratio
		}
	}
}

// Gathered is what both versions had of a gauge since the last bet.
type Gathered struct {
	Began   time.Time   `json:"began"`
	Canary  infer.Count `json:"canary"`
	Control infer.Count `json:"control"`
}

// bet adds a reading to what both versions had of a gauge, and bets once it is long enough.
// Blocks end with time and never because of what is in them. The old version's value says
// how values hang together.
func (w *Watch) bet(p *Plan, t *test, before infer.State, had infer.Pair, of pair) (infer.State, error) {
	g := Gathered{Began: of[0].Start.UTC()}
	if w.Gathered != nil {
		g = *w.Gathered
	}
	add := func(to *infer.Count, c infer.Count) {
		to.Events, to.Exposure = to.Events+c.Events, to.Exposure+c.Exposure
	}
	add(&g.Canary, had.Treated)
	add(&g.Control, had.Control)
	if of[0].End.Sub(g.Began) < p.Indicators[t.indicator].Every {
		w.Gathered = &g
		return before, nil
	}
	w.Gathered = nil
	if p.Certainty != assay.Exact {
		w.Wander = new(w.wander().Observe(g.Control))
	}
	return t.comparison.Update(before, infer.Pair{Treated: g.Canary, Control: g.Control})
}

// values are a reading's of a gauge, from 0 to 1. One outside the declared bounds is
// refused: the bounds are what the bets rest on, and a value that is cut down to them would
// hide the very harm that it shows.
func (i *Indicator) values(r *assay.Reading) (infer.Count, string) {
	switch {
	case r.Total == 0:
		return infer.Count{}, ""
	case r.Greatest > i.Max:
		return infer.Count{}, "its value of " + number(r.Greatest) + " is above the declared max of " + number(i.Max)
	case r.Least < i.Min:
		return infer.Count{}, "its value of " + number(r.Least) + " is below the declared min of " + number(i.Min)
	}
	sum := r.Sum / (i.Max - i.Min)
	if i.Less {
		sum = float64(r.Total) - sum
	}
	return infer.Values(sum, r.Total), ""
}

// wanderAssumed is what the evidence of a gauge is divided by as long as nothing is known
// of how its values hang together in time.
const wanderAssumed = 3

// wandered is what a gauge's evidence is divided by, and where that comes from.
func (t *test) wandered(p *Plan, w *Watch) (factor float64, why string) {
	ind := &p.Indicators[t.indicator]
	stated := max(ind.Dispersion, 1)
	if p.Certainty == assay.Exact {
		return stated, ind.dividedWords(stated)
	}
	why = ind.dividedWords(stated)
	if ind.Calibration == nil && ind.Dispersion == 0 {
		stated, why = wanderAssumed, "evidence divided by "+number(wanderAssumed)+", which is assumed: nothing is known yet of how values of the old version hang together in time"
	}
	if learned := w.wander().Beyond(stated); learned > stated {
		return learned, "evidence divided by " + strconv.FormatFloat(learned, 'g', 2, 64) + ", learned from how values of " + p.Control + " hang together since the rollout began"
	}
	return stated, why
}

// wander is what is known so far of how the old version's values hang together.
func (w *Watch) wander() infer.Wander {
	if w.Wander == nil {
		return infer.Wander{}
	}
	return *w.Wander
}

// counted is how many requests of the new version are in the evidence, of the indicator that
// has most; 0 if none counts requests.
func counted(p *Plan, tests []test, s *State) (most uint64) {
	for i := range tests {
		t := &tests[i]
		if p.Indicators[t.indicator].CountsRequests() {
			most = max(most, s.Watches[t.indicator].Tests[t.slot].Treated.Exposure)
		}
	}
	return most
}

// inRequests is how many requests of the new version go with one unit of a test's exposure,
// so that what is still missing can be said in requests. Where nothing counts requests, a
// sample of a gauge and a second of a count per time are what is said.
func inRequests(i *Indicator, requests uint64, s *infer.State) float64 {
	switch {
	case i.CountsRequests():
		return 1
	case requests > 0 && s.Treated.Exposure > 0:
		return float64(requests) / float64(s.Treated.Exposure)
	case i.Kind == KindGauge:
		return 1. / infer.ValueUnit
	}
	return 1. / 1000
}

// measure says of a test's value what was measured, in the indicator's own unit, and how
// many requests go with one unit of its exposure.
func measure(i *Indicator, v *assay.TestValue, s *infer.State, requests uint64) (scale float64) {
	if v.Margin = i.Margin; !i.plain() {
		return 1
	}
	v.Measure, v.Less, scale = i.measures(), i.Less, inRequests(i, requests, s)
	mean := func(c infer.Count) float64 { return c.Rate() }
	switch v.Measure {
	case assay.MeasureTime:
		mean = func(c infer.Count) float64 { return c.Rate() * float64(time.Hour/time.Millisecond) }
	case assay.MeasureValue, assay.MeasureGauge:
		mean = func(c infer.Count) float64 { return i.within(c.Rate()) }
	}
	if v.Measure == assay.MeasureGauge {
		v.Canary = assay.Rate{Total: s.Treated.Exposure / infer.ValueUnit}
		v.Control = assay.Rate{Total: s.Control.Exposure / infer.ValueUnit}
	}
	if s.Treated.Exposure > 0 && s.Control.Exposure > 0 {
		v.CanaryMean, v.ControlMean = mean(s.Treated), mean(s.Control)
		if base := s.Control.Rate(); base > 0 {
			v.Ratio = s.Treated.Rate() / base
		}
	}
	if v.Remaining > 0 {
		v.Remaining *= scale
	}
	return scale
}

// work names what harm rests on if that is a count, value or gauge: nobody sees it among
// errors and latency.
func work(d *assay.Decision) string {
	most := heaviest(d.Tests)
	if most < 0 || d.Tests[most].Measure == "" {
		return ""
	}
	t := &d.Tests[most]
	return ", by " + t.Name + ": " + t.Measure.Words(t.CanaryMean) + " against " + t.Measure.Words(t.ControlMean)
}

// within is a value from its place between the bounds, or from its distance to Max.
func (i *Indicator) within(share float64) float64 {
	if i.Less {
		share = 1 - share
	}
	return i.Min + share*(i.Max-i.Min)
}

// pace is how fast the evidence of a count, value or gauge comes if the old version has what
// is expected of it.
func (i *Indicator) pace(p Plan, perMinute float64) pace {
	expected := number(i.Expected)
	switch {
	case i.Kind == KindGauge:
		rate := (i.Expected - i.Min) / (i.Max - i.Min)
		if i.Less {
			rate = 1 - rate
		}
		return pace{float64(time.Minute) / float64(i.Every) * infer.ValueUnit, min(max(rate, 0), 1), "at a value every " + i.Every.String(),
			"at a mean of " + expected, "values", infer.ValueUnit}
	case i.PerTime:
		return pace{float64(time.Minute / time.Millisecond), i.Expected / float64(time.Hour/time.Millisecond), "with " + expected + " per hour in both versions together",
			"with " + expected + " per hour", "seconds", 1000}
	}
	rate := i.Expected
	if i.Kind == KindValue {
		if rate /= i.Max; i.Less {
			rate = 1 - rate
		}
	}
	return pace{perMinute, max(rate, 0), "at " + number(perMinute) + " requests/min, " + strconv.Itoa(p.Steps[0]) + " % weight and " + expected + " per request",
		"with " + expected + " per request", "canary requests", 1}
}

// assumed is what evidence of a gauge is divided by before anything is learned.
func (t *test) assumed(p *Plan) float64 {
	factor, _ := t.wandered(p, &Watch{})
	return factor
}
