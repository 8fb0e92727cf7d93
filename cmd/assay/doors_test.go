package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

const throttled = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: app-throttle}
spec:
  service: app
  level: act
  signals:
    - {name: latency, query: 'histogram_quantile(0.95, sum by (le) (rate(assay_enforce_request_duration_seconds_bucket{service="app"}[10s])))'}
    - {name: queue_depth, query: 'sum(assay_enforce_route_in_flight{service="app"})'}
    - {name: demand, query: 'sum by (class) (rate(assay_enforce_class_requests_total{service="app"}[10s]))', by: class}
  damping:
    protect: {period: 1s}
    relax: {window: 1s, step: 100, period: 1s}
  throttle:
    lever: rate-limit
    latency: 5
    min: 10
    max: 100000
    maxBacklog: 6
    classes:
      - {name: checkout, critical: true}
      - {name: batch}
`

// overloaded is a control plane before a proxy with classes, before a backend in which
// every request waits for one of two places.
func overloaded(t *testing.T) (w *world, env []string, p proxying) {
	t.Helper()
	places := make(chan struct{}, 2)
	app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-r.Context().Done():
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
			_, _ = io.WriteString(rw, "the app")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(app.Close)
	w = newWorld(t)
	w.write("policies/throttle.yaml", throttled)
	path := w.routes(app.URL, true)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := enforce.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	c.Routes[0].Levers = &enforce.Levers{
		Limits:  []assay.Lever{assay.LeverRateLimit},
		Classes: []enforce.Class{{Name: "checkout", Critical: true, Paths: []string{"/pay"}}, {Name: "batch", Paths: []string{"/batch"}}},
	}
	if data, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	w.write("routes.json", string(data))
	free, err := net.Listen("tcp", "127.0.0.1:0") // the proxy must know where its metrics go before that is there
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	w.env = append(w.env, proxyToken, "ASSAY_OTLP_TOKEN="+strings.TrimPrefix(w.token("proxy-1", "agent"), "ASSAY_TOKEN="))
	viewer := w.token("alice", "viewer")
	p = w.proxy("--otlp", "http://"+address+"/v1/metrics", "--otlp-interval", "250ms")
	d := w.serve("--listen", address, "--proxy", p.control, "--prove", "0")
	return w, []string{"ASSAY_SERVER=" + d.url, viewer}, p
}

// standing is where a lever of the app stands, as the proxy says.
func (p proxying) standing(t *testing.T, lever assay.Lever, scope string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.control+"/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimPrefix(proxyToken, "ASSAY_PROXY_TOKEN="))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s enforce.Status
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Routes[0].Levers {
		if l.Lever == lever && l.Scope == scope {
			return l.Value
		}
	}
	t.Fatalf("the proxy has no lever %s of %q", lever, scope)
	return 0
}

// comes waits until the lever stands at a value.
func (p proxying) comes(t *testing.T, scope string, want float64, within time.Duration, explain func() string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); ; {
		if got := p.standing(t, assay.LeverClass, scope); got == want {
			return
		} else if time.Now().After(end) {
			t.Fatalf("class %s is at %v after %s, not at %v:\n%s", scope, got, within, want, explain())
		}
		<-tick.C
	}
}

// load sends requests one after the other until stop, and counts what they get.
func load(t *testing.T, n int, url string) (counts func() (ok, held, other int64), stop func()) {
	t.Helper()
	var good, reason, other atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	for range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				res, err := client.Get(url)
				if err != nil {
					other.Add(1)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				switch {
				case res.StatusCode == http.StatusOK:
					good.Add(1)
				case res.Header.Get("Assay-Reason") == "class" && res.Header.Get("Retry-After") != "":
					reason.Add(1)
					select { // as it was asked to, and a little sooner
					case <-time.After(100 * time.Millisecond):
					case <-done:
					}
				default:
					other.Add(1)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
		client.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return func() (int64, int64, int64) { return good.Load(), reason.Load(), other.Load() }, stop
}

// The whole loop, with real processes: overload is seen in the proxy's metrics, the
// strategy sends a class away at the proxy, and lets it in again when it is over.
func TestAnOverloadIsThrottledAtTheDoorAndGivenBack(t *testing.T) {
	t.Parallel()
	w, env, p := overloaded(t)
	explain := func() string { out, _ := w.must(0, env, "strategy", "status", "app-throttle"); return out }
	paid, stopPaying := load(t, 1, p.data+"/pay")
	batch, stopBatch := load(t, 16, p.data+"/batch")
	p.comes(t, "batch", 0, time.Minute, explain)
	seen := func() int64 { _, held, _ := batch(); return held }
	for end := time.Now().Add(20 * time.Second); seen() == 0 && time.Now().Before(end); {
		p.standing(t, assay.LeverClass, "batch")
	}
	if ok, held, other := batch(); held == 0 || ok == 0 || other != 0 {
		t.Errorf("of batch %d were served, %d held and %d had another answer", ok, held, other)
	}
	if out := explain(); !strings.Contains(out, "proxy (fenced)") || !strings.Contains(out, "batch 0 at ") {
		t.Errorf("nobody sees the door and what it acknowledged:\n%s", out)
	}
	stopBatch()
	p.comes(t, "batch", 100, 90*time.Second, explain)
	stopPaying()
	if ok, held, other := paid(); ok == 0 || held != 0 || other != 0 {
		t.Errorf("of the critical requests %d were served, %d held and %d had another answer", ok, held, other)
	}
}

func TestAFileOfDoorsIsReadStrictly(t *testing.T) {
	const head = "apiVersion: assay.dev/v1alpha1\nkind: Doors\nspec:\n"
	good := head + "  - {name: platform, url: 'https://platform.internal/levers', levers: [replicas], timeout: 3s}\n"
	const cluster = head + `  - name: cluster
    kubernetes:
      config: in-cluster
      namespace: shop
      moves:
        - {service: shop, lever: replicas, deployment: shop, most: 9}
