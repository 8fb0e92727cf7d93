package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/otlp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// collector is an OTLP receiver that keeps batches and can be told to fail.
type collector struct {
	mu      sync.Mutex
	batches []pmetric.Metrics
	status  int // answered instead of taking a batch, 0 takes it
	url     string
}

func newCollector(t *testing.T, status int) *collector {
	c := &collector{status: status}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		req := pmetricotlp.NewExportRequest()
		if err = errors.Join(err, req.UnmarshalProto(body)); err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("the batch cannot be read: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.status != 0 {
			w.WriteHeader(c.status)
			return
		}
		n, _ := req.Metrics().ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().Attributes().Get("assay.batch.sequence")
		if r.Header.Get("Assay-Sequence") != strconv.FormatInt(n.Int(), 10) || r.Header.Get("Assay-Epoch") == "" {
			t.Errorf("batch %d has the headers %v", n.Int(), r.Header)
		}
		c.batches = append(c.batches, req.Metrics())
	}))
	t.Cleanup(s.Close)
	c.url = s.URL + "/v1/metrics"
	return c
}

func (c *collector) set(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// sequences are the numbers of the batches that arrived.
func (c *collector) sequences() (out []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.batches {
		n, _ := b.ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().Attributes().Get("assay.batch.sequence")
		out = append(out, n.Int())
	}
	return out
}

// last is the value of a metric of one version in the newest batch that has it.
func (c *collector) last(metric, version, result string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.batches) - 1; i >= 0; i-- {
		list := c.batches[i].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		for k := range list.Len() {
			m := list.At(k)
			if m.Name() != metric {
				continue
			}
			if m.Type() == pmetric.MetricTypeHistogram {
				for j := range m.Histogram().DataPoints().Len() {
					dp := m.Histogram().DataPoints().At(j)
					if v, _ := dp.Attributes().Get("version"); v.Str() == version {
						return float64(dp.Count())
					}
				}
				continue
			}
			for j := range m.Sum().DataPoints().Len() {
				dp := m.Sum().DataPoints().At(j)
				v, _ := dp.Attributes().Get("version")
				r, ok := dp.Attributes().Get("result")
				if v.Str() == version && (!ok || r.Str() == result) {
					return float64(dp.IntValue())
				}
			}
		}
	}
	return math.NaN()
}

func exporting(c *collector, queue int) func(*proxy.Options) {
	return func(o *proxy.Options) {
		o.Export = proxy.Export{URL: c.url, Interval: 10 * time.Millisecond, Queue: queue, Instance: "p1"}
	}
}

func TestMetricsArriveAsOTLPInOrderAndWithoutLoss(t *testing.T) {
	c := newCollector(t, 0)
	s := newSigner(t)
	v2 := backend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	d := open(t, shop(version(t, s, "v1", backend(t, says("v1")), 0), version(t, s, "v2", v2, 100)), s, exporting(c, 8))
	for range 7 {
		d.get("/")
	}
	d.shift("v1", 0, 100, "k")
	for range 5 {
		d.get("/")
	}
	d.stop() // sends what was counted last
	for _, want := range []struct {
		metric, version, result string
		value                   float64
	}{
		{"assay_enforce_requests_total", "v1", "2xx", 5}, {"assay_enforce_requests_total", "v2", "5xx", 7}, {"assay_enforce_requests_total", "v2", "2xx", 0},
		{"assay_enforce_errors_total", "v1", "", 0}, {"assay_enforce_errors_total", "v2", "", 7},
		{"assay_enforce_request_duration_seconds", "v1", "", 5}, {"assay_enforce_request_duration_seconds", "v2", "", 7},
	} {
		if got := c.last(want.metric, want.version, want.result); got != want.value {
			t.Errorf("%s of %s %s arrived as %v, want %v", want.metric, want.version, want.result, got, want.value)
		}
	}
	for i, n := range c.sequences() {
		if n != int64(i+1) {
			t.Fatalf("batches arrived as %v; want 1, 2, 3, … without a gap", c.sequences())
		}
	}
}

// sink counts the samples that an intake takes.
type sink struct{ batches, samples int }

func (k *sink) Append(_ context.Context, samples []signal.Sample, _ time.Time) (signal.Result, error) {
	k.batches, k.samples = k.batches+1, k.samples+len(samples)
	return signal.Result{Accepted: len(samples)}, nil
}

