package scrape_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/scrape"
	"github.com/prometheus/common/model"
)

// shelf is a signal.Sink that keeps samples in memory.
type shelf struct {
	mu      sync.Mutex
	samples []signal.Sample
}

func (s *shelf) Append(_ context.Context, samples []signal.Sample, _ time.Time) (signal.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, samples...)
	return signal.Result{Accepted: len(samples)}, nil
}

// values of a metric in the order they came, with the second they are dated.
func (s *shelf) values(name string, start time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, x := range s.samples {
		if x.Labels.Get(model.MetricNameLabel) == name {
			out = append(out, fmt.Sprintf("%d:%g", (x.Time-start.UnixMilli())/1000, x.Value))
		}
	}
	return strings.Join(out, " ")
}

// target answers each request in turn; the last answer stays.
type target struct {
	pages []string // "hang" waits for the request's end, "500" fails
	n     int
}

func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	page := t.pages[min(t.n, len(t.pages)-1)]
	t.n++
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{"Content-Type": {"text/plain; version=0.0.4"}}, Request: r}
	switch page {
	case "hang":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case "500":
		resp.StatusCode, resp.Status, page = 500, "500 Internal Server Error", ""
	}
	resp.Body = io.NopCloser(strings.NewReader(page))
	return resp, nil
}

func newScraper(tr http.RoundTripper) (*scrape.Scraper, *shelf, *signal.Intake) {
	s := &shelf{}
	in := signal.NewIntake(signal.Config{Sink: s, Now: time.Now})
	return scrape.New(scrape.Target{Namespace: "shop", Job: "shop", Instance: "i1", URL: "http://shop/metrics", Interval: 10 * time.Second, Timeout: 4 * time.Second},
		in, &http.Client{Transport: tr}, time.Now), s, in
}

func TestTargetIsFetchedAtEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, got, in := newScraper(&target{pages: []string{"x_total 1\n", "x_total 2\n", "500", "hang", "x_total 5\ny 1\n"}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		time.AfterFunc(45*time.Second, cancel)
		<-done
		if v := got.values("x_total", start); v != "0:1 10:2 20:NaN 40:5" {
			t.Errorf("x_total is %s; a failed fetch ends the series", v)
		}
		if v := got.values("up", start); v != "0:1 10:1 20:0 30:0 40:1" {
			t.Errorf("up is %s", v)
		}
		if f := in.Freshness("shop"); len(f) != 1 || f[0].Source != "shop/i1" || f[0].Road != signal.RoadScrape || !f[0].Event.Equal(start.Add(40*time.Second)) {
			t.Errorf("%+v", f)
		}
	})
}

func TestSeriesThatLeaveThePageAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, got, _ := newScraper(&target{pages: []string{"a 1\nb 1\n", "a 2\n"}})
		for range 2 {
			if err := s.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-time.After(10 * time.Second)
		}
		if v := got.values("b", start); v != "0:1 10:NaN" {
			t.Errorf("b is %s", v)
		}
		if ls := got.samples[0].Labels.String(); ls != `{__name__="a", instance="i1", job="shop", namespace="shop"}` {
			t.Error(ls)
		}
	})
}

func TestLabelsOfThePageDoNotHideTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, got, _ := newScraper(&target{pages: []string{`a{job="evil",instance="x"} 1` + "\n"}})
		if err := s.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ls := got.samples[0].Labels.String(); ls != `{__name__="a", exported_instance="x", exported_job="evil", instance="i1", job="shop", namespace="shop"}` {
			t.Error(ls)
		}
	})
}

type bomb struct{}

func (bomb) RoundTrip(r *http.Request) (*http.Response, error) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, _ = zw.Write(make([]byte, scrape.MaxPage*4))
	_ = zw.Close()
	zr, err := gzip.NewReader(&b) // what http.Transport does with an answer it asked to be gzip
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(zr), Request: r, Header: http.Header{}}, err
}

func TestHostilePagesAreRefusedWhole(t *testing.T) {
	for name, c := range map[string]struct {
		tr   http.RoundTripper
		want assay.Code
	}{
		"page bomb":        {bomb{}, assay.CodeTooLarge},
		"too many samples": {&target{pages: []string{strings.Repeat("x 1\n", scrape.MaxPageSamples+1)}}, assay.CodeTooLarge},
		"half a page":      {&target{pages: []string{"a 1\nb{c=\"d"}}, assay.CodeInvalid},
		"not metrics":      {&target{pages: []string{"<html>"}}, assay.CodeInvalid},
		"hangs":            {&target{pages: []string{"hang"}}, assay.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, got, _ := newScraper(c.tr)
				if err := s.Once(t.Context()); assay.CodeOf(err) != c.want {
					t.Errorf("%v, want %s", err, c.want)
				}
				if len(got.samples) != 1 || got.values("up", time.Now()) == "" {
					t.Errorf("%d samples; expected up alone", len(got.samples))
				}
			})
		})
	}
}

func TestPagesAreParsed(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	text := "# HELP x_total h\n# TYPE x_total counter\nx_total{a=\"b\"} 3 1000\n# TYPE y gauge\ny -1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n"
	got, err := scrape.Parse([]byte(text), "text/plain; version=0.0.4", at)
	if err != nil || len(got) != 6 || got[0].Time != 1000 || !got[0].Counter || got[1].Counter || got[1].Value != -1 || got[1].Time != at.UnixMilli() {
		t.Errorf("%+v, %v", got, err)
	}
	om := "# TYPE x counter\nx_total 3\nx_created 1000\n# EOF\n"
	got, err = scrape.Parse([]byte(om), "application/openmetrics-text; version=1.0.0", at)
	if err != nil || len(got) != 1 || got[0].Start != 1_000_000 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := scrape.Parse([]byte("x_total 3\n"), "application/openmetrics-text", at); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("OpenMetrics without its end is cut off: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"x_total 1\n", "# TYPE x counter\nx_total{a=\"b\"} 3 1000\n", "# TYPE x counter\nx_total 3 # {t=\"1\"} 1\nx_created 1\n# EOF\n", "h_bucket{le=\"+Inf\"} NaN\n"} {
		f.Add([]byte(s), "text/plain")
		f.Add([]byte(s), "application/openmetrics-text; version=1.0.0")
		f.Add([]byte(s), "application/vnd.google.protobuf")
	}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, page []byte, contentType string) {
		got, err := scrape.Parse(page, contentType, at)
		if code := assay.CodeOf(err); code != "" && code != assay.CodeInvalid && code != assay.CodeTooLarge {
			t.Fatal(err)
		}
		in := signal.NewIntake(signal.Config{Sink: &shelf{}, Now: func() time.Time { return at }})
		if _, err := in.Take(t.Context(), signal.Origin{Namespace: "n", Name: "f", Road: signal.RoadScrape}, got, signal.Result{}); err != nil {
			t.Fatal(err)
		}
	})
}
