package main

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/infer"
)

// Of the second detector NAB says little: it is for what goes on, not for the first
// row of a window. Its false alarms are counted on series that never change their ways.
const (
	falseSeries = 200
	falseLength = 2 * 10_080 // two weeks of minutes
)

// calm are series that never change their ways, from the kind that the bound is exact
// for to kinds that it is not.
var calm = []struct {
	name string
	next func(r *rand.Rand, i int, was float64) float64
}{
	{"independent", func(r *rand.Rand, _ int, _ float64) float64 { return r.NormFloat64() }},
	{"heavy tails", func(r *rand.Rand, _ int, _ float64) float64 {
		return r.NormFloat64() / max(0.05, math.Sqrt(r.Float64()))
	}},
	{"autocorrelated 0.7", func(r *rand.Rand, _ int, was float64) float64 { return 0.7*was + r.NormFloat64() }},
	{"day and night", func(r *rand.Rand, i int, _ float64) float64 {
		return 20*math.Sin(2*math.Pi*float64(i)/1440) + (1.5+math.Sin(2*math.Pi*float64(i)/1440))*r.NormFloat64()
	}},
}

// falseAlarms counts alarms of the second detector per week of minutes, and how long it
// takes to see a level that moved by three standard deviations and stays.
func falseAlarms(_ context.Context, b *run.Bench) error {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for k, c := range calm {
		alarms, took := 0, 0.0
		seen := 0
		for s := range falseSeries {
			r := rand.New(rand.NewPCG(uint64(k), uint64(s)))
			x := infer.NewExpectation(infer.DefaultConformal(), nil)
			was := 0.0
			for i := range falseLength {
				was = c.next(r, i, was)
				if x.Observe(start.Add(time.Duration(i)*time.Minute), 100+was).Alarm {
					alarms++
				}
			}
			// The next hour is noisier by three: every second error is a large one.
			for i := range 60 {
				was = c.next(r, falseLength+i, was)
				v := 100 + was
				if i%2 == 0 {
					v += 8
				}
				if x.Observe(start.Add(time.Duration(falseLength+i)*time.Minute), v).Alarm {
					took += float64(i + 1)
					seen++
					break
				}
			}
		}
		weeks := float64(falseSeries) * falseLength / 10_080
		row := result.New("false alarms of the forecast, "+c.name, "per week of minutes", []float64{float64(alarms) / weeks})
		if k < 1 {
			row = row.Want("<=", infer.DefaultConformal().Alpha)
		}
		b.Rows = append(b.Rows, row)
		b.Say("%s: %d alarms in %.0f weeks; a burst of errors was seen in %d of %d series, after %.1f minutes on the average", c.name, alarms, weeks, seen, falseSeries, took/float64(max(seen, 1)))
	}
	return nil
}
