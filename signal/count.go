package signal

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Point is one sample of a counter. A stale marker is a point too.
type Point struct {
	Time  int64 // Unix milliseconds
	Value float64
}

// Series is one counter's points from Lookback before an interval to its end,
// in order of time.
type Series struct {
	Labels  labels.Labels
	Points  []Point
	Arrived int64 // when its newest point came, Unix milliseconds; 0 if unknown
}

// Data is what a source found for each part of an indicator. Terms that are
// taken away stand in Minus of their part.
type Data struct {
	Good, Bad, Total, Buckets, Count, Sum, Gauge Part
}

// Part is the series of one sum.
type Part struct{ Plus, Minus []Series }

// Within is what of d a source would find for a query of a shorter interval: the points
// from Lookback before it to its end, without the series that have none of them.
func (d Data) Within(q Query) Data {
	from, end := q.Start.Add(-Lookback).UnixMilli(), q.End.UnixMilli()
	some := func(all []Series) []Series {
		var out []Series
		for _, s := range all {
			at := func(t int64) int {
				i, _ := slices.BinarySearchFunc(s.Points, t, func(p Point, t int64) int { return cmp.Compare(p.Time, t) })
				return i
			}
			if s.Points = s.Points[at(from):at(end)]; len(s.Points) > 0 {
				out = append(out, s)
			}
		}
		return out
	}
	for _, p := range []*Part{&d.Good, &d.Bad, &d.Total, &d.Buckets, &d.Count, &d.Sum, &d.Gauge} {
		p.Plus, p.Minus = some(p.Plus), some(p.Minus)
	}
	return d
}

// increase is what a counter grew by through samples in [start, end), both in
// Unix milliseconds. The growth between two samples belongs to the later one's
// time, so the increases of adjoining intervals add up. A fall is a reset: the
// counter began again at zero. The first sample of a series counts nothing
// unless one stands before it: what it counted before is not known to lie in
// the interval.
func increase(points []Point, start, end int64) (grown float64, newest int64, alive bool) {
	base, has := 0.0, false
	for _, p := range points {
		if p.Time >= end {
			break
		}
		if value.IsStaleNaN(p.Value) {
			alive = false
			continue
		}
		if p.Time >= start {
			switch {
			case !has:
			case p.Value < base:
				grown += p.Value
			default:
				grown += p.Value - base
			}
			newest = p.Time
		}
		base, has, alive = p.Value, true, true
	}
	return grown, newest, alive
}

// armKey is what readings are told apart by.
type armKey struct{ version, stratum, replica string } // replica is "" of all of them

// classPrefix stands before a class in the names of an arm's parts.
const classPrefix = "class "

// arm gathers what belongs to one version, or to one of its strata.
type arm struct {
	counts   map[string]float64 // by part, or by le for buckets
	newest   int64
	arrived  int64
	reported int // series that had a sample in the interval
	alive    int // series that had one in the interval or shortly before
	seen     map[string]bool
	fresh    map[string]int64 // by part of base series: their newest sample in the interval

	samples         uint64 // of a gauge
	least, greatest float64
	covered         int64 // milliseconds of the series of a count, all together
}

