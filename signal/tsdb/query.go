package tsdb

import (
	"context"
	"errors"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Point is one result of a series. H is set instead of Value for native histograms.
type Point struct {
	Time  time.Time
	Value float64
	H     *histogram.FloatHistogram
}

// Line is one series of a result. A scalar is one line without labels.
type Line struct {
	Labels labels.Labels
	Points []Point
}

// Result is what a query gave, lines sorted as PromQL left them.
type Result struct {
	Type     parser.ValueType // vector, matrix or scalar
	Lines    []Line
	Warnings []string
}

// Instant evaluates a PromQL expression at t for one namespace. CodeInvalid for
// an expression that is wrong or asks for another namespace, CodeTooLarge for
// one that needs too much, CodeUnavailable when it took too long.
func (d *DB) Instant(ctx context.Context, namespace, expr string, t time.Time) (Result, error) {
	text, err := d.confine(namespace, expr)
	if err != nil {
		return Result{}, err
	}
	q, err := d.engine.NewInstantQuery(ctx, d.db, nil, text, t)
	if err != nil {
		return Result{}, assay.Errorf(assay.CodeInvalid, "the query cannot be evaluated: %w", err)
	}
	return d.run(ctx, q)
}

// Range evaluates a PromQL expression at start, start+step … up to end.
func (d *DB) Range(ctx context.Context, namespace, expr string, start, end time.Time, step time.Duration) (Result, error) {
	switch {
	case step < time.Millisecond || end.Before(start):
		return Result{}, assay.Errorf(assay.CodeInvalid, "the range has no step, or ends before it starts")
	case end.Sub(start)/step >= MaxPoints:
		return Result{}, assay.Errorf(assay.CodeTooLarge, "the range has more than %d steps; use a longer step", MaxPoints)
	}
	text, err := d.confine(namespace, expr)
	if err != nil {
		return Result{}, err
	}
	q, err := d.engine.NewRangeQuery(ctx, d.db, nil, text, start, end, step)
	if err != nil {
		return Result{}, assay.Errorf(assay.CodeInvalid, "the query cannot be evaluated: %w", err)
	}
	return d.run(ctx, q)
}

// confine rewrites an expression so that every selector matches the namespace.
func (d *DB) confine(namespace, expr string) (string, error) {
	if namespace == "" {
		return "", assay.Errorf(assay.CodeDenied, "the query names no namespace")
	}
	if len(expr) > signal.MaxQuery {
		return "", assay.Errorf(assay.CodeTooLarge, "the query has %d bytes; at most %d are allowed", len(expr), signal.MaxQuery)
	}
	tree, err := d.parser.ParseExpr(expr)
	if err != nil {
		return "", assay.Errorf(assay.CodeInvalid, "the query is not PromQL: %w", err)
	}
	var refused error
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok && refused == nil {
			refused = confineSelector(v, namespace)
		}
		return refused
	})
	if refused != nil {
		return "", refused
	}
	return tree.String(), nil
}

func confineSelector(v *parser.VectorSelector, namespace string) error {
	has := false
	for _, m := range v.LabelMatchers {
		if m.Name != signal.NamespaceLabel {
			continue
		}
		if m.Type != labels.MatchEqual || m.Value != namespace {
			e := assay.Errorf(assay.CodeDenied, "the query asks for %s, but you may read namespace %q only", m, namespace)
			e.Hint = "leave the namespace out; it is added to every selector"
			return e
		}
		has = true
	}
	if !has {
		v.LabelMatchers = append(v.LabelMatchers, labels.MustNewMatcher(labels.MatchEqual, signal.NamespaceLabel, namespace))
	}
	return nil
}

func (d *DB) run(ctx context.Context, q promql.Query) (Result, error) {
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return Result{}, queryError(res.Err)
	}
	out := Result{Type: res.Value.Type()}
	for _, w := range res.Warnings {
		out.Warnings = append(out.Warnings, w.Error())
	}
	switch v := res.Value.(type) {
	case promql.Scalar:
		out.Lines = []Line{{Points: []Point{{Time: time.UnixMilli(v.T).UTC(), Value: v.V}}}}
	case promql.Vector:
		if len(v) > MaxSeries {
			return Result{}, tooManySeries()
		}
		for _, s := range v {
			out.Lines = append(out.Lines, Line{s.Metric, []Point{point(s.T, s.F, s.H)}})
		}
	case promql.Matrix:
		if len(v) > MaxSeries {
			return Result{}, tooManySeries()
		}
		for _, s := range v {
			line := Line{Labels: s.Metric}
			for _, p := range s.Floats {
				line.Points = append(line.Points, Point{Time: time.UnixMilli(p.T).UTC(), Value: p.F})
			}
			for _, p := range s.Histograms {
				line.Points = append(line.Points, point(p.T, 0, p.H))
			}
			out.Lines = append(out.Lines, line)
		}
	}
	return out, nil
}

// point copies a histogram: the engine takes its own back when the query closes.
func point(ms int64, v float64, h *histogram.FloatHistogram) Point {
	p := Point{Time: time.UnixMilli(ms).UTC(), Value: v}
	if h != nil {
		p.H = h.Copy()
	}
	return p
}

func tooManySeries() error {
	return assay.Errorf(assay.CodeTooLarge, "the query gives more than %d series; aggregate them", MaxSeries)
}

func queryError(err error) error {
	if _, ok := errors.AsType[promql.ErrTooManySamples](err); ok {
		return assay.Errorf(assay.CodeTooLarge, "the query needs more than %d samples at once", MaxQuerySamples)
	}
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return assay.Errorf(assay.CodeUnavailable, "the query took longer than %s", MaxQueryTime)
	}
	if _, ok := errors.AsType[promql.ErrQueryCanceled](err); ok {
		return assay.Errorf(assay.CodeUnavailable, "the query was given up by its caller")
	}
	if _, ok := errors.AsType[promql.ErrStorage](err); ok {
		return assay.Errorf(assay.CodeUnavailable, "the series database cannot be read: %w", err)
	}
	return assay.Errorf(assay.CodeInvalid, "the query fails: %w", err)
}
