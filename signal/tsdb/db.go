// Package tsdb keeps series in an embedded Prometheus database and answers
// PromQL over them.
//
// The mental model is a Prometheus without its servers: the same storage, the
// same query engine, the same language. Everything that is Prometheus' own
// stands in this one package, pinned and held by contract tests, because
// upstream promises nothing to those who use it as a library.
//
// The namespace is enforced here: every selector of every query is made to
// match the caller's namespace, and one that asks for another is refused.
package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	// MaxQueryTime is how long one query may run.
	MaxQueryTime = 10 * time.Second
	// MaxQuerySamples is how many samples one query may hold in memory.
	MaxQuerySamples = 5_000_000
	// MaxPoints is how many steps a range query may have.
	MaxPoints = 11_000
	// MaxSeries is how many series one query or reading may select or return.
	MaxSeries = 10_000
)

// DefaultRetention is how long samples are kept unless the options say otherwise.
const DefaultRetention = 15 * 24 * time.Hour

// Options of a database. The zero value works.
type Options struct {
	Retention  time.Duration         // DefaultRetention if 0
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // of Prometheus' own metrics; may be nil
	// Free is how many bytes are left on the disk of a folder; nil asks the system.
	Free func(dir string) (uint64, error)
}

// DB is an open database. It is a signal.Sink and a signal.Source. Safe for
// concurrent use.
type DB struct {
	db     *tsdb.DB
	engine *promql.Engine
	parser parser.Parser

	log       *slog.Logger
	retention time.Duration
	free      func(dir string) (uint64, error) // bytes left on the disk of a folder

	mu       sync.Mutex       // guards what follows
	arrivals map[uint64]int64 // by the hash of a series' labels, Unix milliseconds
	swept    time.Time
}

var (
	_ signal.Sink   = (*DB)(nil)
	_ signal.Source = (*DB)(nil)
)

// Open opens the database in dir and replays its log; dir belongs to one
// process at a time. The caller closes it.
func Open(dir string, opts Options) (*DB, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Retention == 0 {
		opts.Retention = DefaultRetention
	}
	if opts.Free == nil {
		opts.Free = freeSpace
	}
	o := tsdb.DefaultOptions()
	o.RetentionDuration = opts.Retention.Milliseconds()
	o.OutOfOrderTimeWindow = (signal.MaxBehind + signal.MaxAhead).Milliseconds() // relative to the newest sample, which may be MaxAhead of now
	o.WALCompression = compression.Snappy
	o.StripeSize = 1 << 10 // series of one control plane, not of a fleet
	o.HeadChunksWriteBufferSize = 1 << 20
	o.EnableSTAsZeroSample = true // a counter whose start is known counts from its first sample on
	db, err := tsdb.Open(dir, opts.Logger, opts.Registerer, o, nil)
	if err != nil {
		return nil, &assay.Error{Code: assay.CodeUnavailable, File: filepath.Clean(dir), Msg: fmt.Sprintf("the series database cannot be opened: %v", err), Hint: "is another process using it?", Err: err}
	}
	p := parser.NewParser(parser.Options{})
	return &DB{
		db: db, parser: p, arrivals: map[uint64]int64{}, log: opts.Logger, retention: opts.Retention, free: opts.Free,
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: opts.Logger, MaxSamples: MaxQuerySamples, Timeout: MaxQueryTime, LookbackDelta: signal.Lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
			EnableAtModifier:         true, EnableNegativeOffset: true, Parser: p,
		}),
	}, nil
}

// Close stops background work and closes the files; nothing that was
// acknowledged is lost.
func (d *DB) Close() error { return errors.Join(d.engine.Close(), d.db.Close()) }

// Series is the number of series in memory.
func (d *DB) Series() int { return int(d.db.Head().NumSeries()) }

// Append implements signal.Sink. The samples become visible in one commit.
func (d *DB) Append(ctx context.Context, samples []signal.Sample, now time.Time) (signal.Result, error) {
	var res signal.Result
	if len(samples) == 0 {
		return res, nil
	}
	app := d.db.AppenderV2(ctx)
	stored := make([]uint64, 0, len(samples))
	for _, s := range samples {
		_, err := app.Append(0, s.Labels, s.Start, s.Time, s.Value, s.H, s.FH, storage.AOptions{})
		switch {
		case err == nil:
			stored = append(stored, s.Labels.Hash())
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			res.Refuse(signal.RefusedConflict, 1, "another value is stored for this time: "+err.Error())
		case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
			res.Refuse(signal.RefusedOld, 1, "the sample is older than its series may still get: "+err.Error())
		default:
			return signal.Result{}, errors.Join(assay.Errorf(assay.CodeUnavailable, "a sample cannot be appended: %w", err), app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return signal.Result{}, assay.Errorf(assay.CodeUnavailable, "the batch cannot be stored: %w", err)
	}
	res.Accepted = len(stored)
	d.arrived(stored, now)
	return res, nil
}

// arrived remembers when each series last got something, for as long as a
// reading may look back.
func (d *DB) arrived(stored []uint64, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := now.UnixMilli()
	for _, hash := range stored {
		d.arrivals[hash] = at
	}
	if now.Sub(d.swept) < signal.Lookback {
		return
	}
	d.swept = now
	for hash, t := range d.arrivals {
		if at-t > (signal.MaxBehind + signal.Lookback).Milliseconds() {
			delete(d.arrivals, hash)
		}
	}
}
