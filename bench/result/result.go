// Package result is what every benchmark of Assay reports: rows that compare a
// measure with a peer, with the raw limit of the machine and with a target.
//
// A benchmark repeats its measures in rounds, hands the samples to New, and
// prints the rows with Table and keeps them with Write. A row's value is the
// median of its samples, and its noise is how far they lie apart, so that a
// reader sees what a difference between two runs is worth.
package result

import (
	"fmt"
	"slices"
)

// Row is one measure. Its JSON form has every field, with null for what does not
// exist.
type Row struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"` // of Ours, Peer and Limit
	Ours float64 `json:"ours"` // median over the rounds
	// Peer is the same measure of something comparable, in the same run.
	Peer     *float64 `json:"peer"`
	PeerName *string  `json:"peer_name"`
	// Ratio is Ours/Peer: the median of the ratios of the rounds where both were
	// measured in the same rounds.
	Ratio *float64 `json:"ratio"`
	// Limit is what the machine gives without any of our work, in the same run.
	Limit  *float64 `json:"limit"`
	Target string   `json:"target"` // what must hold, "none" if the measure is only stated
	Holds  bool     `json:"holds"`  // the target holds; true without one
	Rounds int      `json:"rounds"` // samples behind Ours
	// Noise is how far the samples of Ours lie apart: (largest - smallest) / median.
	Noise float64 `json:"noise"`
}

// New makes a row of the samples of its rounds, at least one.
func New(name, unit string, samples []float64) Row {
	return Row{Name: name, Unit: unit, Ours: Median(samples), Target: "none", Holds: true, Rounds: len(samples), Noise: Spread(samples)}
}

// Against compares with a peer. Samples of the same number were taken in the same
// rounds, and the ratio is the median of the ratios of the rounds: what disturbs a
// round disturbs both sides of it.
func (r Row) Against(name string, ours, peer []float64) Row {
	p := Median(peer)
	ratio := r.Ours / p
	if len(ours) == len(peer) {
		ratio = Median(Ratios(ours, peer))
	}
	r.Peer, r.PeerName, r.Ratio = &p, &name, &ratio
	return r
}

// Within states the raw limit of the machine.
func (r Row) Within(limit float64) Row {
	r.Limit = &limit
	return r
}

// Want states the target "OP VALUE" for the measure itself; op is >=, >, <= or <.
func (r Row) Want(op string, value float64) Row {
	r.Target = op + " " + number(value)
	r.Holds = compare(r.Ours, op, value)
	return r
}

// WantRatio states the target for the ratio to the peer. Without a peer it does not hold.
func (r Row) WantRatio(op string, value float64) Row {
	r.Target = "ratio " + op + " " + number(value)
	r.Holds = r.Ratio != nil && compare(*r.Ratio, op, value)
	return r
}

func compare(a float64, op string, b float64) bool {
	switch op {
	case ">=":
		return a >= b
	case ">":
		return a > b
	case "<=":
		return a <= b
	case "<":
		return a < b
	}
	return false // an unknown comparison holds for nothing
}

// Median is the middle sample, the mean of the two middle ones of an even number,
// 0 of none.
func Median(samples []float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Percentile is the smallest sample that at least p of the samples, from 0 to 1,
// do not exceed; 0 of none.
func Percentile(samples []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	if len(s) == 0 {
		return 0
	}
	i := int(p*float64(len(s))+0.999999999) - 1
	return s[min(max(i, 0), len(s)-1)]
}

// Spread is (largest - smallest) / median, 0 of fewer than two samples.
func Spread(samples []float64) float64 {
	m := Median(samples)
	if len(samples) < 2 || m == 0 {
		return 0
	}
	return (slices.Max(samples) - slices.Min(samples)) / m
}

// Ratios divides sample by sample; both slices have the same length.
func Ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// Missed returns the rows whose target does not hold.
func Missed(rows []Row) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Holds })
}

// number writes v with the digits that say something.
func number(v float64) string {
	switch a := max(v, -v); {
	case a >= 1000 || a == float64(int64(a)):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
