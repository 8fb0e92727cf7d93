package rollout

import "github.com/prometheus/client_golang/prometheus"

// apart collects how far the versions of the rollouts under way are from each other, and
// their scores, by what was decided last: read when it is asked, so that no decision pays for it.
type apart struct {
	known             *known
	divergence, score *prometheus.Desc
}

func newApart(k *known) apart {
	return apart{
		known: k,
		divergence: prometheus.NewDesc("assay_rollout_divergence",
			"How far the new version is from the old one by each test of a rollout under way: the value, and the ends of its interval.",
			[]string{"namespace", "service", "rollout", "test", "unit", "end"}, nil),
		score: prometheus.NewDesc("assay_rollout_score",
			"Score of a rollout under way: 0 is harm shown, 100 safety shown, 50 nothing known.",
			[]string{"namespace", "service", "rollout"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (a apart) Describe(to chan<- *prometheus.Desc) {
	to <- a.divergence
	to <- a.score
}

// Collect implements prometheus.Collector.
func (a apart) Collect(to chan<- prometheus.Metric) {
	for _, r := range a.known.underWay() {
		gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, append([]string{r.namespace, r.service, r.id}, labels...)...)
		}
		if r.last.Score != nil {
			gauge(a.score, float64(*r.last.Score))
		}
		for i := range r.last.Tests {
			t := &r.last.Tests[i]
			if t.Divergence == nil {
				continue
			}
			gauge(a.divergence, t.Divergence.Value, t.Name, t.Divergence.Unit, "value")
			gauge(a.divergence, t.Divergence.Low, t.Name, t.Divergence.Unit, "low")
			if t.RatioHigh > 0 { // else it is open
				gauge(a.divergence, t.Divergence.High, t.Name, t.Divergence.Unit, "high")
			}
		}
	}
}
