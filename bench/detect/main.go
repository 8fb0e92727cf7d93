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
	"regexp"
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
	name     string
	from, to float64
}

// changes are regressions of 2 to 10 times, whose delay has a target, and one that is
// smaller: the sizes of the mixture were not chosen for these alone.
var changes = []change{
	{"1 to 4 %", 0.01, 0.04},
	{"0.1 to 1 %", 0.001, 0.01},
	{"1 to 2 %", 0.01, 0.02},
	{"0.1 to 0.2 %", 0.001, 0.002},
	{"0.1 to 0.5 %", 0.001, 0.005},
	{"1 to 5 %", 0.01, 0.05},
	{"1 to 3 %", 0.01, 0.03},
	{"1 to 1.5 %", 0.01, 0.015},
}

// part is one group of measures.
type part struct {
	name string
	run  func(s *simulation, log io.Writer) ([]result.Row, error)
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("detect", flag.ContinueOnError)
	fs.SetOutput(stderr)
	runs := fs.Int("runs", 10_000, "simulated rollouts per case of errors alone, at least 100; twice as many healthy ones")
	quick := fs.Bool("quick", false, "a twentieth of the rollouts: figures to look at, not to publish")
	seed := fs.Uint64("seed", 20261121, "seed of all cases")
	out := fs.String("out", "out", "folder for detect.json")
	shared := fs.String("shared", filepath.Join("..", "..", "shared"), "folder that holds data/, for recorded intensities; ASSAY_SHARED overrides it")
	only := fs.String("only", "", "regular expression of the parts to measure; all if empty")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *quick {
		*runs /= 20
	}
	if *runs < 100 {
		return fmt.Errorf("-runs %d is not at least 100", *runs)
	}
	if at := os.Getenv("ASSAY_SHARED"); at != "" {
		*shared = at
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	fmt.Fprintf(stderr, "seed %d, %d rollouts per case, %d workers\n", *seed, *runs, runtime.GOMAXPROCS(0))
	sim, err := newSimulation(*runs, *seed)
	if err != nil {
		return err
	}
	var rows []result.Row
	for _, p := range []part{
		{"overshoot", (*simulation).overshoots},
		{"delays", (*simulation).delays},
		{"healthy", (*simulation).healthy},
		{"bursty", func(s *simulation, log io.Writer) ([]result.Row, error) { return s.bursty(*shared, log) }},
		{"eta", (*simulation).arrivals},
		{"outage", (*simulation).outages},
		{"late", (*simulation).late},
		{"fixed", (*simulation).fixed},
		{"cost", (*simulation).cost},
	} {
		if !wanted.MatchString(p.name) {
			continue
		}
		began := time.Now()
		more, err := p.run(sim, stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
		fmt.Fprintf(stderr, "%s took %s\n", p.name, time.Since(began).Round(time.Second))
	}
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

// delays measures how soon each change is stopped.
func (s *simulation) delays(log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for i, c := range changes {
		floor := infer.TwoSampleFloor(c.from, c.to, share, alpha)
		for _, all := range []bool{false, true} {
			runs, what := s.runs/2, "errors alone"
			if all {
				runs, what = max(100, s.runs/5), "errors and 5 latency bounds"
			}
			delays, err := s.detect(c, all, runs, uint64(2*i)+b2u(all))
			if err != nil {
				return nil, err
			}
			row := delayRow(fmt.Sprintf("%s, %s", c.name, what), delays, floor)
			if c.to >= 2*c.from {
				row = row.WantRatio("<=", 1.25)
			}
			rows = append(rows, row)
			fmt.Fprintf(log, "%s: mean %.0f canary requests (%.3f floors), median %.0f, 95 %% within %.0f, floor %.0f\n",
				row.Name, row.Ours, row.Ours/floor, result.Median(delays), result.Percentile(delays, 0.95), floor)
		}
	}
	return rows, nil
}

// healthy measures how often good versions are stopped.
func (s *simulation) healthy(log io.Writer) ([]result.Row, error) {
	var rows []result.Row
	for i, c := range []struct {
		rate    float64
		horizon int
	}{{0.01, 4000}, {0.001, 10_000}} {
		more, err := s.falseAborts(c.rate, c.horizon, uint64(100+i), log)
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
