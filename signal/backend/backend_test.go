package backend_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/backend"
)

// record writes testdata anew from a Prometheus that has requests_total{job="shop"} once a
// minute in the span of these tests. What lies there was answered by Prometheus 2.42.
var record = flag.String("record", "", "URL of a Prometheus to record the answers of")

// recorded is a server that answers with what a Prometheus answered.
func recorded(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		name := fmt.Sprintf("%s-%s%s.json", filepath.Base(r.URL.Path), r.Form.Get("time"), r.Form.Get("start"))
		path := filepath.Join("testdata", name)
		if *record != "" {
			answered(t, path, *record+r.URL.Path, r.Form)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v: asked for %v", err, r.Form)
			http.Error(w, "not recorded", http.StatusTeapot)
			return
		}
		question, answer, _ := strings.Cut(string(text), "\n")
		if got := r.Form.Encode(); got != question {
			t.Errorf("asked %s, and recorded is %s", got, question)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func answered(t *testing.T, path, address string, form url.Values) {
	resp, err := http.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(path, append([]byte(form.Encode()+"\n"), body...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// day is in the span of what was recorded.
var day = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func all(b *backend.Backend) (out []signal.Sample, err error) {
	for {
		list, err := b.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, list...)
	}
}

func TestSamplesComeAsTheyWereScrapedAndEachOnce(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"as they are": 0, "by steps": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			span := 150 * time.Minute // three questions, or one
			b, err := backend.New(backend.Config{URL: recorded(t).URL, Match: `requests_total{job="shop"}`, Start: day, End: day.Add(span), Step: step})
			if err != nil {
				t.Fatal(err)
			}
			got, err := all(b)
			if err != nil || len(got) != 2*150 || b.Done() != 1 {
				t.Fatalf("%d samples, %v, %v done", len(got), err, b.Done())
			}
			seen := map[string]bool{}
			for _, s := range got {
				at := time.UnixMilli(s.Time)
				if k := s.Labels.String() + at.String(); seen[k] || at.Before(day) || !at.Before(day.Add(span)) || s.Value < 1000 {
					t.Errorf("%s at %s is %v, seen %v", s.Labels, at, s.Value, seen[k])
				} else {
					seen[k] = true
				}
			}
			if name := got[0].Labels.Get("__name__"); name != "requests_total" {
				t.Errorf("%q", name)
			}
		})
	}
}

// crowd answers questions by what may be asked of it.
type crowd struct {
	mu     sync.Mutex
	asked  []string
	answer func(n int, form url.Values) (status int, body string)
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	c.mu.Lock()
	c.asked = append(c.asked, r.Form.Get("query")+" "+r.Header.Get("Authorization"))
	n := len(c.asked)
	c.mu.Unlock()
	status, body := c.answer(n, r.Form)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const none = `{"status":"success","data":{"resultType":"matrix","result":[]}}`

func TestABackendIsAskedForLessOrLater(t *testing.T) {
	t.Parallel()
	tooMany := `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`
	for name, tt := range map[string]struct {
		answer func(n int, form url.Values) (int, string)
		asked  string
		want   string
	}{
		"too many samples": {func(_ int, form url.Values) (int, string) {
			if strings.Contains(form.Get("query"), "3600000ms") {
				return http.StatusUnprocessableEntity, tooMany
			}
			return http.StatusOK, none
		}, "[3600000ms] [1800000ms] [1800000ms]", ""},
		"always too many": {func(int, url.Values) (int, string) { return http.StatusUnprocessableEntity, tooMany }, "", "too many samples"},
		"a long answer": {func(n int, _ url.Values) (int, string) {
			if n == 1 {
				return http.StatusOK, strings.Repeat(" ", backend.MaxAnswer+1) + none
			}
			return http.StatusOK, none
		}, "[3600000ms] [1800000ms] [1800000ms]", ""},
		"busy at first": {func(n int, _ url.Values) (int, string) {
			if n < 3 {
				return http.StatusBadGateway, "try again"
			}
			return http.StatusOK, none
		}, "[3600000ms] [3600000ms] [3600000ms]", ""},
		"busy":    {func(int, url.Values) (int, string) { return http.StatusBadGateway, "try again" }, "[3600000ms] [3600000ms] [3600000ms] [3600000ms]", "gives no samples of 2026-11-22T03:00:00Z to 2026-11-22T04:00:00Z"},
		"refused": {func(int, url.Values) (int, string) { return http.StatusUnauthorized, "who are you?" }, "[3600000ms]", "client error: 401"},
		"no matrix": {func(int, url.Values) (int, string) {
			return http.StatusOK, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`
		}, "[3600000ms]", "no matrix"},
		"no answer":  {func(int, url.Values) (int, string) { return http.StatusOK, `<html>` }, "[3600000ms]", "gives no samples"},
		"redirected": {func(int, url.Values) (int, string) { return http.StatusFound, "" }, "[3600000ms]", "302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &crowd{answer: tt.answer}
			srv := httptest.NewServer(c)
			defer srv.Close()
			b, err := backend.New(backend.Config{URL: srv.URL, Match: "x", Start: day, End: day.Add(time.Hour), Token: "s3cret", Wait: time.Microsecond})
			if err != nil {
				t.Fatal(err)
			}
			got, err := all(b)
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret")) || len(got) > 0 {
				t.Errorf("%v %v", got, err)
			}
			var asked []string
			for _, q := range c.asked {
				text, token, _ := strings.Cut(strings.TrimPrefix(q, "x"), " ")
				if token != "Bearer s3cret" {
					t.Errorf("asked with %q", token)
				}
				asked = append(asked, text)
			}
			if tt.asked != "" && strings.Join(asked, " ") != tt.asked {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

func TestWhatCannotBeAskedIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	good := backend.Config{URL: "https://prometheus.example", Match: "x", Start: day, End: day.Add(time.Hour)}
	for _, tt := range []struct {
		change func(*backend.Config)
		want   string
	}{
		{func(c *backend.Config) { c.URL = "prometheus.example" }, "is not an http or https URL"},
		{func(c *backend.Config) { c.URL = "https://me:pw@prometheus.example" }, "must not have a user"},
		{func(c *backend.Config) { c.URL, c.Token = "http://prometheus.example", "t" }, "unencrypted"},
		{func(c *backend.Config) { c.Match = "rate(x[5m])" }, "is no plain selector"},
		{func(c *backend.Config) { c.Match = "x offset 5m" }, "is no plain selector"},
		{func(c *backend.Config) { c.Match = "{" }, "is not PromQL"},
		{func(c *backend.Config) { c.End = c.Start }, "does not end after it starts"},
		{func(c *backend.Config) { c.Step = time.Hour }, "is not whole seconds up to 5m0s"},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := backend.New(cfg); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}
