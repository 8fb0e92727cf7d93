// Package run is the frame of every benchmark that is measured in parts: its flags,
// its work folder, its progress, and what becomes of its rows. A benchmark states
// its parts and hands them to Main.
package run

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"assay.dev/assay/bench/result"
)

// Bench is one run: its sizes, where it works and what it measured.
type Bench struct {
	Rounds  int    // of everything that is measured in rounds, at least 1
	Program string // path of the assay binary
	Root    string // of the module that is measured
	Dir     string // work folder, on the disk that is measured; removed at the end
	Rows    []result.Row

	log   io.Writer
	began time.Time
}

// Part is one group of measures, by the name that -only takes. It appends to b.Rows.
type Part struct {
	Name string
	Run  func(ctx context.Context, b *Bench) error
}

// Main runs the parts in their order, prints their table, keeps it in
// out/NAME.json and ends the process: with 1 if something failed or a target does
// not hold. rounds is how often a measure is repeated unless -rounds says otherwise.
func Main(name string, rounds int, parts ...Part) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, name, rounds, parts, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, rounds int, parts []Part, args []string, stdout, stderr io.Writer) error {
	b := &Bench{log: stderr, began: time.Now()}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&b.Rounds, "rounds", rounds, "how often each measure is repeated, at least 1")
	out := fs.String("out", "out", "folder for "+name+".json and for work files; it should lie on the disk to measure")
	program := fs.String("assay", filepath.Join("..", "bin", "assay"), "the assay binary")
	only := fs.String("only", "", "comma-separated parts to run: "+names(parts)+" (default: all)")
	profile := fs.String("cpuprofile", "", "write a CPU profile of this process to this file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if b.Rounds < 1 {
		return fmt.Errorf("-rounds %d is not at least 1", b.Rounds)
	}
	chosen, err := choose(parts, *only)
	if err != nil {
		return err
	}
	stopProfile, err := startProfile(*profile)
	if err != nil {
		return err
	}
	defer stopProfile()
	if err := b.settle(*program, *out); err != nil {
		return err
	}
	defer os.RemoveAll(b.Dir)
	b.Say("%s", machine())
	for _, p := range chosen {
		if err := p.Run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	b.Say("%s", machine())
	if *only == "" { // a part alone is no result to keep
		if err := result.Write(filepath.Join(*out, name+".json"), b.Rows); err != nil {
			return err
		}
	}
	if err := result.Table(stdout, b.Rows); err != nil {
		return err
	}
	if missed := result.Missed(b.Rows); len(missed) > 0 {
		return fmt.Errorf("%d of %d measures miss their target, the first is %q", len(missed), len(b.Rows), missed[0].Name)
	}
	return nil
}

// settle makes the paths absolute and the work folder below out.
func (b *Bench) settle(program, out string) (err error) {
	if b.Program, err = filepath.Abs(program); err != nil {
		return err
	}
	if b.Root, err = filepath.Abs(".."); err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	b.Dir, err = os.MkdirTemp(out, "work-")
	return err
}

// choose returns the parts that only names, all of them if it is empty.
func choose(parts []Part, only string) ([]Part, error) {
	if only == "" {
		return parts, nil
	}
	var out []Part
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, p := range parts {
			if p.Name == name {
				out, found = append(out, p), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only %q: there is no part %q; there are %s", only, name, names(parts))
		}
	}
	return out, nil
}

func names(parts []Part) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.Name
	}
	return strings.Join(out, ", ")
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

// Say writes a line of progress.
func (b *Bench) Say(format string, args ...any) {
	fmt.Fprintf(b.log, "%5.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// Log is where progress goes.
func (b *Bench) Log() io.Writer { return b.log }

// Folder makes a fresh folder for one round.
func (b *Bench) Folder() (string, error) { return os.MkdirTemp(b.Dir, "round-") }

// machine says what can disturb: how many processors, and how many processes want
// them. Above a load of the processors' number other programs were measured too.
func machine() string {
	load := "load unknown"
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = "load " + strings.Join(strings.Fields(string(data))[:3], " ")
	}
	return fmt.Sprintf("%s %s/%s, %d processors, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load)
}
