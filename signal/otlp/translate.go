package otlp

import (
	"context"
	"math"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// promoted are the resource attributes that become labels of every series;
// service.name becomes job and service.instance.id instance, as in Prometheus.
var promoted = []string{"service.version", "deployment.environment.name"}

// gatherer is the translator's appender: it keeps samples instead of storing them.
type gatherer struct {
	samples []signal.Sample
	over    bool
}

// Append keeps one sample. Beyond the limit it only remembers that there are more.
func (g *gatherer) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if g.over = g.over || len(g.samples) >= signal.MaxSamples; g.over {
		return 0, nil
	}
	g.samples = append(g.samples, signal.Sample{Labels: ls, Start: st, Time: t, Value: v, H: h, FH: fh, Counter: opts.Metadata.Type == model.MetricTypeCounter})
	return 0, nil
}

// Commit and Rollback have nothing to do: the intake stores.
func (g *gatherer) Commit() error   { return nil }
func (g *gatherer) Rollback() error { return nil }

// translate makes series of what passed the sieve. What has no counterpart is
// counted; too many samples refuse the batch.
func translate(ctx context.Context, m pmetric.Metrics, res *signal.Result) ([]signal.Sample, error) {
	var g gatherer
	_, err := prometheusremotewrite.NewPrometheusConverter(&g).FromMetrics(ctx, m, prometheusremotewrite.Settings{
		AddMetricSuffixes:         true,
		LookbackDelta:             signal.Lookback,
		PromoteResourceAttributes: prometheusremotewrite.NewPromoteResourceAttributes(config.OTLPConfig{PromoteResourceAttributes: promoted}),
	})
	if g.over {
		return nil, assay.Errorf(assay.CodeTooLarge, "the batch makes more than %d samples", signal.MaxSamples)
	}
	if ctx.Err() != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "the request was given up: %w", ctx.Err())
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		res.Refuse(signal.RefusedTranslated, len(joined.Unwrap()), err.Error())
	} else if err != nil {
		res.Refuse(signal.RefusedTranslated, 1, err.Error())
	}
	for i := range g.samples {
		// A start that is not before the sample says nothing.
		if s := &g.samples[i]; s.Start >= s.Time || s.Start < 0 || s.Time == math.MinInt64 {
			s.Start = 0
		}
	}
	return g.samples, nil
}
