// Command decisions is the scoreboard: our controller, ports of the known ones, with
// their documented and with tuned configurations, and an oracle decide the same
// simulated rollouts, cell by cell of a published grid.
//
// Every number is a mean over seeded rollouts that are played tick by tick with drawn
// counts: our side is decide.Next as the product runs it, the others are package peer.
// It prints the measures with their targets, keeps them in out/decisions.json, writes
// the page docs/scoreboard.md with --write (only one section of it with --price), and
// exits with 1 if a target does not hold.
// The same seed gives the same figures. Run it with `make bench-decisions`.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"assay.dev/assay/bench/result"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "decisions:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) (err error) {
	fs := flag.NewFlagSet("decisions", flag.ContinueOnError)
	fs.SetOutput(stderr)
	seed := fs.Uint64("seed", 20261122, "seed of all rollouts")
	quick := fs.Bool("quick", false, "a small grid with few rollouts, to see that it works; no target is meant for it")
	page := fs.String("write", "", "write the page to this file, for example ../docs/scoreboard.md")
	out := fs.String("out", "out", "folder for decisions.json")
	shared := fs.String("shared", filepath.Join("..", "..", "shared"), "folder that holds data/, for recorded intensities; ASSAY_SHARED overrides it")
	cells := fs.String("cells", "", "play only the grid's cells whose class and setting match this expression, for example 'half|x10, phi 5', and print each contender's losses; no target is meant for it")
	who := fs.String("who", "", "with --cells: only the contenders whose name matches this expression")
	price := fs.Bool("price", false, "with --write: play only what the section on the price of a lower loss is made of, and renew it in the page; the rest of the page stays as it is")
	profile := fs.String("cpuprofile", "", "write a CPU profile of this process to this file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	s := fullSizes()
	if *quick {
		s = quickSizes()
	}
	t, err := readTraces(*shared)
	if err != nil {
		return err
	}
	if t.nasa == nil {
		fmt.Fprintln(stderr, "no recorded intensities: their cells are left out (set ASSAY_SHARED)")
	}
	if *cells != "" {
		return sample(s, *seed, t, *cells, *who, stdout)
	}
	if *price {
		if *page == "" {
			return fmt.Errorf("--price renews a section of a page: name it with --write, for example --write ../docs/scoreboard.md")
		}
		return renewPrice(s, *seed, t, *page)
	}
	r, err := measure(s, *seed, t, stderr)
	if err != nil {
		return err
	}
	rows := r.rows()
	if err := result.Table(stdout, rows); err != nil {
		return err
	}
	if *page != "" {
		text, err := r.page(rows)
		if err != nil {
			return err
		}
		if err := os.WriteFile(*page, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if *quick {
		return nil // too few rollouts to judge anything
	}
	if err := result.Write(filepath.Join(*out, "decisions.json"), rows); err != nil {
		return err
	}
	if missed := result.Missed(rows); len(missed) > 0 {
		return fmt.Errorf("%d of %d measures miss their target, the first is %q", len(missed), len(rows), missed[0].Name)
	}
	return nil
}

// measure plays everything. Each part has its own range of cells in the streams.
func measure(s sizes, seed uint64, t traces, log io.Writer) (report, error) {
	began := time.Now()
	say := func(what string) { fmt.Fprintf(log, "%5.0fs  %s\n", time.Since(began).Seconds(), what) }
	b := board{seed: seed, contenders: contenders(), traces: t}
	r := report{seed: seed, sizes: s, contenders: b.contenders, traces: t.nasa != nil}
	none := [2]time.Duration{}
	say(fmt.Sprintf("seed %d, %d workers", seed, runtime.GOMAXPROCS(0)))
	grid := s.grid()
	healthy := twins(grid)
	var off []cell
	for _, c := range scenes(t) {
		off = append(off, c.healthy(), c)
	}
	var err error
	if b.known, err = b.learn(slices.Concat(healthy, off, outageCells(), etaCells()), s.pasts); err != nil {
		return r, err
	}
	say("calibrated on the old version's past")
	if r.healthy, err = b.measure(healthy, func(cell) int { return s.healthy }, none, 0); err != nil {
		return r, err
	}
	say(fmt.Sprintf("%d healthy cells", len(healthy)))
	if r.grid, err = b.measure(grid, func(cell) int { return s.bad }, none, 1000); err != nil {
		return r, err
	}
	say(fmt.Sprintf("%d cells with a regression", len(grid)))
	if r.scenes, err = b.measure(off, func(cell) int { return s.extra }, none, 2000); err != nil {
		return r, err
	}
	say(fmt.Sprintf("%d cells off the grid", len(off)))
	if r.outage, err = b.outages(s.outage, 3000); err != nil {
		return r, err
	}
	say("telemetry outage")
	for i, c := range etaCells() {
		e, err := b.forecast(c, s.eta, 4000+i)
		if err != nil {
			return r, err
		}
		r.eta = append(r.eta, e)
	}
	say("announced requests")
	if r.latency, err = latencies(seed, 5*s.extra, s.bad); err != nil {
		return r, err
	}
	say("latency")
	return r, nil
}

// twins are the healthy settings of cells, each once.
func twins(cells []cell) (out []cell) {
	seen := map[cell]bool{}
	for _, c := range cells {
		if h := c.healthy(); !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}

func outageCells() []cell {
	return []cell{{steady, 10, 0.01, 1, 1, 0.1}, {steady, 10, 0.01, 2, 1, 0.1}}
}

// outages counts what ended while telemetry was out, half of the rollouts healthy.
func (b board) outages(runs, offset int) ([]outageRow, error) {
	out := make([]outageRow, len(b.contenders))
	// Traffic that needs longer than the half minute before the outage.
	cells := outageCells()
	err := parallel(len(out), func(k int) error {
		for run := range runs {
			w := newWorld(cells[run%2], b.traces, stream(b.seed, offset, k, run))
			w.known = b.known[cells[0]].of(run / 2)
			o, err := play(w, b.contenders[k], outageAt)
			if err != nil {
				return err
			}
			out[k].runs++
			if o.at <= outageAt[0] || o.at > outageAt[1] {
				continue
			}
			switch o.end {
			case aborted:
				out[k].aborted++
			case promoted:
				out[k].promoted++
			}
		}
		return nil
	})
	return out, err
}
