package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/infer"
)

// outageAt is when telemetry is lost for ten minutes: half a minute in, while every
// controller still has something to decide.
var outageAt = [2]time.Duration{30 * time.Second, 30*time.Second + 10*time.Minute}

// report is everything that one run of the benchmark measured.
type report struct {
	seed       uint64
	sizes      sizes
	traces     bool // recorded intensities were there
	contenders []contender
	healthy    []cellResult // grid cells without a regression
	grid       []cellResult // with one
	scenes     []cellResult // off the grid, healthy and bad in turns
	outage     []outageRow
	eta        []eta
	latency    []latencyRow
}

// outageRow is what a contender did while telemetry was out.
type outageRow struct {
	runs, aborted, promoted int
}

// twin is the healthy setting of a cell.
func (r report) twin(c cell) cellResult {
	for _, h := range r.healthy {
		if h.cell == c.healthy() {
			return h
		}
	}
	return cellResult{}
}

// expectedLoss mixes a cell with its healthy twin, with the standard error.
func expectedLoss(bad, healthy tally) (mean, se float64) {
	return badShare*bad.loss.mean() + (1-badShare)*healthy.loss.mean(),
		math.Hypot(badShare*bad.loss.se(), (1-badShare)*healthy.loss.se())
}

// standing compares ours with the best of the others that are not the oracle.
type standing struct {
	best       int // contender
	difference float64
	se         float64
}

func (r report) standing(c cellResult, against func(contender) bool) standing {
	healthy := r.twin(c.cell)
	ours, se := expectedLoss(c.tallies[0], healthy.tallies[0])
	out := standing{difference: math.Inf(-1)}
	for k := 1; k < len(r.contenders)-1; k++ {
		if !against(r.contenders[k]) {
			continue
		}
		other, otherSE := expectedLoss(c.tallies[k], healthy.tallies[k])
		if ours-other > out.difference {
			out = standing{k, ours - other, math.Hypot(se, otherSE)}
		}
	}
	return out
}

// chance is how many standard errors of a difference are chance: with about a hundred
// cells, less than one of them is beyond it by chance alone.
const chance = 2.6

// compared counts cells: how many there are, and in how many ours is lower than every
// peer, equal within chance, or higher.
type compared struct {
	cells, lower, equal, higher int
}

func anybody(contender) bool      { return true }
func documented(c contender) bool { return !strings.HasSuffix(c.Name, " tuned") }

func (r report) compare(take func(cell) bool, against func(contender) bool) compared {
	return r.compareBeyond(chance, take, against)
}

func (r report) compareBeyond(chance float64, take func(cell) bool, against func(contender) bool) (n compared) {
	for _, c := range r.grid {
		if !take(c.cell) {
			continue
		}
		n.cells++
		switch s := r.standing(c, against); {
		case s.difference < 0:
			n.lower++
		case s.difference <= chance*s.se:
			n.equal++
		default:
			n.higher++
		}
	}
	return n
}

func found(c cell) bool   { return c.Ratio >= margin && c.finds() }
func claimed(c cell) bool { return c.Ratio >= margin && c.enough() }
func half(c cell) bool    { return c.Ratio >= margin && c.finds() && !c.enough() }
func thin(c cell) bool    { return c.Ratio >= margin && !c.finds() }
func inside(c cell) bool  { return c.Ratio < margin }

// rates are false aborts of ours: of all healthy rollouts, of the worst cell, and of
// how many cells the 99.9 % interval lies above alpha.
func (r report) rates() (all float64, runs int, worst float64, above int) {
	n := 0
	for _, c := range append(r.healthy, r.scenes...) {
		if c.Ratio != 1 {
			continue
		}
		y := c.tallies[0]
		n, runs = n+y.aborted, runs+y.runs
		worst = max(worst, float64(y.aborted)/float64(y.runs))
		if low, _ := infer.ClopperPearson(uint64(y.aborted), uint64(y.runs), 0.998); low > alpha {
			above++
		}
	}
	return float64(n) / float64(runs), runs, worst, above
}

// misses is the worst share of bad versions that ours promoted, of 3 times and more
// with enough traffic.
func (r report) misses() (worst float64) {
	for _, c := range r.grid {
		if c.Ratio >= 3 && c.enough() {
			worst = max(worst, float64(c.tallies[0].promoted)/float64(c.tallies[0].runs))
		}
	}
	return worst
}

