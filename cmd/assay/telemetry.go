package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/budget"
	"assay.dev/assay/control"
	"assay.dev/assay/diverge"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
	"assay.dev/assay/slo"
	"github.com/prometheus/client_golang/prometheus"
)

// series is an open database of samples; wire.go knows which.
type series interface {
	signal.Sink
	signal.Source
	signal.Gauges
	io.Closer
	// Stage begins an import of history, and Recover ends those that broke off.
	Stage(namespace string, watch *signal.Watch, now time.Time) (signal.Staging, error)
	Recover(ctx context.Context, committed func(namespace string, fact assay.FactID) (bool, error)) error
}

// scraper fetches one target until its context ends.
type scraper interface{ Run(context.Context) }

// telemetry is the road of samples: in through the intake, kept as series, out
// to who waits for them: the books of objectives, and whoever else listens.
type telemetry struct {
	db     series
	intake *signal.Intake // nil if nothing comes in
	watch  *signal.Watch
	books  *budget.Books

	anomalies *anomaly.Watcher // nil if nothing watches
	regions   *diverge.Watcher // nil if nothing is compared

	scrapers  []scraper
	listeners []func(signal.Arrival) // complete before the first sample comes
}

// seriesDir is where the series of a state directory lie.
func seriesDir(data string) string { return filepath.Join(data, "series") }

// openTelemetry opens the series of a state directory for a policy's objectives.
func (a *app) openTelemetry(data string, rev *policy.Revision) (*telemetry, error) {
	objectives, _, err := control.ReadObjectives(rev.Objectives())
	if err != nil {
		return nil, belowAll(err, a.cfg.get("policy"))
	}
	longest := max(longestWindow(objectives), longestPast(rev.Strategies()))
	if err := durable.MkdirAll(seriesDir(data), 0o700); err != nil {
		return nil, err
	}
	t := &telemetry{watch: signal.NewWatch()}
	if t.db, err = a.openSeries(seriesDir(data), longest); err != nil {
		return nil, err
	}
	t.books = budget.New(budget.Config{Source: t.db, Namespace: a.cfg.get("namespace"), Watch: t.watch, Now: a.now})
	if err := t.books.SetObjectives(objectives); err != nil {
		return nil, errors.Join(err, t.db.Close())
	}
	t.listeners = append(t.listeners, t.books.Arrived)
	return t, nil
}

// takeIn lets samples come in: those that are sent, and those of the targets.
func (a *app) takeIn(t *telemetry, targets scrapeTargets, reg prometheus.Registerer) {
	if reg != nil {
		reg.MustRegister(t.books)
	}
	t.intake = signal.NewIntake(signal.Config{
		Sink: t.db, Now: a.now, Watch: t.watch, Registerer: reg,
		Arrived: func(batch signal.Arrival) {
			for _, tell := range t.listeners {
				tell(batch)
			}
		},
	})
	for _, target := range targets {
		t.scrapers = append(t.scrapers, a.newScraper(a.cfg.get("namespace"), target.job, target.url, t.intake))
	}
}

// scrapeTargets are the pages that --scrape names.
type scrapeTargets []scrapeTarget

type scrapeTarget struct {
	job string
	url *url.URL
}

// Set implements pflag.Value.
func (l *scrapeTargets) Set(text string) error {
	job, raw, ok := strings.Cut(text, "=")
	u, err := url.Parse(raw)
	if !ok || job == "" || err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("it is not JOB=URL, for example shop=http://127.0.0.1:9090/metrics")
	}
	*l = append(*l, scrapeTarget{job, u})
	return nil
}

// Type implements pflag.Value.
func (l *scrapeTargets) Type() string { return "JOB=URL" }

// String implements pflag.Value.
func (l *scrapeTargets) String() string {
	var out []string
	for _, t := range *l {
		out = append(out, t.job+"="+t.url.String())
	}
	return strings.Join(out, ",")
}

// follow keeps the books of another revision's objectives.
func (t *telemetry) follow(rev *policy.Revision) error {
	objectives, _, err := control.ReadObjectives(rev.Objectives())
	if err != nil {
		return err
	}
	if err := t.books.SetObjectives(objectives); err != nil || t.anomalies == nil {
		return err
	}
	if err := t.anomalies.SetObjectives(objectives); err != nil || t.regions == nil {
		return err
	}
	return t.regions.SetObjectives(objectives)
}

// run keeps the books and fetches the targets until ctx ends.
func (t *telemetry) run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	for _, s := range t.scrapers {
		parts.Go(func() { s.Run(ctx) })
	}
	if t.anomalies != nil {
		parts.Go(func() { _ = t.anomalies.Run(ctx) }) // it ends with ctx, and never fails
	}
	if t.regions != nil {
		parts.Go(func() { _ = t.regions.Run(ctx) }) // as above
	}
	return t.books.Run(ctx)
}

func (t *telemetry) close() error {
	if t == nil || t.db == nil {
		return nil
	}
	return t.db.Close()
}

// readTelemetry is for commands on a directory that no server uses: the books,
// read back, of what lies there. It is nil if no series do.
func (a *app) readTelemetry(ctx context.Context, data string) (*telemetry, error) {
	if _, err := os.Stat(seriesDir(data)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	p, err := a.policySource()()
	if err != nil {
		return nil, err
	}
	t, err := a.openTelemetry(data, p.Revision)
	if err != nil {
		return nil, err
	}
	for t.books.Step(ctx, a.now()) {
	}
	return t, ctx.Err()
}

// longestWindow is the longest window of the objectives, 0 if there are none.
func longestWindow(list []slo.Objective) (longest time.Duration) {
	for _, o := range list {
		longest = max(longest, o.Window.Longest())
	}
	return longest
}

// longestPast is the longest past that strategies forecast from, 0 if none does.
func longestPast(list []policy.Strategy) (longest time.Duration) {
	for _, s := range list {
		if s.Spec.Scale != nil && s.Spec.Scale.Forecast != nil {
			longest = max(longest, s.Spec.Scale.Forecast.Past.Value())
		}
	}
	return longest
}

// belowAll completes the file names of joined errors.
func belowAll(err error, folder string) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, belowAll(e, folder))
		}
		return errors.Join(out...)
	}
	return below(err, folder)
}

// flat lists the errors that were joined into one.
func flat(err error) []*assay.Error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*assay.Error
		for _, e := range many.Unwrap() {
			out = append(out, flat(e)...)
		}
		return out
	}
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return []*assay.Error{e}
	}
	return []*assay.Error{assay.Errorf(assay.CodeInvalid, "%w", err)}
}

// noRedirects is a client for addresses that an operator named: it goes nowhere else.
func noRedirects() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// warnings passes on what a chatty library says from warnings upwards.
type warnings struct{ slog.Handler }

// Handle implements slog.Handler. That blocks overlap is no news: those of an import do,
// until they are merged with what was there.
func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "Overlapping blocks found") {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// Enabled implements slog.Handler.
func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}
