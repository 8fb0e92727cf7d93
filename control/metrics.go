package control

import (
	"assay.dev/assay"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what gates answered and what happened to exceptions. A nil one counts nothing.
type Metrics struct {
	verdicts *prometheus.CounterVec
	steps    *prometheus.CounterVec
}

// NewMetrics registers the metrics of gates and exceptions.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_gate_verdicts_total", Help: "Gate runs by outcome, and whether the caller had to stop; error if there was no verdict.",
		}, []string{"outcome", "blocks"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_exception_steps_total", Help: "Steps in the life of exceptions.",
		}, []string{"step"}),
	}
	// Every value is there from the start, so that a rate over the first one is seen.
	for _, o := range []assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent} {
		m.verdicts.WithLabelValues(string(o), "no")
	}
	for _, o := range []string{string(assay.OutcomeFail), string(assay.OutcomeAbsent), "error"} {
		m.verdicts.WithLabelValues(o, "yes")
	}
	for _, step := range []string{"requested", "approved", "bypassed", "used", "expiring", "expired", "revoked"} {
		m.steps.WithLabelValues(step)
	}
	reg.MustRegister(m.verdicts, m.steps)
	return m
}

// verdict counts one gate run. Without a verdict the caller must stop too.
func (m *Metrics) verdict(v assay.Verdict, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.verdicts.WithLabelValues("error", "yes").Inc()
	case v.Blocks():
		m.verdicts.WithLabelValues(string(v.Outcome), "yes").Inc()
	default:
		m.verdicts.WithLabelValues(string(v.Outcome), "no").Inc()
	}
}

func (m *Metrics) used(n int) { m.step("used", n) }

func (m *Metrics) step(step string, n int) {
	if m != nil {
		m.steps.WithLabelValues(step).Add(float64(n))
	}
}
