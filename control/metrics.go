package control

import (
	"sync"

	"assay.dev/assay"
	"assay.dev/assay/report"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what gates answered and what happened to exceptions. A nil one counts nothing.
type Metrics struct {
	verdicts *prometheus.CounterVec
	steps    *prometheus.CounterVec
	checks   *prometheus.CounterVec
	flaky    *prometheus.CounterVec

	mu           sync.Mutex
	environments map[string]bool // that have a label of their own
}

// otherEnvironments is the label of those beyond report.MaxEnvironments.
const otherEnvironments = "others"

// NewMetrics registers the metrics of gates and exceptions.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		environments: map[string]bool{},
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_gate_checks_total", Help: "Requirements of recorded verdicts by what became of them.",
		}, []string{"environment", "result"}),
		flaky: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_gate_flaky_tests_total", Help: "Test cases that failed and passed in reports that were attested for the first time.",
		}, []string{"environment"}),
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
	reg.MustRegister(m.verdicts, m.steps, m.checks, m.flaky)
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

// checked counts the checks of a verdict that was recorded.
func (m *Metrics) checked(v assay.Verdict) {
	if m == nil {
		return
	}
	r, environment := report.Checks(v.Requirements, v.Outcome), m.environment(v.Environment)
	for result, n := range map[string]int{"passed": r.Passed, "violated": r.Violated, "absent": r.Absent} {
		m.checks.WithLabelValues(environment, result).Add(float64(n))
	}
}

func (m *Metrics) flakyTests(environment string, n int) {
	if m != nil {
		m.flaky.WithLabelValues(m.environment(environment)).Add(float64(n))
	}
}

// environment is the label of an environment: callers name them, so there is an end.
func (m *Metrics) environment(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.environments[name] {
		if len(m.environments) >= report.MaxEnvironments {
			return otherEnvironments
		}
		m.environments[name] = true
	}
	return name
}

func (m *Metrics) used(n int) { m.step("used", n) }

func (m *Metrics) step(step string, n int) {
	if m != nil {
		m.steps.WithLabelValues(step).Add(float64(n))
	}
}
