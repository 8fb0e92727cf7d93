package gameday

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
)

// called runs a caller for a while against a handler, and returns its last report.
func called(t *testing.T, h http.HandlerFunc, c CallerConfig) (last CallReport) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	ctx, stop := context.WithTimeout(t.Context(), 1600*time.Millisecond)
	defer stop()
	c.Target, c.Rate, c.Seed = srv.URL, 100, 7
	var out bytes.Buffer
	if err := Caller(ctx, c, &out); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		if err := json.Unmarshal(line, &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if last.Requests < 20 {
		t.Fatalf("%+v: too few to say anything", last)
	}
	return last
}

func TestACallerTriesAgainAsItsLibraryDoes(t *testing.T) {
	answer := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	var asked atomic.Uint64
	usual := CallerConfig{Tries: 4, Timeout: time.Second, Deadline: time.Second}
	for name, c := range map[string]struct {
		handler     http.HandlerFunc
		tries       uint
		budget      float64
		deadline    time.Duration // if it is not usual
		least, most float64       // attempts to a request
		served      float64
		held        bool
	}{
		"what is answered is not asked again":                   {handler: answer(http.StatusOK), tries: 4, least: 1, most: 1, served: 1},
		"what is the caller's own mistake is not asked again":   {handler: answer(http.StatusNotFound), tries: 4, least: 1, most: 1, served: 1},
		"what fails is tried as often as may be":                {handler: answer(http.StatusServiceUnavailable), tries: 4, deadline: time.Minute, least: 4, most: 4},
		"as often as is declared":                               {handler: answer(http.StatusBadGateway), tries: 2, deadline: time.Minute, least: 2, most: 2},
		"a wait beyond the deadline is no wait":                 {handler: answer(http.StatusServiceUnavailable, "Retry-After", "1", "Assay-Reason", "class"), tries: 4, least: 1, most: 1, held: true},
		"too many requests is an answer to wait for":            {handler: answer(http.StatusTooManyRequests, "Retry-After", "1", "Assay-Reason", "rate_limit"), tries: 4, least: 1, most: 1, held: true},
		"a budget of a tenth allows a tenth, and what it saved": {handler: answer(http.StatusServiceUnavailable), tries: 4, budget: 0.1, least: 1.01, most: 1.1},
		"every other attempt fails": {handler: func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1)%2 == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}, tries: 20, deadline: time.Minute, least: 1.4, most: 3, served: 1}, // whose attempts are the others is chance
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := usual
			conf.Tries, conf.Budget = c.tries, c.budget
			conf.Deadline = max(conf.Deadline, c.deadline)
			got := called(t, c.handler, conf)
			if a := got.amplification(); a < c.least || a > c.most {
				t.Errorf("%.3f attempts to a request; expected %v to %v: %+v", a, c.least, c.most, got)
			}
			if got.served() != c.served {
				t.Errorf("%.3f of the requests are served; expected %v", got.served(), c.served)
			}
			if (got.Held > 0) != c.held || c.held && got.Held != got.Attempts {
				t.Errorf("%d of %d attempts were held", got.Held, got.Attempts)
			}
			if c.budget > 0 && got.Spared == 0 {
				t.Error("no retry was spared")
			}
		})
	}
}

func TestACallerWithoutARateOrTimesIsRefused(t *testing.T) {
	for name, c := range map[string]CallerConfig{
		"no rate":          {Tries: 1, Timeout: 1, Deadline: 1},
		"no number":        {Rate: math.NaN(), Tries: 1, Timeout: 1, Deadline: 1},
		"no tries":         {Rate: 1, Timeout: 1, Deadline: 1},
		"no timeout":       {Rate: 1, Tries: 1, Deadline: 1},
		"no deadline":      {Rate: 1, Tries: 1, Timeout: 1},
		"a budget of less": {Rate: 1, Tries: 1, Timeout: 1, Deadline: 1, Budget: -1},
	} {
		if err := Caller(t.Context(), c, nil); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
