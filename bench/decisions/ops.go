package main

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/simulate"
)

// operation is one scenario of the simulator, played with our strategies, the peers'
// rules that it names, nothing at all, and an oracle that knows the faults.
type operation struct {
	name, about string
	ours        simulate.Row
	nothing     simulate.Row
	oracle      simulate.Row
	peers       []simulate.Row
	blind       bool // nothing was wrong but telemetry
}

// compared reports whether there is somebody to compare with.
func (o operation) compared() bool { return len(o.peers) > 0 && o.oracle.Controller != "" }

// wrong counts our runs, and those in which something moved while only telemetry was
// wrong.
func wrong(all []operation) (moved, runs int) {
	for _, o := range all {
		if !o.blind {
			continue
		}
		for _, r := range o.ours.Runs {
			runs++
			if r.During[simtest.TelemetryLoss]+r.During[simtest.TelemetryLag]+r.During[simtest.ClockSkew] > 0 {
				moved++
			}
		}
	}
	return moved, runs
}

// readOperations finds the scenarios of a folder that have an oracle and a peer to
// compare with, or in which nothing is wrong but telemetry. No folder is no scenarios,
// and no error.
func readOperations(dir string) ([]*simulate.Prepared, error) {
	root := os.DirFS(filepath.Dir(dir))
	files, err := fs.Glob(root, filepath.Base(dir)+"/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []*simulate.Prepared
	for _, file := range files {
		p, err := simulate.Load(root, file)
		if err != nil {
			return nil, err
		}
		if spec := p.Scenario().Spec; spec.Oracle != nil && len(spec.Against) > 0 || blind(spec) {
			out = append(out, p)
		}
	}
	return out, nil
}

// blind reports whether nothing is wrong in a scenario but telemetry.
func blind(spec simulate.Spec) bool {
	return len(spec.World.Faults) > 0 && !slices.ContainsFunc(spec.World.Faults, func(f simtest.Fault) bool {
		return f.Kind != simtest.TelemetryLag && f.Kind != simtest.TelemetryLoss && f.Kind != simtest.ClockSkew
	})
}

// operate plays scenarios on seeds that follow the benchmark's.
func operate(list []*simulate.Prepared, seeds int, seed uint64) ([]operation, error) {
	out := make([]operation, len(list))
	err := parallel(len(list), func(i int) error {
		r, err := list[i].Run(context.Background(), simulate.Options{Seeds: seeds, First: seed})
		if err != nil {
			return fmt.Errorf("%s: %w", list[i].Scenario().Metadata.Name, err)
		}
		o := operation{name: r.Scenario, about: r.About}
		for n, row := range r.Rows {
			switch {
			case n == 0:
				o.ours = row
			case row.Controller == "nothing":
				o.nothing = row
			case row.Controller == "oracle":
				o.oracle = row
			default:
				o.peers = append(o.peers, row)
			}
		}
		o.blind = blind(list[i].Scenario().Spec)
		out[i] = o
		return nil
	})
	return out, err
}

// best is the peer with the least loss.
func (o operation) best() simulate.Row {
	best := o.peers[0]
	for _, p := range o.peers[1:] {
		if p.Loss.Mean < best.Loss.Mean {
			best = p
		}
	}
	return best
}

// reference is the least loss that anybody had: the oracle tries schedules, and a
// controller that finds a better one is then what the others are held against.
func (o operation) reference() float64 {
	least := min(o.oracle.Loss.Mean, o.ours.Loss.Mean, o.nothing.Loss.Mean)
	for _, p := range o.peers {
		least = min(least, p.Loss.Mean)
	}
	return least
}

// regret is how far a controller's loss lies above the reference, as a share of what
// doing nothing loses above it.
func (o operation) regret(r simulate.Row) float64 {
	avoidable := o.nothing.Loss.Mean - o.reference()
	if avoidable <= 0 {
		return 0 // nothing was to be gained
	}
	return (r.Loss.Mean - o.reference()) / avoidable
}

// good reports whether ours is within half of the best peer's regret, or within 5 % of
// the reference.
func (o operation) good() bool {
	return o.ours.Loss.Mean <= 1.05*o.reference() || o.regret(o.ours) <= o.regret(o.best())/2
}

// operationRows are the measures of the operations half.
func operationRows(all []operation) []result.Row {
	if !slices.ContainsFunc(all, operation.compared) {
		return nil
	}
	var ours, peers moments
	toggles, exceptions := 0.0, 0
	for _, o := range all {
		if !o.compared() {
			continue
		}
		ours.add(100 * o.regret(o.ours))
		peers.add(100 * o.regret(o.best()))
		for _, run := range o.ours.Runs {
			toggles = max(toggles, float64(run.Toggles))
		}
		if !o.good() {
			exceptions++
		}
	}
	mine, best := ours.mean(), peers.mean()
	regret := result.New("operations: mean regret", "% of avoidable loss", []float64{mine}).
		Against("best peer", []float64{mine}, []float64{best}).WantRatio("<=", 0.5)
	regret.Rounds = int(ours.n)
	most := result.New("operations: most changes of direction of a lever in an hour", "toggles", []float64{toggles}).Want("<", 6)
	most.Rounds = int(ours.n)
	rest := result.New("operations: scenarios outside the target", "scenarios", []float64{float64(exceptions)})
	rest.Rounds = int(ours.n)
	rows := []result.Row{regret, most, rest}
	if moved, runs := wrong(all); runs > 0 {
		row := result.New("operations: runs with a move while only telemetry is wrong", "%", []float64{100 * float64(moved) / float64(runs)}).Want("<", 5)
		row.Rounds = runs
		rows = append(rows, row)
	}
	return rows
}

// operationTable is the operations half of the page.
func operationTable(b *strings.Builder, all []operation, seeds int) {
	b.WriteString("\n## Operations\n\n")
	if !slices.ContainsFunc(all, operation.compared) {
		b.WriteString("No scenario with a peer and an oracle was there when this page was written.\n")
		return
	}
	fmt.Fprintf(b, "Scenarios of the simulator, %d seeds each, loss in the money of the scenario (harm, cost and moves) with half of its 95 %% interval; regret is what a controller loses more than the least loss that anybody had (the oracle's, unless a controller found something better than the schedules that the oracle tries), in percent of what doing nothing loses more than that. The best peer is the one with the least loss among those that the scenario names; within the target is at most half of its regret, or 5 %% above the least loss.\n\n", seeds)
	head(b, "scenario", "what is shown", "ours: loss", "regret, %", "toggles/h", "best peer", "its loss", "regret, %", "toggles/h", "doing nothing", "oracle", "within the target")
	for _, o := range all {
		if !o.compared() {
			continue
		}
		best := o.best()
		half := 0.0
		if o.ours.Loss.Half != nil {
			half = *o.ours.Loss.Half
		}
		line(b, o.name, orDash(strings.ReplaceAll(o.about, "|", "/")), figure(o.ours.Loss.Mean)+" ± "+figure(half), figure(100*o.regret(o.ours)), figure(o.ours.Toggles.Mean),
			best.Controller, figure(best.Loss.Mean), figure(100*o.regret(best)), figure(best.Toggles.Mean), figure(o.nothing.Loss.Mean), figure(o.oracle.Loss.Mean), yes(o.good()))
	}
	var ours, peers moments
	var exceptions []string
	for _, o := range all {
		if !o.compared() {
			continue
		}
		ours.add(100 * o.regret(o.ours))
		peers.add(100 * o.regret(o.best()))
		if !o.good() {
			exceptions = append(exceptions, o.name)
		}
	}
	fmt.Fprintf(b, "\nMean regret over the scenarios, with its 95 %% interval: ours %s ± %s %%, the best peer of each %s ± %s %%.", figure(ours.mean()), half95(ours), figure(peers.mean()), half95(peers))
	if len(exceptions) > 0 {
		fmt.Fprintf(b, " Outside the target: %s.", strings.Join(exceptions, ", "))
	}
	if moved, runs := wrong(all); runs > 0 {
		fmt.Fprintf(b, " In %d of %d runs something moved while only telemetry was wrong.", moved, runs)
	}
	b.WriteString("\n")
}

func half95(m moments) string {
	if h := 1.96 * m.se(); !math.IsInf(h, 0) {
		return figure(h)
	}
	return "–"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
