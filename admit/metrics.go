package admit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	decisions  *prometheus.CounterVec
	seconds    prometheus.Histogram
	requests   *prometheus.CounterVec
	waiting    prometheus.Gauge
	unrecorded prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_admission_decisions_total",
			Help: "Decisions by door, what was done (allowed, denied, skipped) and what the attestations said.",
		}, []string{"policy", "action", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "assay_admission_decision_seconds",
			Help:    "Time from a decoded review to its recorded decision, waiting for unknown digests included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_admission_requests_total",
			Help: "Reviews by how the webhook took them: ok, invalid, too_large, not_found, busy, or internal.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "assay_admission_waiting_reviews",
			Help: "Reviews that wait for a digest that nobody has heard of.",
		}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assay_admission_unrecorded_total",
			Help: "Decisions that could not be recorded.",
		}),
	}
	for _, result := range []string{"ok", "invalid", "too_large", "not_found", "busy", "internal"} {
		m.requests.WithLabelValues(result) // a rate needs a first value
	}
	if reg != nil {
		reg.MustRegister(m.decisions, m.seconds, m.requests, m.waiting, m.unrecorded)
	}
	return m
}

func (m *metrics) decided(d Decision, took time.Duration) {
	action := "denied"
	switch {
	case d.Skipped != "":
		action = "skipped"
	case d.Allowed:
		action = "allowed"
	}
	m.decisions.WithLabelValues(d.Namespace+"/"+d.Door, action, string(d.Outcome)).Inc()
	m.seconds.Observe(took.Seconds())
}
