package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"assay.dev/assay/enforce"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// Attributes of the scope of each batch. Numbers follow each other without a gap,
// so a receiver sees what it lost; a new start begins again at 1.
const (
	attributeSequence = "assay.batch.sequence"
	attributeStart    = "assay.batch.start" // Unix nanoseconds of the proxy's start
	scopeName         = "assay.dev/enforce/proxy"
)

// The same two numbers as headers, for receivers that count before they decode.
const (
	headerEpoch    = "Assay-Epoch"
	headerSequence = "Assay-Sequence"
)

// exporter pushes batches of metrics as OTLP over HTTP. Counts are cumulative, so
// a lost batch costs resolution and never a request, and one that arrives twice
// (its answer was lost) costs nothing. step is called by one
// goroutine; status by any.
type exporter struct {
	conf   Export
	start  time.Time
	client *http.Client

	queue []batch   // oldest first
	next  time.Time // no attempt before it, after one that failed
	waits time.Duration

	mu   sync.Mutex
	stat enforce.ExportStatus
}

type batch struct {
	sequence uint64
	body     []byte
	coding   string // of the body: gzip, or "" for none
}

// compressFrom is the size in bytes above which a body is compressed: a proxy with many
// routes counts megabytes, most of them the same names and bounds again.
const compressFrom = 64 << 10

// compress makes a batch of a body.
func compress(sequence uint64, body []byte) (batch, error) {
	if len(body) < compressFrom {
		return batch{sequence: sequence, body: body}, nil
	}
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return batch{}, err
	}
	_, err = zw.Write(body)
	err = errors.Join(err, zw.Close())
	return batch{sequence, out.Bytes(), "gzip"}, err
}

func newExporter(conf Export, start time.Time) *exporter {
	return &exporter{conf: conf, start: start, client: &http.Client{
		Timeout:       conf.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a redirect could take the token elsewhere
	}}
}

// run exports until ctx ends, and once more then, so that the last counts arrive.
func (e *exporter) run(ctx context.Context, p *Proxy) {
	if e.conf.URL == "" {
		return
	}
	tick := time.NewTicker(e.conf.Interval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			// Not cut off when the proxy stops: a batch whose answer is lost is sent again.
			e.step(context.WithoutCancel(ctx), p, now)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.conf.Timeout)
			defer cancel()
			e.next = time.Time{}
			e.step(last, p, time.Now())
			e.client.CloseIdleConnections()
			return
		}
	}
}

// step makes the batch of now and sends what is queued, oldest first, until an
// attempt fails in a way that may pass.
func (e *exporter) step(ctx context.Context, p *Proxy, now time.Time) {
	e.enqueue(p, now)
	if now.Before(e.next) {
		return
	}
	for len(e.queue) > 0 {
		again, err := e.send(ctx, e.queue[0])
		if again {
			e.waits = min(max(2*e.waits, e.conf.Interval), 30*time.Second)
			e.next = now.Add(e.waits)
			e.note(func(s *enforce.ExportStatus) { s.Error = err.Error() })
			return
		}
		e.queue = e.queue[1:]
		e.waits = 0
		e.note(func(s *enforce.ExportStatus) {
			if s.Queued = len(e.queue); err != nil {
				s.Dropped++
				s.Error = err.Error()
				return
			}
			s.Sent++
			s.Error = ""
		})
	}
}

func (e *exporter) enqueue(p *Proxy, now time.Time) {
	sequence := e.status().Sequence + 1
	body, err := pmetricotlp.NewExportRequestFromMetrics(e.metrics(p, sequence, now)).MarshalProto()
	dropped, made := uint64(0), batch{}
	if err == nil {
		made, err = compress(sequence, body)
	}
	if err == nil {
		e.queue = append(e.queue, made)
		if over := len(e.queue) - e.conf.Queue; over > 0 {
			e.queue, dropped = append([]batch(nil), e.queue[over:]...), uint64(over)
		}
	}
	e.note(func(s *enforce.ExportStatus) {
		s.Sequence, s.Queued = sequence, len(e.queue)
		s.Dropped += dropped
		if err != nil {
			s.Dropped++
			s.Error = err.Error()
		}
	})
}

// send makes one attempt. again says that the same batch may succeed later.
func (e *exporter) send(ctx context.Context, b batch) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.conf.URL, bytes.NewReader(b.body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if b.coding != "" {
		req.Header.Set("Content-Encoding", b.coding)
	}
	req.Header.Set(headerEpoch, strconv.FormatInt(e.start.UnixNano(), 10))
	req.Header.Set(headerSequence, strconv.FormatUint(b.sequence, 10))
	if e.conf.Token != "" {
		req.Header.Set("Authorization", "Bearer "+e.conf.Token)
	}
	res, err := e.client.Do(req)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // only the status and what can be read of it count
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, partial(body)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("the collector answered %s to batch %d", res.Status, b.sequence)
	}
	return false, fmt.Errorf("the collector refused batch %d with %s", b.sequence, res.Status)
}

