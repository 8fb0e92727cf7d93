package ledger

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the sequencer's measures. Both latencies start when the store
// recorded the fact.
type Metrics struct {
	placed, published prometheus.Histogram
	leaves, halts     prometheus.Counter
	displaced         prometheus.Counter
	treeSize, covered prometheus.Gauge
	stopped, lagging  prometheus.Gauge
}

// NewMetrics makes the ledger's metrics and registers them with reg, which may be
// nil for none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	buckets := prometheus.ExponentialBuckets(0.001, 2, 16) // 1 ms to 33 s
	hist := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		placed:    hist("assay_ledger_placed_seconds", "Time from a fact's commit in the store to its place in the tree."),
		published: hist("assay_ledger_published_seconds", "Time from a fact's commit in the store to a signed checkpoint that covers it."),
		leaves:    count("assay_ledger_leaves_total", "Leaves placed in the tree by this process."),
		halts:     count("assay_ledger_halts_total", "Times the sequencer stopped and reopened the tree."),
		displaced: count("assay_ledger_displaced_leaves_total", "Leaves whose index differs from the assigned one."),
		treeSize:  gauge("assay_ledger_tree_leaves", "Leaves in the tree."),
		covered:   gauge("assay_ledger_checkpoint_leaves", "Leaves that the newest signed checkpoint covers."),
		lagging:   gauge("assay_ledger_lagging_state", "1 if recorded facts have waited for publication longer than they should."),
		stopped:   gauge("assay_ledger_stopped_state", "1 if store and tree contradict each other and nothing is signed."),
	}
	if reg != nil {
		reg.MustRegister(m.placed, m.published, m.leaves, m.halts, m.displaced, m.treeSize, m.covered, m.stopped, m.lagging)
	}
	return m
}

// observe records the latency of facts recorded at the given times.
func observe(h prometheus.Histogram, recorded []time.Time, now time.Time) {
	for _, t := range recorded {
		if !t.IsZero() {
			h.Observe(max(0, now.Sub(t).Seconds()))
		}
	}
}
