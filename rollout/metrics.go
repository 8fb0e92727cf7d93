package rollout

import (
	"assay.dev/assay"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	evaluated *prometheus.CounterVec
	acted     *prometheus.CounterVec
	took      prometheus.Histogram
	arrival   prometheus.Histogram
	withdrawn *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, k *known) metrics {
	m := metrics{
		evaluated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_rollout_evaluations_total", Help: "Evaluations of rollouts, by the action chosen; error if there was none.",
		}, []string{"action"}),
		acted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_rollout_actions_total", Help: "Attempts to act, by action and result.",
		}, []string{"action", "result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "assay_rollout_evaluation_seconds", Help: "Time of one evaluation, from reading signals to its being stored.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		arrival: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "assay_rollout_arrival_to_action_seconds", Help: "Time from the arrival of the data that decided to the action's being read back.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 12),
		}),
		withdrawn: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_rollout_withdrawals_total", Help: "Times the enforcer was asked to know which exceptions were revoked, by result.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "unavailable"} {
		m.withdrawn.WithLabelValues(result)
	}
	// Every value is there from the start, so that a rate over the first one is seen.
	changes := []assay.ActionKind{assay.ActionAdvance, assay.ActionFinish, assay.ActionAbort}
	for _, a := range append([]assay.ActionKind{assay.ActionHold, assay.ActionAsk, "error"}, changes...) {
		m.evaluated.WithLabelValues(string(a))
	}
	for _, a := range changes {
		for _, result := range []string{"ok", "refused", "unavailable"} {
			m.acted.WithLabelValues(string(a), result)
		}
	}
	if reg != nil {
		reg.MustRegister(m.evaluated, m.acted, m.took, m.arrival, m.withdrawn, newApart(k))
	}
	return m
}
