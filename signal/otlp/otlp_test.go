package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/otlp"
	"assay.dev/assay/signal/tsdb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type world struct {
	*httptest.Server
	db     *tsdb.DB
	intake *signal.Intake
}

func serve(t testing.TB) *world {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{db: db}
	w.intake = signal.NewIntake(signal.Config{Sink: db, Now: func() time.Time { return epoch }, BodyTime: 200 * time.Millisecond})
	w.Server = httptest.NewServer(otlp.NewHandler(w.intake, func(r *http.Request) (string, string, error) {
		if r.Header.Get("Authorization") == "" {
			return "", "", assay.Errorf(assay.CodeUnauthenticated, "send a token")
		}
		return "shop", r.Header.Get("Authorization"), nil
	}))
	t.Cleanup(func() {
		w.Server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

type request struct {
	body             []byte
	contentType, enc string
	method, who      string
	epoch, sequence  string
}

func (w *world) send(t testing.TB, r request) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), or(r.method, http.MethodPost), w.URL+otlp.Path, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", or(r.contentType, "application/x-protobuf"))
	if r.who != "nobody" {
		req.Header.Set("Authorization", or(r.who, "sender"))
	}
	for k, v := range map[string]string{"Content-Encoding": r.enc, otlp.EpochHeader: r.epoch, otlp.SequenceHeader: r.sequence} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	resp, err := w.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, string(body)
	}
	out := pmetricotlp.NewExportResponse()
	if resp.Header.Get("Content-Type") == "application/json" {
		err = out.UnmarshalJSON(body)
	} else {
		err = out.UnmarshalProto(body)
	}
	if err != nil {
		t.Fatalf("the answer is not OTLP: %v", err)
	}
	if n := out.PartialSuccess().RejectedDataPoints(); n != 0 {
		return resp.StatusCode, fmt.Sprintf("%d rejected: %s", n, out.PartialSuccess().ErrorMessage())
	}
	return resp.StatusCode, ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// export makes a request of one resource, filled by f.
func export(t testing.TB, f func(pmetric.MetricSlice)) []byte {
	t.Helper()
	m := pmetric.NewMetrics()
	rm := m.ResourceMetrics().AppendEmpty()
	for k, v := range map[string]string{"service.name": "shop", "service.instance.id": "i1", "service.version": "v2"} {
		rm.Resource().Attributes().PutStr(k, v)
	}
	f(rm.ScopeMetrics().AppendEmpty().Metrics())
	body, err := pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func stamp(second int) pcommon.Timestamp {
	return pcommon.NewTimestampFromTime(epoch.Add(time.Duration(second) * time.Second))
}

// counter adds a monotonic sum with one point per value, one second apart and ending at the epoch.
func counter(ms pmetric.MetricSlice, name string, temporality pmetric.AggregationTemporality, values ...float64) {
	m := ms.AppendEmpty()
	m.SetName(name)
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(temporality)
	for i, v := range values {
		p := s.DataPoints().AppendEmpty()
		p.SetTimestamp(stamp(i + 1 - len(values)))
		p.SetStartTimestamp(stamp(-60))
		p.SetDoubleValue(v)
		p.Attributes().PutStr("code", "200")
	}
}

const cumulative, delta = pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityDelta

func (w *world) ask(t testing.TB, expr string) string {
	t.Helper()
	res, err := w.db.Instant(t.Context(), "shop", expr, epoch)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range res.Lines {
		v := fmt.Sprintf("%g", l.Points[0].Value)
		if h := l.Points[0].H; h != nil {
			v = h.String()
		}
		out = append(out, l.Labels.String()+" "+v)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func all(ms pmetric.MetricSlice) {
	counter(ms, "http.requests", cumulative, 7)
	g := ms.AppendEmpty()
	g.SetName("queue.length")
	p := g.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(stamp(0))
	p.SetIntValue(-3)
	h := ms.AppendEmpty()
	h.SetName("http.server.request.duration")
	h.SetUnit("s")
	h.SetEmptyHistogram().SetAggregationTemporality(cumulative)
	hp := h.Histogram().DataPoints().AppendEmpty()
	hp.SetTimestamp(stamp(0))
	hp.ExplicitBounds().FromRaw([]float64{0.1, 0.5})
	hp.BucketCounts().FromRaw([]uint64{3, 2, 1})
	hp.SetCount(6)
	hp.SetSum(2.5)
	e := ms.AppendEmpty()
	e.SetName("size")
	e.SetEmptyExponentialHistogram().SetAggregationTemporality(cumulative)
	ep := e.ExponentialHistogram().DataPoints().AppendEmpty()
	ep.SetTimestamp(stamp(0))
	ep.SetScale(0)
	ep.Positive().SetOffset(0)
	ep.Positive().BucketCounts().FromRaw([]uint64{1, 2})
	ep.SetCount(3)
	ep.SetSum(8)
}

func TestMetricsBecomeTheSeriesPrometheusMakes(t *testing.T) {
	proto := export(t, all)
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(proto); err != nil {
		t.Fatal(err)
	}
	asJSON, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	if _, err := zw.Write(proto); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]request{
		"protobuf": {body: proto}, "json": {body: asJSON, contentType: "application/json; charset=utf-8"}, "gzip": {body: zipped.Bytes(), enc: "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			if status, answer := w.send(t, r); status != http.StatusOK || answer != "" {
				t.Fatalf("%d %s", status, answer)
			}
			const ls = `instance="i1", job="shop", `
			for expr, want := range map[string]string{
				"http_requests_total": `{__name__="http_requests_total", code="200", ` + ls + `namespace="shop", service_version="v2"} 7`,
				"queue_length":        `{__name__="queue_length", ` + ls + `namespace="shop", service_version="v2"} -3`,
				`sum by (le) (http_server_request_duration_seconds_bucket)`: `{le="+Inf"} 6; {le="0.1"} 3; {le="0.5"} 5`,
				`sum(http_server_request_duration_seconds_count)`:           `{} 6`,
				`sum(http_server_request_duration_seconds_sum)`:             `{} 2.5`,
				`histogram_count(size)`:                                     `{` + ls + `namespace="shop", service_version="v2"} 3`,
				`histogram_fraction(1, 2, size)`:                            `{` + ls + `namespace="shop", service_version="v2"} 0.3333333333333333`,
				`count(target_info)`:                                        `{} 1`,
			} {
				if got := w.ask(t, expr); got != want {
					t.Errorf("%s\ngot  %s\nwant %s", expr, got, want)
				}
			}
		})
	}
}

func TestDeltasAreAddedUp(t *testing.T) {
	w := serve(t)
	first := export(t, func(ms pmetric.MetricSlice) { counter(ms, "requests", delta, 3, 4) })
	if status, answer := w.send(t, request{body: first}); status != http.StatusOK || answer != "" {
		t.Fatalf("%d %s", status, answer)
	}
	if got := w.ask(t, "sum(requests_total)"); got != "{} 7" {
		t.Errorf("3 and 4 are %s", got)
	}
	if _, answer := w.send(t, request{body: first}); !strings.Contains(answer, "2 rejected") || !strings.Contains(answer, "it may be the same") {
		t.Errorf("the same deltas again: %q", answer)
	}
	if _, answer := w.send(t, request{body: first, who: "another"}); strings.Contains(answer, "delta") {
		t.Errorf("another sender's deltas: %q", answer)
	}
	hist := func(ms pmetric.MetricSlice, second int) {
		m := ms.AppendEmpty()
		m.SetName("latency")
		m.SetEmptyHistogram().SetAggregationTemporality(delta)
		p := m.Histogram().DataPoints().AppendEmpty()
		p.SetTimestamp(stamp(second))
		p.ExplicitBounds().FromRaw([]float64{1})
		p.BucketCounts().FromRaw([]uint64{2, 1})
		p.SetCount(3)
	}
	for s := range 3 {
		w.send(t, request{body: export(t, func(ms pmetric.MetricSlice) { hist(ms, s-2) })})
	}
	if got := w.ask(t, "sum by (le) (latency_bucket)"); got != `{le="+Inf"} 9; {le="1"} 6` {
		t.Error(got)
	}
	exp := export(t, func(ms pmetric.MetricSlice) {
		m := ms.AppendEmpty()
		m.SetName("e")
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(delta)
		m.ExponentialHistogram().DataPoints().AppendEmpty().SetTimestamp(stamp(0))
		counter(ms, "fine", cumulative, 1)
	})
	if _, answer := w.send(t, request{body: exp}); !strings.Contains(answer, "1 rejected") || !strings.Contains(answer, "send cumulative ones") {
		t.Errorf("%q", answer)
	}
	if got := w.ask(t, "sum(fine_total)"); got != "{} 1" {
		t.Errorf("beside a refused metric: %s", got)
	}
}

// Each bad point comes with a good metric, which must be stored.
func TestBadPointsAreRejectedAndTheRestIsStored(t *testing.T) {
	histogram := func(f func(pmetric.HistogramDataPoint)) func(pmetric.MetricSlice) {
		return func(ms pmetric.MetricSlice) {
			m := ms.AppendEmpty()
			m.SetName("h")
			m.SetEmptyHistogram().SetAggregationTemporality(cumulative)
			p := m.Histogram().DataPoints().AppendEmpty()
			p.SetTimestamp(stamp(0))
			p.ExplicitBounds().FromRaw([]float64{1, 2})
			p.BucketCounts().FromRaw([]uint64{1, 1, 1})
			p.SetCount(3)
			f(p)
		}
	}
	exponential := func(f func(pmetric.ExponentialHistogramDataPoint)) func(pmetric.MetricSlice) {
		return func(ms pmetric.MetricSlice) {
			m := ms.AppendEmpty()
			m.SetName("e")
			m.SetEmptyExponentialHistogram().SetAggregationTemporality(cumulative)
			p := m.ExponentialHistogram().DataPoints().AppendEmpty()
			p.SetTimestamp(stamp(0))
			p.Positive().BucketCounts().FromRaw([]uint64{1})
			p.SetCount(1)
			f(p)
		}
	}
	sum := func(f func(pmetric.NumberDataPoint)) func(pmetric.MetricSlice) {
		return func(ms pmetric.MetricSlice) {
			counter(ms, "c", cumulative, 1)
			f(ms.At(ms.Len() - 1).Sum().DataPoints().At(0))
		}
	}
	for name, c := range map[string]struct {
		fill func(pmetric.MetricSlice)
		want string
	}{
		"NaN counter":          {sum(func(p pmetric.NumberDataPoint) { p.SetDoubleValue(math.NaN()) }), "nan"},
		"negative counter":     {sum(func(p pmetric.NumberDataPoint) { p.SetIntValue(-1) }), "negative"},
		"an hour ahead":        {sum(func(p pmetric.NumberDataPoint) { p.SetTimestamp(stamp(3600)) }), "future"},
		"end of time":          {sum(func(p pmetric.NumberDataPoint) { p.SetTimestamp(math.MaxUint64) }), "future"},
		"no time":              {sum(func(p pmetric.NumberDataPoint) { p.SetTimestamp(0) }), "old"},
		"reserved attribute":   {sum(func(p pmetric.NumberDataPoint) { p.Attributes().PutStr("__name__", "x") }), "labels"},
		"long attribute":       {sum(func(p pmetric.NumberDataPoint) { p.Attributes().PutStr("x", strings.Repeat("y", 2000)) }), "labels"},
		"counts and bounds":    {histogram(func(p pmetric.HistogramDataPoint) { p.BucketCounts().FromRaw([]uint64{3}) }), "histogram"},
		"bounds that fall":     {histogram(func(p pmetric.HistogramDataPoint) { p.ExplicitBounds().FromRaw([]float64{2, 1}) }), "histogram"},
		"count of another sum": {histogram(func(p pmetric.HistogramDataPoint) { p.SetCount(4) }), "histogram"},
		"overflowing counts":   {histogram(func(p pmetric.HistogramDataPoint) { p.BucketCounts().FromRaw([]uint64{math.MaxUint64, 3, 1}) }), "histogram"},
		"NaN sum":              {histogram(func(p pmetric.HistogramDataPoint) { p.SetSum(math.NaN()) }), "nan"},
		"wild offset":          {exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.Positive().SetOffset(math.MaxInt32) }), "histogram"},
		"wild scale":           {exponential(func(p pmetric.ExponentialHistogramDataPoint) { p.SetScale(1000) }), "histogram"},
		"too many buckets": {exponential(func(p pmetric.ExponentialHistogramDataPoint) {
			p.Positive().BucketCounts().FromRaw(make([]uint64, 1000))
		}), "histogram"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			body := export(t, func(ms pmetric.MetricSlice) { c.fill(ms); counter(ms, "good", cumulative, 1) })
			status, answer := w.send(t, request{body: body})
			if status != http.StatusOK || !strings.Contains(answer, " "+c.want) || !strings.Contains(answer, "rejected") {
				t.Errorf("%d %q, want a refusal for %s", status, answer, c.want)
			}
			if got := w.ask(t, "sum(good_total)"); got != "{} 1" {
				t.Errorf("the good metric is %q", got)
			}
		})
	}
}