`
	list, err := parseDoors([]byte(good + strings.TrimPrefix(cluster, head)))
	if err != nil || len(list) != 2 || list[0].Name != "platform" || list[1].Kubernetes.Moves[0].Deployment != "shop" {
		t.Fatalf("%+v, %v", list, err)
	}
	for text, want := range map[string]string{
		"kind: Doors\n": "apiVersion",
		strings.Replace(good, "platform,", "proxy,", 1):                             "and not proxy",
		strings.Replace(good, "[replicas]", "[]", 1):                                "name the levers",
		strings.Replace(good, "[replicas]", "[share]", 1):                           "rollouts move",
		strings.Replace(good, "3s", "soon", 1):                                      "positive time",
		strings.Replace(good, "timeout", "timeuot", 1):                              "timeuot",
		good + strings.TrimPrefix(good, head):                                       "another door",
		head + strings.Repeat("  - {name: a, url: b}\n", 33) + "":                   "limit is 32",
		strings.Replace(cluster, "most: 9", "most: 0", 1):                           "spec[0].kubernetes.moves[0].most is 0 with least 0",
		strings.Replace(cluster, "deployment: shop, ", "", 1):                       "spec[0].kubernetes.moves[0] names not one object",
		strings.Replace(cluster, "deployment: shop", "job: a", 1):                   "a job is stopped and let run by class-admission",
		strings.Replace(cluster, "in-cluster", "''", 1):                             "name a kubeconfig file",
		strings.Replace(cluster, "    kubernetes", "    url: x\n    kubernetes", 1): "spec[0].url is a receiver's",
	} {
		if _, err := parseDoors([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q for\n%s", err, want, text)
		}
	}
}

func TestTheDoorsOfTheExamplesAreRead(t *testing.T) {
	paths, err := filepath.Glob("../../examples/doors/*.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := parseDoors(data); err != nil || len(list) == 0 {
			t.Errorf("%s: %+v, %v", path, list, err)
		}
	}
}

func TestServeAndLintSayWhatIsWrongWithDoors(t *testing.T) {
	w := newWorld(t)
	w.write("policies/scale.yaml", `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: app-scale}
spec:
  service: app
  level: act
  levers: [{lever: replicas, door: platform}]
  signals: [{name: load, query: sum(load)}]
  scale: {perReplica: 40, max: 60}
`)
	doors := func(name, url string) {
		w.write("doors.yaml", "apiVersion: assay.dev/v1alpha1\nkind: Doors\nspec:\n  - {name: "+name+", url: '"+url+"', levers: [replicas]}\n")
	}
	doors("cloud", "https://platform.internal/levers")
	if out, _ := w.must(0, nil, "policy", "lint", "--doors", "doors.yaml"); !strings.Contains(out, "app-scale") || !strings.Contains(out, "no such door") {
		t.Errorf("lint says %q", out)
	}
	doors("platform", "https://platform.internal/levers")
	if out, _ := w.must(0, nil, "policy", "lint", "--doors", "doors.yaml"); strings.Contains(out, "door") {
		t.Errorf("with its door, lint says %q", out)
	}
	doors("platform", "http://platform.internal/levers")
	if _, stderr := w.must(exitError, nil, "serve", "--dir", "state", "--listen", "127.0.0.1:0", "--doors", "doors.yaml"); !strings.Contains(stderr, "doors.yaml") || !strings.Contains(stderr, "https") {
		t.Errorf("serve says %q", stderr)
	}
	w.write("ca.pem", "no certificate")
	if _, err := roots(filepath.Join(w.root, "ca.pem")); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a file without certificates: %v", err)
	}
}
