// Command spine measures the path that every artifact takes, from a fact in the
// store to a proof from the ledger and a verdict of the gate, beside what the same
// machine does without any of it.
//
// It prints a table, keeps the rows in out/spine.json below its folder's parent,
// and exits with 1 if a target does not hold. Run it with `make bench-spine`,
// which builds the program first, on a machine that does nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
	"assay.dev/assay/ledger/posix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == launchWord {
		os.Exit(launch(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "spine:", err)
		os.Exit(1)
	}
}

// bench is one run: its sizes, where it works and what it measured.
type bench struct {
	rounds  int    // of everything that is measured in rounds
	program string // the assay binary
	dir     string // work folder, on the disk that is measured
	log     io.Writer
	began   time.Time
	rows    []result.Row
}

// parts are the measures in their order, by the names that -only takes.
var parts = []struct {
	name string
	run  func(b *bench, ctx context.Context) error
}{
	{"facts", (*bench).facts},
	{"sequencer", (*bench).sequencer},
	{"proof", (*bench).proof},
	{"gate", (*bench).gate},
	{"start", (*bench).start},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("spine", flag.ContinueOnError)
	fs.SetOutput(stderr)
	rounds := fs.Int("rounds", 5, "how often each measure is repeated, at least 1")
	out := fs.String("out", "out", "folder for spine.json and for work files; it should lie on the disk to measure")
	program := fs.String("assay", filepath.Join("..", "bin", "assay"), "the assay binary")
	only := fs.String("only", "", "comma-separated parts to run: facts, sequencer, proof, gate, start (default: all)")
	profile := fs.String("cpuprofile", "", "write a CPU profile of this process to this file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds %d is not at least 1", *rounds)
	}
	stopProfile, err := startProfile(*profile)
	if err != nil {
		return err
	}
	defer stopProfile()
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	path, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(path, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	posix.RedirectLog(slog.New(slog.DiscardHandler))
	b := &bench{rounds: *rounds, program: *program, dir: dir, log: stderr, began: time.Now()}
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
		if err := result.Write(filepath.Join(*out, "spine.json"), b.rows); err != nil {
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

// startProfile starts a CPU profile into the file at path, none if it is empty.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a cut profile does not parse, which the reader is told
	}, nil
}

// say writes a line of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%5.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// folder makes a fresh folder for one store or ledger.
func (b *bench) folder() (string, error) { return os.MkdirTemp(b.dir, "round-") }

// machine says what can disturb: how many processors, and how many processes want
// them. Above a load of the processors' number other programs were measured too.
func machine() string {
	load := "load unknown"
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = "load " + strings.Join(strings.Fields(string(data))[:3], " ")
	}
	return fmt.Sprintf("%s %s/%s, %d processors, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load)
}

// allocated counts what the whole process allocates while fn runs.
func allocated(fn func() error) (objects, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err = fn()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc), err
}

// millis is d in milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
