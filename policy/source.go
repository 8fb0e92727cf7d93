package policy

import "assay.dev/assay/internal/strict"

// RolloutSource is where an indicator's counts come from, each PromQL as in RolloutIndicator.
type RolloutSource struct {
	Bad     string `json:"bad,omitempty"`
	Good    string `json:"good,omitempty"`
	Total   string `json:"total,omitempty"`
	Buckets string `json:"buckets,omitempty"`
	Count   string `json:"count,omitempty"`
	Sum     string `json:"sum,omitempty"`
	Gauge   string `json:"gauge,omitempty"`
}

// Expression is PromQL at a key of an indicator.
type Expression struct{ Key, Text string }

// Source is where the indicator is read from as long as that tells anything.
func (i RolloutIndicator) Source() RolloutSource {
	return RolloutSource{Bad: i.Bad, Good: i.Good, Total: i.Total, Buckets: i.Buckets, Count: i.Count, Sum: i.Sum, Gauge: i.Gauge}
}

// Expressions are those that can be given, empty where they are not.
func (s RolloutSource) Expressions() []Expression {
	return []Expression{{"bad", s.Bad}, {"good", s.Good}, {"total", s.Total}, {"buckets", s.Buckets}, {"count", s.Count}, {"sum", s.Sum}, {"gauge", s.Gauge}}
}

// checkFallback refuses a second source that counts something else than the first.
func (i RolloutIndicator) checkFallback(d strict.Document, in func(...string) []string) error {
	second := i.Fallback.Expressions()
	for n, first := range i.Source().Expressions() {
		switch {
		case first.Text != "" && second[n].Text == "":
			return d.Errorf(in("fallback", first.Key), "is missing: the indicator has one, and its second source counts the same")
		case first.Text == "" && second[n].Text != "":
			return d.Errorf(in("fallback", first.Key), "is nothing that the indicator has; a second source counts the same")
		}
	}
	return nil
}
