// Command loop measures the run-time loop: what the proxy adds to a request, how
// long it takes from the arrival of data to a moved share, how soon the demo shows
// its page, and what an idle control plane holds in memory.
//
// It prints a table, keeps the rows in out/loop.json and exits with 1 if a target
// does not hold. Run it with `make bench-loop`, which builds the program first, on a
// machine that does nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loop:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	rounds  int
	program string // the assay binary
	root    string // of the module that is measured
	dir     string // work folder
	log     io.Writer
	began   time.Time
	rows    []result.Row
}

// parts are the measures in their order, by the names that -only takes.
var parts = []struct {
	name string
	run  func(b *bench, ctx context.Context) error
}{
	{"proxy", (*bench).proxy},
	{"react", (*bench).react},
	{"demo", (*bench).demo},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("loop", flag.ContinueOnError)
	fs.SetOutput(stderr)
	rounds := fs.Int("rounds", 3, "how often each measure is repeated, at least 1")
	out := fs.String("out", "out", "folder for loop.json and for work files")
	program := fs.String("assay", filepath.Join("..", "bin", "assay"), "the assay binary")
	only := fs.String("only", "", "comma-separated parts to run: proxy, react, demo (default: all)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds %d is not at least 1", *rounds)
	}
	b := &bench{rounds: *rounds, log: stderr, began: time.Now()}
	var err error
	if b.program, err = filepath.Abs(*program); err != nil {
		return err
	}
	if b.root, err = filepath.Abs(".."); err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	path, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(path, "work-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.say("%s", machine())
	for _, p := range parts {
		if *only != "" && !strings.Contains(","+*only+",", ","+p.name+",") {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if len(b.rows) == 0 {
		return fmt.Errorf("-only %q names no part", *only)
	}
	if *only == "" { // a part alone is no result to keep
		if err := result.Write(filepath.Join(*out, "loop.json"), b.rows); err != nil {
			return err
		}
	}
	b.say("%s", machine())
	if err := result.Table(stdout, b.rows); err != nil {
		return err
	}
	if missed := result.Missed(b.rows); len(missed) > 0 {
		return fmt.Errorf("%d of %d measures miss their target, the first is %q", len(missed), len(b.rows), missed[0].Name)
	}
	return nil
}

// say writes a line of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%5.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// machine says what can disturb.
func machine() string {
	load := "load unknown"
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = "load " + strings.Join(strings.Fields(string(data))[:3], " ")
	}
	return fmt.Sprintf("%s %s/%s, %d processors, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load)
}
