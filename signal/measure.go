package signal

import (
	"math"

	"assay.dev/assay"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
)

// measures reports whether a spec is of a count, a value or a gauge.
func (s Spec) measures() bool { return s.Count != "" || s.Sum != "" || s.Gauge != "" }

// checkMeasure refuses what does not go together with a count, a value or a gauge.
func (s Spec) checkMeasure() error {
	kinds := 0
	for _, text := range []string{s.Count, s.Sum, s.Gauge, s.Buckets, s.Good, s.Bad} {
		if text != "" {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return specError(s, "count", "sum, gauge, buckets, good and bad: expected exactly one of them")
	case s.Sum != "" && s.Total == "":
		return specError(s, "total", "is missing: a sum is of the values of all events")
	case s.Gauge != "" && s.Total != "":
		return specError(s, "total", "stands beside a gauge, of which samples are looked at")
	case s.Gauge != "" && !(s.Min < s.Max):
		return specError(s, "max", "%v is not above the min of %v", s.Max, s.Min)
	case s.StratumLabel != "" && s.Total == "":
		return specError(s, "strata", "are parts of the requests, which neither gauges nor counts per time have")
	}
	return nil
}

// parseGauge takes a selector.
func parseGauge(text string) (Counters, error) {
	if len(text) > MaxQuery {
		return nil, assay.Errorf(assay.CodeTooLarge, "the expression has %d bytes; at most %d are allowed", len(text), MaxQuery)
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "%s is not PromQL: %v", clip(text), err)
	}
	v, is := expr.(*parser.VectorSelector)
	if !is {
		e := assay.Errorf(assay.CodeInvalid, "%s is not a selector of a gauge", clip(expr.String()))
		e.Hint = "name the series alone, for example queue_share{service=\"shop\"}; what they are per version is worked out for you"
		return nil, e
	}
	var out Counters
	if err := out.addSelector(v, false); err != nil {
		return nil, err
	}
	return out, nil
}

// covered is how much time lies between the samples of a counter that increase counts, in
// milliseconds: that before a sample in [start, end), back to the one before it.
func covered(points []Point, start, end int64) (ms int64) {
	last, has := int64(0), false
	for _, p := range points {
		if p.Time >= end {
			break
		}
		if value.IsStaleNaN(p.Value) {
			continue
		}
		if p.Time >= start && has {
			ms += p.Time - last
		}
		last, has = p.Time, true
	}
	return ms
}

// samples are a gauge's in [start, end): what they add up to above min, how many they are,
// and the least and the greatest. One that is no number is none.
type samples struct {
	sum             float64
	n               uint64
	least, greatest float64
	newest          int64
	alive           bool
}

func sampled(points []Point, start, end int64, min float64) (out samples) {
	for _, p := range points {
		if p.Time >= end {
			break
		}
		if math.IsNaN(p.Value) { // a stale marker too
			out.alive = false
			continue
		}
		out.alive = true
		if p.Time < start {
			continue
		}
		v := math.Max(-math.MaxFloat64, math.Min(p.Value, math.MaxFloat64)) // an infinite one is outside of all bounds
		if out.n == 0 || v < out.least {
			out.least = v
		}
		if out.n == 0 || v > out.greatest {
			out.greatest = v
		}
		out.sum += v - min
		out.n++
		out.newest = p.Time
	}
	return out
}

// gauge adds a series of a gauge to an arm.
func (a *arm) gauge(s Series, q Query) {
	x := sampled(s.Points, q.Start.UnixMilli(), q.End.UnixMilli(), q.Indicator.Min)
	if x.alive || x.n > 0 {
		a.alive++
	}
	if x.n == 0 {
		return
	}
	if a.reported == 0 || x.least < a.least {
		a.least = x.least
	}
	if a.reported == 0 || x.greatest > a.greatest {
		a.greatest = x.greatest
	}
	a.reported++
	a.counts["gauge"] += x.sum
	a.samples += x.n
	a.newest, a.arrived = max(a.newest, x.newest), max(a.arrived, s.Arrived)
}

// measure fills what a count, a value or a gauge had.
func (a *arm) measure(r *assay.Reading, ind Indicator) error {
	var err error
	switch {
	case len(ind.Gauge) > 0:
		r.Total, r.Sum, r.Least, r.Greatest = a.samples, math.Min(math.Max(a.counts["gauge"], 0), maxSum), a.least, a.greatest
	case len(ind.Total) == 0:
		r.Total = uint64(a.covered)
	default:
		r.Total, err = whole(a.counts["total"], r.Indicator)
	}
	r.Good = r.Total
	if err != nil {
		return err
	}
	switch {
	case len(ind.Count) > 0:
		if n := a.counts["count"]; n < -1.5 { // by one, counters that are read apart may disagree
			return assay.Errorf(assay.CodeInvalid, "indicator %s grew by %v, which is no number of events", r.Indicator, n)
		}
		r.Count, err = whole(a.counts["count"], r.Indicator)
	case len(ind.Sum) > 0:
		sum := a.counts["sum"]
		if !(sum >= 0 && sum <= maxSum) {
			return assay.Errorf(assay.CodeInvalid, "indicator %s grew by %v, which is no sum of values from 0 up", r.Indicator, sum)
		}
		r.Sum = sum
	}
	return err
}

// maxSum is the greatest sum that a reading may have.
const maxSum = 1e18

// measures reports whether the indicator is of a count, a value or a gauge.
func (ind Indicator) measures() bool {
	return len(ind.Count) > 0 || len(ind.Sum) > 0 || len(ind.Gauge) > 0
}

// whole reports whether every part of a count, value or gauge had a sample in the interval.
// A counter of bad events that is not there had none; one of work that is not there says
// that nobody knows how much was done, which must never look like none. What came is as new
// as the part that is behind.
func (a *arm) whole(ind Indicator) bool {
	for part, of := range map[string]Counters{"total": ind.Total, "count": ind.Count, "sum": ind.Sum} {
		if len(of) == 0 {
			continue
		}
		at := a.fresh[part]
		if at == 0 {
			return false
		}
		a.newest = min(a.newest, at)
	}
	return true
}
