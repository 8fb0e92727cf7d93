package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
)

const workRollout = `apiVersion: assay.dev/v1alpha1
kind: Rollout
metadata: {name: app}
spec:
  service: app
  baseline: 1s
  steps: [20, 100]
  minRequests: 20
  minDuration: 1s
  indicators:
    - {name: errors, bad: errors_total, total: requests_total, tolerable: 0.05}
    - {name: latency, buckets: duration_seconds_bucket, bounds: [10], tolerable: 0.05}
    - {name: queries, count: queries_total, total: requests_total, margin: 1.9}
    - {name: pool, gauge: pool_share, max: 1, every: 1s, required: false}
`

// worker is a version of an app that answers without errors and counts what it does.
type worker struct {
	name, url string
	per       uint64 // queries of a request

	mu                sync.Mutex
	requests, queries uint64 // always both of the same requests
}

func (k *worker) did() (requests, queries uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.requests, k.queries
}

// work begins a version and is its backend.
func work(t *testing.T, name string, per uint64) *worker {
	t.Helper()
	k := &worker{name: name, per: per}
	b := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		k.requests++
		k.queries += k.per
		k.mu.Unlock()
		_, _ = io.WriteString(rw, name)
	}))
	t.Cleanup(b.Close)
	k.url = b.URL
	return k
}

// told is what the versions of an app say of themselves, as OTLP.
func told(all []*worker, since time.Time) string {
	now := time.Now()
	point := func(k *worker, labels, value string) string {
		return fmt.Sprintf(`{"startTimeUnixNano":"%d","timeUnixNano":"%d",%s,"attributes":[{"key":"version","value":{"stringValue":%q}}%s]}`,
			since.UnixNano(), now.UnixNano(), value, k.name, labels)
	}
	points := map[string][]string{}
	for _, k := range all {
		requests, queries := k.did()
		whole := func(n uint64) string { return fmt.Sprintf(`"asInt":"%d"`, n) }
		points["requests"] = append(points["requests"], point(k, "", whole(requests)))
		points["errors"] = append(points["errors"], point(k, "", whole(0)))
		points["queries"] = append(points["queries"], point(k, "", whole(queries)))
		points["pool_share"] = append(points["pool_share"], point(k, "", `"asDouble":0.4`))
		for _, le := range []string{"10", "+Inf"} {
			points["duration_seconds_bucket"] = append(points["duration_seconds_bucket"], point(k, fmt.Sprintf(`,{"key":"le","value":{"stringValue":%q}}`, le), whole(requests)))
		}
	}
	var metrics []string
	for name, list := range points {
		kind := `"sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[%s]}`
		switch name {
		case "pool_share":
			kind = `"gauge":{"dataPoints":[%s]}`
		case "duration_seconds_bucket": // a name that ends so stays as it is
			kind = `"sum":{"aggregationTemporality":2,"isMonotonic":false,"dataPoints":[%s]}`
		}
		metrics = append(metrics, fmt.Sprintf(`{"name":%q,`+kind+`}`, name, strings.Join(list, ",")))
	}
	return fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[]},"scopeMetrics":[{"metrics":[%s]}]}]}`, strings.Join(metrics, ","))
}

// busy is a control plane before a proxy with three attested versions of an app, all of
// which are asked and say what they do, until the test ends.
func busy(t *testing.T, all []*worker) (w *world, env []string, digest string) {
	t.Helper()
	w = newWorld(t)
	w.write("policies/app-rollout.yaml", workRollout)
	data, err := os.ReadFile(w.routes(all[0].url, true))
	if err != nil {
		t.Fatal(err)
	}
	c, err := enforce.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	route := &c.Routes[0]
	for _, k := range all[1:] {
		next := route.Versions[0]
		next.Name, next.Backend, next.Weight = k.name, k.url, 0
		route.Versions = append(route.Versions, next)
	}
	if data, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	w.write("routes.json", string(data))
	w.env = append(w.env, proxyToken)
	p := w.proxy()
	agent, olga := w.token("host-1", "agent"), w.token("olga", "operator")
	d := w.serve("--proxy", p.control)
	began, over := time.Now().Add(-time.Second), make(chan struct{})
	var helpers sync.WaitGroup
	t.Cleanup(func() { close(over); helpers.Wait() })
	every := func(step time.Duration, do func()) {
		helpers.Go(func() {
			tick := time.NewTicker(step)
			defer tick.Stop()
			for {
				select {
				case <-over:
					return
				case <-tick.C:
					do()
				}
			}
		})
	}
	post := func(url, body, token string) {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return // it is ending
		}
		defer resp.Body.Close()
		if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", url, resp.StatusCode, answer)
		}
	}
	for range 2 {
		every(8*time.Millisecond, func() { post(p.data+"/", "", "") })
	}
	every(250*time.Millisecond, func() { post(d.url+"/v1/metrics", told(all, began), strings.TrimPrefix(agent, "ASSAY_TOKEN=")) })
	return w, []string{olga, "ASSAY_SERVER=" + d.url}, string(route.Versions[0].Digest)
}

// A version that neither fails nor is slow, and asks its database twice as often, is taken
// out; one that asks as often as the old one gets all the traffic.
func TestAVersionThatDoesTwiceTheWorkIsTakenOut(t *testing.T) {
	t.Parallel()
	all := []*worker{work(t, "v1", 3), work(t, "v2", 6), work(t, "v3", 3)}
	w, env, digest := busy(t, all)
	said, _ := w.must(exitFailed, env, "rollout", "start", "--canary", "v2", "--digest", digest, "--watch")
	for _, want := range []string{"✗ aborted  v2", ", 0 of them bad", "v2 is worse than v1", "by queries: 6 per request against 3 per request"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	var list []api.Rollout
	out, _ := w.must(0, env, "rollout", "list", "-o", "json")
	field(t, out, &list)
	why, _ := w.must(0, env, "decisions", "explain", string(list[0].DecidedFact))
	for _, want := range []string{"6 per request", "3 per request", "queries: v2 is 100 % more", "score 0 of 100"} {
		if !strings.Contains(why, want) {
			t.Errorf("no %q in\n%s", want, why)
		}
	}
	said, _ = w.must(0, env, "rollout", "start", "--canary", "v3", "--digest", digest, "--watch")
	if !strings.Contains(said, "✓ promoted  v3") {
		t.Errorf("one that does the same: %s", said)
	}
	out, _ = w.must(0, env, "rollout", "list", "-o", "json")
	field(t, out, &list)
	if why, _ = w.must(0, env, "decisions", "explain", string(list[0].DecidedFact)); !strings.Contains(why, "0.4  ") || !strings.Contains(why, " samples") {
		t.Errorf("the gauge is not in\n%s", why)
	}
	if out, _ = w.must(0, env, "decisions", "replay", "--check"); strings.Contains(out, "0 of 0") || !strings.Contains(out, "identical") {
		t.Errorf("made again: %s", out)
	}
}
