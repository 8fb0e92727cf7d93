package ledger_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/memtree"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"golang.org/x/mod/sumdb/note"
)

var salt = []byte("sixteen bytes or more")

func TestMain(m *testing.M) {
	posix.RedirectLog(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// stream is an endless deterministic source for keys.
type stream struct{ n uint64 }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], s.n)
		s.n++
		sum := sha256.Sum256(b[:])
		p[i] = sum[0]
	}
	return len(p), nil
}

var _ io.Reader = (*stream)(nil)

func keys(t testing.TB, seed uint64, origin string) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := ledger.GenerateKey(&stream{seed}, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.ParseSigner(skey, origin)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.ParseVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func fact(i int) assay.Fact {
	return assay.Fact{
		Kind: assay.FactVerdict, Version: 1, Namespace: "shop", Actor: "ci", Retention: assay.RetainAudit,
		Time:    time.Unix(1700000000, int64(i)).UTC(),
		Payload: fmt.Appendf(nil, `{"n":%d}`, i),
	}
}

// commit appends n facts in one transaction and returns their ids.
func commit(t testing.TB, s store.Store, first, n int) []assay.FactID {
	t.Helper()
	var ids []assay.FactID
	err := s.Update(context.Background(), func(tx store.Tx) error {
		for i := range n {
			id, err := tx.Append(fact(first + i))
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// world is a store, a log in memory and what reads them.
type world struct {
	store    *mem.Store
	log      *memtree.Log
	verifier note.Verifier
	ledger   *ledger.Ledger
	halts    []ledger.Halt
}

func newWorld(t testing.TB) *world {
	t.Helper()
	signer, verifier := keys(t, 1, assay.DefaultOrigin)
	w := &world{store: mem.New(mem.Config{}), log: memtree.New(signer), verifier: verifier}
	w.ledger = w.open(t, w.store)
	return w
}

func (w *world) open(t testing.TB, outbox store.Outbox) *ledger.Ledger {
	t.Helper()
	l, err := ledger.New(outbox, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: w.log, Verifier: w.verifier}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) sequencer(t testing.TB, change func(*ledger.SequencerConfig)) *ledger.Sequencer {
	t.Helper()
	cfg := ledger.SequencerConfig{Outbox: w.store, Open: w.log.Opener(), Salt: salt, Batch: 8,
		Halted: func(h ledger.Halt) { w.halts = append(w.halts, h) }, Head: w.log.ReadCheckpoint}
	if change != nil {
		change(&cfg)
	}
	s, err := ledger.NewSequencer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check fails the test unless the ledger holds exactly n facts and the audit is clean.
func (w *world) check(t *testing.T, n int, problems ...string) {
	t.Helper()
	r, err := w.ledger.Audit(t.Context(), ledger.AuditOptions{Fsck: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Epochs) != 1 || r.Epochs[0].Size != uint64(n) || r.Entries != uint64(n) || r.Unpublished != 0 {
		t.Errorf("report %+v, want %d leaves and entries, none unpublished", r, n)
	}
	if r.OK != (len(problems) == 0) || len(r.Problems) != len(problems) {
		t.Fatalf("problems %q, want %q", r.Problems, problems)
	}
	for i, p := range problems {
		if !strings.Contains(r.Problems[i], p) {
			t.Errorf("problem %q does not say %q", r.Problems[i], p)
		}
	}
}

// newLog is a log with n small leaves; each sees every checkpoint, from size 0 on.
func newLog(t *testing.T, signer note.Signer, each func(size int, checkpoint []byte), n int) *memtree.Log {
	t.Helper()
	log := memtree.New(signer)
	tree, err := log.Opener()(t.Context(), func(context.Context, ledger.Tree) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range n + 1 {
		cp, err := log.ReadCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		each(i, cp)
		if i == n {
			break
		}
		if _, err := tree.Append(t.Context(), [][]byte{fmt.Appendf(nil, "leaf %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}
