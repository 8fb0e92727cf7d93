// Command operations is the scoreboard of strategies: ours, the rules that others run, and
// an oracle that knows the fault operate the same simulated services, over a grid of kinds
// of faults and their intensities.
//
// Every number is a mean over seeded runs of the simulator, in which our side is
// mitigate.Next as the product runs it, and how fast the simulator is. It prints the measures with their targets, keeps
// them in out/operations.json, writes the page docs/scoreboard-operations.md with --write,
// and exits with 1 if a target does not hold. The same seed gives the same figures. Run it
// with `make bench-operations`.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/simulate"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "operations:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("operations", flag.ContinueOnError)
	fs.SetOutput(stderr)
	// Strategies were tuned on the seeds from 1 to 200; these are others.
	seed := fs.Uint64("seed", 20261122, "the first seed; the others follow it")
	seeds := fs.Int("seeds", 20, "runs of each cell")
	only := fs.String("only", "", "play these classes alone, separated by commas; no target is judged")
	alone := fs.Bool("speed", false, "measure how fast worlds run, and nothing else")
	page := fs.String("write", "", "write the page to this file, for example ../docs/scoreboard-operations.md")
	out := fs.String("out", "out", "folder for operations.json")
	root := fs.String("root", "..", "folder of the project")
	if err := fs.Parse(args); err != nil {
		return err
	}
	simulate.Batch()
	if *alone {
		rows, err := speed(ctx, os.DirFS(*root), stderr)
		if err != nil {
			return err
		}
		return judge(rows, stdout)
	}
	list := classes()
	if *only != "" {
		list = slices.DeleteFunc(list, func(c class) bool { return !slices.Contains(strings.Split(*only, ","), c.name) })
	}
	g, err := play(ctx, os.DirFS(*root), list, *seeds, *seed, stderr)
	if err != nil {
		return err
	}
	if *only != "" {
		fmt.Fprint(stdout, g.page(g.measures()))
		return nil
	}
	rows := g.measures()
	if *page != "" { // without the speed: the same seeds give the same page on every machine
		if err := os.WriteFile(*page, []byte(g.page(rows)), 0o644); err != nil {
			return err
		}
	}
	fast, err := speed(ctx, os.DirFS(*root), stderr)
	if err != nil {
		return err
	}
	rows = append(rows, fast...)
	if err := result.Write(filepath.Join(*out, "operations.json"), rows); err != nil {
		return err
	}
	return judge(rows, stdout)
}

// judge prints the rows; an error says that a target does not hold.
func judge(rows []result.Row, stdout io.Writer) error {
	if err := result.Table(stdout, rows); err != nil {
		return err
	}
	if missed := result.Missed(rows); len(missed) > 0 {
		return fmt.Errorf("%d of %d measures miss their target, the first is %q", len(missed), len(rows), missed[0].Name)
	}
	return nil
}