func TestABatchOfAsManyRoutesAsThereMayBeIsTakenByAnIntake(t *testing.T) {
	var taken sink
	in := httptest.NewServer(otlp.NewHandler(signal.NewIntake(signal.Config{Sink: &taken, Now: time.Now}),
		func(*http.Request) (string, string, error) { return "shop", "p1", nil }))
	t.Cleanup(in.Close)
	var conf enforce.Config
	for i := range enforce.MaxRoutes {
		name := fmt.Sprintf("service-%d", i)
		r := enforce.Route{Name: name, Service: name, Host: name + ".test", Entry: enforce.Entry{Mode: assay.ModeDryRun, ResourceURI: "pkg:generic/" + name}}
		for k, v := range []string{"v1", "v2"} {
			r.Versions = append(r.Versions, enforce.Version{Name: v, Digest: digest(v), Backend: "http://127.0.0.1:9", Weight: 100 - 100*k})
		}
		conf.Routes = append(conf.Routes, r)
	}
	d := open(t, conf, newSigner(t), func(o *proxy.Options) {
		o.AllowDryRun = true // 4,096 attestations are not what is tried here
		// One batch, the last; how long an intake takes for it is not what is tried either.
		o.Export = proxy.Export{URL: in.URL + otlp.Path, Interval: time.Hour, Timeout: 10 * time.Minute, Instance: "p1"}
	})
	d.stop()
	in.Close()
	if taken.batches != 1 || taken.samples < 20*2*enforce.MaxRoutes {
		t.Errorf("%d samples arrived in %d batches, want one batch with all", taken.samples, taken.batches)
	}
}

func TestBatchesWaitForACollectorThatIsAway(t *testing.T) {
	c := newCollector(t, http.StatusServiceUnavailable)
	d, _ := twoVersions(t, 0, exporting(c, 1000))
	d.get("/")
	waitFor(t, func() bool { return status(d).Export.Queued >= 3 })
	if e := status(d).Export; e.Dropped != 0 || e.Error == "" {
		t.Errorf("while the collector is away the export says %+v", e)
	}
	c.set(0)
	waitFor(t, func() bool { return len(c.sequences()) >= 3 })
	if seq := c.sequences(); seq[0] != 1 || seq[1] != 2 || seq[2] != 3 {
		t.Errorf("batches arrived as %v; want all, oldest first", seq)
	}
}

func TestFullQueueDropsTheOldestAndCounts(t *testing.T) {
	c := newCollector(t, http.StatusServiceUnavailable)
	d, _ := twoVersions(t, 0, exporting(c, 2))
	waitFor(t, func() bool { return status(d).Export.Dropped >= 3 })
	if e := status(d).Export; e.Queued > 2 {
		t.Errorf("the queue holds %d batches, its bound is 2", e.Queued)
	}
	c.set(0)
	waitFor(t, func() bool { return len(c.sequences()) >= 1 })
	if seq := c.sequences(); seq[0] < 4 {
		t.Errorf("the first batch that arrived is %d; the receiver must see that earlier ones are lost", seq[0])
	}
}

func TestBatchThatIsRefusedForGoodIsNotRetried(t *testing.T) {
	c := newCollector(t, http.StatusBadRequest)
	d, _ := twoVersions(t, 0, exporting(c, 100))
	waitFor(t, func() bool { return status(d).Export.Dropped >= 2 })
	if e := status(d).Export; e.Queued > 1 || !strings.Contains(e.Error, "400") {
		t.Errorf("the export says %+v; want dropped batches and the reason", e)
	}
}

func status(d *door) (s enforce.Status) {
	d.call(http.MethodGet, "/v1/status", nil, &s)
	return s
}

func TestPrometheusPageIsReadByPrometheus(t *testing.T) {
	d, _ := twoVersions(t, 0)
	for range 3 {
		d.get("/")
	}
	d.raw("BAD\r\n\r\n")
	a := d.call(http.MethodGet, "/metrics", nil, nil)
	p, err := textparse.New([]byte(a.body), a.header.Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for {
		kind, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("Prometheus cannot read the page: %v\n%s", err, a.body)
		}
		if kind == textparse.EntrySeries {
			var l labels.Labels
			p.Labels(&l)
			_, _, v := p.Series()
			got[l.String()] = v
		}
	}
	for series, want := range map[string]float64{
		`{__name__="assay_enforce_requests_total", result="2xx", route="shop", service="shop", version="v1"}`:               3,
		`{__name__="assay_enforce_request_duration_seconds_count", route="shop", service="shop", version="v1"}`:             3,
		`{__name__="assay_enforce_request_duration_seconds_bucket", le="+Inf", route="shop", service="shop", version="v1"}`: 3,
		`{__name__="assay_enforce_share_ratio", route="shop", service="shop", version="v1"}`:                                1,
		`{__name__="assay_enforce_version_admitted", route="shop", service="shop", version="v2"}`:                           1,
		`{__name__="assay_enforce_refused_total", result="malformed"}`:                                                      1,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", series, v, ok, want)
		}
	}
}
