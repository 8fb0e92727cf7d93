package otlp

import (
	"fmt"
	"math"
	"strings"
	"time"

	"assay.dev/assay/signal"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// MaxBuckets is how many buckets one histogram point may have, of either kind.
const MaxBuckets = 320

// point is what all kinds of data points share.
type point interface {
	Attributes() pcommon.Map
	Timestamp() pcommon.Timestamp
	Flags() pmetric.DataPointFlags
}

// each calls f for every metric.
func each(m pmetric.Metrics, f func(resource pcommon.Resource, metric pmetric.Metric)) {
	for _, rm := range m.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, metric := range sm.Metrics().All() {
				f(rm.Resource(), metric)
			}
		}
	}
}

// sieve drops data points that nothing can be made of, each by itself.
func sieve(m pmetric.Metrics, now time.Time, res *signal.Result) {
	each(m, func(_ pcommon.Resource, metric pmetric.Metric) {
		name := metric.Name()
		refused := func(why signal.Reason, detail string) bool {
			if why != "" {
				res.Refuse(why, 1, fmt.Sprintf("metric %.80q: %s", name, detail))
			}
			return why != ""
		}
		switch metric.Type() {
		case pmetric.MetricTypeGauge:
			metric.Gauge().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return refused(checkNumber(p, now, false)) })
		case pmetric.MetricTypeSum:
			rises := metric.Sum().IsMonotonic()
			metric.Sum().DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return refused(checkNumber(p, now, rises)) })
		case pmetric.MetricTypeHistogram:
			metric.Histogram().DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool { return refused(checkHistogram(p, now)) })
		case pmetric.MetricTypeExponentialHistogram:
			metric.ExponentialHistogram().DataPoints().RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool { return refused(checkExponential(p, now)) })
		case pmetric.MetricTypeSummary:
			metric.Summary().DataPoints().RemoveIf(func(p pmetric.SummaryDataPoint) bool { return refused(checkPoint(p, now)) })
		}
	})
	dropEmpty(m)
}

// dropEmpty removes metrics without data points: nobody lost anything by them.
func dropEmpty(m pmetric.Metrics) {
	for _, rm := range m.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			sm.Metrics().RemoveIf(func(metric pmetric.Metric) bool { return points(metric) == 0 })
		}
	}
}

func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	}
	return 0
}

// checkPoint refuses attributes that are names of ours or too many. Their
// values are bounded again as labels.
func checkPoint(p point, now time.Time) (signal.Reason, string) {
	if n := p.Attributes().Len(); n > signal.MaxLabels {
		return signal.RefusedLabels, fmt.Sprintf("a data point has %d attributes; at most %d are taken", n, signal.MaxLabels)
	}
	if uint64(p.Timestamp()) > math.MaxInt64 {
		return signal.RefusedFuture, "the time is beyond the year 2262"
	}
	// Before translation, which makes a target_info sample for every few minutes
	// between the first and the last time of a resource.
	if why, detail := signal.CheckTime(p.Timestamp().AsTime().UnixMilli(), now); why != "" {
		return why, detail
	}
	for key := range p.Attributes().All() {
		if strings.HasPrefix(key, "__") {
			return signal.RefusedLabels, fmt.Sprintf("the attribute %.80q begins with __, which is reserved", key)
		}
	}
	return "", ""
}

func checkNumber(p pmetric.NumberDataPoint, now time.Time, rises bool) (signal.Reason, string) {
	if why, detail := checkPoint(p, now); why != "" {
		return why, detail
	}
	v := p.DoubleValue()
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		v = float64(p.IntValue())
	}
	switch {
	case p.Flags().NoRecordedValue():
	case p.ValueType() == pmetric.NumberDataPointValueTypeEmpty:
		return signal.RefusedNaN, "a data point has no value"
	case math.IsNaN(v):
		return signal.RefusedNaN, "a value is not a number"
	case rises && v < 0:
		return signal.RefusedNegative, fmt.Sprintf("a monotonic sum is %v; it is never below zero", v)
	}
	return "", ""
}

func checkHistogram(p pmetric.HistogramDataPoint, now time.Time) (signal.Reason, string) {
	if why, detail := checkPoint(p, now); why != "" {
		return why, detail
	}
	bounds, counts := p.ExplicitBounds(), p.BucketCounts()
	switch {
	case p.Flags().NoRecordedValue():
		return "", ""
	case counts.Len() > MaxBuckets || bounds.Len() > MaxBuckets:
		return signal.RefusedHistogram, fmt.Sprintf("a histogram has %d buckets; at most %d are taken", max(counts.Len(), bounds.Len()), MaxBuckets)
	case counts.Len() != 0 && counts.Len() != bounds.Len()+1:
		return signal.RefusedHistogram, fmt.Sprintf("a histogram has %d counts for %d bounds; expected one more count than bounds", counts.Len(), bounds.Len())
	case p.HasSum() && math.IsNaN(p.Sum()):
		return signal.RefusedNaN, "a histogram's sum is not a number"
	}
	for i := range bounds.Len() {
		b := bounds.At(i)
		if math.IsNaN(b) || math.IsInf(b, 0) || i > 0 && b <= bounds.At(i-1) {
			return signal.RefusedHistogram, "a histogram's bounds do not ascend"
		}
	}
	var sum uint64
	for i := range counts.Len() {
		if c := counts.At(i); math.MaxUint64-sum < c {
			return signal.RefusedHistogram, "a histogram's counts overflow"
		} else {
			sum += c
		}
	}
	if counts.Len() != 0 && sum != p.Count() {
		return signal.RefusedHistogram, fmt.Sprintf("a histogram counts %d, but its buckets hold %d", p.Count(), sum)
	}
	return "", ""
}

func checkExponential(p pmetric.ExponentialHistogramDataPoint, now time.Time) (signal.Reason, string) {
	if why, detail := checkPoint(p, now); why != "" {
		return why, detail
	}
	pos, neg := p.Positive(), p.Negative()
	switch {
	case p.Flags().NoRecordedValue():
		return "", ""
	case pos.BucketCounts().Len()+neg.BucketCounts().Len() > MaxBuckets:
		return signal.RefusedHistogram, fmt.Sprintf("a histogram has %d buckets; at most %d are taken", pos.BucketCounts().Len()+neg.BucketCounts().Len(), MaxBuckets)
	case p.Scale() < -4 || p.Scale() > 20:
		return signal.RefusedHistogram, fmt.Sprintf("an exponential histogram has scale %d; expected -4 to 20", p.Scale())
	case !sane(pos.Offset()) || !sane(neg.Offset()):
		return signal.RefusedHistogram, "an exponential histogram's offset is outside what a float64 can measure"
	case p.HasSum() && math.IsNaN(p.Sum()):
		return signal.RefusedNaN, "a histogram's sum is not a number"
	}
	sum := p.ZeroCount()
	for _, counts := range []pcommon.UInt64Slice{pos.BucketCounts(), neg.BucketCounts()} {
		for _, c := range counts.All() {
			if c > math.MaxInt64 || math.MaxUint64-sum < c {
				return signal.RefusedHistogram, "a histogram's counts overflow"
			}
			sum += c
		}
	}
	if sum != p.Count() {
		return signal.RefusedHistogram, fmt.Sprintf("a histogram counts %d, but its buckets hold %d", p.Count(), sum)
	}
	return "", ""
}

// sane bounds bucket offsets: at the finest scale a float64's range has 2^31
// buckets, and arithmetic on offsets must not overflow.
func sane(offset int32) bool { return offset > -1<<30 && offset < 1<<30 }