func gz(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever one sender does, nothing of it is stored, and the next is served.
func TestHostileRequestsAreRefusedAndOthersServed(t *testing.T) {
	good := export(t, func(ms pmetric.MetricSlice) { counter(ms, "good", cumulative, 1) })
	for name, c := range map[string]struct {
		r      request
		status int
		want   string
	}{
		"oversized body":   {request{body: make([]byte, signal.MaxBody+1)}, 413, "more than 4194304 bytes"},
		"gzip bomb":        {request{body: gz(t, 2*signal.MaxDecoded), enc: "gzip"}, 413, "when decompressed"},
		"half a protobuf":  {request{body: good[:len(good)/2]}, 400, "no OTLP metrics request"},
		"broken gzip":      {request{body: gz(t, 100)[:15], enc: "gzip"}, 400, "gzip"},
		"not gzip":         {request{body: good, enc: "gzip"}, 400, "gzip"},
		"unknown encoding": {request{body: good, enc: "br"}, 400, "Content-Encoding"},
		"half a JSON":      {request{body: []byte(`{"resourceMetrics":[{`), contentType: "application/json"}, 400, "no OTLP metrics request"},
		"unknown type":     {request{body: good, contentType: "text/plain"}, 415, "application/x-protobuf"},
		"GET":              {request{method: http.MethodGet}, 405, "POST"},
		"no credential":    {request{body: good, who: "nobody"}, 401, "send a token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			status, answer := w.send(t, c.r)
			if status != c.status || !strings.Contains(answer, c.want) {
				t.Errorf("%d %q, want %d %s", status, answer, c.status, c.want)
			}
			if n := w.db.Series(); n != 0 {
				t.Errorf("%d series were stored", n)
			}
			if status, answer := w.send(t, request{body: good, who: "other"}); status != http.StatusOK || answer != "" {
				t.Errorf("the next sender gets %d %s", status, answer)
			}
		})
	}
}