// partial finds points that a collector took but did not accept.
func partial(body []byte) error {
	answer := pmetricotlp.NewExportResponse()
	if len(body) == 0 || answer.UnmarshalProto(body) != nil {
		return nil // a collector that answers 200 in another form took it all
	}
	if n := answer.PartialSuccess().RejectedDataPoints(); n > 0 {
		return fmt.Errorf("the collector rejected %d points: %s", n, answer.PartialSuccess().ErrorMessage())
	}
	return nil
}

func (e *exporter) note(f func(*enforce.ExportStatus)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stat)
}

func (e *exporter) status() enforce.ExportStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stat
}

// metrics makes one batch of everything that is counted.
func (e *exporter) metrics(p *Proxy, sequence uint64, now time.Time) pmetric.Metrics {
	m := pmetric.NewMetrics()
	rm := m.ResourceMetrics().AppendEmpty()
	attrs := rm.Resource().Attributes()
	attrs.PutStr("service.name", "assay-proxy")
	attrs.PutStr("service.instance.id", e.conf.Instance)
	if e.conf.Environment != "" {
		attrs.PutStr("deployment.environment.name", e.conf.Environment)
	}
	for k, v := range e.conf.Attributes {
		attrs.PutStr(k, v)
	}
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scopeName)
	sm.Scope().Attributes().PutInt(attributeSequence, int64(sequence))
	sm.Scope().Attributes().PutInt(attributeStart, e.start.UnixNano())
	w := writer{list: sm.Metrics(), start: pcommon.NewTimestampFromTime(e.start), now: pcommon.NewTimestampFromTime(now)}
	w.write(p, e.status().Dropped)
	return m
}

// writer fills the metrics of one batch.
type writer struct {
	list       pmetric.MetricSlice
	start, now pcommon.Timestamp
}

func (w writer) write(p *Proxy, dropped uint64) {
	all := p.read()
	requests, failures := w.sum(metricRequests), w.sum(metricErrors)
	inFlight, share, admitted := w.gauge(metricInFlight), w.gauge(metricShare), w.gauge(metricAdmitted)
	histogram := w.durations(metricDuration)
	for _, c := range all {
		for r, n := range c.requests {
			w.point(requests, int64(n), c).PutStr("result", resultNames[r])
		}
		w.point(failures, int64(c.errors), c)
		w.point(inFlight, c.inFlight, c)
		w.point(admitted, bit(c.admitted), c)
		dp := share.AppendEmpty()
		dp.SetTimestamp(w.now)
		dp.SetDoubleValue(float64(c.percent) / 100)
		c.label(dp.Attributes())
		w.histogram(histogram.DataPoints().AppendEmpty(), c)
	}
	if list := p.refusals.read(); len(list) > 0 {
		refused := w.sum(metricRefused)
		for _, r := range list {
			w.point(refused, int64(r.n), counts{}).PutStr("result", r.reason)
		}
	}
	w.point(w.sum(metricDropped), int64(dropped), counts{})
	w.pairs(p)
	w.levers(p)
}

// pairs writes what mirrored requests came to.
func (w writer) pairs(p *Proxy) {
	all := p.readPairs()
	if len(all) == 0 {
		return
	}
	w.point(w.sum(metricUncopied), int64(p.copies.dropped.Load()), counts{})
	requests, worse, histogram := w.sum(metricPairs), w.sum(metricWorse), w.durations(metricPairDuration)
	for _, c := range all {
		for r, n := range c.requests {
			if result(r) != resultCanceled {
				w.point(requests, int64(n), c).PutStr("result", resultNames[r])
			}
		}
		w.point(worse, int64(c.errors), c)
		w.histogram(histogram.DataPoints().AppendEmpty(), c)
	}
}

// durations is an empty histogram of seconds.
func (w writer) durations(name string) pmetric.Histogram {
	m := w.metric(name)
	m.SetUnit("s")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return h
}

func (w writer) metric(name string) pmetric.Metric {
	m := w.list.AppendEmpty()
	m.SetName(name)
	m.SetDescription(help[name])
	return m
}

func (w writer) sum(name string) pmetric.NumberDataPointSlice {
	s := w.metric(name).SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return s.DataPoints()
}

func (w writer) gauge(name string) pmetric.NumberDataPointSlice {
	return w.metric(name).SetEmptyGauge().DataPoints()
}

func (w writer) point(list pmetric.NumberDataPointSlice, n int64, c counts) pcommon.Map {
	dp := list.AppendEmpty()
	dp.SetStartTimestamp(w.start)
	dp.SetTimestamp(w.now)
	dp.SetIntValue(n)
	c.label(dp.Attributes())
	return dp.Attributes()
}

func (w writer) histogram(dp pmetric.HistogramDataPoint, c counts) {
	dp.SetStartTimestamp(w.start)
	dp.SetTimestamp(w.now)
	dp.ExplicitBounds().FromRaw(boundsInSeconds())
	dp.BucketCounts().FromRaw(c.latency[:])
	dp.SetCount(c.observed)
	dp.SetSum(c.sum.Seconds())
	c.label(dp.Attributes())
}

func (c counts) label(m pcommon.Map) {
	if c.version == "" {
		return
	}
	m.PutStr("service", c.service)
	m.PutStr("route", c.route)
	m.PutStr("version", c.version)
}
