package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/simulate"
	"github.com/spf13/cobra"
)

func (a *app) simulateCmd() *cobra.Command {
	var o simulate.Options
	var seed int64
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Try strategies and rollouts on a simulated world, beside other controllers",
		Long: `Try strategies and rollouts on a simulated world, beside other controllers.

FILE is a Scenario: a world with traffic and faults, the controller under test, others
to compare it with, and what is expected. Each controller meets the same arrivals and
faults with each seed, in virtual time; strategies and rollouts are decided by the code
that production runs. The same file and seeds give the same output.

Reads FILE and the files that it names, and changes nothing.

Exit codes: 0 every expectation held · 1 error · 2 usage, or FILE is not a scenario that
can be run · 3 an expectation failed.`,
		Example: `  assay simulate examples/scenarios/autoscaler-thrashing.scenario.yaml
  assay simulate scenario.yaml --seeds 20 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("seeds") && (o.Seeds < 1 || o.Seeds > simulate.MaxSeeds) {
				return usageError{fmt.Errorf("--seeds %d is not from 1 to %d", o.Seeds, simulate.MaxSeeds)}
			}
			if seed < 1 {
				return usageError{fmt.Errorf("--seed %d is below 1", seed)}
			}
			simulate.Batch()
			o.First = uint64(seed)
			p, err := loadScenario(args[0])
			if err != nil {
				return badScenario(err)
			}
			r, err := p.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(r, func() { a.printSimulation(r) }); err != nil {
				return err
			}
			if !r.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Seeds, "seeds", 0, "how many runs; what the scenario says if left out")
	cmd.Flags().Int64Var(&seed, "seed", 1, "the first seed; the others follow it")
	return cmd
}

// loadScenario reads a scenario and what it names. A scenario names files beside it and
// above it, so paths are given to the operating system as they are.
func loadScenario(path string) (*simulate.Prepared, error) {
	return simulate.Load(anywhere{}, filepath.ToSlash(path))
}

// badScenario makes a scenario that cannot be run a usage error; a file that cannot be
// read stays what it is.
func badScenario(err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && (e.Code == assay.CodeInvalid || e.Code == assay.CodeTooLarge) {
		return usageError{err}
	}
	return err
}

func (a *app) printSimulation(r simulate.Result) {
	fmt.Fprintf(a.out, "%s", a.out.Bold(r.Scenario))
	if r.About != "" {
		fmt.Fprintf(a.out, "  %s", r.About)
	}
	fmt.Fprintf(a.out, "\n\n")
	a.printPicture(r.Picture)
	header := []string{"CONTROLLER", "BAD %", "DROPPED %", "DETECTED", "RESTORED", "TOGGLES/H", "MOVES", "COST", "LOSS"}
	oracle := r.Rows[0].Regret != nil
	if oracle {
		header = append(header, "REGRET")
	}
	var rows [][]string
	for _, row := range r.Rows {
		cells := []string{
			row.Controller, percentOf(row.BadShare), percentOf(row.Dropped), after(row.Detected), after(row.Restored),
			interval(row.Toggles, 1), interval(row.Moves, 1), interval(row.Cost, 1), interval(row.Loss, 1),
		}
		if oracle {
			cells = append(cells, interval(*row.Regret, 1))
		}
		rows = append(rows, cells)
	}
	a.out.Table(header, rows)
	fmt.Fprintf(a.out, "means of %s from %d with 95 %% intervals\n\n", plural(r.Seeds, "seed"), r.First)
	for _, c := range r.Checks {
		sign := a.out.Paint(term.Green, "✓")
		if !c.OK {
			sign = a.out.Paint(term.Vermilion, "✗")
		}
		fmt.Fprintf(a.out, "%s %s: %s\n", sign, c.Name, c.Words)
	}
	if len(r.Checks) == 0 {
		fmt.Fprintln(a.out, "nothing is expected; write what under spec.expect")
		return
	}
	passed := true
	for _, row := range r.Rows[1:] {
		if len(row.Failed) > 0 {
			passed = false
			fmt.Fprintf(a.out, "  %s would fail %s\n", row.Controller, strings.Join(row.Failed, ", "))
		}
	}
	if passed {
		fmt.Fprintln(a.out, "  everybody passes, also who does nothing: this shows only that nothing is broken")
	}
}

// printPicture draws the first seed of the controller under test.
func (a *app) printPicture(p simulate.Picture) {
	name := assay.Action{Lever: p.Lever, Scope: p.Scope}.Target()
	width := max(len("bad share"), len(name))
	line := func(what string, values []float64, format string, scale float64) {
		low, high := values[0], values[0]
		for _, v := range values {
			low, high = min(low, v), max(high, v)
		}
		fmt.Fprintf(a.out, "%-*s  %s  "+format+" to "+format+"\n", width, what, term.Spark(values, sparkColumns), low*scale, high*scale)
	}
	if len(p.Load) == 0 {
		return
	}
	line("load", p.Load, "%.0f/s", 1)
	line(name, p.Stands, "%.0f", 1)
	line("bad share", p.Bad, "%.1f %%", 100)
	span := time.Duration(p.Step * float64(len(p.Load)) * float64(time.Second))
	fmt.Fprintf(a.out, "%-*s  %s over %s, seed of the first run\n\n", width, "", p.Service, span)
}

func percentOf(m simulate.Mean) string {
	return interval(simulate.Mean{Mean: 100 * m.Mean, Half: times(m.Half, 100)}, 2)
}

func times(v *float64, by float64) *float64 {
	if v == nil {
		return nil
	}
	return new(*v * by)
}

func interval(m simulate.Mean, digits int) string {
	if m.Half == nil {
		return fmt.Sprintf("%.*f", digits, m.Mean)
	}
	return fmt.Sprintf("%.*f ±%.*f", digits, m.Mean, digits, *m.Half)
}

func after(m *simulate.Mean) string {
	if m == nil {
		return "–"
	}
	return m.Duration().String()
}

// anywhere opens files by their paths, also those above the working directory.
type anywhere struct{}

// Open implements fs.FS.
func (anywhere) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

// testScenario runs a scenario as a test: its name, and which expectations failed, or
// nothing.
func testScenario(ctx context.Context, path string) (name, failed string, err error) {
	p, err := loadScenario(path)
	if err != nil {
		return "", "", err
	}
	r, err := p.Run(ctx, simulate.Options{})
	if err != nil {
		return "", "", err
	}
	var list []string
	for _, c := range r.Checks {
		if !c.OK {
			list = append(list, c.Name+": "+c.Words)
		}
	}
	return r.Scenario, strings.Join(list, "; "), nil
}
