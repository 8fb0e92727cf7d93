package tsdb

import (
	"context"
	"errors"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Read implements signal.Source: it finds the counters of each part of the
// indicator and hands their points to signal.Count, which counts them exactly.
func (d *DB) Read(ctx context.Context, q signal.Query) (readings []assay.Reading, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	mint, maxt := q.Start.Add(-signal.Lookback).UnixMilli(), q.End.UnixMilli()-1
	querier, err := d.db.Querier(mint, maxt)
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	var data signal.Data
	for _, p := range []struct {
		terms signal.Counters
		into  *signal.Part
	}{{q.Indicator.Good, &data.Good}, {q.Indicator.Bad, &data.Bad}, {q.Indicator.Total, &data.Total}, {q.Indicator.Buckets, &data.Buckets},
		{q.Indicator.Count, &data.Count}, {q.Indicator.Sum, &data.Sum}, {q.Indicator.Gauge, &data.Gauge}} {
		for _, term := range p.terms {
			series, err := d.selectTerm(ctx, querier, q.Namespace, term)
			if err != nil {
				return nil, err
			}
			if term.Minus {
				p.into.Minus = append(p.into.Minus, series...)
			} else {
				p.into.Plus = append(p.into.Plus, series...)
			}
		}
	}
	return signal.Count(q, data)
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
