package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

const shopSLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop-availability}
spec:
  service: shop
  indicator:
    metadata: {name: shop-availability}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'sum(requests_total{code="500"})'}}}
        total: {metricSource: {type: Prometheus, spec: {query: sum(requests_total)}}}
  timeWindow: [{duration: 1h, isRolling: true}]
  objectives: [{target: 0.99}]
`

// observed is a world whose policy has an objective.
func observed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.write("policies/slo.yaml", shopSLO)
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.root, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// send posts OTLP metrics: totals of the shop's requests that began a minute ago.
func (d *daemon) send(token string, good, bad int) (int, string) {
	d.t.Helper()
	now := time.Now()
	point := func(code string, n int) string {
		return fmt.Sprintf(`{"startTimeUnixNano":"%d","timeUnixNano":"%d","asInt":"%d","attributes":[{"key":"code","value":{"stringValue":%q}}]}`,
			now.Add(-time.Minute).UnixNano(), now.UnixNano(), n, code)
	}
	body := fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeMetrics":[{"metrics":[{"name":"requests","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[%s,%s]}}]}]}]}`,
		point("200", good), point("500", bad))
	return d.otlp(token, body)
}

// otlp posts metrics as OTLP/HTTP has them in JSON, and returns the status and the answer.
func (d *daemon) otlp(token, body string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, d.url+"/v1/metrics", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimPrefix(token, "ASSAY_TOKEN="))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// objective asks until the objective has counted as many events, or for 20 s.
func (w *world) objective(env []string, total uint64) api.Objective {
	w.t.Helper()
	var list []api.Objective
	for end := time.Now().Add(20 * time.Second); ; {
		out, _ := w.must(0, env, "slo", "status", "-o", "json")
		list = nil
		field(w.t, out, &list)
		if len(list) == 1 && list[0].Total == total {
			return list[0]
		}
		if time.Now().After(end) {
			w.t.Fatalf("the objective does not come to %d events: %s", total, out)
		}
	}
}

func TestTelemetryComesInAndObjectivesComeOut(t *testing.T) {
	t.Parallel()
	w := observed(t)
	agent, viewer := w.token("host-1", "agent"), w.token("alice", "viewer")
	d := w.serve()
	env := []string{"ASSAY_SERVER=" + d.url, viewer}
	if status, body := d.send(viewer, 1, 1); status != http.StatusForbidden || !strings.Contains(body, "role agent") {
		t.Errorf("a viewer sends: %d %s", status, body)
	}
	if status, body := d.send(agent, 500, 500); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	o := w.objective(env, 1000)
	if o.Good != 500 || o.Allowed != 10 || o.Remaining != -490 || o.Known || !strings.Contains(o.Reason, "of the window's 60 minutes have data") {
		t.Errorf("%+v", o)
	}
	out, _ := w.must(0, env, "slo", "status")
	for _, want := range []string{"shop-availability  99 %    1h", "-4900.0 %", "firing: immediate", "█"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, _ = w.must(0, env, "slo", "explain", "shop-availability")
	for _, want := range []string{"99 % of events are good in the last 1h", `sum(requests_total{code="500"})`, "counted    1000 events, 500 of them bad", "5000.0 % of the budget: overdrawn by 490", "fires at 14× in both: firing"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, stderr := w.must(exitError, env, "slo", "status", "shop"); !strings.Contains(stderr, `objective "shop" is not one of shop-availability`) {
		t.Errorf("%q", stderr)
	}
	if _, stderr := w.must(exitError, []string{"ASSAY_SERVER=" + d.url, agent}, "slo", "status"); !strings.Contains(stderr, "this needs viewer") {
		t.Errorf("an agent reads: %q", stderr)
	}
	// Another policy takes effect without a restart, and keeps what was counted.
	w.write("policies/slo.yaml", strings.Replace(shopSLO, "target: 0.99", "target: 0.9", 1))
	w.hup(d)
	d.logged("policy loaded")
	if o := w.objective(env, 1000); o.Allowed != 100 {
		t.Errorf("after the reload %d are allowed", o.Allowed)
	}
	w.write("policies/slo.yaml", strings.Replace(shopSLO, "target: 0.99", "target: 99", 1))
	w.hup(d)
	if line := d.logged("policy refused"); !strings.Contains(line, "policies/slo.yaml:14:25") {
		t.Errorf("the log does not name the place: %s", line)
	}
	w.write("policies/slo.yaml", shopSLO)
	if code := d.stop(); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
	// The series outlive the process: read on the directory, and by the next one.
	if o := w.objective([]string{"ASSAY_DIR=state"}, 1000); o.Good != 500 {
		t.Errorf("read back: %+v", o)
	}
	again := w.serve()
	if o := w.objective([]string{"ASSAY_SERVER=" + again.url, viewer}, 1000); o.Good != 500 {
		t.Errorf("after a restart: %+v", o)
	}
}

func (w *world) hup(d *daemon) {
	w.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
}

func TestServeScrapesWhatItIsTold(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "# TYPE requests counter\nrequests_total{code=\"200\"} 7\n# EOF\n")
	}))
	defer page.Close()
	w := observed(t)
	viewer := w.token("alice", "viewer")
	d := w.serve("--scrape", "shop="+page.URL+"/metrics")
	env := []string{"ASSAY_SERVER=" + d.url, viewer}
	// What a counter had before it was first seen belongs to no minute: known, and no events.
	for end := time.Now().Add(20 * time.Second); ; {
		out, _ := w.must(0, env, "slo", "status", "shop-availability", "-o", "json")
		var list []api.Objective
		field(t, out, &list)
		if !list[0].Newest.IsZero() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nothing was scraped: %s", out)
		}
	}
	if _, body := get(t, d.url+"/metrics"); !strings.Contains(body, `assay_signal_requests_total{result="ok",source="scrape"} 1`) {
		t.Error("the scrape is not counted")
	}
	if _, stderr := w.must(exitUsage, nil, "serve", "--dir", "state", "--scrape", "shop"); !strings.Contains(stderr, `"shop" for "--scrape" flag: it is not JOB=URL`) {
		t.Errorf("%q", stderr)
	}
}

