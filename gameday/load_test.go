package gameday

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lines collects reports and ends the load after a number of settled ones.
type lines struct {
	want   int
	stop   context.CancelFunc
	mu     sync.Mutex
	list   []LoadReport
	broken error
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := bufio.NewScanner(bytes.NewReader(p))
	for s.Scan() {
		var r LoadReport
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			l.broken = err
		}
		if l.list = append(l.list, r); r.Settled {
			l.want--
		}
	}
	if l.want <= 0 {
		l.stop()
	}
	return len(p), nil
}

// load runs the generator against a handler until it made n settled reports.
func load(t *testing.T, h http.Handler, c LoadConfig, n int) []LoadReport {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &lines{want: n, stop: stop}
	c.Target = srv.URL
	if err := Load(ctx, c, out); err != nil {
		t.Fatal(err)
	}
	if out.broken != nil {
		t.Fatal(out.broken)
	}
	return out.list
}

func TestLoadAchievesTheRateItAimsAt(t *testing.T) {
	var asked atomic.Int64
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	list := load(t, h, LoadConfig{Rate: 300, Seed: 1, Trial: 300 * time.Millisecond, Every: time.Second}, 2)
	var sent uint64
	for _, r := range list {
		if !r.Settled {
			continue
		}
		sent += r.Sent
		if r.Aim != 300 || r.Shed != 0 || r.Failed != 0 {
			t.Errorf("report %+v; expected an aim of 300, nothing shed and nothing failed", r)
		}
		if r.P99MS <= 0 || r.P99MS < r.P50MS {
			t.Errorf("percentiles p50 %v p99 %v ms", r.P50MS, r.P99MS)
		}
	}
	// Two seconds of a Poisson process of 300/s: 600 ± 4.5 standard deviations.
	if math.Abs(float64(sent)-600) > 4.5*math.Sqrt(600) {
		t.Errorf("sent %d requests in two seconds; expected about 600", sent)
	}
	if uint64(asked.Load()) < sent {
		t.Errorf("the shop saw %d requests of %d", asked.Load(), sent)
	}
}

func TestTheTrialWhoseRateIsKeptSaysSo(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	list := load(t, h, LoadConfig{Rate: 200, Seed: 1, Trial: 200 * time.Millisecond}, 1)
	for i, r := range list {
		if first := i+1 < len(list) && list[i+1].Settled; r.Found != first || r.Found && (r.Settled || !r.bearable()) {
			t.Errorf("report %d of %d: %+v; what is borne in the last trial is found, and nothing else", i+1, len(list), r)
		}
	}
}

func TestANightHasAPartOfTheLoadAndLowersNothing(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	list := load(t, h, LoadConfig{Rate: 400, Seed: 1, Trial: 200 * time.Millisecond, Every: time.Second, Share: func() float64 { return nightShare }}, 2)
	for _, r := range list {
		if r.Settled && (r.Aim != 400*nightShare || r.Rate > 0.5*400) {
			t.Errorf("a night of %+v", r)
		}
	}
}

func TestLoadCountsWhatFails(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/items/") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	list := load(t, h, LoadConfig{Rate: 400, Seed: 1, Trial: 200 * time.Millisecond}, 1)
	last := list[len(list)-1]
	if share := float64(last.Failed) / float64(last.Sent); share < 0.25 || share > 0.51 {
		t.Errorf("%d of %d failed; 38 %% of customers look at an item", last.Failed, last.Sent)
	}
}

func TestLoadIsLoweredToWhatIsBorneAndShedsTheRest(t *testing.T) {
	// One request at a time, 10 ms each: no more than 100 per second are borne.
	var one sync.Mutex
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		one.Lock()
		defer one.Unlock()
		<-time.After(10 * time.Millisecond)
	})
	list := load(t, h, LoadConfig{Rate: 400, Seed: 1, InFlight: 16, Trial: 500 * time.Millisecond}, 1)
	if first := list[0]; first.Aim != 400 || first.Settled || first.bearable() {
		t.Errorf("first trial %+v; expected 400 requests/s, too many", first)
	}
	var shed uint64
	for _, r := range list {
		shed += r.Shed
		if r.InFlight > 16 {
			t.Errorf("%d requests under way; the limit is 16", r.InFlight)
		}
	}
	if shed == 0 {
		t.Error("nothing was shed")
	}
	for _, r := range list {
		if r.Found && !r.bearable() {
			t.Errorf("%+v is not borne, and was found", r)
		}
	}
	if last := list[len(list)-1]; last.Aim > 100 || !last.Settled {
		t.Errorf("settled at %v requests/s; about 100 are borne", last.Aim)
	}
}

func TestTheRateFollowsWhatTheMachineBears(t *testing.T) {
	p := pace{}
	for _, c := range []struct {
		borne bool
		times int
		want  float64 // share of the rate aimed at
	}{
		{true, 9, 1},
		{false, 1, 1}, // once is nothing
		{true, 1, 1},
		{false, 2, 0.75},
		{false, 2, 0.5},
		{true, 4, 0.5},
		{true, 1, 0.75},
		{true, 5, 1},
		{false, 100, 0.25},
		{true, 20, 1},
	} {
		for range c.times {
			p = p.next(c.borne)
		}
		if got := trials[p.trial]; got != c.want {
			t.Fatalf("after %d reports (borne: %v) the share is %v; expected %v", c.times, c.borne, got, c.want)
		}
	}
}

func TestLoadRefusesARateThatIsNone(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if err := Load(t.Context(), LoadConfig{Target: "http://127.0.0.1:1", Rate: rate}, &bytes.Buffer{}); err == nil {
			t.Errorf("rate %v was accepted", rate)
		}
	}
}
