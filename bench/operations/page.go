package main

import (
	"fmt"
	"strings"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/simulate"
)

// measures are the rows with targets.
func (g grid) measures() []result.Row {
	s := sum(g.cells, g.seed)
	exceptions, found, runs, toggles := 0, 0, 0, 0.0
	for _, c := range g.cells {
		if !c.good() {
			exceptions++
		}
		found, runs = found+c.row(oracle).Found, runs+len(c.rows[0].Runs)
		for _, run := range c.rows[0].Runs {
			toggles = max(toggles, float64(run.Toggles))
		}
	}
	row := func(n int, name, unit string, v float64) result.Row {
		r := result.New(name, unit, []float64{v})
		r.Rounds = n
		return r
	}
	cells := len(g.cells)
	out := []result.Row{
		row(runs, "mean regret to the oracle", "% of avoidable loss", 100*s.ours.value).
			Against("best peer", []float64{100 * s.ours.value}, []float64{100 * s.peer.value}).WantRatio("<=", 0.5),
		row(runs, "mean regret, upper end of the 95 % interval of the ratio to the best peer's", "ratio", s.ratio.high).Want("<=", 0.5),
		row(runs, "the same, with what can be avoided in a cell taken from all of its seeds", "ratio", s.fixed.high),
		row(cells, "cells outside the target", "cells", float64(exceptions)),
		row(runs, "runs in which the oracle's own schedule lost least", "%", 100*float64(found)/float64(max(1, runs))),
		row(runs, "most changes of direction of a lever in an hour", "toggles", toggles).Want("<", 6),
	}
	moved, all := [2]int{}, [2]int{}
	for _, t := range g.triggers {
		moved[0], all[0] = moved[0]+t.calm[0], all[0]+t.calm[1]
		moved[1], all[1] = moved[1]+t.blind[0], all[1]+t.blind[1]
	}
	for i, name := range []string{"wrong triggers: runs with a move although nothing was wrong", "wrong triggers: runs with a move although telemetry alone was wrong"} {
		if all[i] > 0 {
			out = append(out, row(all[i], name, "%", 100*float64(moved[i])/float64(all[i])).Want("<", 5))
		}
	}
	return out
}

// page is docs/scoreboard-operations.md.
func (g grid) page(rows []result.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Scoreboard: who operates best when something fails

This page is written by `+"`make bench-operations`"+` from its own output; do not edit it.
Seed %d and the %d that follow it; the same seeds give the same figures. How releases are decided is [another page](scoreboard.md).

Our strategies as they are shipped in [examples/strategies](../examples/strategies/divert.yaml) (for bursts one that was told the same target as the careful peer; in an attack with a person who says yes after five minutes to what it may not do alone), rules that others run, and an oracle operate the same simulated services; what is measured is the loss in the money of each scenario: harm to users, cost, and what is spent above a cap.
A cell is one intensity of one kind of fault, each with %d seeds that nothing was tuned on (a noisy tenant with ten times as many, because few of them make most of the loss); the scenarios stand in `+"`bench/operations`"+` and run with `+"`assay simulate`"+`.
The oracle knows the fault, when it begins and ends, the traffic, and the lever that is right; it searches amounts and times for each seed, and takes what any of the others did if that lost less, so its loss is the least that is known and nobody's regret is below 0.
Regret is the loss above the oracle's in percent of what can be avoided (what doing nothing loses above it, and at least 5 %% of the oracle's loss); the best peer is the one with the least loss in the cell, doing nothing included. A cell is within the target if our regret is at most half of the best peer's, or our loss at most 5 %% above the oracle's.
%s
%s
%s

## Measures

