package anomaly

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	found     *prometheus.CounterVec
	forecasts *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_anomaly_found_total", Help: "Alarms, by whether a known change explains them.",
		}, []string{"result"}),
		forecasts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assay_anomaly_forecasts_total", Help: "Forecasts of load, by whether decisions may rest on them.",
		}, []string{"result"}),
	}
	for _, result := range []string{"open", "suppressed"} {
		m.found.WithLabelValues(result)
	}
	for _, result := range []string{"trusted", "reactive"} {
		m.forecasts.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.found, m.forecasts)
	}
	return m
}

func (m metrics) alarm(f Found) {
	result := "open"
	if f.Suppressed != "" {
		result = "suppressed"
	}
	m.found.WithLabelValues(result).Inc()
}

func (m metrics) forecast(f Forecast) {
	result := "reactive"
	if f.Trusted {
		result = "trusted"
	}
	m.forecasts.WithLabelValues(result).Inc()
}
