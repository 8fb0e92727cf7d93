package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

const loadScale = `apiVersion: assay.dev/v1alpha1
kind: Strategy
metadata: {name: shop-scale}
spec:
  service: shop
  level: propose
  signals: [{name: load, query: 'max(max_over_time(shop_load[15m]))'}]
  scale:
    perReplica: 40
    lead: 2m
    max: 60
    forecast: {step: 15m, past: 21d}
`

// history is OpenMetrics text of three weeks until now: a load with a day in it, and an
// hour of the shop's requests that ends an hour ago.
func history(now time.Time) string {
	var b strings.Builder
	b.WriteString("# TYPE shop_load gauge\n")
	draw, level := rand.New(rand.NewPCG(7, 7)), 0.0
	const day, known = 96, 21 * 96 // in steps of the forecast; the same numbers at any time of the day
	for i := range known {
		level = 0.9*level + 12*draw.NormFloat64()
		at := now.Truncate(15 * time.Minute).Add(time.Duration(i-known) * 15 * time.Minute)
		for _, before := range []time.Duration{10 * time.Minute, 5 * time.Minute, 0} {
			fmt.Fprintf(&b, "shop_load %.3f %d\n", 400+200*math.Sin(2*math.Pi*float64(i)/day)+level, at.Add(-before).Unix())
		}
	}
	b.WriteString("# TYPE requests counter\n")
	for _, code := range []string{"200", "500"} {
		for i := range 61 {
			n := 99 * i
			if code == "500" {
				n = i
			}
			fmt.Fprintf(&b, "requests_total{code=%q} %d %d\n", code, n, now.Add(time.Duration(i-120)*time.Minute).Unix())
		}
	}
	b.WriteString("# EOF\n")
	return b.String()
}

func TestAForecastRestsOnImportedHistoryAndEarlierDecisionsAreMadeAgain(t *testing.T) {
	t.Parallel()
	if forecastsFromHistory(t) {
		return
	}
	if !forecastsFromHistory(t) {
		t.Error("a step of the forecast ended twice within a test")
	}
}

