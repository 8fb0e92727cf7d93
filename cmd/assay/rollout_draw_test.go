package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/term"
)

// The block in the terminal tells what the page of a rollout tells: evidence, ratio, both
// versions' errors and latencies, the mix, the share that was counted, and how long yet.
func TestWatchDrawsWhatThePageOfARolloutShows(t *testing.T) {
	a := &app{out: term.New(&bytes.Buffer{}, func(string) string { return "" })}
	r := api.Rollout{
		Service: "shop", Status: api.RolloutRunning, Reason: "Hold at 25 %.", Weight: 25, Observed: new(0.23),
		Plan:   decide.Plan{Canary: "v3", Control: "v1", Margin: 2, Steps: []int{10, 25, 50, 100}},
		Canary: assay.Rate{Bad: 37, Total: 5228}, Control: assay.Rate{Bad: 423, Total: 46301},
		Latencies: []api.Latency{{Indicator: "latency", Bounds: []float64{0.01, 0.025, 0.1}, Canary: []uint64{10, 90, 99}, Control: []uint64{50, 96, 100}, CanaryTotal: 100, ControlTotal: 100}},
		Decision: &assay.Decision{
			Harm: math.Log(10), AbortAt: math.Log(2000), Safe: math.Log(13), ShipAt: math.Log(20), Remaining: 523.4, RemLow: 113, RemHigh: 2444,
			Tests: []assay.TestValue{{Name: "errors", Canary: assay.Rate{Bad: 37, Total: 5228}, Control: assay.Rate{Bad: 423, Total: 46301}, RatioLow: 0.3, RatioHigh: 1.6},
				{Name: "queries", Measure: assay.MeasureCount, Canary: assay.Rate{Bad: 60, Total: 10}, Control: assay.Rate{Bad: 300, Total: 100}, CanaryMean: 6, ControlMean: 3, Ratio: 2, RatioLow: 1.4, RatioHigh: 2.8, Margin: 1.5}},
			Mix: &assay.TrafficMix{Words: "alike: 2 % of the requests would have to move"},
		},
	}
	began := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for i := range uint64(30) {
		r.Path = append(r.Path, api.PathPoint{Time: began.Add(time.Duration(i) * time.Second), Weight: 10, Canary: assay.Rate{Bad: i, Total: 100 * i}, Control: assay.Rate{Bad: 8 * i, Total: 900 * i}})
	}
	lines := a.rolloutBlock(r)
	block := strings.Join(lines, "\n")
	for _, want := range []string{
		"running  v3  25 %", "harm    ██████", "10 of 2000", "safety ████", "13 of 20", "ratio  [", "●", "┊", "0.77× the old errors (0.3…1.6 at every look); ┊ 2× is too bad",
		"queries[", "v3 6 per request    v1 3 per request (ratio 1.4…2.8 at every look)", "errors  v3 ▁", "0.71 %", "v1 ▁", "0.91 %", "latency v3 ", "half ≤ 0.025, 95 % ≤ 0.1", "half ≤ 0.01, 95 % ≤ 0.025", "traffic alike: 2 %",
		"to go   about 524 canary requests until it is shown safe, 113 to 2444 in 8 of 10 cases", "steps   10 % ✓ · 25 % ● · 50 % · 100 %", "v3 served 23.0 % of the requests", "Hold at 25 %.",
	} {
		if !strings.Contains(block, want) {
			t.Errorf("the block does not say %q", want)
		}
	}
	if len(lines) > blockRows {
		t.Errorf("%d lines", len(lines))
	}
	if t.Failed() {
		t.Log("\n" + block)
	}
	r.Decision = nil
	if lines := a.rolloutBlock(r); len(lines) != 1 {
		t.Errorf("before the first decision: %q", lines)
	}
}

func TestWhatIsLeftOfARolloutIsSaidInWords(t *testing.T) {
	for want, d := range map[string]assay.Decision{
		"at these rates it will not be shown safe":              {Remaining: -1},
		"nothing: it is shown safe":                             {},
		"about 12 canary requests until it is shown safe":       {Remaining: 11.2},
		"about 12 canary requests until it is shown safe, 3 to": {Remaining: 11.2, RemLow: 3, RemHigh: 90},
	} {
		if got := remainingWords(d); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %q, want %q", d.Remaining, got, want)
		}
	}
}
