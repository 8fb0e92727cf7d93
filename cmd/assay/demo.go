package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/gameday"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// demoDir is where the demo lives unless a flag says otherwise. The setting of the
// configuration is somebody's real state directory, so only the flag counts.
const demoDir = ".assay-demo"

// playFlags are the flags of everything that plays on real processes.
type playFlags struct {
	listen string
	seed   uint64
	rate   float64
}

// maxPlayRate is more requests per second than one machine answers.
const maxPlayRate = 100_000

// check refuses at once what would else be found when everything is built.
func (f *playFlags) check() error {
	if !(f.rate > 0 && f.rate <= maxPlayRate) {
		return usageError{fmt.Errorf("--rate %v is not above 0 and at most %d requests per second", f.rate, maxPlayRate)}
	}
	return nil
}

func (f *playFlags) add(cmd *cobra.Command, listen string) {
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", listen, "address of the page and the API; port 0 takes a free one")
	fs.Uint64Var(&f.seed, "seed", 0, "of faults and arrivals (default a fresh one, which is printed)")
	fs.Float64Var(&f.rate, "rate", gameday.DefaultRate, "requests per second to aim at; it is lowered to what the machine bears")
}

func (a *app) demoCmd() *cobra.Command {
	var f playFlags
	var once, healthy bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it all on this machine: a bad release is caught, a good one promoted",
		Long: `Show it all on this machine, with real HTTP traffic between real processes: a
small shop is tested, built and released in five versions behind the embedded proxy.
v2 has a fault that its tests do not show, and is stopped as a canary; v3 is
promoted; v4 carries a vulnerability, and is refused but for an exception; v5 has no
attestation, and is refused entry. Then it stays up for a look at the page, until
Ctrl-C.

Needs the go command. Writes below --dir, ` + demoDir + ` by default, and into Go's
build cache, and changes nothing else; a folder that no demo made is refused. Children end with it.

Exit codes: 0 came out as described · 1 error · 2 usage · 3 something did not come
out as described.`,
		Example: `  assay demo
  assay demo --once -o json --listen 127.0.0.1:0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.play(cmd.Context(), f, !once, func(w *gameday.World) (gameday.Report, error) { return w.Demo(healthy) })
		},
	}
	f.add(cmd, "127.0.0.1:7070")
	cmd.Flags().BoolVar(&once, "once", false, "end with the play instead of staying up")
	cmd.Flags().BoolVar(&healthy, "healthy", false, "switch the regression of v2 off: it is promoted")
	cmd.AddCommand(a.demoLoadCmd(), a.demoCallerCmd(), a.demoFunctionCmd(), a.demoWorkerCmd())
	return cmd
}

// play opens a world, plays on it, and tells what came of it.
func (a *app) play(ctx context.Context, f playFlags, stay bool, plot func(*gameday.World) (gameday.Report, error)) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir := demoDir
	if a.cfg["dir"].origin == "flag" {
		dir = a.cfg.get("dir")
	}
	for f.seed == 0 {
		f.seed = rand.Uint64()
	}
	talk := &narrator{out: a.out}
	if a.format != "table" {
		talk.out = a.err
	}
	w, err := gameday.Open(ctx, gameday.Config{
		Exe: exe, Dir: dir, Listen: f.listen, Seed: f.seed, Rate: f.rate, Env: os.Environ(), Began: a.began(), Log: talk,
	})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := w.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	report, err := plot(w)
	if !stay {
		return a.tellPlay(ctx, report, err, nil)
	}
	return a.tellPlay(ctx, report, err, w.Stay)
}

// tellPlay tells what came of a play that is over, and then stays for as long as stay
// takes, which may be nil. Who stops a play before its end is told what came of it until
// then, and that it did not end: only who stops looking has seen all.
func (a *app) tellPlay(ctx context.Context, report gameday.Report, failed error, stay func() error) error {
	if failed != nil && ctx.Err() != nil {
		failed = assay.Errorf(assay.CodeUnavailable, "the play was interrupted before its end: %d outcomes until then", len(report.Checks))
	}
	if failed != nil {
		report.OK, stay = false, nil
	}
	if err := a.print(report, func() { a.playVerdict(report, stay != nil) }); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	if stay != nil {
		if err := stay(); err != nil {
			return err
		}
	}
	if !report.OK {
		return exit(exitFailed)
	}
	return nil
}

// began is when the person asked; close enough to the start of the process.
func (a *app) began() time.Time { return time.Now() }

// playVerdict is the end of a play: the verdict, and the next command.
func (a *app) playVerdict(r gameday.Report, stay bool) {
	failed := gameday.Failed(r.Checks)
	for _, c := range failed {
		fmt.Fprintf(a.out, "%s %-9s %s: got %s\n", a.out.Paint(term.Vermilion, "✗"), "not so", c.Name, c.Got)
	}
	verdict := a.out.Paint(term.Green, "came out as described")
	switch {
	case !r.OK && len(failed) == 0: // what ended it is said behind
		verdict = a.out.Paint(term.Vermilion, "ended before it was over")
	case !r.OK:
		verdict = a.out.Paint(term.Vermilion, "did NOT come out as described")
	}
	load := ""
	if r.RateRPS > 0 {
		load = fmt.Sprintf(", at %s requests/s on average", gameday.Thousands(int(r.RateRPS)))
	}
	fmt.Fprintf(a.out, "\n%s %s: %d of %d outcomes, in %s%s\n",
		a.out.Bold(r.Play), verdict, len(r.Checks)-len(failed), len(r.Checks), r.Took, load)
	switch {
	case stay:
		fmt.Fprintf(a.out, "look at %s  (stop with Ctrl-C)\n", a.out.Bold(r.URL))
	case r.OK:
		fmt.Fprintf(a.out, "next: assay demo, and look at the page; what is left of this one: %s\n", r.Dir)
	default:
		fmt.Fprintf(a.out, "next: look at the logs in %s/logs\n", r.Dir)
	}
}

// demoLoadCmd is how the demo runs its load as a process of its own.
func (a *app) demoLoadCmd() *cobra.Command {
	var c gameday.LoadConfig
	cmd := &cobra.Command{
		Use:    "load",
		Hidden: true,
		Short:  "Send requests to the demo's shop",
		Long: `Send requests to the demo's shop, arriving by chance at a steady rate, and report
on them as lines of JSON. After SIGUSR1 it is night, with a part of the rate, until
SIGUSR2. Reads and changes nothing here.

Exit codes: 0 stopped · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var stop func()
			c.Share, stop = gameday.Nights()
			defer stop()
			return gameday.Load(cmd.Context(), c, io.Writer(a.out))
		},
	}
	cmd.Flags().StringVar(&c.Target, "target", "", "URL of the shop")
	cmd.Flags().Float64Var(&c.Rate, "rate", gameday.DefaultRate, "requests per second to aim at")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 1, "of arrivals and of what is asked for")
	_ = cmd.MarkFlagRequired("target") // fails only for a flag that does not exist
	return cmd
}

