package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// What telemetry says of the 99th percentile is what the distribution has, to the width
// of a bucket, and the tail moves it where the mean hardly moves.
func TestP99ComesFromTheHistogram(t *testing.T) {
	for _, c := range []struct {
		cell     latencyCell
		low, top float64 // of the bucket that holds it
	}{
		{latencyCell{Times: 1}, 0.3, 0.4},
		{latencyCell{Times: 1.5}, 0.4, 0.5},
		{latencyCell{Times: 1, Slow: 0.05}, 0.4, 0.75},
	} {
		s := drawSpread(rand.New(rand.NewPCG(5, 0)), 1e6, c.cell.shares())
		if v := s.p99(); v < c.low || v > c.top {
			t.Errorf("%s: P99 is %v, want %v to %v", c.cell, v, c.low, c.top)
		}
		sum := 0.0
		for _, p := range c.cell.shares() {
			sum += p
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: shares add up to %v", c.cell, sum)
		}
	}
	if v := (make(spread, len(histogram)+1)).p99(); !math.IsNaN(v) {
		t.Errorf("no requests have the P99 %v", v)
	}
}

// Every contender tells a release that takes half as long again from a healthy one where
// its rule can: ours does at once, and thresholds that know the service do.
func TestLatencyRegressionsAreStopped(t *testing.T) {
	for k, by := range latencyContenders() {
		stopped := map[bool]int{}
		const runs = 12
		for _, c := range []latencyCell{{100, 1, 0}, {100, 1.5, 0}} {
			for run := range runs {
				e, _, _, err := playLatency(stream(3, 0, k, run), c, by)
				if err != nil {
					t.Fatal(err)
				}
				if e == aborted {
					stopped[c.healthy()]++
				}
			}
		}
		if stopped[true] > 1 {
			t.Errorf("%s: %d of %d healthy releases were aborted", by.Name, stopped[true], runs)
		}
		if (by.Name == "Assay" || strings.HasSuffix(by.Name, " tuned")) && stopped[false] < runs {
			t.Errorf("%s: %d of %d slow releases were aborted", by.Name, stopped[false], runs)
		}
	}
}

func TestLatencyTableNamesEverySetting(t *testing.T) {
	rows, err := latencies(4, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	latencyTable(&b, rows)
	for _, c := range latencyCells() {
		if !strings.Contains(b.String(), c.String()) {
			t.Errorf("the table does not have %q", c)
		}
	}
	if got := latencyRows(rows); len(got) != 2 || got[0].Target == "none" {
		t.Errorf("measures %+v", got)
	}
}
