package otlp

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay/signal"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// MaxDeltaSeries is how many series of deltas are added up at once, over all senders.
const MaxDeltaSeries = 10_000

// deltas adds up series that senders report as differences, because counters
// that only rise are what can be counted again from any point. The sums live in
// memory: after a restart they begin at zero, which reads as a counter's reset.
type deltas struct {
	mu   sync.Mutex // guards sums
	sums map[seriesID]*running
}

// seriesID is a digest, so that long attributes do not cost memory for good.
type seriesID [sha256.Size]byte

// running is one series' total so far. Numbers use total, histograms the rest.
type running struct {
	start, last pcommon.Timestamp
	total       float64
	count       uint64
	sum         float64
	bounds      []float64
	buckets     []uint64
}

func newDeltas() *deltas { return &deltas{sums: map[seriesID]*running{}} }

// cumulate turns delta sums and explicit histograms into cumulative ones, in
// order of arrival. A delta that ends before one already added is refused: it
// may be the same one again. Exponential deltas are refused.
func (d *deltas) cumulate(from signal.Origin, m pmetric.Metrics, res *signal.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	each(m, func(r pcommon.Resource, metric pmetric.Metric) {
		refused := func(detail string) bool {
			if detail != "" {
				res.Refuse(signal.RefusedDelta, 1, fmt.Sprintf("metric %.80q: %s", metric.Name(), detail))
			}
			return detail != ""
		}
		key := func(attrs pcommon.Map) seriesID { return seriesKey(from, r, metric.Name(), attrs) }
		switch metric.Type() {
		case pmetric.MetricTypeSum:
			if s := metric.Sum(); s.AggregationTemporality() == pmetric.AggregationTemporalityDelta {
				s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				s.DataPoints().RemoveIf(func(p pmetric.NumberDataPoint) bool { return refused(d.number(key(p.Attributes()), p)) })
			}
		case pmetric.MetricTypeHistogram:
			if h := metric.Histogram(); h.AggregationTemporality() == pmetric.AggregationTemporalityDelta {
				h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
				h.DataPoints().RemoveIf(func(p pmetric.HistogramDataPoint) bool { return refused(d.histogram(key(p.Attributes()), p)) })
			}
		case pmetric.MetricTypeExponentialHistogram:
			if h := metric.ExponentialHistogram(); h.AggregationTemporality() == pmetric.AggregationTemporalityDelta {
				h.DataPoints().RemoveIf(func(pmetric.ExponentialHistogramDataPoint) bool {
					return refused("deltas of exponential histograms are not added up yet; send cumulative ones")
				})
			}
		}
	})
	dropEmpty(m)
}

// next finds the running total that a delta from start to end belongs to.
func (d *deltas) next(key seriesID, start, end pcommon.Timestamp) (*running, string) {
	r := d.sums[key]
	if r == nil {
		if len(d.sums) >= MaxDeltaSeries && !d.dropIdle(end) {
			return nil, fmt.Sprintf("%d series of deltas are added up already; send cumulative values", MaxDeltaSeries)
		}
		r = &running{start: start}
		d.sums[key] = r
	}
	if end <= r.last {
		return nil, "a delta ends before one that was added already; it may be the same"
	}
	r.last = end
	return r, ""
}

// dropIdle forgets sums that nothing was added to within an hour before now.
func (d *deltas) dropIdle(now pcommon.Timestamp) bool {
	before := len(d.sums)
	maps.DeleteFunc(d.sums, func(_ seriesID, r *running) bool { return r.last+pcommon.Timestamp(time.Hour) < now })
	return len(d.sums) < before
}

func (d *deltas) number(key seriesID, p pmetric.NumberDataPoint) string {
	if p.Flags().NoRecordedValue() {
		return ""
	}
	r, why := d.next(key, p.StartTimestamp(), p.Timestamp())
	if why != "" {
		return why
	}
	v := p.DoubleValue()
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		v = float64(p.IntValue())
	}
	r.total += v
	p.SetDoubleValue(r.total)
	p.SetStartTimestamp(r.start)
	return ""
}

func (d *deltas) histogram(key seriesID, p pmetric.HistogramDataPoint) string {
	if p.Flags().NoRecordedValue() {
		return ""
	}
	r, why := d.next(key, p.StartTimestamp(), p.Timestamp())
	if why != "" {
		return why
	}
	bounds, counts := p.ExplicitBounds().AsRaw(), p.BucketCounts().AsRaw()
	if r.buckets == nil || !slices.Equal(bounds, r.bounds) {
		// Other bounds are another histogram: it begins at zero, as after a restart.
		*r = running{start: p.StartTimestamp(), last: r.last, bounds: bounds, buckets: make([]uint64, len(counts))}
	}
	r.count += p.Count()
	r.sum += p.Sum()
	for i, c := range counts {
		r.buckets[i] += c
	}
	p.SetCount(r.count)
	if p.HasSum() {
		p.SetSum(r.sum)
	}
	p.BucketCounts().FromRaw(r.buckets)
	p.SetStartTimestamp(r.start)
	return ""
}

// seriesKey names a series: sender, resource, metric and attributes.
func seriesKey(from signal.Origin, r pcommon.Resource, metric string, attrs pcommon.Map) seriesID {
	var b strings.Builder
	write := func(s string) { fmt.Fprintf(&b, "%d:%s,", len(s), s) }
	write(from.Namespace)
	write(from.Name)
	write(metric)
	for _, m := range []pcommon.Map{r.Attributes(), attrs} {
		var pairs []string
		for k, v := range m.All() {
			s := v.AsString()
			pairs = append(pairs, fmt.Sprintf("%d:%s=%d:%s", len(k), k, len(s), s))
		}
		slices.Sort(pairs)
		write(strings.Join(pairs, ","))
	}
	return sha256.Sum256([]byte(b.String()))
}
