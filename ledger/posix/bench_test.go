package posix_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store/sqlite"
	"github.com/transparency-dev/tessera"
	tposix "github.com/transparency-dev/tessera/storage/posix"
)

func accept(context.Context, ledger.Tree) error { return nil }

// numbered makes n leaves of a usual size.
func numbered(from, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "leaf %-480d", from+i)
	}
	return out
}

// rawTessera appends n entries in batches, each awaited, and returns entries per second.
func rawTessera(b *testing.B, n int) float64 {
	b.Helper()
	f := newFixture(b)
	signer, _ := f.keys(b, assay.DefaultOrigin)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	driver, err := tposix.New(ctx, tposix.Config{Path: f.data})
	if err != nil {
		b.Fatal(err)
	}
	a, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithBatching(ledger.MaxBatch, posix.DefaultBatchMaxAge).WithCheckpointInterval(posix.DefaultCheckpointInterval))
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for from := 0; from < n; from += ledger.MaxBatch {
		var futures []tessera.IndexFuture
		for _, l := range numbered(from, ledger.MaxBatch) {
			futures = append(futures, a.Add(ctx, tessera.NewEntry(l)))
		}
		for _, f := range futures {
			if _, err := f(); err != nil {
				b.Fatal(err)
			}
		}
	}
	rate := float64(n) / time.Since(start).Seconds()
	if err := shutdown(ctx); err != nil {
		b.Fatal(err)
	}
	return rate
}

// BenchmarkSequencer moves facts from a store into a tree on disk, and compares
// with Tessera alone at the same batch size in the same run.
func BenchmarkSequencer(b *testing.B) {
	for name, open := range map[string]func(b *testing.B, f *fixture){
		"mem": func(*testing.B, *fixture) {},
		"sqlite": func(b *testing.B, f *fixture) {
			s, err := sqlite.Open(context.Background(), sqlite.Config{Path: filepath.Join(f.data, "assay.db")})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			})
			f.store = s
		},
	} {
		b.Run(name, func(b *testing.B) { benchmarkSequencer(b, open) })
	}
}

func benchmarkSequencer(b *testing.B, open func(b *testing.B, f *fixture)) {
	const n = 32 * ledger.MaxBatch
	var ours, raw float64
	for b.Loop() {
		raw += rawTessera(b, n)
		f := newFixture(b)
		open(b, f)
		for range 32 {
			f.commit(b, ledger.MaxBatch)
		}
		s := f.sequencer(b)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- s.Run(ctx) }()
		for {
			e, err := f.store.Entries(ctx, n-1, 1)
			if err != nil {
				b.Fatal(err)
			}
			if len(e) == 1 && e[0].Placed {
				break
			}
			<-time.After(time.Millisecond)
		}
		ours += float64(n) / time.Since(start).Seconds()
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(ours/float64(b.N), "facts/s")
	b.ReportMetric(raw/float64(b.N), "tessera/s")
	b.ReportMetric(ours/raw, "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkProveVerify builds a proof from tiles on disk, serialises and verifies it.
func BenchmarkProveVerify(b *testing.B) {
	f := newFixture(b)
	ids := f.commit(b, 20000)
	f.run(b, ids[len(ids)-1])
	l := f.ledger(b)
	_, v := f.keys(b, assay.DefaultOrigin)
	i := 0
	for b.Loop() {
		// The outbox in memory looks entries up one by one; the beginning is fair to
		// the proof, which does not depend on the position.
		p, err := l.Prove(context.Background(), "shop", ids[i%64])
		if err != nil {
			b.Fatal(err)
		}
		if err := ledger.VerifyProof(p.Leaf, p.Marshal(), v, assay.DefaultOrigin); err != nil {
			b.Fatal(err)
		}
		i += 7
	}
}
