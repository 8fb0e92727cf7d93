package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/prometheus/promql/parser"
)

// Gauge implements signal.Gauges. PromQL dates its results by the evaluation, which
// hides for the length of its look-back that nothing arrives any more; so the series
// under the expression are asked for their own times.
func (d *DB) Gauge(ctx context.Context, q signal.GaugeQuery) ([]signal.Gauge, error) {
	res, err := d.Instant(ctx, q.Namespace, q.Expr, q.Time)
	if err != nil {
		return nil, err
	}
	var out []signal.Gauge
	for _, l := range res.Lines {
		if len(l.Points) == 0 || l.Points[len(l.Points)-1].H != nil {
			return nil, assay.Errorf(assay.CodeInvalid, "the query gives histograms and no numbers")
		}
		g := signal.Gauge{Scope: l.Labels.Get(q.By), Value: l.Points[len(l.Points)-1].Value, Time: q.Time, Completeness: 1}
		if q.By == "" {
			g.Scope = ""
		}
		if slices.ContainsFunc(out, func(o signal.Gauge) bool { return o.Scope == g.Scope }) {
			return nil, assay.Errorf(assay.CodeInvalid, "the query gives several numbers for %s; sum or group them", orOne(g.Scope))
		}
		out = append(out, g)
	}
	if err := d.date(ctx, q, out); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b signal.Gauge) int { return cmp.Compare(a.Scope, b.Scope) })
	return out, nil
}

func orOne(scope string) string {
	if scope == "" {
		return "one"
	}
	return fmt.Sprintf("%q", scope)
}

// selectors are the texts of an expression's selectors, without range and offset.
func (d *DB) selectors(expr string) (out []string, err error) {
	tree, err := d.parser.ParseExpr(expr)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "the query is not PromQL: %w", err)
	}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			bare := *v
			bare.OriginalOffset, bare.Offset, bare.Timestamp, bare.StartOrEnd = 0, 0, nil, 0
			out = append(out, bare.String())
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out), nil
}

// date gives gauges the time and completeness of what is under them: of the series of
// their scope where a selector tells them apart, of all its series otherwise.
func (d *DB) date(ctx context.Context, q signal.GaugeQuery, gauges []signal.Gauge) error {
	list, err := d.selectors(q.Expr)
	if err != nil {
		return err
	}
	for _, text := range list {
		res, err := d.Instant(ctx, q.Namespace, "timestamp("+text+")", q.Time)
		if err != nil {
			return err
		}
		for i := range gauges {
			g := &gauges[i]
			newest, fresh, n := math.Inf(-1), 0, 0
			scoped := slices.ContainsFunc(res.Lines, func(l Line) bool { return q.By != "" && l.Labels.Get(q.By) == g.Scope })
			for _, l := range res.Lines {
				if len(l.Points) == 0 || scoped && l.Labels.Get(q.By) != g.Scope {
					continue
				}
				at := l.Points[0].Value
				newest = max(newest, at)
				n++
				if q.MaxAge <= 0 || q.Time.Sub(time.UnixMilli(int64(at*1000))) <= q.MaxAge {
					fresh++
				}
			}
			if n == 0 { // the expression lives on older samples, for example of a range
				g.Completeness = 0
				continue
			}
			if at := time.UnixMilli(int64(newest * 1000)); at.Before(g.Time) {
				g.Time = at
			}
			g.Completeness = min(g.Completeness, float64(fresh)/float64(n))
		}
	}
	return nil
}

// Past implements signal.Gauges.
func (d *DB) Past(ctx context.Context, namespace, expr string, start, end time.Time, step time.Duration) ([]float64, error) {
	n := int(end.Sub(start) / step)
	if n <= 0 {
		return nil, nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	for from := 0; from < n; from += MaxPoints { // a range query has a limit of steps
		to := min(from+MaxPoints, n)
		first := start.Add(time.Duration(from) * step)
		res, err := d.Range(ctx, namespace, expr, first, start.Add(time.Duration(to-1)*step), step)
		if err != nil {
			return nil, err
		}
		if len(res.Lines) > 1 {
			return nil, assay.Errorf(assay.CodeInvalid, "the query gives %d numbers; expected one", len(res.Lines))
		}
		for _, l := range res.Lines {
			for _, p := range l.Points {
				if i := from + int(p.Time.Sub(first)/step); i < n {
					out[i] = p.Value
				}
			}
		}
	}
	return out, nil
}
