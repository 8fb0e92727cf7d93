package tsdb

import (
	"context"
	"errors"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Read implements signal.Source: it finds the counters of each part of the
// indicator and hands their points to signal.Count, which counts them exactly.
func (d *DB) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	data, err := d.find(ctx, q)
	if err != nil {
		return nil, err
	}
	return signal.Count(q, data)
}

// ReadSteps implements signal.Stepper: the series are found once for all steps. A step that
// cannot be counted from what was found is read alone, and so is one without a point of what
// is good: the engine also names series whose chunks lie around an interval.
func (d *DB) ReadSteps(ctx context.Context, q signal.Query, step time.Duration, n int) ([][]assay.Reading, error) {
	out := make([][]assay.Reading, 0, n)
	most := int(max(1, stepsRead/max(step, 1)))
	for len(out) < n {
		from, piece := len(out), q.Step(step, len(out))
		piece.End = q.Step(step, min(from+most, n)-1).End
		all, found := d.find(ctx, piece)
		for i := from; i < min(from+most, n); i++ {
			readings, ok := []assay.Reading(nil), false
			if found == nil {
				readings, ok = within(q.Step(step, i), all)
			}
			if !ok {
				var err error
				if readings, err = d.Read(ctx, q.Step(step, i)); err != nil {
					return nil, err
				}
			}
			out = append(out, readings)
		}
	}
	return out, nil
}

// stepsRead is how much time is in memory at once.
const stepsRead = time.Hour

// within counts what was found in a part of the time, and reports whether it can be.
func within(q signal.Query, all signal.Data) ([]assay.Reading, bool) {
	data := all.Within(q)
	if len(q.Indicator.Good) > 0 && len(data.Good.Plus) == 0 && len(data.Total.Plus) > 0 {
		return nil, false
	}
	readings, err := signal.Count(q, data)
	return readings, err == nil
}

// find reads the series of each part of the indicator.
func (d *DB) find(ctx context.Context, q signal.Query) (data signal.Data, err error) {
	if err := q.Check(); err != nil {
		return signal.Data{}, err
	}
	mint, maxt := q.Start.Add(-signal.Lookback).UnixMilli(), q.End.UnixMilli()-1
	querier, err := d.db.Querier(mint, maxt)
	if err != nil {
		return signal.Data{}, assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	for _, p := range []struct {
		terms signal.Counters
		into  *signal.Part
	}{{q.Indicator.Good, &data.Good}, {q.Indicator.Bad, &data.Bad}, {q.Indicator.Total, &data.Total}, {q.Indicator.Buckets, &data.Buckets},
		{q.Indicator.Count, &data.Count}, {q.Indicator.Sum, &data.Sum}, {q.Indicator.Gauge, &data.Gauge}} {
		for _, term := range p.terms {
			series, err := d.selectTerm(ctx, querier, q.Namespace, term)
			if err != nil {
				return signal.Data{}, err
			}
			if term.Minus {
				p.into.Minus = append(p.into.Minus, series...)
			} else {
				p.into.Plus = append(p.into.Plus, series...)
			}
		}
	}
	return data, nil
}

func (d *DB) selectTerm(ctx context.Context, querier storage.Querier, namespace string, term signal.Term) ([]signal.Series, error) {
	matchers := append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, signal.NamespaceLabel, namespace)}, term.Matchers...)
	set := querier.Select(ctx, false, nil, matchers...)
	var out []signal.Series
	var it chunkenc.Iterator
	for set.Next() {
		if len(out) == MaxSeries {
			return nil, assay.Errorf(assay.CodeTooLarge, "the indicator selects more than %d series", MaxSeries)
		}
		s := set.At()
		one := signal.Series{Labels: s.Labels(), Arrived: d.arrival(s.Labels())}
		it = s.Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				e := assay.Errorf(assay.CodeInvalid, "series %s is a native histogram, which indicators do not count yet", one.Labels)
				e.Hint = "send explicit buckets"
				return nil, e
			}
			t, v := it.At()
			one.Points = append(one.Points, signal.Point{Time: t, Value: v})
		}
		if err := it.Err(); err != nil {
			return nil, assay.Errorf(assay.CodeUnavailable, "series %s cannot be read: %w", one.Labels, err)
		}
		out = append(out, one)
	}
	if err := set.Err(); err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	return out, nil
}

// arrival is when the series last got a sample, 0 if that is forgotten.
func (d *DB) arrival(ls labels.Labels) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.arrivals[ls.Hash()]
}
