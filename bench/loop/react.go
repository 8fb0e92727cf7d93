package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	actproxy "assay.dev/assay/act/proxy"
	"assay.dev/assay/attest"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/enforce/proxy"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/signal/otlp"
	"assay.dev/assay/signal/tsdb"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/sqlite"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	reactTarget  = 1 // second, p99
	namespace    = "bench"
	controlToken = "a-token-for-the-benchmark"
	batch        = 50_000 // requests of each version in one batch: enough to decide
)

// loop is a whole control loop: OTLP over HTTP in, a series database and a store on
// disk, the rollout engine, and a proxy that is driven through its control API.
type loop struct {
	db      *tsdb.DB
	store   *sqlite.Store
	door    *proxy.Proxy
	ctl     *rollout.Controller
	intake  *httptest.Server
	metrics *prometheus.Registry
	epoch   time.Time
	last    time.Time         // of the newest batch
	sent    map[string]uint64 // requests so far by version
}

// measureReact measures from the first byte of a batch that decides to the proxy dividing
// its traffic accordingly. A plan of a hundred steps and batches that each suffice
// for one make ninety-eight samples a round.
func measureReact(ctx context.Context, b *run.Bench) error {
	var all, p50, p99 []float64
	for round := range b.Rounds {
		took, err := reactOnce(ctx, b, round)
		if err != nil {
			return err
		}
		all = append(all, took...)
		p50, p99 = append(p50, result.Percentile(took, 0.5)), append(p99, result.Percentile(took, 0.99))
	}
	b.Say("react: %d moves, p50 %.1f ms, p99 %.1f ms", len(all), 1e3*result.Percentile(all, 0.5), 1e3*result.Percentile(all, 0.99))
	b.Rows = append(b.Rows,
		result.New("data arrival to share moved, p50", "s", p50),
		result.New("data arrival to share moved, p99", "s", p99).Want("<", reactTarget))
	return nil
}

func reactOnce(ctx context.Context, b *run.Bench, round int) ([]float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l, err := open(ctx, b, filepath.Join(b.Dir, fmt.Sprintf("react-%d", round)))
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- l.ctl.Run(ctx) }()
	defer func() {
		stop()
		<-done
		l.close()
	}()
	plan := decide.NewPlan()
	plan.Name, plan.Service, plan.MinRequests, plan.MinDuration = "bench", "shop", 1, 0
	plan.Steps = nil
	for s := 1; s <= 100; s++ {
		plan.Steps = append(plan.Steps, s)
	}
	plan.Indicators = []decide.Indicator{{Name: "errors", Weight: 1, Required: true}}
	if err := l.propose(ctx, plan); err != nil {
		return nil, err
	}
	if err := l.until(ctx, 1); err != nil {
		return nil, err
	}
	if err := l.send(ctx, 0); err != nil { // counters are known from here on
		return nil, err
	}
	var took []float64
	for want := 2; want < 100; want++ {
		began := time.Now()
		if err := l.send(ctx, batch); err != nil {
			return nil, err
		}
		if err := l.until(ctx, want); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began).Seconds())
	}
	return took, nil
}

func (l *loop) propose(ctx context.Context, plan decide.Plan) error {
	for { // the engine needs a moment to take its lease
		_, err := l.ctl.Propose(ctx, rollout.Proposal{
			Namespace: namespace, Actor: "bench", Name: "bench", Plan: plan, Canary: "v2", Digest: digest(2), Backend: "http://127.0.0.1:9",
			Indicators: []rollout.Indicator{{Spec: signal.Spec{Service: "shop", Name: "errors", Bad: "shop_errors_total", Total: "shop_requests_total"}}},
		})
		if assay.CodeOf(err) != assay.CodeUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func digest(n byte) assay.Digest { return assay.DigestOf([32]byte{n}) }

func open(ctx context.Context, b *run.Bench, dir string) (*loop, error) {
	l := &loop{sent: map[string]uint64{}, epoch: time.Now()}
	door := filepath.Join(dir, "proxy")
	if err := os.MkdirAll(door, 0o755); err != nil {
		return nil, err
	}
	client, err := l.openDoor(ctx, door)
	if err != nil {
		return nil, err
	}
	return l, l.engine(ctx, b, dir, client, client, func(*http.Request) string { return "bench" })
}

// engine opens what stands between telemetry and a door: intake, series, store, rollouts.
func (l *loop) engine(ctx context.Context, b *run.Bench, dir string, actuator act.Actuator, door rollout.Door, sender func(*http.Request) string) error {
	for _, d := range []string{"series", "blobs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	var err error
	if l.db, err = tsdb.Open(filepath.Join(dir, "series"), tsdb.Options{}); err != nil {
		return err
	}
	if l.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "assay.db")}); err != nil {
		return err
	}
	blobs, err := files.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	watch := signal.NewWatch()
	l.metrics = prometheus.NewRegistry()
	l.ctl = rollout.New(rollout.Config{
		Store: l.store, Blobs: blobs, Source: l.db, Actuator: actuator, Door: door, Watch: watch,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(b.Log(), &slog.HandlerOptions{Level: slog.LevelWarn})), Holder: "bench",
		Registerer: l.metrics,
	})
	intake := signal.NewIntake(signal.Config{Sink: l.db, Now: time.Now, Watch: watch, Arrived: l.ctl.Arrived})
	l.intake = httptest.NewServer(otlp.NewHandler(intake, func(r *http.Request) (string, string, error) { return namespace, sender(r), nil }))
	return nil
}