func TestSlowBodiesAreCutOffAndOthersServed(t *testing.T) {
	w := serve(t)
	good := export(t, func(ms pmetric.MetricSlice) { counter(ms, "good", cumulative, 1) })
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: slow\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000\r\n\r\nab", otlp.Path)
	if status, _ := w.send(t, request{body: good}); status != http.StatusOK {
		t.Errorf("beside a slow sender: %d", status)
	}
	answer, err := io.ReadAll(conn) // ends when the server gives up
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503") || !strings.Contains(string(answer), "did not come within") {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestMoreBodiesThanSlotsAreToldToComeBack(t *testing.T) {
	w := serve(t)
	for range signal.MaxInFlight {
		if _, err := w.intake.Enter(); err != nil {
			t.Fatal(err)
		}
	}
	if status, answer := w.send(t, request{}); status != http.StatusTooManyRequests || !strings.Contains(answer, "send again") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestNumberedBatchesShowWhatIsLost(t *testing.T) {
	w := serve(t)
	for _, seq := range []string{"1", "4"} {
		w.send(t, request{body: export(t, all), epoch: "9", sequence: seq})
	}
	if f := w.intake.Freshness("shop"); len(f) != 1 || f[0].Missing != 2 || f[0].Road != signal.RoadOTLP {
		t.Errorf("%+v", f)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(export(f, all), false)
	f.Add(export(f, func(ms pmetric.MetricSlice) { counter(ms, "c", delta, 1, 2) }), false)
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"asDouble":1,"timeUnixNano":"1"}]}}]}]}]}`), true)
	w := serve(f)
	f.Fuzz(func(t *testing.T, body []byte, isJSON bool) {
		if _, err := otlp.Unmarshal(body, isJSON); err != nil && assay.CodeOf(err) != assay.CodeInvalid {
			t.Fatal(err)
		}
		contentType := "application/x-protobuf"
		if isJSON {
			contentType = "application/json"
		}
		r := httptest.NewRequest(http.MethodPost, otlp.Path, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", "fuzz")
		rec := httptest.NewRecorder()
		w.Config.Handler.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	})
}

// batch is what a service with 50 routes sends each interval: counters by code,
// and a latency histogram of 12 bounds: 950 samples.
func batch(tb testing.TB, second int, n float64) []byte {
	return export(tb, func(ms pmetric.MetricSlice) {
		for route := range 50 {
			for _, code := range []string{"200", "404", "500", "503"} {
				counter(ms, "http.requests", cumulative, n)
				p := ms.At(ms.Len() - 1).Sum().DataPoints().At(0)
				p.SetTimestamp(stamp(second))
				p.Attributes().PutStr("code", code)
				p.Attributes().PutStr("route", fmt.Sprint("/r", route))
			}
			m := ms.AppendEmpty()
			m.SetName("http.server.request.duration")
			m.SetUnit("s")
			m.SetEmptyHistogram().SetAggregationTemporality(cumulative)
			p := m.Histogram().DataPoints().AppendEmpty()
			p.SetTimestamp(stamp(second))
			p.Attributes().PutStr("route", fmt.Sprint("/r", route))
			p.ExplicitBounds().FromRaw([]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30})
			counts := make([]uint64, 13)
			for i := range counts {
				counts[i] = uint64(n)
			}
			p.BucketCounts().FromRaw(counts)
			p.SetCount(13 * uint64(n))
			p.SetSum(n)
		}
	})
}

func BenchmarkIngest(b *testing.B) {
	w := serve(b)
	bodies := make([][]byte, 1200) // more than a second takes, so that hardly one is a repetition
	for i := range bodies {
		bodies[i] = batch(b, i-len(bodies), float64(i))
	}
	samples, size, i := 0, 0, 0
	for b.Loop() {
		body := bodies[i%len(bodies)]
		r := httptest.NewRequest(http.MethodPost, otlp.Path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Authorization", "bench")
		rec := httptest.NewRecorder()
		w.Config.Handler.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
		samples, size, i = samples+951, size+len(body), i+1
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64(size)/float64(samples), "bytes/sample")
}