// Count turns series into readings; sources call it after they found the data.
// Whatever the source, an event is counted the same way.
func Count(q Query, data Data) ([]assay.Reading, error) {
	arms := map[armKey]*arm{}
	parts := []struct {
		name string
		part Part
		base bool // its series decide about freshness and completeness
	}{{"total", data.Total, true}, {"good", data.Good, false}, {"bad", data.Bad, false}, {"", data.Buckets, true},
		{"count", data.Count, true}, {"sum", data.Sum, true}, {"gauge", data.Gauge, true}}
	for _, p := range parts {
		gather(arms, q, p.name, p.part.Plus, 1, p.base)
		gather(arms, q, p.name, p.part.Minus, -1, p.base)
	}
	measures := q.Indicator.measures()
	somebodyIsGood := len(data.Good.Plus) > 0
	if q.Indicator.ReplicaLabel != "" {
		group(arms)
	}
	var out []assay.Reading
	var err error
	for key, a := range arms {
		if key.replica != "" {
			continue
		}
		if measures && !a.whole(q.Indicator) {
			continue // of what is counted, or of what it is counted per, nothing came
		}
		if a.reported == 0 {
			if q.Indicator.StratumLabel != "" && (a.counts["bad"] > 0 || a.counts["good"] > 0) {
				return nil, assay.Errorf(assay.CodeInvalid, "indicator %s counts bad or good events of %s %q for which there is no total; both need the label",
					q.Indicator.Name, q.Indicator.StratumLabel, clip(key.stratum))
			}
			continue
		}
		r := assay.Reading{
			Service: q.Indicator.Service, Environment: q.Indicator.Environment, Indicator: q.Indicator.Name, Version: key.version, Stratum: key.stratum,
			Start: q.Start.UTC(), End: q.End.UTC(), EventTime: time.UnixMilli(a.newest).UTC(), Ingested: time.UnixMilli(a.arrived).UTC(),
			Completeness: float64(a.reported) / float64(max(a.alive, a.reported)),
		}
		if len(q.Indicator.Good) > 0 && !somebodyIsGood {
			// No version ever had a good event: the selector is wrong sooner than
			// everything is bad. Nothing is known.
			continue
		}
		if err := a.fill(&r, q.Indicator); err != nil {
			return nil, err
		}
		if r.Replicas, err = replicas(arms, key, r, q.Indicator); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b assay.Reading) int {
		return cmp.Or(compare(a.Version, b.Version), compare(a.Stratum, b.Stratum))
	})
	return out, nil
}

// fill gives a reading what the arm counted.
func (a *arm) fill(r *assay.Reading, ind Indicator) error {
	switch {
	case ind.measures():
		return a.measure(r, ind)
	case len(ind.Buckets) > 0:
		return a.histogram(r, ind.Threshold)
	}
	return errors.Join(a.ratio(r, len(ind.Good) > 0), a.classes(r))
}

func gather(arms map[armKey]*arm, q Query, part string, series []Series, sign float64, base bool) {
	for _, s := range series {
		version := s.Labels.Get(q.Indicator.VersionLabel)
		if version == "" {
			version = UnknownVersion
		}
		at := armKey{version: version}
		if q.Indicator.StratumLabel != "" {
			at.stratum = s.Labels.Get(q.Indicator.StratumLabel)
		}
		armAt(arms, at).take(q, part, s, sign, base)
		if q.Indicator.ReplicaLabel == "" {
			continue
		}
		if at.replica = s.Labels.Get(q.Indicator.ReplicaLabel); at.replica != "" {
			armAt(arms, at).take(q, part, s, sign, base)
		}
	}
}

// armAt is the arm of a key, a new one if there is none.
func armAt(arms map[armKey]*arm, at armKey) *arm {
	a := arms[at]
	if a == nil {
		a = &arm{counts: map[string]float64{}, seen: map[string]bool{}, fresh: map[string]int64{}}
		arms[at] = a
	}
	return a
}

// take adds what a series counted in the query's interval.
func (a *arm) take(q Query, part string, s Series, sign float64, base bool) {
	if part == "gauge" {
		a.gauge(s, q)
		return
	}
	key := part
	if key == "" {
		key = boundKey(s.Labels.Get(labels.BucketLabel))
	}
	start, end := q.Start.UnixMilli(), q.End.UnixMilli()
	grown, newest, alive := increase(s.Points, start, end)
	a.counts[key] += sign * grown
	a.seen[key] = true
	if part == "bad" && q.Indicator.ClassLabel != "" {
		a.counts[classPrefix+s.Labels.Get(q.Indicator.ClassLabel)] += sign * grown
	}
	if !base {
		return
	}
	if alive || newest > 0 {
		a.alive++
	}
	if newest > 0 {
		a.reported++
		a.fresh[part] = max(a.fresh[part], newest)
	}
	if part == "count" {
		a.covered += covered(s.Points, start, end)
	}
	a.newest, a.arrived = max(a.newest, newest), max(a.arrived, s.Arrived)
}

