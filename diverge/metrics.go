package diverge

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	verdicts *prometheus.CounterVec
}

// newMetrics registers the verdicts and what is known of each region now.
func newMetrics(reg prometheus.Registerer, w *Watcher) metrics {
	m := metrics{verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "assay_divergence_verdicts_total", Help: "Verdicts about regions: what began, ended, fell silent or came back.",
	}, []string{"verdict"})}
	for _, v := range []Verdict{Begins, Ends, Silent, Back} {
		m.verdicts.WithLabelValues(string(v))
	}
	if reg != nil {
		reg.MustRegister(m.verdicts, standing{w, prometheus.NewDesc("assay_divergence_regions", "Regions that are compared, by where they stand.", []string{"service", "slo", "state"}, nil)})
	}
	return m
}

func (m metrics) judged(v Verdict) { m.verdicts.WithLabelValues(string(v)).Inc() }

// standing counts the regions of each comparison by state when it is asked.
type standing struct {
	w    *Watcher
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s standing) Describe(to chan<- *prometheus.Desc) { to <- s.desc }

// Collect implements prometheus.Collector.
func (s standing) Collect(to chan<- prometheus.Metric) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, c := range s.w.list {
		counts := map[State]int{}
		for _, j := range c.now {
			counts[j.State]++
		}
		for _, state := range []State{Alike, Diverges, Unsure, Unheard} {
			to <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(counts[state]), c.service, c.slo, string(state))
		}
	}
}
