package gameday

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/faas"
)

// gauge is one number that somebody in the yard reports.
type gauge struct {
	name, label, value string // one label beside the service, "" for none
	service            string
	number             float64
	at                 time.Time // that it is of; now if zero

	// What makes it something else than a gauge.
	since  time.Time       // a counter, from then on; with spread a histogram
	spread *faas.Histogram // of seconds
}

// The OTLP document, as anybody writes one.
type (
	otlpAttribute struct {
		Key   string            `json:"key"`
		Value map[string]string `json:"value"`
	}
	otlpPoint struct {
		Start      string          `json:"startTimeUnixNano,omitempty"`
		Time       string          `json:"timeUnixNano"`
		Number     *float64        `json:"asDouble,omitempty"`
		Count      string          `json:"count,omitempty"`
		Sum        *float64        `json:"sum,omitempty"`
		Buckets    []string        `json:"bucketCounts,omitempty"`
		Bounds     []float64       `json:"explicitBounds,omitempty"`
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpData struct {
		Points      []otlpPoint `json:"dataPoints"`
		Temporality int         `json:"aggregationTemporality,omitempty"`
		Monotonic   bool        `json:"isMonotonic,omitempty"`
	}
	otlpMetric struct {
		Name      string    `json:"name"`
		Unit      string    `json:"unit,omitempty"`
		Gauge     *otlpData `json:"gauge,omitempty"`
		Sum       *otlpData `json:"sum,omitempty"`
		Histogram *otlpData `json:"histogram,omitempty"`
	}
)

// metric is a number as OTLP has it.
func (g gauge) metric(now time.Time) otlpMetric {
	nanos := func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
	with := func(key, text string) otlpAttribute {
		return otlpAttribute{key, map[string]string{"stringValue": text}}
	}
	if !g.at.IsZero() {
		now = g.at
	}
	p := otlpPoint{Time: nanos(now), Attributes: []otlpAttribute{with("service", g.service)}}
	if g.label != "" {
		p.Attributes = append(p.Attributes, with(g.label, g.value))
	}
	const cumulative = 2
	switch {
	case g.spread != nil:
		p.Start, p.Count, p.Sum, p.Bounds = nanos(g.since), strconv.FormatUint(g.spread.Count(), 10), &g.spread.Sum, g.spread.Bounds
		for _, n := range g.spread.Counts {
			p.Buckets = append(p.Buckets, strconv.FormatUint(n, 10))
		}
		return otlpMetric{Name: g.name, Unit: "s", Histogram: &otlpData{Points: []otlpPoint{p}, Temporality: cumulative}}
	case !g.since.IsZero():
		p.Start, p.Number = nanos(g.since), &g.number
		return otlpMetric{Name: g.name, Sum: &otlpData{Points: []otlpPoint{p}, Temporality: cumulative, Monotonic: true}}
	}
	p.Number = &g.number
	return otlpMetric{Name: g.name, Gauge: &otlpData{Points: []otlpPoint{p}}}
}

// send sends numbers to the control plane, as any service does over OTLP.
func (d *drama) send(list ...gauge) error {
	now := time.Now()
	var metrics []otlpMetric
	for _, g := range list {
		metrics = append(metrics, g.metric(now))
	}
	type scope struct {
		Metrics []otlpMetric `json:"metrics"`
	}
	type resource struct {
		Scopes []scope `json:"scopeMetrics"`
	}
	body, err := json.Marshal(struct {
		Resources []resource `json:"resourceMetrics"`
	}{[]resource{{[]scope{{metrics}}}}})
	if err != nil {
		return err
	}
	status, answer, err := d.request(http.MethodPost, d.url+"/v1/metrics", "", d.secrets.agent, body)
	if err == nil && (status != http.StatusOK || bytes.Contains(answer, []byte("rejectedDataPoints"))) {
		err = assay.Errorf(assay.CodeUnavailable, "the control plane does not take numbers: %d %s", status, bytes.TrimSpace(answer))
	}
	return err
}

// reporting sends what f says four times a second, until stop is called.
func (d *drama) reporting(f func() []gauge) (stop func() error) {
	ctx, cancel := context.WithCancel(d.ctx)
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := d.send(f()...); err != nil && ctx.Err() == nil {
				done <- err
				return
			}
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() error {
		cancel()
		return <-done
	}
}
