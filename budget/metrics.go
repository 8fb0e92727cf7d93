package budget

import "github.com/prometheus/client_golang/prometheus"

var (
	secondLabels  = []string{"service", "objective"}
	secondState   = prometheus.NewDesc("assay_budget_second_state", "1 while the newest minutes of an objective rest on its second source.", secondLabels, nil)
	secondMinutes = prometheus.NewDesc("assay_budget_second_minutes", "Minutes of an objective's window that rest on its second source; slices, if it is judged by those.", secondLabels, nil)
)

// Describe implements prometheus.Collector.
func (b *Books) Describe(ch chan<- *prometheus.Desc) { ch <- secondState; ch <- secondMinutes }

// Collect implements prometheus.Collector: objectives that have a second source say how much
// rests on it.
func (b *Books) Collect(ch chan<- prometheus.Metric) {
	now := b.cfg.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.accounts {
		if a.second == nil {
			continue
		}
		s, state := a.snapshot(now, b.cfg.Complete), 0.0
		if s.Instead != "" {
			state = 1
		}
		labels := []string{a.objective.Service, a.id}
		ch <- prometheus.MustNewConstMetric(secondState, prometheus.GaugeValue, state, labels...)
		ch <- prometheus.MustNewConstMetric(secondMinutes, prometheus.GaugeValue, float64(s.Budget.Second), labels...)
	}
}
