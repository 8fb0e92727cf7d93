package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/diverge"
)

// regional posts a counter of the shop's requests by region and code: a point a minute, in
// the minutes from one to another after start.
func (d *daemon) regional(token string, start time.Time, from, to int, rate func(region string, minute int) float64) {
	d.t.Helper()
	const load = 600
	var points []string
	for _, region := range []string{"eu", "us", "ap"} {
		good, bad := 0, 0
		for n := range to + 1 {
			b := int(load * rate(region, n))
			good, bad = good+load-b, bad+b
			if n < from {
				continue
			}
			for code, count := range map[string]int{"200": good, "500": bad} {
				points = append(points, fmt.Sprintf(`{"startTimeUnixNano":"%d","timeUnixNano":"%d","asInt":"%d","attributes":[{"key":"code","value":{"stringValue":%q}},{"key":"region","value":{"stringValue":%q}}]}`,
					start.Add(-time.Hour).UnixNano(), start.Add(time.Duration(n)*time.Minute).UnixNano(), count, code, region))
			}
		}
	}
	body := `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeMetrics":[{"metrics":[{"name":"requests","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[` + strings.Join(points, ",") + `]}}]}]}]}`
	if status, answer := d.otlp(token, body); status != http.StatusOK || strings.Contains(answer, "rejected") {
		d.t.Fatal(status, answer)
	}
}

// A server that saw telemetry for 25 minutes is stopped, and its next run, half an
// hour later, sees one of three regions fail.
func TestARegionThatFailsIsFoundInRealTelemetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("policies/slo.yaml", strings.Replace(shopSLO, "{name: shop-availability}\nspec:\n  service", "{name: shop-availability, annotations: {assay.dev/regions: region}}\nspec:\n  service", 1))
	agent, viewer := w.token("host-1", "agent"), w.token("alice", "viewer")
	start := time.Now().Truncate(time.Minute).Add(-25 * time.Minute)
	rate := func(region string, n int) float64 {
		if region == "eu" && n > 31 {
			return 0.3
		}
		return 0.01
	}
	out, _ := w.must(0, nil, "divergence", "list", "--dir", "state")
	if !strings.Contains(out, "nothing was said of any region") {
		t.Error(out)
	}
	d := w.serve()
	d.regional(agent, start, 0, 24, rate) // half an hour back is taken at most
	if code := d.stop(); code != 0 {
		for len(d.lines) > 0 {
			t.Log(<-d.lines)
		}
		t.Fatalf("exit code %d", code)
	}
	d = w.serveLater("ASSAY_TEST_CLOCK=30m")
	d.regional(agent, start, 29, 54, rate) // three minutes younger than may be, however slow this machine is
	env := []string{"ASSAY_SERVER=" + d.url, viewer}
	var said []api.Divergence
	for end := time.Now().Add(60 * time.Second); len(said) == 0; {
		out, _ = w.must(0, env, "divergence", "list", "--service", "shop", "--check", "-o", "json")
		field(t, out, &said)
		if time.Now().After(end) {
			t.Fatalf("nothing was said: %s", out)
		}
	}
	first := said[len(said)-1]
	if first.Input.Region != "eu" || first.Judgement.Verdict != diverge.Begins || !first.Identical || first.Input.Regions != 3 {
		t.Errorf("%+v", first)
	}
	out, _ = w.must(0, env, "divergence", "list", "--check")
	if !strings.Contains(out, "eu of shop is worse than the rest: the bad share of shop-availability is ") {
		t.Error(out)
	}
	out, _ = w.must(0, env, "divergence", "show", "shop")
	for _, want := range []string{"shop-availability  by region, at most 2 percentage points worse than the rest", "eu      diverges", "us      ", "POINTS WORSE"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, page := get(t, d.url+"/metrics"); !strings.Contains(page, `assay_divergence_regions{service="shop",slo="shop-availability",state="diverges"} 1`) {
		t.Error("the metric does not say that a region diverges")
	}
	if _, stderr := w.must(exitError, env, "divergence", "show", "mail"); !strings.Contains(stderr, `the regions of service "mail" are not compared`) {
		t.Error(stderr)
	}
	if code := d.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	// The state directory alone knows what was said.
	out, _ = w.must(0, nil, "divergence", "list", "--check", "--dir", "state")
	if !strings.Contains(out, "begins") {
		t.Error(out)
	}
	if _, stderr := w.must(exitUsage, nil, "divergence", "list", "--limit", "0", "--dir", "state"); !strings.Contains(stderr, "limit 0 is not from 1 to") {
		t.Error(stderr)
	}
	if _, stderr := w.must(exitError, nil, "divergence", "show", "shop", "--dir", "state"); !strings.Contains(stderr, "only a running control plane compares regions") {
		t.Error(stderr)
	}
}