func TestServeRefusesAPolicyWhoseSignalsAreWrong(t *testing.T) {
	t.Parallel()
	w := observed(t)
	w.write("policies/slo.yaml", strings.Replace(shopSLO, "isRolling: true", "isRoling: true", 1))
	_, stderr := w.must(exitError, nil, "serve", "--dir", "state", "--listen", "127.0.0.1:0")
	if !strings.Contains(stderr, `policies/slo.yaml:13:31: spec.timeWindow[0].isRoling is not a known key (did you mean "isRolling"?)`) {
		t.Errorf("%q", stderr)
	}
}

func TestScrapeTargetsAreJobAndURL(t *testing.T) {
	for text, good := range map[string]bool{
		"shop=http://a:1/metrics": true, "a=https://b/x?y=z": true,
		"http://a:1/metrics": false, "=http://a": false, "shop=a:1": false, "shop=ftp://a": false, "shop=": false, "shop=http://": false,
	} {
		var list scrapeTargets
		if err := list.Set(text); (err == nil) != good || good && list.String() != text {
			t.Errorf("%s gives %s, %v", text, &list, err)
		}
	}
}

func TestBadLineDrawsGapsAndPeaks(t *testing.T) {
	minutes := make([]api.Minute, 120)
	for i := range minutes {
		minutes[i] = api.Minute{Known: i >= 60, Total: 10, Good: 10}
	}
	minutes[119].Good = 3
	if got, want := badLine(minutes), strings.Repeat("·", 12)+strings.Repeat("▁", 11)+"█"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := badLine(nil); got != "" {
		t.Errorf("%q", got)
	}
}

func TestSpansAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 30 * time.Second: "30s", 5 * time.Minute: "5m", 72 * time.Hour: "72h", 90 * time.Minute: "1h30m", 10*time.Hour + 10*time.Second: "10h0m10s",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

func TestFlatTakesJoinedErrorsApart(t *testing.T) {
	err := errors.New("b")
	joined := belowAll(errors.Join(errors.Join(assay.Errorf(assay.CodeInvalid, "a").In("x"), nil), err), "policies")
	list := flat(joined)
	if len(list) != 2 || list[0].File != filepath.Join("policies", "x") || list[1].Code != assay.CodeInvalid || flat(nil) != nil {
		t.Errorf("%v", list)
	}
}
