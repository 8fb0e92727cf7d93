package remotewrite_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/signal"
	"assay.dev/assay/signal/remotewrite"
	"assay.dev/assay/signal/tsdb"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type world struct {
	*httptest.Server
	db *tsdb.DB
}

func serve(t testing.TB) *world {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), tsdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	intake := signal.NewIntake(signal.Config{Sink: db, Now: func() time.Time { return epoch }})
	w := &world{db: db, Server: httptest.NewServer(remotewrite.NewHandler(intake, func(r *http.Request) (string, string, error) {
		return "shop", r.Header.Get("User-Agent"), nil
	}))}
	t.Cleanup(func() {
		w.Server.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) send(t testing.TB, body []byte, contentType string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.URL+remotewrite.Path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Content-Encoding", "snappy")
	resp, err := w.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

const v1 = "application/x-protobuf"

func series(name string, values ...float64) prompb.TimeSeries {
	ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "job", Value: "shop"}}}
	for i, v := range values {
		ts.Samples = append(ts.Samples, prompb.Sample{Value: v, Timestamp: epoch.Add(time.Duration(i+1-len(values)) * time.Second).UnixMilli()})
	}
	return ts
}

func raw(t testing.TB, ts ...prompb.TimeSeries) []byte {
	t.Helper()
	body, err := (&prompb.WriteRequest{Timeseries: ts}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func request(t testing.TB, ts ...prompb.TimeSeries) []byte { return snappy.Encode(nil, raw(t, ts...)) }

func (w *world) ask(t testing.TB, expr string) string {
	t.Helper()
	res, err := w.db.Instant(t.Context(), "shop", expr, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Lines) != 1 {
		return fmt.Sprintf("%d lines", len(res.Lines))
	}
	return fmt.Sprintf("%s %g", res.Lines[0].Labels, res.Lines[0].Points[0].Value)
}

func TestWrittenSamplesCanBeQueried(t *testing.T) {
	w := serve(t)
	h := prompb.FromIntHistogram(epoch.UnixMilli(), &histogram.Histogram{Schema: 0, Count: 3, Sum: 4, PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1}})
	native := series("size")
	native.Histograms = append(native.Histograms, h)
	if status, answer := w.send(t, request(t, series("x_total", 1, 2, 3), native), v1); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, answer)
	}
	if got := w.ask(t, "x_total"); got != `{__name__="x_total", job="shop", namespace="shop"} 3` {
		t.Error(got)
	}
	if got := w.ask(t, "histogram_count(size)"); got != `{job="shop", namespace="shop"} 3` {
		t.Error(got)
	}
	if status, answer := w.send(t, request(t, series("x_total", 1, 2, 3)), v1); status != http.StatusNoContent {
		t.Errorf("the same again: %d %s", status, answer)
	}
}

func TestBadSamplesAreNamedAndTheRestIsStored(t *testing.T) {
	ahead := series("x", 1)
	ahead.Samples[0].Timestamp = epoch.Add(time.Hour).UnixMilli()
	twice := series("x", 1)
	twice.Labels = append(twice.Labels, twice.Labels[1])
	bomb := series("x", 1)
	for i := range 1000 {
		bomb.Labels = append(bomb.Labels, prompb.Label{Name: fmt.Sprintf("l%04d", i), Value: "x"})
	}
	broken := series("x")
	broken.Histograms = []prompb.Histogram{{Timestamp: epoch.UnixMilli(), Schema: 100, PositiveDeltas: []int64{1, 2}, Count: &prompb.Histogram_CountInt{CountInt: 9}}}
	for name, c := range map[string]struct {
		ts   prompb.TimeSeries
		want string
	}{
		"NaN": {series("x", math.NaN()), "1 nan"}, "negative counter": {series("x_total", -1), "1 negative"}, "an hour ahead": {ahead, "1 future"},
		"a label twice": {twice, "1 labels"}, "label bomb": {bomb, "1 labels"}, "broken histogram": {broken, "1 histogram"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			status, answer := w.send(t, request(t, c.ts, series("good", 1)), v1)
			if status != http.StatusBadRequest || !strings.Contains(answer, "1 sample stored, 1 refused ("+c.want) {
				t.Errorf("%d %s", status, answer)
			}
			if got := w.ask(t, "good"); !strings.HasSuffix(got, " 1") {
				t.Errorf("the good sample: %s", got)
			}
		})
	}
}

