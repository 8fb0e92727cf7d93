// Package posix keeps a ledger tree in a directory, with Tessera.
//
// The directory holds the C2SP files (checkpoint, tile/…) and what is private to
// the writer (.state/…); beside it lies the last signed head (<directory>.head).
// One process at a time has a directory open, by a lock taken before Tessera looks
// at it, because Tessera panics when its own locks fail.
//
// How a batch stays one batch. Tessera queues entries and flushes the queue when it
// holds BatchMaxSize entries or when its oldest entry is BatchMaxAge old. Two
// flushes may overtake each other on their way to the worker: the queue's lock is
// given back before the flush is handed over, and the timer hands over from a
// goroutine of its own. So swaps need two flushes under way. Here BatchMaxSize is
// never below the batch, and the queue is empty when a batch begins, because the
// one before was awaited; all entries are hashed before the first is added, so
// that the additions take far less than BatchMaxAge. A batch is then one flush:
// by size if it is full, else by age. Should the scheduler stop the adding goroutine
// for longer than BatchMaxAge, the batch becomes two flushes after all; then their
// indices may swap, or the first may fail and the second take its indices without
// an error on its own futures. Nothing here prevents that: the Sequencer compares
// every index, and reads the tree's end when one differs.
package posix

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Defaults and limits of Config.
const (
	// MinCheckpointInterval is the shortest time between checkpoints that Tessera accepts.
	MinCheckpointInterval     = 100 * time.Millisecond
	DefaultCheckpointInterval = 200 * time.Millisecond
	// DefaultBatchMaxAge is how long a batch that is not full waits for its flush.
	DefaultBatchMaxAge = 5 * time.Millisecond
	// DefaultCollect is how often partial tiles that a published full tile replaced
	// are removed. Readers who ask for them are answered with the full one.
	DefaultCollect = time.Minute
	// closeTimeout bounds the wait for appends under way and for the last checkpoint.
	closeTimeout = 10 * time.Second
)

// Config says which directory to open. Dir, Signer and Verifier are mandatory.
type Config struct {
	Dir      string        // of one epoch; made if it does not exist
	Signer   note.Signer   // Ed25519; its name is the origin
	Verifier note.Verifier // of Signer

	CheckpointInterval time.Duration // at least MinCheckpointInterval; default DefaultCheckpointInterval
	BatchMaxAge        time.Duration // default DefaultBatchMaxAge
	Collect            time.Duration // default DefaultCollect; negative keeps partial tiles for ever
	Log                *slog.Logger  // default discards
}

// Opener returns how the directory is opened.
func Opener(cfg Config) ledger.Opener {
	return func(ctx context.Context, vet ledger.Vet) (ledger.Tree, error) {
		return open(ctx, cfg, vet)
	}
}

// tree is an open directory.
type tree struct {
	log      *slog.Logger
	lock     *durable.Lock
	dir      *ledger.Dir
	guard    *guard
	appender *tessera.Appender
	shutdown func(context.Context) error
	reader   tessera.LogReader
	cancel   context.CancelFunc

	checkpoint string         // path of the published one
	interval   time.Duration  // between two of them
	pending    sync.WaitGroup // batches whose futures are not all resolved
}

func open(ctx context.Context, cfg Config, vet ledger.Vet) (_ *tree, err error) {
	if cfg.CheckpointInterval == 0 {
		cfg.CheckpointInterval = DefaultCheckpointInterval
	}
	if cfg.CheckpointInterval < MinCheckpointInterval {
		return nil, assay.Errorf(assay.CodeInvalid, "ledger checkpoint interval %v is below %v", cfg.CheckpointInterval, MinCheckpointInterval)
	}
	if cfg.BatchMaxAge <= 0 {
		cfg.BatchMaxAge = DefaultBatchMaxAge
	}
	if cfg.Collect == 0 {
		cfg.Collect = DefaultCollect
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := durable.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, unavailable(cfg.Dir, err)
	}
	t := &tree{log: cfg.Log, checkpoint: filepath.Join(cfg.Dir, layout.CheckpointPath), interval: cfg.CheckpointInterval}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.release(true))
		}
	}()
	if t.lock, err = durable.LockDir(cfg.Dir); err != nil {
		// Another process is no contradiction: it may go away.
		return nil, unavailable(cfg.Dir, err)
	}
	if t.dir, err = ledger.OpenDir(cfg.Dir); err != nil {
		return nil, err
	}
	if t.guard, err = newGuard(ctx, cfg, t.dir); err != nil {
		return nil, err
	}
	if err = t.missing(cfg.Dir); err != nil {
		return nil, err
	}
	if err = t.start(cfg); err != nil {
		return nil, err
	}
	size, err := t.Size(ctx)
	if err != nil {
		return nil, err
	}
	if err = t.guard.check(size); err != nil {
		return nil, err
	}
	// The vet may note in the store what it sees in the tree.
	if err = settleEdge(cfg.Dir, size); err != nil {
		return nil, unavailable(cfg.Dir, err)
	}
	if err = vet(ctx, t); err != nil {
		return nil, err
	}
	t.guard.permit()
	return t, nil
}

// missing refuses a directory whose head is known but whose state is gone, before
// Tessera takes it for a new one.
func (t *tree) missing(dir string) error {
	_, err := os.Stat(filepath.Join(dir, stateDir, "treeState"))
	if errors.Is(err, os.ErrNotExist) {
		return t.guard.check(0)
	}
	return err
}

