package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/simulate"
)

// names of the controllers that every scenario has, and of ours with a smaller probe,
// which shows what the probe costs and is nobody's peer.
const (
	nothing    = "nothing"
	oracle     = "oracle"
	smallProbe = "assay-probe-1"
)

// cell is one intensity of a fault, played with everybody.
type cell struct {
	class  class
	level  float64
	about  string
	target float64       // the promised share of good requests
	window time.Duration // that the budget is for
	length time.Duration
	rows   []simulate.Row // ours first
}

// trigger counts runs in which nothing called for a move.
type trigger struct {
	class       string
	calm, blind [2]int // runs in which something moved, and all
}

// grid is everything that is measured.
type grid struct {
	seed     uint64
	seeds    int
	cells    []cell
	triggers []trigger
	hours    float64
}

// play runs the whole grid.
func play(ctx context.Context, fsys fs.FS, list []class, seeds int, seed uint64, log io.Writer) (grid, error) {
	began := time.Now()
	g := grid{seed: seed, seeds: seeds}
	for _, c := range list {
		for _, level := range c.levels {
			p, err := simulate.Load(fsys, c.file())
			if err != nil {
				return g, err
			}
			spec := &p.Scenario().Spec
			c.dial(spec, level)
			r, err := p.Run(ctx, simulate.Options{Seeds: seeds * c.times, First: seed})
			if err != nil {
				return g, fmt.Errorf("%s at %v: %w", c.name, level, err)
			}
			g.hours += r.Hours
			g.cells = append(g.cells, cell{c, level, r.About, spec.Objective.Target, spec.Objective.Window.D(), spec.Duration.D(), r.Rows})
			fmt.Fprintf(log, "%5.0fs  %s at %v\n", time.Since(began).Seconds(), c.name, level)
		}
		if !c.still {
			continue
		}
		t, err := c.triggers(ctx, fsys, seeds, seed)
		if err != nil {
			return g, err
		}
		g.triggers = append(g.triggers, t)
	}
	return g, nil
}

// calmFor is how long nothing happens at most.
const calmFor = simtest.Duration(2 * time.Hour)

func (c class) file() string { return "bench/operations/" + c.name + ".scenario.yaml" }

