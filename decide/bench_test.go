package decide_test

import (
	"fmt"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// fullPlan watches errors and five latency bounds, as the examples do.
func fullPlan() decide.Plan {
	p := plan()
	p.Indicators = append(p.Indicators, decide.Indicator{Name: "latency", Weight: 1, Required: true, Bounds: []float64{0.05, 0.1, 0.25, 0.5, 1}})
	return p
}

// fullSecond is a second of both: 150 requests of the new version, 1,350 of the old.
func fullSecond(n int) []assay.Reading {
	out := second(n, [2]uint64{uint64(n) % 3, 150}, [2]uint64{13 + uint64(n)%3, 1350})
	for _, r := range out[:2] {
		r.Indicator, r.Good = "latency", r.Total
		for i, share := range []float64{0.5, 0.9, 0.95, 0.99, 0.995} {
			r.Buckets = append(r.Buckets, assay.Bucket{LE: []float64{0.05, 0.1, 0.25, 0.5, 1}[i], Count: uint64(share * float64(r.Total))})
		}
		out = append(out, r)
	}
	return out
}

// A decision with one second of readings, and one without any.
func BenchmarkNext(b *testing.B) {
	for _, quiet := range []bool{false, true} {
		b.Run(fmt.Sprintf("readings=%t", !quiet), func(b *testing.B) {
			p := fullPlan()
			s := begin(b, p)
			for n := range 100 {
				_, s = next(b, p, s, fullSecond(n), allow, start.Add(time.Duration(n+1)*time.Second))
			}
			readings := fullSecond(100)
			if quiet {
				readings = nil
			}
			b.ReportAllocs()
			for b.Loop() {
				next(b, p, s, readings, allow, start.Add(101*time.Second))
			}
		})
	}
}

// A decision of a plan that watches a count and a gauge beside them, each with margins of
// its own.
func BenchmarkNextOfMeasures(b *testing.B) {
	p := fullPlan()
	p.Indicators = append(p.Indicators,
		decide.Indicator{Name: "queries", Weight: 1, Required: true, Kind: decide.KindCount, Accept: 1.1, Margin: 1.5},
		decide.Indicator{Name: "queue", Weight: 1, Kind: decide.KindGauge, Max: 1, Every: time.Second})
	readings := func(n int) []assay.Reading {
		out := fullSecond(n)
		for _, r := range out[:2] {
			r.Indicator, r.Good, r.Count = "queries", r.Total, 3*r.Total+uint64(n)%3
			out = append(out, r)
			r.Indicator, r.Count, r.Sum, r.Least, r.Greatest = "queue", 0, 0.3*float64(r.Total), 0.3, 0.3
			out = append(out, r)
		}
		return out
	}
	s := begin(b, p)
	for n := range 100 {
		_, s = next(b, p, s, readings(n), allow, start.Add(time.Duration(n+1)*time.Second))
	}
	last := readings(100)
	b.ReportAllocs()
	for b.Loop() {
		next(b, p, s, last, allow, start.Add(101*time.Second))
	}
}
