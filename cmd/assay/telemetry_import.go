package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/signal"
	"github.com/spf13/cobra"
)

// histories is what the telemetry commands need of a control plane.
type histories interface {
	BeginImport(ctx context.Context, req api.ImportRequest) (api.ImportBegun, error)
	ImportPiece(ctx context.Context, id string, n int, body io.Reader) (api.ImportTaken, error)
	CompleteImport(ctx context.Context, id string, req api.ImportCompletion) (api.Import, error)
	AbandonImport(ctx context.Context, id string) error
}

const (
	// reportEvery is how often an import says how far it has come.
	reportEvery = 2 * time.Second
	// pieceAttempts is how often one piece is sent.
	pieceAttempts = 4
	// maxBackendToken is the largest file with a token, in bytes.
	maxBackendToken = 16 << 10
)

func (a *app) telemetryCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "telemetry", Short: "Bring history into the series, so that forecasts and budgets do not begin with nothing"}
	cmd.AddCommand(a.telemetryImportCmd())
	return cmd
}

// importFlags are the flags of telemetry import.
type importFlags struct {
	prometheus, match, start, end string
	step                          time.Duration
	tokenFile                     string
	dryRun                        bool
}

func (a *app) telemetryImportCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Import history from a file, or from a Prometheus",
		Long: `Import history from a file, or from a Prometheus.

FILE is OpenMetrics text with timestamps, what promtool tsdb create-blocks-from
openmetrics takes; - is the standard input. With --prometheus the samples of --match
are asked of a server with its HTTP API, an hour at a time and as they were scraped, or
with --step one point for each step; its bearer token, if it wants one, is in
ASSAY_BACKEND_TOKEN or --backend-token-file and goes nowhere else.

History is what nothing was counted of yet: it ends before the first sample of a metric
that came in by another road, and half an hour ago. What stands stays, so the same
import again changes nothing, and a minute that was counted never changes. All of it
becomes readable at once, or nothing: an import that breaks off is begun anew.

Budgets then count it as far as their windows reach back, detectors of anomalies learn
anew, and forecasts are made of it.

Reads FILE, or asks --prometheus; writes the series of a state directory that no server
uses, or sends to --server, with the role operator. Records who imported what.

Exit codes: 0 imported, or nothing was new · 1 error, nothing was imported · 2 usage.`,
		Example: `  assay telemetry import history.om
  assay telemetry import --prometheus https://prometheus.example --match '{job="shop"}' --start 21d
  assay telemetry import --prometheus http://localhost:9090 --match 'requests_total' --start 21d --step 1m --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.historyOf(f, args)
			if err != nil {
				return err
			}
			defer h.Close()
			done, err := a.importHistory(cmd.Context(), h, f.dryRun)
			if err != nil {
				return err
			}
			return a.print(done, func() { a.showImport(done) })
		},
	}
	cmd.Flags().StringVar(&f.prometheus, "prometheus", "", "URL of a server with the HTTP API of Prometheus, instead of FILE")
	cmd.Flags().StringVar(&f.match, "match", "", "selector of the series, with --prometheus")
	cmd.Flags().StringVar(&f.start, "start", "", "first sample, with --prometheus: a time, or how long ago, for example 21d")
	cmd.Flags().StringVar(&f.end, "end", "0s", "end of the samples, with --prometheus: a time, or how long ago")
	cmd.Flags().DurationVar(&f.step, "step", 0, "ask for one point for each step instead of all samples, with --prometheus; at most 5m")
	cmd.Flags().StringVar(&f.tokenFile, "backend-token-file", "", "file that holds the bearer token of --prometheus (default ASSAY_BACKEND_TOKEN)")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be imported, and import nothing")
	return cmd
}

// past is history that somebody reads, with what is told of it.
type past struct {
	signal.History
	source string              // in words
	done   func() string       // how far it was read; "" if nobody knows
	input  func() assay.Digest // of a file that was read to its end; "" if it was none
}

// historyFile is history from a file.
type historyFile interface {
	signal.History
	Bytes() int64
	Digest() assay.Digest
}

// historyServer is history from a server.
type historyServer interface {
	signal.History
	Done() float64
}

// words say what is asked of a server, for the record.
func (f importFlags) words(start, end time.Time) string {
	match := f.match
	if len(match) > 500 {
		match = strings.ToValidUTF8(match[:500], "") + "…"
	}
	out := fmt.Sprintf("%s %s from %s to %s", f.prometheus, strings.Join(strings.Fields(match), " "), start.Format(time.RFC3339), end.Format(time.RFC3339))
	if f.step > 0 {
		out += " every " + f.step.String()
	}
	return out
}

// historyOf opens what the flags name.
func (a *app) historyOf(f importFlags, args []string) (past, error) {
	if (f.prometheus == "") == (len(args) == 0) {
		return past{}, usageError{errors.New("name a FILE, or a server with --prometheus; see: assay telemetry import --help")}
	}
	if f.prometheus == "" {
		if f.match != "" || f.start != "" || f.step != 0 || f.tokenFile != "" {
			return past{}, usageError{errors.New("--match, --start, --step and --backend-token-file go with --prometheus")}
		}
		return a.historyFile(args[0])
	}
	if f.match == "" || f.start == "" {
		return past{}, usageError{errors.New(`--prometheus needs --match, for example '{job="shop"}', and --start, for example 21d`)}
	}
	now := a.now().UTC()
	start, err := parsePast(f.start, now)
	if err != nil {
		return past{}, usageError{fmt.Errorf("--start: %w", err)}
	}
	end, err := parsePast(f.end, now)
	if err != nil {
		return past{}, usageError{fmt.Errorf("--end: %w", err)}
	}
	token := a.env("ASSAY_BACKEND_TOKEN")
	if f.tokenFile != "" {
		data, err := readFile(f.tokenFile, maxBackendToken)
		if err != nil {
			return past{}, err
		}
		token = strings.TrimSpace(string(data))
	}
	b, err := openBackend(f, start, end, token)
	if err != nil {
		return past{}, err
	}
	return past{
		History: b, source: f.words(start, end), input: func() assay.Digest { return "" },
		done: func() string { return fmt.Sprintf(", %.0f %% of the span", 100*b.Done()) },
	}, nil
}

// historyFile opens a file; "-" is the standard input.
func (a *app) historyFile(name string) (past, error) {
	if name == "-" {
		return ofFile("standard input", a.stdin, 0), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return past{}, err
	}
	var size int64
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return ofFile(filepath.Base(name), file, size), nil
}

// ofFile is the history of a file of so many bytes; 0 if nobody knows.
func ofFile(name string, r io.Reader, size int64) past {
	file := openHistory(name, r)
	return past{History: file, source: "file " + name, input: file.Digest, done: func() string {
		if size == 0 {
			return ""
		}
		return fmt.Sprintf(", %d %% of the file", 100*file.Bytes()/size)
	}}
}

// importHistory sends history to the control plane that the configuration names.
func (a *app) importHistory(ctx context.Context, h past, dryRun bool) (api.Import, error) {
	a.extend = a.extendHistory
	return ask(ctx, a, stateNeeded, func(ops *operations) (api.Import, error) {
		begun, err := ops.BeginImport(ctx, api.ImportRequest{Source: h.source})
		if err != nil {
			return api.Import{}, err
		}
		if err := a.sendPieces(ctx, ops, h, begun.ID); err != nil {
			// What cannot be told is dropped after a while.
			_ = ops.AbandonImport(context.WithoutCancel(ctx), begun.ID)
			return api.Import{}, err
		}
		fmt.Fprintln(a.err, "writing blocks")
		return ops.CompleteImport(ctx, begun.ID, api.ImportCompletion{Input: h.input(), DryRun: dryRun})
	})
}

// sendPieces sends all of it, and says now and then how far it has come.
func (a *app) sendPieces(ctx context.Context, ops histories, h past, id string) error {
	sent, n, told := 0, 0, a.now()
	for {
		samples, err := h.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		pieces, err := signal.Pieces(samples)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			n++
			if err := sendPiece(ctx, ops, id, n, p); err != nil {
				return err
			}
		}
		sent += len(samples)
		if now := a.now(); now.Sub(told) >= reportEvery {
			told = now
			fmt.Fprintf(a.err, "%s sent%s\n", plural(sent, "sample"), h.done())
		}
	}
}

// sendPiece sends one piece, and again if it is not known what became of it.
func sendPiece(ctx context.Context, ops histories, id string, n int, piece []byte) error {
	_, first := ops.ImportPiece(ctx, id, n, bytes.NewReader(piece))
	err := first
	for try := 1; try < pieceAttempts && assay.CodeOf(err) == assay.CodeUnavailable; try++ {
		timer := time.NewTimer(time.Duration(try) * time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		_, err = ops.ImportPiece(ctx, id, n, bytes.NewReader(piece))
	}
	if assay.CodeOf(err) == assay.CodeNotFound { // it was dropped: why is in the first answer
		return first
	}
	return err
}

// extendHistory lets a state directory that no server uses take history.
func (a *app) extendHistory(ctx context.Context, in *installation, cfg *control.Config) error {
	p, err := cfg.Policy()
	if err != nil {
		return err
	}
	if in.telemetry, err = a.openTelemetry(a.cfg.get("dir"), p.Revision); err != nil {
		return err
	}
	return a.addHistory(ctx, in, cfg)
}

// addHistory lets the plane take history, and ends what an import left that broke off.
func (a *app) addHistory(ctx context.Context, in *installation, cfg *control.Config) error {
	t, namespace := in.telemetry, a.cfg.get("namespace")
	cfg.History = &control.History{
		Namespace: namespace,
		Stage:     func(now time.Time) (signal.Staging, error) { return t.db.Stage(namespace, t.watch, now) },
		Recount:   t.books.Recount,
	}
	if t.anomalies != nil {
		cfg.History.Relearn = t.anomalies.Relearn
	}
	return t.db.Recover(ctx, func(namespace string, fact assay.FactID) (bool, error) {
		return control.ImportRecorded(ctx, in.store, namespace, fact)
	})
}

// showImport is what an import brought, for people.
func (a *app) showImport(i api.Import) {
	what := "imported"
	if i.DryRun {
		what = "would import"
	}
	switch {
	case i.Samples == 0:
		fmt.Fprintln(a.out, "nothing new: what was sent stands already, or is no history")
	default:
		fmt.Fprintf(a.out, "%s %s of %d series, %s to %s\n", what, plural(i.Samples, "sample"), i.Series, i.Oldest.Format(time.RFC3339), i.Newest.Format(time.RFC3339))
	}
	if i.Duplicates > 0 {
		fmt.Fprintf(a.out, "  %d stood already\n", i.Duplicates)
	}
	for _, why := range slices.Sorted(maps.Keys(i.Refused)) {
		fmt.Fprintf(a.out, "  %d left out: %s\n", i.Refused[why], refusals[signal.Reason(why)])
	}
	if i.First != "" {
		fmt.Fprintf(a.out, "  the first of them: %s\n", i.First)
	}
	if len(i.Objectives) > 0 {
		fmt.Fprintf(a.out, "  counted by %s\n", strings.Join(i.Objectives, ", "))
	}
	if i.Fact != "" {
		fmt.Fprintf(a.out, "  recorded as %s\n", i.Fact)
	}
}

// refusals say in words why samples were left out.
var refusals = map[signal.Reason]string{
	signal.RefusedNaN:       "not a number",
	signal.RefusedNegative:  "counters below zero",
	signal.RefusedOld:       "older than series are kept",
	signal.RefusedLabels:    "labels or names that no series can have",
	signal.RefusedConflict:  "another value stands at the time, and stays",
	signal.RefusedHistogram: "native histograms",
	signal.RefusedMeasured:  "measured here from then on",
	signal.RefusedRecent:    "of the last half hour, which may still come by itself",
	signal.RefusedCovered:   "an earlier import brought the series for the time",
}
