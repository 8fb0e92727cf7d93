package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"assay.dev/assay/signal/otlp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// Requests of a service between two batches: 50 a second, a tenth of them to the new
// version. The service that turns bad has enough to be judged by one batch.
const (
	oldRequests = 225
	newRequests = 25
	badRequests = 100 // of the new version, four of five of them failing
)

// sendAgain is how long a sender waits when the intake has its hands full.
const sendAgain = time.Second

var (
	fleetVersions = [2]string{"v1", "v2"}
	// seconds are the bounds of the proxy's histogram, and spread is how many of a
	// hundred requests end within each.
	seconds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	spread  = []uint64{0, 2, 8, 20, 30, 20, 12, 5, 2, 1, 0, 0, 0, 0}
)

// counters are what a proxy has counted of one version since it started.
type counters struct{ requests, failed uint64 }

// sender is one exporter: the proxies' batches, in the proxies' form, of its services.
type sender struct {
	name     string
	services []string
	counted  map[string]*[2]counters
	began    time.Time
	sequence uint64
}

func newSender(name string, services []string) *sender {
	s := &sender{name: name, services: services, counted: map[string]*[2]counters{}, began: time.Now()}
	for _, x := range services {
		s.counted[x] = &[2]counters{}
	}
	return s
}

// send counts another interval and posts the batch; bad, if it is not "", is the service
// whose new version fails from now on.
func (s *sender) send(ctx context.Context, to, bad string) error {
	for name, c := range s.counted {
		c[0].requests, c[0].failed = c[0].requests+oldRequests, c[0].failed+2
		if name == bad {
			c[1].requests, c[1].failed = c[1].requests+badRequests, c[1].failed+badRequests*4/5
			continue
		}
		c[1].requests += newRequests
		c[1].failed += s.sequence % 2 // one of fifty
	}
	s.sequence++
	body, err := pmetricotlp.NewExportRequestFromMetrics(s.metrics(time.Now())).MarshalProto()
	if err != nil {
		return err
	}
	for {
		again, err := s.post(ctx, to, body)
		if err != nil || !again {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sendAgain):
		}
	}
}

// post sends a batch; again says that the intake wants it a little later.
func (s *sender) post(ctx context.Context, to string, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to+otlp.Path, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set(otlp.EpochHeader, fmt.Sprint(s.began.UnixNano()))
	req.Header.Set(otlp.SequenceHeader, fmt.Sprint(s.sequence))
	req.Header.Set(senderHeader, s.name)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil || res.StatusCode == http.StatusTooManyRequests {
		return true, err
	}
	got := pmetricotlp.NewExportResponse()
	if res.StatusCode != http.StatusOK || len(answer) > 0 && got.UnmarshalProto(answer) == nil && got.PartialSuccess().RejectedDataPoints() > 0 {
		return false, fmt.Errorf("the intake answered %s: %q", res.Status, answer)
	}
	return false, nil
}

// metrics has every family that the proxy exports of a version.
func (s *sender) metrics(now time.Time) pmetric.Metrics {
	out := pmetric.NewMetrics()
	rm := out.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "assay-proxy")
	rm.Resource().Attributes().PutStr("service.instance.id", s.name)
	list := rm.ScopeMetrics().AppendEmpty().Metrics()
	start, at := pcommon.NewTimestampFromTime(s.began), pcommon.NewTimestampFromTime(now)
	sum := func(name string) pmetric.NumberDataPointSlice {
		m := list.AppendEmpty()
		m.SetName(name)
		x := m.SetEmptySum()
		x.SetIsMonotonic(true)
		x.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		return x.DataPoints()
	}
	gauge := func(name string) pmetric.NumberDataPointSlice {
		m := list.AppendEmpty()
		m.SetName(name)
		return m.SetEmptyGauge().DataPoints()
	}
	requests, failures := sum("assay_enforce_requests_total"), sum("assay_enforce_errors_total")
	inFlight, share, admitted := gauge("assay_enforce_requests_in_flight"), gauge("assay_enforce_share_ratio"), gauge("assay_enforce_version_admitted")
	m := list.AppendEmpty()
	m.SetName("assay_enforce_request_duration_seconds")
	m.SetUnit("s")
	durations := m.SetEmptyHistogram()
	durations.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for _, service := range s.services {
		for i, version := range fleetVersions {
			c := s.counted[service][i]
			label := func(m pcommon.Map) pcommon.Map {
				m.PutStr("service", service)
				m.PutStr("route", service)
				m.PutStr("version", version)
				return m
			}
			point := func(into pmetric.NumberDataPointSlice, n uint64) pcommon.Map {
				p := into.AppendEmpty()
				p.SetStartTimestamp(start)
				p.SetTimestamp(at)
				p.SetIntValue(int64(n))
				return label(p.Attributes())
			}
			for _, r := range []struct {
				name string
				n    uint64
			}{{"2xx", c.requests - c.failed}, {"3xx", 0}, {"4xx", 0}, {"5xx", c.failed}, {"canceled", 0}} {
				point(requests, r.n).PutStr("result", r.name)
			}
			point(failures, c.failed)
			point(inFlight, 1)
			point(share, uint64(1-i))
			point(admitted, 1)
			h := durations.DataPoints().AppendEmpty()
			h.SetStartTimestamp(start)
			h.SetTimestamp(at)
			h.ExplicitBounds().FromRaw(seconds)
			h.SetCount(c.requests)
			h.SetSum(0.02 * float64(c.requests))
			h.BucketCounts().FromRaw(divide(c.requests))
			label(h.Attributes())
		}
	}
	return out
}

// divide spreads requests over the buckets; what is left goes to the middle. No bucket
// ever shrinks when n grows.
func divide(n uint64) []uint64 {
	out := make([]uint64, len(spread))
	left := n
	for i, of := range spread {
		out[i] = n * of / 100
		left -= out[i]
	}
	out[4] += left
	return out
}