func TestHostileRequestsAreRefusedAndOthersServed(t *testing.T) {
	good := request(t, series("good", 1))
	many := series("x")
	many.Samples = make([]prompb.Sample, signal.MaxSamples+1)
	half := raw(t, series("good", 1))
	for name, c := range map[string]struct {
		body        []byte
		contentType string
		status      int
		want        string
	}{
		"oversized body":   {make([]byte, signal.MaxBody+1), v1, 413, "more than"},
		"snappy bomb":      {snappy.Encode(nil, make([]byte, 64<<20)), v1, 413, "when decompressed"},
		"claimed length":   {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2}, v1, 413, "when decompressed"},
		"half a protobuf":  {snappy.Encode(nil, half[:len(half)/2]), v1, 400, "no remote-write request"},
		"not snappy":       {[]byte("hello"), v1, 400, "snappy"},
		"too many samples": {request(t, many), v1, 413, "120001 samples"},
		"version 2":        {good, v1 + ";proto=io.prometheus.write.v2.Request", 415, "2.0 is not taken yet"},
		"JSON":             {good, "application/json", 415, "application/x-protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			if status, answer := w.send(t, c.body, c.contentType); status != c.status || !strings.Contains(answer, c.want) {
				t.Errorf("%d %q, want %d %s", status, answer, c.status, c.want)
			}
			if n := w.db.Series(); n != 0 {
				t.Errorf("%d series were stored", n)
			}
			if status, answer := w.send(t, good, v1+";proto=prometheus.WriteRequest"); status != http.StatusNoContent {
				t.Errorf("the next sender gets %d %s", status, answer)
			}
		})
	}
}

func FuzzHandler(f *testing.F) {
	f.Add(raw(f, series("x_total", 1, 2)))
	f.Add(raw(f, prompb.TimeSeries{Histograms: []prompb.Histogram{{Schema: 3, PositiveDeltas: []int64{1, -2}}}}))
	f.Add([]byte{0x0a, 0xff})
	w := serve(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, body := range [][]byte{data, snappy.Encode(nil, data)} {
			r := httptest.NewRequest(http.MethodPost, remotewrite.Path, bytes.NewReader(body))
			r.Header.Set("Content-Type", v1)
			rec := httptest.NewRecorder()
			if w.Config.Handler.ServeHTTP(rec, r); rec.Code >= 500 {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
		}
	})
}

func BenchmarkIngest(b *testing.B) {
	w := serve(b)
	bodies := make([][]byte, 600) // more than a second takes, so that hardly one is a repetition
	for i := range bodies {
		var ts []prompb.TimeSeries
		for s := range 2000 {
			one := series("http_requests_total", float64(i))
			one.Samples[0].Timestamp = epoch.Add(time.Duration(i-len(bodies)) * time.Second).UnixMilli()
			one.Labels = append(one.Labels, prompb.Label{Name: "route", Value: fmt.Sprint("/r", s)}, prompb.Label{Name: "version", Value: "v2"})
			ts = append(ts, one)
		}
		bodies[i] = request(b, ts...)
	}
	samples, size, i := 0, 0, 0
	for b.Loop() {
		body := bodies[i%len(bodies)]
		r := httptest.NewRequest(http.MethodPost, remotewrite.Path, bytes.NewReader(body))
		r.Header.Set("Content-Type", v1)
		rec := httptest.NewRecorder()
		if w.Config.Handler.ServeHTTP(rec, r); rec.Code != http.StatusNoContent {
			b.Fatal(rec.Code, rec.Body)
		}
		samples, size, i = samples+2000, size+len(body), i+1
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64(size)/float64(samples), "bytes/sample")
}