`, g.seed, g.seeds-1, g.seeds, g.verdict(), g.probe(), afterwards)
	b.WriteString(result.Markdown(rows, "runs or cells"))
	g.byClass(&b)
	g.everyCell(&b)
	g.peers(&b)
	g.wrong(&b)
	return b.String()
}

// afterwards names what was chosen when a result of this grid was known.
const afterwards = "Chosen after a result was seen: throttle.yaml lets requests wait 0.08 of what their callers bear, and overload.scenario.yaml calls an answer good within 300 ms; the strategies read windows of one minute, not of five; the cautious autoscaler of bursts and ours are told one target; an attack has a person who answers; the autoscaler among the peers counts replicas that still start, as the real one does; in the simulated world the use of a database is that of the last tick and not of the one before, nobody waits in a queue that a limit leaves no room for, and a limit turns away by the workers that are busy. All are in our favour, but for the queue, which helped a peer more. With twenty seeds the interval of the ratio was carried by one seed of the weakest noisy tenant: that with a fixed scale was added, and then the seeds of its cells made ten times as many."

// verdict says in a sentence how it stands.
func (g grid) verdict() string {
	s := sum(g.cells, g.seed)
	var outside []string
	for _, c := range g.cells {
		if !c.good() {
			outside = append(outside, fmt.Sprintf("%s at %s", c.class.name, result.Figure(c.level)))
		}
	}
	text := fmt.Sprintf("Over the %d cells our mean regret is %s, the best peer's %s; the ratio is %s.", len(g.cells), percent(s.ours), percent(s.peer), plain(s.ratio))
	if len(outside) == 0 {
		return text + " Every cell is within the target."
	}
	return text + " Outside the target: " + strings.Join(outside, ", ") + "."
}

// probe says what it costs that a region which fails keeps a tenth of its traffic, empty
// if no such class was played.
func (g grid) probe() string {
	var cells []string
	for _, c := range g.cells {
		if r := c.row(smallProbe); r != nil {
			cells = append(cells, fmt.Sprintf("%s at %s %s instead of %s", c.class.name, result.Figure(c.level), result.Figure(r.Loss.Mean), result.Figure(c.rows[0].Loss.Mean)))
		}
	}
	if cells == nil {
		return ""
	}
	return "\nA region that fails keeps a tenth of its traffic as a probe, by which its return is seen; the peers leave it a hundredth. Ours with a hundredth (" + smallProbe + " in the last table but one, nobody's peer) would lose: " + strings.Join(cells, ", ") + ".\n"
}

// byClass are the means of each kind of fault.
func (g grid) byClass(b *strings.Builder) {
	b.WriteString("\n## By kind of fault\n\n")
	result.Head(b, "fault", "what happens", "our regret, %", "the best peer's, %", "ratio", "cells within the target")
	for i := 0; i < len(g.cells); {
		j, within := i, 0
		for ; j < len(g.cells) && g.cells[j].class.name == g.cells[i].class.name; j++ {
			if g.cells[j].good() {
				within++
			}
		}
		s := sum(g.cells[i:j], g.seed)
		result.Line(b, g.cells[i].class.name, g.cells[i].about, percent(s.ours), percent(s.peer), plain(s.ratio), fmt.Sprintf("%d of %d", within, j-i))
		i = j
	}
}

// everyCell shows ours beside the best peer and the oracle.
func (g grid) everyCell(b *strings.Builder) {
	b.WriteString("\n## Every cell\n\nLosses are means with half of their 95 % interval over seeds; budget is the share of 30 days' error budget that a run spent.\n\n")
	result.Head(b, "fault", "intensity", "our loss", "regret, %", "seconds to the first move", "toggles/h", "budget, %", "cost", "best peer", "its loss", "regret, %", "doing nothing", "oracle", "found by its own schedule", "within the target")
	for _, c := range g.cells {
		ours, best, least := c.rows[0], c.best(), c.row(oracle)
		all := everybody(len(ours.Runs))
		detected := "–"
		if ours.Detected != nil {
			detected = result.Figure(ours.Detected.Mean)
		}
		result.Line(b, c.class.name, result.Figure(c.level)+" "+c.class.unit, mean(ours.Loss), result.Figure(100*c.regret(ours, all)), detected, result.Figure(ours.Toggles.Mean),
			result.Figure(100*c.budget(ours)), result.Figure(ours.Cost.Mean), best.Controller, mean(best.Loss), result.Figure(100*c.regret(best, all)),
			result.Figure(c.row(nothing).Loss.Mean), result.Figure(least.Loss.Mean), fmt.Sprintf("%d of %d", least.Found, len(ours.Runs)), yes(c.good()))
	}
}

// peers shows everybody of every cell.
func (g grid) peers(b *strings.Builder) {
	b.WriteString("\n## Everybody\n\n")
	result.Head(b, "fault", "intensity", "controller", "loss", "bad requests, %", "seconds to the first move", "toggles/h", "moves", "cost")
	for _, c := range g.cells {
		for _, r := range c.rows {
			detected := "–"
			if r.Detected != nil {
				detected = result.Figure(r.Detected.Mean)
			}
			result.Line(b, c.class.name, result.Figure(c.level), r.Controller, mean(r.Loss), result.Figure(100*r.BadShare.Mean), detected, result.Figure(r.Toggles.Mean), result.Figure(r.Moves.Mean), result.Figure(r.Cost.Mean))
		}
	}
}

// wrong shows the moves that nothing called for.
func (g grid) wrong(b *strings.Builder) {
	b.WriteString("\n## Wrong triggers\n\nRuns in which our strategy moved anything although its fault never came: with good telemetry, and with telemetry that for a quarter of an hour is two or ten minutes late, half or all lost, or a minute behind. Strategies that follow the load are not counted.\n\n")
	result.Head(b, "strategy for", "nothing is wrong", "telemetry alone is wrong")
	for _, t := range g.triggers {
		result.Line(b, t.class, fmt.Sprintf("%d of %d", t.calm[0], t.calm[1]), fmt.Sprintf("%d of %d", t.blind[0], t.blind[1]))
	}
}

func mean(m simulate.Mean) string {
	if m.Half == nil {
		return result.Figure(m.Mean)
	}
	return result.Figure(m.Mean) + " ± " + result.Figure(*m.Half)
}

func percent(i interval) string {
	return fmt.Sprintf("%s (%s to %s)", result.Figure(100*i.value), result.Figure(100*i.low), result.Figure(100*i.high))
}

func plain(i interval) string {
	return fmt.Sprintf("%s (%s to %s)", result.Figure(i.value), result.Figure(i.low), result.Figure(i.high))
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "**no**"
}