// demoCallerCmd is how a game day runs callers that try again as processes of their own.
func (a *app) demoCallerCmd() *cobra.Command {
	var c gameday.CallerConfig
	cmd := &cobra.Command{
		Use:    "caller",
		Hidden: true,
		Short:  "Send requests that are tried again to a service of a game day",
		Long: `Send requests to a service of a game day, arriving by chance at a steady rate, try
again what fails, and report on them as lines of JSON. Reads and changes nothing here.

Exit codes: 0 stopped · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return gameday.Caller(cmd.Context(), c, io.Writer(a.out))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&c.Target, "target", "", "URL that requests are sent to")
	fs.StringVar(&c.Host, "host", "", "that requests name (default the target's)")
	fs.StringVar(&c.Class, "class", "", "of the requests")
	fs.Float64Var(&c.Rate, "rate", 10, "requests per second")
	fs.Uint64Var(&c.Seed, "seed", 1, "of arrivals")
	fs.UintVar(&c.Tries, "tries", 4, "attempts of one request at most")
	fs.DurationVar(&c.Timeout, "timeout", 250*time.Millisecond, "of one attempt")
	fs.DurationVar(&c.Deadline, "deadline", time.Second, "of a request with all its attempts")
	fs.Float64Var(&c.Budget, "budget", 0, "retries for each request, on average; 0 is no bound")
	_ = cmd.MarkFlagRequired("target") // fails only for a flag that does not exist
	return cmd
}

// demoFunctionCmd is how a game day runs functions as processes of their own.
func (a *app) demoFunctionCmd() *cobra.Command {
	var c gameday.FunctionConfig
	cmd := &cobra.Command{
		Use:    "function",
		Hidden: true,
		Short:  "Handle the events of a game day",
		Long: `Handle the events of a game day: a function for AWS Lambda, which a platform starts
with AWS_LAMBDA_RUNTIME_API in its environment. Reads and changes nothing here.

Exit codes: 0 stopped · 1 error or the platform is gone · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Runtime = os.Getenv("AWS_LAMBDA_RUNTIME_API")
			return gameday.Function(cmd.Context(), c)
		},
	}
	cmd.Flags().StringVar(&c.Database, "database", "", "URL of the database that it writes to")
	_ = cmd.MarkFlagRequired("database") // fails only for a flag that does not exist
	return cmd
}

// demoWorkerCmd is how a game day runs workers as processes of their own.
func (a *app) demoWorkerCmd() *cobra.Command {
	var c gameday.WorkerConfig
	cmd := &cobra.Command{
		Use:    "worker",
		Hidden: true,
		Short:  "Do the tasks of a game day",
		Long: `Do the tasks of a game day, one after the other, until it is stopped or none are left.
Reads and changes nothing here.

Exit codes: 0 stopped or done · 1 error · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return gameday.Worker(cmd.Context(), c) },
	}
	cmd.Flags().StringVar(&c.Tray, "tray", "", "URL of the tray that the tasks lie in")
	cmd.Flags().StringVar(&c.Name, "name", "worker", "of this process, for the tray")
	cmd.Flags().DurationVar(&c.Takes, "takes", 0, "how long a task takes at least")
	cmd.Flags().DurationVar(&c.Warms, "warms", 0, "how long it takes until it asks for the first")
	_ = cmd.MarkFlagRequired("tray") // fails only for a flag that does not exist
	return cmd
}
