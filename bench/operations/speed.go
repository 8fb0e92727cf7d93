package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/simulate"
)

const (
	// speedLeast is how many service-hours of virtual time a CI minute must bring, and
	// speedCores the processors that it is stated for.
	speedLeast = 5_000
	speedCores = 2
	speedRuns  = 5
	speedSeeds = 8 // worlds of one run
)

// worlds are what the speed is measured on: ticks of ten seconds, a strategy that decides
// at each of them.
var worlds = []struct{ name, about string }{
	{"event-burst", "one service, one region"},
	{"regional-spike", "one service, three regions"},
}

// speed measures how fast virtual time passes. The processor's time is counted and not the
// clock's, so that other programs take nothing from it; worlds are independent, and two
// processors run twice as many.
func speed(ctx context.Context, fsys fs.FS, log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for _, w := range worlds {
		p, err := simulate.Load(fsys, "examples/scenarios/"+w.name+".scenario.yaml")
		if err != nil {
			return nil, err
		}
		var list []float64
		for range speedRuns {
			each, err := perMinute(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			list = append(list, speedCores*each)
		}
		row := result.New("virtual service-hours (services × hours) in a minute of two processors, "+w.about, "hours", list).Want(">=", speedLeast)
		fmt.Fprintf(log, "%s: %.0f service-hours a minute, tick %s\n", w.name, row.Ours, p.Scenario().Spec.World.Tick.D())
		rows = append(rows, row)
	}
	return rows, nil
}

// perMinute is how many service-hours a minute of one processor brings, over about a second.
func perMinute(ctx context.Context, p *simulate.Prepared) (float64, error) {
	began, err := processor()
	if err != nil {
		return 0, err
	}
	hours, spent := 0.0, time.Duration(0)
	for spent < time.Second {
		h, err := p.Alone(ctx, speedSeeds)
		if err != nil {
			return 0, err
		}
		now, err := processor()
		if err != nil {
			return 0, err
		}
		hours, spent = hours+h, now-began
	}
	return hours / spent.Minutes(), nil
}

// processor is the time that this process has computed.
func processor() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}