// boundKey writes a bound one way: 0.5 and 0.50 are the same bucket.
func boundKey(le string) string {
	bound, err := strconv.ParseFloat(le, 64)
	if err != nil {
		return le
	}
	return strconv.FormatFloat(bound, 'g', -1, 64)
}

// ratio fills good and total. Counters that are read at slightly different
// times may disagree by an event or two; good never exceeds total.
func (a *arm) ratio(r *assay.Reading, good bool) error {
	total, err := whole(a.counts["total"], r.Indicator)
	if err != nil {
		return err
	}
	part := a.counts["bad"]
	if good {
		part = a.counts["good"]
	}
	n, err := whole(part, r.Indicator)
	if err != nil {
		return err
	}
	if r.Total, r.Good = total, min(n, total); !good {
		r.Good = total - r.Good
	}
	return nil
}

// classes fills how many bad events each class had, by name.
func (a *arm) classes(r *assay.Reading) error {
	for key, v := range a.counts {
		name, is := strings.CutPrefix(key, classPrefix)
		if !is || name == "" {
			continue
		}
		n, err := whole(v, r.Indicator)
		if err != nil {
			return err
		}
		r.Classes = append(r.Classes, assay.Class{Name: name, Count: min(n, r.Total)})
	}
	slices.SortFunc(r.Classes, func(x, y assay.Class) int { return compare(x.Name, y.Name) })
	return nil
}

// histogram fills the buckets; the one without a bound is the total.
func (a *arm) histogram(r *assay.Reading, threshold float64) error {
	for le, v := range a.counts {
		bound, err := strconv.ParseFloat(le, 64)
		if err != nil || math.IsNaN(bound) {
			return assay.Errorf(assay.CodeInvalid, "indicator %s counts a series whose le is %s; expected the _bucket series of a histogram", r.Indicator, clip(le))
		}
		n, err := whole(v, r.Indicator)
		if err != nil {
			return err
		}
		if math.IsInf(bound, 1) {
			r.Total = n
			continue
		}
		r.Buckets = append(r.Buckets, assay.Bucket{LE: bound, Count: n})
	}
	if !a.seen["+Inf"] {
		return assay.Errorf(assay.CodeInvalid, "indicator %s: version %s has no bucket le=\"+Inf\", so its events cannot be counted", r.Indicator, clip(r.Version))
	}
	slices.SortFunc(r.Buckets, func(x, y assay.Bucket) int {
		switch {
		case x.LE < y.LE:
			return -1
		case x.LE > y.LE:
			return 1
		}
		return 0
	})
	found, running := false, uint64(0)
	for i := range r.Buckets {
		b := &r.Buckets[i]
		running = max(running, min(b.Count, r.Total)) // counters that are read apart may disagree by an event
		b.Count = running
		if b.LE == threshold {
			found, r.Good = true, b.Count
		}
	}
	if threshold == 0 {
		found, r.Good = true, r.Total
	}
	if !found {
		return assay.Errorf(assay.CodeInvalid, "indicator %s has the threshold %v, which is no bound of the histogram's %d buckets", r.Indicator, threshold, len(r.Buckets))
	}
	return nil
}

// whole refuses what is not a number of events. A difference below zero is
// counters that are taken away and were read later: none.
func whole(v float64, indicator string) (uint64, error) {
	n := math.Round(v)
	if math.Abs(v-n) > 1e-6*max(1, math.Abs(v)) || n > 1<<53 {
		return 0, assay.Errorf(assay.CodeInvalid, "indicator %s grew by %v, which is no number of events; its counters must count in ones", indicator, v)
	}
	return uint64(max(n, 0)), nil
}
