package main

import (
	"time"

	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/simulate"
)

// class is a kind of fault with the strategy that is for it. Its scenario stands beside
// this file and is run as it is with assay simulate; a cell is one intensity of it.
type class struct {
	name   string // of its file
	unit   string // of the intensities, in words
	levels []float64
	dial   func(*simulate.Spec, float64)
	// still says that nothing should move as long as nothing is wrong; what follows the
	// load moves all the time.
	still bool
	// times is how many times as many seeds its cells have: more than one where a few
	// seeds make most of the loss.
	times int
}

// classes are the grid. The levels are from what is hardly seen to what nobody misses.
func classes() []class {
	fault := func(set func(*simtest.Fault, float64)) func(*simulate.Spec, float64) {
		return func(s *simulate.Spec, x float64) { set(&s.World.Faults[0], x) }
	}
	factor := fault(func(f *simtest.Fault, x float64) { f.Factor = x })
	share := fault(func(f *simtest.Fault, x float64) { f.Share = x })
	rate := fault(func(f *simtest.Fault, x float64) { f.Rate = x })
	event := func(s *simulate.Spec, x float64) { s.World.Services[0].Traffic.Events[0].Factor = x }
	burst := func(s *simulate.Spec, x float64) { s.World.Services[0].Traffic.Bursts.Factor = x }
	day := func(s *simulate.Spec, x float64) { s.World.Services[0].Traffic.Day = x }
	return []class{
		{"overload", "times the usual load", []float64{2.5, 4, 6}, event, true, 1},
		{"dependency-slow", "times slower", []float64{15, 20, 30}, factor, true, 1},
		{"region-down", "share that fails", []float64{0.15, 0.4, 1}, share, true, 1},
		{"noisy-tenant", "times its usual load", []float64{4, 8, 16}, factor, true, 10},
		{"attack", "hostile requests/s", []float64{10, 20, 40}, rate, true, 1},
		{"bursts", "times the load", []float64{1.5, 2, 3}, burst, false, 1},
		{"demand", "swing of the day", []float64{0.3, 0.6, 0.8}, day, false, 1},
		{"runaway-jobs", "times their usual load", []float64{10, 30, 100}, factor, true, 1},
		{"bad-release", "share that fails", []float64{0.01, 0.05, 0.2}, share, true, 1},
		{"late-telemetry", "share that fails", []float64{0.15, 0.4, 1}, share, true, 1},
	}
}

// calm takes everything out of a scenario that calls for a move.
func calm(s *simulate.Spec) {
	s.World.Faults, s.Oracle = nil, nil
	for i := range s.World.Services {
		s.World.Services[i].Traffic.Events = nil
	}
}

// blindness are the ways in which telemetry alone can be wrong, from a quarter of an hour
// after the beginning on.
func blindness() []simtest.Fault {
	const quarter = simtest.Duration(15 * time.Minute)
	return []simtest.Fault{
		{Kind: simtest.TelemetryLag, By: simtest.Duration(2 * time.Minute), At: quarter, For: quarter},
		{Kind: simtest.TelemetryLag, By: simtest.Duration(10 * time.Minute), At: quarter, For: quarter},
		{Kind: simtest.TelemetryLoss, Share: 0.5, At: quarter, For: quarter},
		{Kind: simtest.TelemetryLoss, Share: 1, At: quarter, For: quarter},
		{Kind: simtest.ClockSkew, By: simtest.Duration(time.Minute), At: quarter, For: quarter},
	}
}