// forecastsFromHistory is false if a step of the forecast ended meanwhile. The server's clock is
// the real one: that moves the forecast's beginning away from the history, and with it the past
// that its bands are judged by.
func forecastsFromHistory(t *testing.T) bool {
	t.Helper()
	step := func() time.Time { return time.Now().Truncate(15 * time.Minute) }
	began := step()
	w := newWorld(t)
	w.write("policies/slo.yaml", strings.Replace(shopSLO, "duration: 1h", "duration: 1d", 1))
	w.write("policies/scale.yaml", loadScale)
	text := history(time.Now())
	w.write("history.om", text)
	w.write("cut.om", text[:len(text)/2])
	w.write("hour.om", text[strings.Index(text, "# TYPE requests"):])
	agent, viewer, operator := w.token("host-1", "agent"), w.token("alice", "viewer"), w.token("olga", "operator")
	d := w.serve()
	env := []string{"ASSAY_SERVER=" + d.url, operator}
	before := w.decided(env, "load has no data")
	for _, token := range []string{agent, viewer} {
		if _, stderr := w.must(exitError, []string{"ASSAY_SERVER=" + d.url, token}, "telemetry", "import", "history.om"); !strings.Contains(stderr, "this needs operator") {
			t.Errorf("%q", stderr)
		}
	}
	if _, stderr := w.must(exitError, env, "telemetry", "import", "cut.om"); !strings.Contains(stderr, "cut.om:") || !strings.Contains(stderr, "the file was cut off") {
		t.Errorf("%q", stderr)
	}
	var dry, done, again api.Import
	lossy := loses(t, d.url, "/pieces/1")
	out, _ := w.must(0, []string{"ASSAY_SERVER=" + lossy.URL, operator}, "telemetry", "import", "hour.om", "--dry-run", "-o", "json")
	field(t, out, &dry)
	out, _ = w.must(0, env, "telemetry", "import", "history.om", "-o", "json")
	field(t, out, &done)
	if dry.Fact != "" || !dry.DryRun || dry.Samples != 122 {
		t.Errorf("a dry run said %+v", dry)
	}
	if done.Series != 3 || done.Samples < 6000 || done.Fact == "" || done.Refused["recent"] == 0 || done.Source != "file history.om" ||
		strings.Join(done.Services, " ") != "shop" || string(done.Input) != string(assay.DigestOf(sha256.Sum256([]byte(text)))) {
		t.Errorf("%+v", done)
	}
	// What stands already is no news and no fact.
	out, _ = w.must(0, env, "telemetry", "import", "history.om", "-o", "json")
	field(t, out, &again)
	if again.Samples > 3 || again.Duplicates != done.Samples { // a minute may have passed
		t.Errorf("the second time: %+v", again)
	}
	out, _ = w.must(0, env, "ledger", "facts", "--kind", assay.FactTelemetryImported, "-o", "json")
	if !strings.Contains(out, string(done.Fact)) || !strings.Contains(out, `"olga"`) || !strings.Contains(out, string(done.Digest)) {
		t.Errorf("the fact is not there: %s", out)
	}
	// The budget counts the hour, and the strategy acts upon its forecast.
	if o := w.objective(env, 6000); o.Good != 5940 {
		t.Errorf("%+v", o)
	}
	d.gauge(agent, 410)
	w.decided(env, "nobody says where replicas stands")
	out, _ = w.must(0, env, "strategy", "explain", "shop-scale")
	if !step().Equal(began) {
		d.stop()
		return false
	}
	if !strings.Contains(out, "it is acted upon") {
		t.Errorf("the forecast does not qualify:\n%s", out)
	}
	if out, _ := w.must(0, env, "decisions", "replay", before, "--check"); !strings.Contains(out, "identical") {
		t.Errorf("a decision of before is another: %s", out)
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
	// The same into a directory that nobody uses.
	out, _ = w.must(0, []string{"ASSAY_DIR=state"}, "telemetry", "import", "history.om", "-o", "json")
	field(t, out, &again)
	if again.Samples > 6 || again.Duplicates < done.Samples {
		t.Errorf("into the stopped directory: %+v", again)
	}
	return true
}

// loses is a proxy that loses the first answer of a path with an end.
func loses(t *testing.T, target, end string) *httptest.Server {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	lost := false
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ModifyResponse: func(r *http.Response) error {
			if was := lost; strings.HasSuffix(r.Request.URL.Path, end) && !was {
				lost = true
				return errors.New("the answer is lost")
			}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(func() {
		if srv.Close(); !lost {
			t.Error("no answer was lost")
		}
	})
	return srv
}

// decided waits for a decision of a strategy that says so, and returns its id.
func (w *world) decided(env []string, words string) string {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		out, _ := w.must(0, env, "decisions", "tail", "-o", "json")
		var list []struct {
			ID       string         `json:"id"`
			Decision assay.Decision `json:"decision"`
		}
		field(w.t, out, &list)
		for _, d := range list {
			if strings.Contains(d.Decision.Words, words) {
				return d.ID
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("no decision says %q: %s", words, out)
		}
	}
}

// gauge posts the shop's load as it is now.
func (d *daemon) gauge(token string, v float64) {
	d.t.Helper()
	body := fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"shop_load","gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":%v}]}}]}]}]}`, time.Now().UnixNano(), v)
	if status, answer := d.otlp(token, body); status != http.StatusOK {
		d.t.Fatal(status, answer)
	}
}

func TestHistoryOfAServerIsImportedWithATokenThatIsNeverSaid(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-backend"
	last := time.Now().Add(-time.Hour).Truncate(time.Minute)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		var values [][2]any
		for i := range 10 {
			values = append(values, [2]any{last.Add(time.Duration(i-10) * time.Minute).Unix(), fmt.Sprint(10 * i)})
		}
		result := []any{map[string]any{"metric": map[string]string{"__name__": "requests_total", "code": "200"}, "values": values}}
		_ = json.NewEncoder(rw).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
	}))
	defer srv.Close()
	w := observed(t)
	w.write("token", secret+"\n")
	env := []string{"ASSAY_DIR=state", "ASSAY_BACKEND_TOKEN=" + secret}
	args := []string{"telemetry", "import", "--prometheus", srv.URL, "--match", "requests_total", "--start", "2h"}
	var done api.Import
	out, stderr := w.must(0, env, append(args, "-o", "json")...)
	field(t, out, &done)
	if done.Samples != 10 || done.Series != 1 || !strings.Contains(done.Source, srv.URL+" requests_total from ") {
		t.Errorf("%+v", done)
	}
	facts, _ := w.must(0, env[:1], "ledger", "facts", "--kind", assay.FactTelemetryImported, "-o", "json")
	_, refused := w.must(exitError, env[:1], args...)
	w.must(0, env[:1], append(args, "--backend-token-file", "token")...)
	if !strings.Contains(refused, "401") {
		t.Errorf("%q", refused)
	}
	for _, said := range []string{out, stderr, facts, refused} {
		if strings.Contains(said, secret) {
			t.Errorf("the token is said: %s", said)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "name a FILE"},
		{[]string{"history.om", "--prometheus", srv.URL}, "name a FILE"},
		{[]string{"history.om", "--step", "1m"}, "go with --prometheus"},
		{[]string{"--prometheus", srv.URL, "--match", "x"}, "needs --match"},
		{[]string{"--prometheus", srv.URL, "--match", "x", "--start", "soon"}, `"soon" is neither`},
	} {
		if _, stderr := w.must(exitUsage, env, append([]string{"telemetry", "import"}, tt.args...)...); !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: %q", tt.args, stderr)
		}
	}
}
