// Command detect measures how soon Assay stops a bad release, against the floor that
// no test can beat, and how often it stops a good one.
//
// It simulates rollouts request by request at 10 % canary traffic and decides with the
// comparisons that the product ships, the same for every case. It prints a table,
// keeps the rows in out/detect.json, and exits with 1 if a target does not hold. The
// same seed gives the same figures. Run it with `make bench-detect`.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/infer"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		os.Exit(1)
	}
}

// share is the canary's part of the traffic in every case.
const share = 0.1

// change is one regression: the old version's error rate and the new one's.
type change struct {
	name    string
	from    float64
	to      float64
	horizon int // canary requests after which a run of the healthy case ends
}

// changes are the cases with targets, then others that are only stated, with fewer
// runs: the sizes of the mixture were not chosen for the first two alone.
var changes = []change{
	{"1 to 4 %", 0.01, 0.04, 4000},
	{"0.1 to 1 %", 0.001, 0.01, 8000},
	{"1 to 2 %", 0.01, 0.02, 0},
	{"0.1 to 0.5 %", 0.001, 0.005, 0},
	{"1 to 1.5 %", 0.01, 0.015, 0},
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("detect", flag.ContinueOnError)
	fs.SetOutput(stderr)
	runs := fs.Int("runs", 10_000, "simulated rollouts per case that has a target, at least 100; twice as many healthy ones")
	seed := fs.Uint64("seed", 20261121, "seed of all cases")
	out := fs.String("out", "out", "folder for detect.json")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *runs < 100 {
		return fmt.Errorf("-runs %d is not at least 100", *runs)
	}
	began := time.Now()
	fmt.Fprintf(stderr, "seed %d, %d rollouts per case, %d workers, a look every %d requests\n", *seed, *runs, runtime.GOMAXPROCS(0), lookRequests)
	sim, err := newSimulation(*runs, *seed)
	if err != nil {
		return err
	}
	rows, err := sim.measure(stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "took %s\n", time.Since(began).Round(time.Second))
	if err := result.Write(filepath.Join(*out, "detect.json"), rows); err != nil {
		return err
	}
	if err := result.Table(stdout, rows); err != nil {
		return err
	}
	if missed := result.Missed(rows); len(missed) > 0 {
		return fmt.Errorf("%d of %d measures miss their target, the first is %q", len(missed), len(rows), missed[0].Name)
	}
	return nil
}

// measure runs every case and makes the rows.
func (s *simulation) measure(log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for i, c := range changes {
		floor := infer.TwoSampleFloor(c.from, c.to, share, alpha)
		for _, all := range []bool{false, true} {
			runs := s.runs
			if c.horizon == 0 {
				runs = max(100, runs/10)
			}
			delays, err := s.detect(c, all, runs, uint64(2*i)+b2u(all))
			if err != nil {
				return nil, err
			}
			what, limit := "errors alone", 1.4
			if all {
				what, limit = "errors and 5 latency bounds", 1.6
			}
			row := delayRow(fmt.Sprintf("%s, %s", c.name, what), delays, floor)
			if c.horizon > 0 {
				row = row.WantRatio("<=", limit)
			}
			rows = append(rows, row)
			fmt.Fprintf(log, "%s: mean %.0f canary requests, median %.0f, 95 %% within %.0f, floor %.0f\n",
				row.Name, row.Ours, result.Median(delays), result.Percentile(delays, 0.95), floor)
		}
	}
	for i, c := range changes {
		if c.horizon == 0 {
			continue
		}
		more, err := s.falseAborts(c, uint64(100+i), log)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// delayRow compares a mean delay with its floor. Noise is the width of the mean's
// 95 % interval.
func delayRow(name string, delays []float64, floor float64) result.Row {
	mean, sd := meanSD(delays)
	row := result.New("canary requests to abort, "+name, "requests", []float64{mean}).
		Against("two-sample floor", []float64{mean}, []float64{floor})
	row.Rounds = len(delays)
	row.Noise = 2 * 1.96 * sd / math.Sqrt(float64(len(delays))) / mean
	return row
}

func meanSD(x []float64) (mean, sd float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		sd += (v - mean) * (v - mean) / float64(len(x)-1)
	}
	return mean, math.Sqrt(sd)
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