// start makes Tessera's appender. Its goroutines live until cancel, longer than the
// context of open.
func (t *tree) start(cfg Config) error {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	driver, err := tposix.New(ctx, tposix.Config{Path: cfg.Dir})
	if err != nil {
		return unavailable(cfg.Dir, err)
	}
	// No antispam: two equal facts are two facts. No republishing: a checkpoint has
	// no time in it, so the same one again says nothing.
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(t.guard).
		WithCheckpointInterval(cfg.CheckpointInterval).
		WithCheckpointRepublishInterval(0).
		WithBatching(ledger.MaxBatch, cfg.BatchMaxAge).
		WithGarbageCollectionInterval(max(0, cfg.Collect)).
		WithShutdownTimeout(closeTimeout)
	t.appender, t.shutdown, t.reader, err = tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		return unavailable(cfg.Dir, err)
	}
	return nil
}

// Due implements ledger.Paced: Tessera signs when an append ends, if the published
// checkpoint is at least as old as the interval. A checkpoint of the future says
// that the clock was set back, and nothing about what is due.
func (t *tree) Due() time.Duration {
	info, err := os.Stat(t.checkpoint)
	if err != nil {
		return 0
	}
	if d := time.Until(info.ModTime().Add(t.interval)); d <= t.interval {
		return d
	}
	return 0
}

// Append implements ledger.Tree.
func (t *tree) Append(ctx context.Context, leaves [][]byte) ([]uint64, error) {
	if len(leaves) == 0 || len(leaves) > ledger.MaxBatch {
		return nil, assay.Errorf(assay.CodeInternal, "a ledger batch of %d leaves is not between 1 and %d", len(leaves), ledger.MaxBatch)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries := make([]*tessera.Entry, len(leaves))
	for i, l := range leaves {
		entries[i] = tessera.NewEntry(l)
	}
	futures := make([]tessera.IndexFuture, len(leaves))
	for i, e := range entries {
		futures[i] = t.appender.Add(context.Background(), e)
	}
	type answer struct {
		indices []uint64
		err     error
	}
	done := make(chan answer, 1)
	t.pending.Go(func() {
		a := answer{indices: make([]uint64, len(futures))}
		for i, f := range futures {
			ix, err := f()
			if err != nil && a.err == nil {
				a.err = assay.Errorf(assay.CodeUnavailable, "ledger tree: %w", err)
			}
			a.indices[i] = ix.Index
		}
		done <- a
	})
	select {
	case a := <-done:
		if a.err != nil {
			return nil, a.err
		}
		return a.indices, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Size implements ledger.Tree.
func (t *tree) Size(ctx context.Context) (uint64, error) {
	n, err := t.reader.IntegratedSize(ctx)
	if err != nil {
		return 0, assay.Errorf(assay.CodeUnavailable, "cannot read the ledger's size: %w", err)
	}
	return n, nil
}

// Leaves implements ledger.Tree.
func (t *tree) Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	size, err := t.Size(ctx)
	if err != nil || from >= size {
		return nil, err
	}
	var out [][]byte
	for l, err := range ledger.ReadLeaves(ctx, t.dir, from, min(size, from+uint64(limit)), size) {
		if err != nil {
			return nil, assay.Errorf(assay.CodeUnavailable, "cannot read the ledger's leaves: %w", err)
		}
		out = append(out, l.Raw)
	}
	return out, nil
}

// Close implements ledger.Tree.
func (t *tree) Close() error { return t.release(false) }

// release gives back what open took; failed means that open did not finish.
func (t *tree) release(failed bool) error {
	if t.appender != nil {
		if err := t.drain(); err != nil {
			return err // the lock stays: an append may still write
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if !failed && t.guard.refusal() == nil {
			if err := t.shutdown(ctx); err != nil {
				t.log.Warn("ledger closed without a last checkpoint; the next start signs it", "error", err)
			}
		}
		t.settle(ctx)
	}
	if t.cancel != nil {
		t.cancel()
	}
	var errs []error
	if t.dir != nil {
		errs = append(errs, t.dir.Close())
	}
	if t.lock != nil {
		errs = append(errs, t.lock.Release())
	}
	return errors.Join(errs...)
}

// drain waits for the futures of all batches.
func (t *tree) drain() error {
	done := make(chan struct{})
	go func() {
		t.pending.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return assay.Errorf(assay.CodeUnavailable, "an append to the ledger does not end within %v; the process must be restarted", closeTimeout)
	}
}

// settle stops signing and waits until the last checkpoint that was signed is
// published: Tessera's publisher cannot be joined, and must not overwrite the
// checkpoint of whoever opens the directory next.
func (t *tree) settle(ctx context.Context) {
	last := t.guard.close()
	if last == nil {
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := t.dir.ReadCheckpoint(ctx); err == nil && string(now) == string(last) {
			return
		}
		select {
		case <-ctx.Done():
			t.log.Warn("ledger closed before its last signed checkpoint was published; the next start publishes it")
			return
		case <-tick.C:
		}
	}
}

func unavailable(dir string, err error) error {
	return assay.Errorf(assay.CodeUnavailable, "cannot open the ledger: %w", err).In(dir)
}