// triggers plays a class without its fault: with good telemetry, and with each way in
// which telemetry alone is wrong.
func (c class) triggers(ctx context.Context, fsys fs.FS, seeds int, seed uint64) (trigger, error) {
	t := trigger{class: c.name}
	count := func(to *[2]int, seeds int, change func(*simulate.Spec)) error {
		p, err := simulate.Load(fsys, c.file())
		if err != nil {
			return err
		}
		spec := &p.Scenario().Spec
		calm(spec)
		spec.Against, spec.Duration = nil, min(spec.Duration, calmFor)
		change(spec)
		r, err := p.Run(ctx, simulate.Options{Seeds: seeds, First: seed})
		if err != nil {
			return fmt.Errorf("%s without its fault: %w", c.name, err)
		}
		for _, run := range r.Rows[0].Runs {
			to[1]++
			if run.Moves > 0 {
				to[0]++
			}
		}
		return nil
	}
	if err := count(&t.calm, 2*seeds, func(*simulate.Spec) {}); err != nil {
		return t, err
	}
	for _, f := range blindness() {
		err := count(&t.blind, (seeds+1)/2, func(s *simulate.Spec) {
			f.At += s.WarmUp // times count from the start of the world once it is read
			s.World.Faults = append(s.World.Faults, f)
		})
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// row is a controller's, nil if the cell has none of that name.
func (c cell) row(name string) *simulate.Row {
	for i := range c.rows {
		if c.rows[i].Controller == name {
			return &c.rows[i]
		}
	}
	return nil
}

// best is the controller with the least loss besides ours, in either form, and the
// oracle; to do nothing is one of them.
func (c cell) best() simulate.Row {
	best := *c.row(nothing)
	for _, r := range c.rows[1:] {
		if r.Controller != oracle && r.Controller != smallProbe && r.Loss.Mean < best.Loss.Mean {
			best = r
		}
	}
	return best
}

// regret is what a controller loses more than the oracle, as a share of what could be
// avoided: of what doing nothing loses more, and at least 5 % of the oracle's loss, which
// counts as nothing in any case.
func (c cell) regret(row simulate.Row, pick []int) float64 {
	return c.regretOf(row, pick, c.avoidable(pick))
}

func (c cell) avoidable(pick []int) float64 {
	least := lossOf(*c.row(oracle), pick)
	return max(lossOf(*c.row(nothing), pick)-least, near*least)
}

func (c cell) regretOf(row simulate.Row, pick []int, avoidable float64) float64 {
	if avoidable <= 0 {
		return 0
	}
	return (lossOf(row, pick) - lossOf(*c.row(oracle), pick)) / avoidable
}

// lossOf is the mean loss of some of a controller's runs.
func lossOf(r simulate.Row, pick []int) float64 {
	sum := 0.0
	for _, i := range pick {
		sum += r.Runs[i].Loss
	}
	return sum / float64(len(pick))
}

// near is how far above the oracle's loss is as good as it.
const near = 0.05

// good reports whether ours is within half of the best peer's regret, or within 5 % above
// the oracle's loss.
func (c cell) good() bool {
	all := everybody(len(c.rows[0].Runs))
	return c.rows[0].Loss.Mean <= (1+near)*c.row(oracle).Loss.Mean || c.regret(c.rows[0], all) <= c.regret(c.best(), all)/2
}

func everybody(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// interval is a value with its 95 % interval.
type interval struct{ value, low, high float64 }

// summary is the mean regret of ours and of the best peer over cells, and their ratio;
// fixed is the ratio with what could be avoided in a cell taken from all of its seeds.
type summary struct{ ours, peer, ratio, fixed interval }

// resamples is how often seeds are drawn anew for an interval.
const resamples = 2000

// sum is the mean over cells. Its intervals are those of the bootstrap over seeds: in each
// cell the same draw for everybody, because they met the same arrivals and faults.
func sum(cells []cell, seed uint64) summary {
	r := rand.New(rand.NewPCG(seed, 95))
	at := func(pick func(n int) []int) (ours, peer, fixed float64) {
		var above [2]float64 // with a fixed scale
		for _, c := range cells {
			n, best := len(c.rows[0].Runs), c.best()
			chosen, scale := pick(n), c.avoidable(everybody(n))
			ours += c.regret(c.rows[0], chosen) / float64(len(cells))
			peer += c.regret(best, chosen) / float64(len(cells))
			above[0] += c.regretOf(c.rows[0], chosen, scale)
			above[1] += c.regretOf(best, chosen, scale)
		}
		return ours, peer, ratio(above[0], above[1])
	}
	var all [4][]float64
	for range resamples {
		a, b, f := at(func(n int) []int {
			out := make([]int, n)
			for i := range out {
				out[i] = r.IntN(n)
			}
			return out
		})
		all[0], all[1], all[2], all[3] = append(all[0], a), append(all[1], b), append(all[2], ratio(a, b)), append(all[3], f)
	}
	a, b, f := at(everybody)
	return summary{between(a, all[0]), between(b, all[1]), between(ratio(a, b), all[2]), between(f, all[3])}
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return math.NaN()
	}
	return a / b
}

// between takes the middle 95 % of what was drawn.
func between(value float64, drawn []float64) interval {
	slices.Sort(drawn)
	n := len(drawn)
	return interval{value, drawn[n/40], drawn[n-1-n/40]}
}

// budget is the share of the error budget of its window that a controller's runs spent.
func (c cell) budget(r simulate.Row) float64 {
	return r.BadShare.Mean / (1 - c.target) * float64(c.length) / float64(c.window)
}
