package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store"
	"assay.dev/assay/store/sqlite"
	"github.com/transparency-dev/tessera"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Sizes of the measure of the sequencer.
const (
	leaves      = 32 * ledger.MaxBatch // per round
	ratioTarget = 0.5
	checkpoints = posix.DefaultCheckpointInterval
	maxAge      = posix.DefaultBatchMaxAge
)

// salt of namespaces in leaves; its value does not matter here.
var salt = []byte("the salt of a benchmark")

// measureSequencer measures how fast committed audit facts get into the tree, from the
// store's outbox to their index in the store, beside the same number of leaves of
// the same size given to Tessera alone in batches of the same size.
func measureSequencer(ctx context.Context, b *run.Bench) error {
	var ours, raw []float64
	rounds := 2 * b.Rounds // what disturbs one side of a round disturbs a ratio most
	for n := range rounds {
		o, err := sequence(ctx, b)
		if err != nil {
			return err
		}
		r, err := rawTessera(ctx, b)
		if err != nil {
			return err
		}
		ours, raw = append(ours, o), append(raw, r)
		b.Say("sequencer %d/%d: %.0f facts/s, Tessera alone %.0f leaves/s, ratio %.2f", n+1, rounds, o, r, o/r)
	}
	b.Rows = append(b.Rows, result.New(fmt.Sprintf("facts into the tree, batch %d", ledger.MaxBatch), "1/s", ours).
		Against("Tessera POSIX alone", ours, raw).Within(result.Median(raw)).WantRatio(">=", ratioTarget))
	return nil
}

// installation is a store, a tree and the keys of both.
type installation struct {
	dir        string
	skey, vkey string
	store      *sqlite.Store
	facts      []assay.FactID
}

func install(ctx context.Context, b *run.Bench) (*installation, error) {
	dir, err := b.Folder()
	if err != nil {
		return nil, err
	}
	in := &installation{dir: dir}
	if in.skey, in.vkey, err = ledger.GenerateKey(rand.Reader, assay.DefaultOrigin); err != nil {
		return nil, err
	}
	in.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "store.db")})
	return in, err
}

// close releases and removes everything.
func (in *installation) close() error {
	return errors.Join(in.store.Close(), os.RemoveAll(in.dir))
}

func (in *installation) tree() string { return ledger.EpochDir(in.dir, 0) }

func (in *installation) keys() (note.Signer, note.Verifier, error) {
	s, err := ledger.ParseSigner(in.skey, assay.DefaultOrigin)
	if err != nil {
		return nil, nil, err
	}
	v, err := ledger.ParseVerifier(in.vkey)
	return s, v, err
}

// commit appends n audit facts, many in a transaction: it is not what is measured.
func (in *installation) commit(ctx context.Context, n int) error {
	for from := 0; from < n; from += ledger.MaxBatch {
		err := in.store.Update(ctx, func(tx store.Tx) error {
			for i := from; i < min(n, from+ledger.MaxBatch); i++ {
				id, err := tx.Append(fact(assay.RetainAudit, i))
				if err != nil {
					return err
				}
				in.facts = append(in.facts, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// watched is the store's outbox; it closes done when the last fact has its place.
type watched struct {
	store.Outbox
	left int
	done chan struct{}
}

// Place implements store.Outbox.
func (w *watched) Place(ctx context.Context, placed []store.Placement) error {
	err := w.Outbox.Place(ctx, placed)
	if err == nil {
		if w.left -= len(placed); w.left == 0 {
			close(w.done)
		}
	}
	return err
}

// run moves all committed facts into the tree and returns how long that took, the
// opening of the tree included. The sequencer stays on duty until stop is called.
func (in *installation) run(ctx context.Context) (took time.Duration, stop func() error, err error) {
	signer, verifier, err := in.keys()
	if err != nil {
		return 0, nil, err
	}
	w := &watched{Outbox: in.store, left: len(in.facts), done: make(chan struct{})}
	seq, err := ledger.NewSequencer(ledger.SequencerConfig{
		Outbox: w, Salt: salt,
		Open: posix.Opener(posix.Config{Dir: in.tree(), Signer: signer, Verifier: verifier}),
	})
	if err != nil {
		return 0, nil, err
	}
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- seq.Run(runCtx) }()
	select {
	case <-w.done:
		took = time.Since(start)
	case err := <-ended:
		cancel()
		return 0, nil, errors.Join(errors.New("the sequencer ended before all facts had their place"), err, ctx.Err())
	}
	return took, func() error { cancel(); return <-ended }, nil
}

// sequence is one round of ours.
func sequence(ctx context.Context, b *run.Bench) (rate float64, err error) {
	in, err := install(ctx, b)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if err := in.commit(ctx, leaves); err != nil {
		return 0, err
	}
	var took time.Duration
	_, _, err = allocated(func() error {
		var stop func() error
		took, stop, err = in.run(ctx)
		if err != nil {
			return err
		}
		return stop()
	})
	return leaves / took.Seconds(), err
}

// rawTessera is one round of the peer: the leaves that the facts would have, made
// beforehand, in batches that are awaited one by one.
func rawTessera(ctx context.Context, b *run.Bench) (rate float64, err error) {
	dir, err := b.Folder()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	in := &installation{dir: dir}
	if in.skey, in.vkey, err = ledger.GenerateKey(rand.Reader, assay.DefaultOrigin); err != nil {
		return 0, err
	}
	signer, _, err := in.keys()
	if err != nil {
		return 0, err
	}
	made, err := leavesOf(leaves)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var took time.Duration
	_, _, err = allocated(func() error {
		start := time.Now()
		driver, err := tposix.New(ctx, tposix.Config{Path: in.tree()})
		if err != nil {
			return err
		}
		appender, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(signer).
			WithBatching(ledger.MaxBatch, maxAge).WithCheckpointInterval(checkpoints).WithCheckpointRepublishInterval(0))
		if err != nil {
			return err
		}
		for from := 0; from < len(made); from += ledger.MaxBatch {
			if err := addBatch(ctx, appender, made[from:from+ledger.MaxBatch]); err != nil {
				return err
			}
		}
		took = time.Since(start)
		return shutdown(ctx)
	})
	return leaves / took.Seconds(), err
}

// addBatch adds leaves and awaits all of them.
func addBatch(ctx context.Context, a *tessera.Appender, batch [][]byte) error {
	futures := make([]tessera.IndexFuture, len(batch))
	for i, l := range batch {
		futures[i] = a.Add(ctx, tessera.NewEntry(l))
	}
	for _, f := range futures {
		if _, err := f(); err != nil {
			return err
		}
	}
	return nil
}

// leavesOf makes the leaves of n facts like those that commit appends.
func leavesOf(n int) ([][]byte, error) {
	out := make([][]byte, n)
	now := time.Now()
	for i := range out {
		f := fact(assay.RetainAudit, i)
		f.ID, f.Time, f.Recorded = store.NewFactID(), now, now
		l, err := ledger.LeafOf(store.Entry{Numbered: true, Seq: uint64(i), Fact: f}, salt)
		if err != nil {
			return nil, err
		}
		out[i] = l.Marshal()
	}
	return out, nil
}