// shipped is what share of bad versions of exactly the margin ours promoted, of all cells
// and in the worst, which is what beta promises.
func (r report) shipped() (all, worst float64, runs int) {
	n := 0
	for _, c := range r.grid {
		if y := c.tallies[0]; c.Ratio == margin {
			n, runs = n+y.promoted, runs+y.runs
			worst = max(worst, float64(y.promoted)/float64(y.runs))
		}
	}
	return float64(n) / float64(max(runs, 1)), worst, runs
}

// regret is a contender's mean expected loss over the cells with enough traffic, above
// the oracle's, in percent of the error budget, with its standard error.
func (r report) regret(contender int) (mean, se float64) {
	n, v := 0.0, 0.0
	for _, c := range r.grid {
		if !claimed(c.cell) {
			continue
		}
		h := r.twin(c.cell)
		l, s := expectedLoss(c.tallies[contender], h.tallies[contender])
		o, _ := expectedLoss(c.tallies[len(c.tallies)-1], h.tallies[len(h.tallies)-1])
		n, mean, v = n+1, mean+l-o, v+s*s
	}
	return mean / n, math.Sqrt(v) / n
}

// bestPeer is the contender with the least regret that is neither ours nor the oracle.
func (r report) bestPeer() (contender int, mean float64) {
	mean = math.Inf(1)
	for k := 1; k < len(r.contenders)-1; k++ {
		if m, _ := r.regret(k); m < mean {
			contender, mean = k, m
		}
	}
	return contender, mean
}

// rows are the measures with their targets.
func (r report) rows() []result.Row {
	all, runs, worst, above := r.rates()
	claim, standard, part, rest := r.compare(claimed, anybody), r.compare(claimed, documented), r.compare(half, anybody), r.compare(thin, anybody)
	one := func(name, unit string, v float64, n int) result.Row {
		row := result.New(name, unit, []float64{v})
		row.Rounds = n
		return row
	}
	ours, _ := r.regret(0)
	best, least := r.bestPeer()
	shipped, most, tried := r.shipped()
	outage := 0
	if len(r.outage) > 0 {
		outage = r.outage[0].aborted + r.outage[0].promoted
	}
	rows := []result.Row{
		one("false aborts, all healthy rollouts", "%", 100*all, runs).Want("<=", 100*alpha),
		one("false aborts, worst healthy cell", "%", 100*worst, r.sizes.healthy),
		one("healthy cells above 1 % beyond chance", "cells", float64(above), len(r.healthy)).Want("<=", 0),
		one("missed regressions of 3 times and more, worst cell with enough traffic", "%", 100*r.misses(), r.sizes.bad).Want("<=", 5),
		one(fmt.Sprintf("missed regressions of %d times, the margin, all cells", margin), "%", 100*shipped, tried).Want("<=", 100*beta),
		one(fmt.Sprintf("missed regressions of %d times, the margin, worst cell", margin), "%", 100*most, r.sizes.bad),
		one("cells with enough traffic", "cells", float64(claim.cells), r.sizes.bad),
		one("of them with a higher loss than some documented peer, beyond chance", "cells", float64(standard.higher), standard.cells).Want("<=", 0),
		one("of them with a higher loss than some peer, tuned ones too, beyond chance", "cells", float64(claim.higher), claim.cells).Want("<=", 0),
		one("of them with the lowest loss of all", "cells", float64(claim.lower), claim.cells),
		one("cells that can find the regression but not clear a healthy release, higher loss beyond chance", "cells", float64(part.higher), part.cells).Want("<=", 0),
		one("cells without enough traffic for either, higher loss beyond chance", "cells", float64(rest.higher), rest.cells).Want("<=", 0),
		one("regret to the oracle where traffic is enough", "% of budget", ours, claim.cells).
			Against(r.contenders[best].Name, []float64{ours}, []float64{least}).WantRatio("<=", 0.5),
		one("aborts and promotions while telemetry is out", "rollouts", float64(outage), r.sizes.outage).Want("<=", 0),
	}
	return slices.Concat(rows, r.etaRows(), latencyRows(r.latency))
}

func (r report) etaRows() (rows []result.Row) {
	for _, e := range r.eta {
		name := fmt.Sprintf("announced requests, %g/s at %g %%, phi %g", e.Traffic, 100*e.Base, e.Phi)
		far := result.New(name+": median off by", "%", []float64{100 * math.Abs(e.medianError())}).Want("<=", 30)
		far.Rounds = e.runs
		rows = append(rows, far)
		off := result.New(name+": coverage of the 80 % interval, off by", "%", []float64{100 * math.Abs(e.coverage()-0.8)}).Want("<=", 5)
		off.Rounds = e.runs + e.never
		rows = append(rows, off)
	}
	return rows
}
