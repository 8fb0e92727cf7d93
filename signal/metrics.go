package signal

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the intake. Labels: source is the road, result one word of a
// fixed list, so that no sender can make series of ours.
type metrics struct {
	samples  *prometheus.CounterVec
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		samples:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_signal_samples_total", Help: "Samples that came in, by road and what became of them."}, []string{"source", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_signal_requests_total", Help: "Requests or scrapes, by road and outcome."}, []string{"source", "result"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_signal_body_bytes_total", Help: "Bytes of bodies as sent, by road."}, []string{"source"}),
	}
	if reg != nil {
		reg.MustRegister(m.samples, m.requests, m.bytes)
	}
	return m
}

func (m *metrics) count(road Road, res Result) {
	m.samples.WithLabelValues(string(road), "accepted").Add(float64(max(0, res.Accepted-res.Duplicates)))
	m.samples.WithLabelValues(string(road), "duplicate").Add(float64(res.Duplicates))
	for why, n := range res.Refused {
		m.samples.WithLabelValues(string(road), string(why)).Add(float64(n))
	}
}

// Request counts one request or scrape of a road by its outcome, one of ok,
// partial, invalid, too_large, slow, unsupported, denied, busy, unavailable.
func (in *Intake) Request(road Road, outcome string, bytes int) {
	in.metrics.requests.WithLabelValues(string(road), outcome).Inc()
	in.metrics.bytes.WithLabelValues(string(road)).Add(float64(bytes))
}