// openDoor starts a proxy whose routes only record what they would refuse: entry is
// not what is measured.
func (l *loop) openDoor(ctx context.Context, dir string) (*actproxy.Client, error) {
	var err error
	l.door, err = proxy.Open(proxy.Options{
		Dir: dir, Trust: attest.TrustPolicy{}, AllowDryRun: true, Token: controlToken,
		Initial: enforce.Config{Routes: []enforce.Route{{
			Name: "shop", Service: "shop", Entry: enforce.Entry{Mode: assay.ModeDryRun, ResourceURI: "pkg:generic/shop"},
			Versions: []enforce.Version{{Name: "v1", Digest: digest(1), Backend: "http://127.0.0.1:9", Weight: 100}},
		}}},
	})
	if err != nil {
		return nil, err
	}
	data, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = l.door.Serve(ctx, data, control) }() // its end is ctx's
	return actproxy.New(actproxy.Options{URL: "http://" + control.Addr().String(), Token: controlToken})
}

func (l *loop) close() {
	l.intake.Close()
	_ = l.store.Close() // the folder is removed next
	_ = l.db.Close()
}

// until waits for the proxy to give the new version a share.
func (l *loop) until(ctx context.Context, want int) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		for _, v := range l.door.Status().Routes[0].Versions {
			if v.Name == "v2" && v.Percent == want {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Microsecond):
		}
	}
	list, err := rollout.List(ctx, l.store, namespace, 1)
	if err != nil || len(list) == 0 {
		return fmt.Errorf("the share did not become %d %% within 20 s, and no rollout is known: %w", want, err)
	}
	return fmt.Errorf("the share did not become %d %% within 20 s; the rollout is %s: %s", want, list[0].Status, list[0].Reason)
}

// send posts a batch of cumulative counters as OTLP: n more requests of each version,
// one in a hundred bad.
func (l *loop) send(ctx context.Context, n uint64) error {
	var points [2]bytes.Buffer
	// Series have a resolution of a millisecond, and one value at each.
	for time.Since(l.last) < 2*time.Millisecond {
		time.Sleep(100 * time.Microsecond)
	}
	l.last = time.Now()
	now := l.last.UnixNano()
	for i, version := range []string{"v1", "v2"} {
		l.sent[version] += n
		for k, value := range []uint64{l.sent[version], l.sent[version] / 100} {
			if i > 0 {
				points[k].WriteByte(',')
			}
			fmt.Fprintf(&points[k], `{"attributes":[{"key":"version","value":{"stringValue":%q}}],"startTimeUnixNano":"%d","timeUnixNano":"%d","asInt":"%d"}`,
				version, l.epoch.UnixNano(), now, value)
		}
	}
	const sum = `{"name":%q,"sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[%s]}}`
	body := fmt.Sprintf(`{"resourceMetrics":[{"resource":{},"scopeMetrics":[{"metrics":[`+sum+`,`+sum+`]}]}]}`,
		"shop_requests_total", points[0].String(), "shop_errors_total", points[1].String())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.intake.URL+otlp.Path, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the intake answered %s", res.Status)
	}
	return nil
}
