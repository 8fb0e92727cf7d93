package posix_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"golang.org/x/mod/sumdb/note"
)

var salt = []byte("sixteen bytes or more")

type fixture struct {
	data       string
	skey, vkey string
	store      interface {
		store.Store
		store.Outbox
	}
	facts int
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	skey, vkey, err := ledger.GenerateKey(rand.Reader, assay.DefaultOrigin)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{data: t.TempDir(), skey: skey, vkey: vkey, store: mem.New(mem.Config{})}
}

func (f *fixture) keys(t testing.TB, origin string) (note.Signer, note.Verifier) {
	t.Helper()
	s, err := ledger.ParseSigner(f.skey, origin)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.ParseVerifierFor(f.vkey, origin)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func (f *fixture) openAt(t testing.TB) func(dir, origin string) ledger.Opener {
	return func(dir, origin string) ledger.Opener {
		s, v := f.keys(t, origin)
		return posix.Opener(posix.Config{Dir: dir, Signer: s, Verifier: v, CheckpointInterval: posix.MinCheckpointInterval})
	}
}

// opener opens the newest epoch.
func (f *fixture) opener(t testing.TB) ledger.Opener {
	t.Helper()
	n := f.newest(t)
	return f.openAt(t)(ledger.EpochDir(f.data, n), ledger.EpochOrigin(assay.DefaultOrigin, n))
}

func (f *fixture) newest(t testing.TB) int {
	t.Helper()
	es, err := ledger.Epochs(f.data)
	if err != nil {
		t.Fatal(err)
	}
	return max(0, len(es)-1)
}

func (f *fixture) commit(t testing.TB, n int) []assay.FactID {
	t.Helper()
	var ids []assay.FactID
	err := f.store.Update(context.Background(), func(tx store.Tx) error {
		for range n {
			id, err := tx.Append(assay.Fact{Kind: assay.FactVerdict, Version: 1, Namespace: "shop", Actor: "ci",
				Retention: assay.RetainAudit, Payload: fmt.Appendf(nil, `{"n":%d}`, f.facts)})
			if err != nil {
				return err
			}
			f.facts++
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// ledger opens all epochs for reading.
func (f *fixture) ledger(t testing.TB) *ledger.Ledger {
	t.Helper()
	numbers, err := ledger.Epochs(f.data)
	if err != nil {
		t.Fatal(err)
	}
	var epochs []ledger.Epoch
	for _, n := range numbers {
		epochs = append(epochs, f.epoch(t, n))
	}
	l, err := ledger.New(f.store, salt, epochs)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (f *fixture) epoch(t testing.TB, n int) ledger.Epoch {
	t.Helper()
	d, err := ledger.OpenDir(ledger.EpochDir(f.data, n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	origin := ledger.EpochOrigin(assay.DefaultOrigin, n)
	_, v := f.keys(t, origin)
	return ledger.Epoch{Number: n, Origin: origin, Reader: d, Verifier: v}
}

func (f *fixture) sequencer(t testing.TB) *ledger.Sequencer {
	t.Helper()
	s, err := ledger.NewSequencer(ledger.SequencerConfig{Outbox: f.store, Open: f.opener(t), Salt: salt,
		Halted: func(h ledger.Halt) { t.Log(h.Err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run sequences until all facts so far are published.
func (f *fixture) run(t testing.TB, last assay.FactID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	s := f.sequencer(t)
	if err := os.MkdirAll(ledger.EpochDir(f.data, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() { done <- s.Run(ctx) }()
	if _, err := f.ledger(t).WaitPublished(ctx, "shop", last); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) audit(t testing.TB) ledger.Report {
	t.Helper()
	r, err := f.ledger(t).Audit(context.Background(), ledger.AuditOptions{Fsck: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLedgerOnDiskGoesOnAfterEveryRestart(t *testing.T) {
	f := newFixture(t)
	var ids []assay.FactID
	for _, n := range []int{1, 300, 1, 1030, 5} {
		ids = append(ids, f.commit(t, n)...)
		f.run(t, ids[len(ids)-1])
	}
	r := f.audit(t)
	if !r.OK || r.Epochs[0].Size != uint64(len(ids)) || r.Unpublished != 0 {
		t.Errorf("report %+v", r)
	}
	l := f.ledger(t)
	_, v := f.keys(t, assay.DefaultOrigin)
	for _, i := range []int{0, 255, 256, 1024, len(ids) - 1} {
		p, err := l.Prove(t.Context(), "shop", ids[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.VerifyProof(p.Leaf, p.Marshal(), v, assay.DefaultOrigin); err != nil || p.Index != uint64(i) {
			t.Errorf("fact %d at %d: %v", i, p.Index, err)
		}
	}
}

// appended opens the tree, appends and closes it, without a store.
func appended(t *testing.T, o ledger.Opener, n int) {
	t.Helper()
	tree, err := o(t.Context(), func(context.Context, ledger.Tree) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][]byte
	for i := range n {
		leaves = append(leaves, fmt.Appendf(nil, "leaf %d", i))
	}
	got, err := tree.Append(t.Context(), leaves)
	if err != nil || got[n-1]-got[0] != uint64(n-1) {
		t.Fatalf("%v, %v", got, err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTreeClosesWithACheckpointOverEverything(t *testing.T) {
	f := newFixture(t)
	for round := range 3 {
		appended(t, f.opener(t), 10)
		head, err := f.ledger(t).Head(t.Context())
		if err != nil || head.Size != uint64(10*(round+1)) {
			t.Errorf("round %d: head %+v, %v", round, head, err)
		}
	}
}

func TestTreeIsNotSignedWhenTheVetRefuses(t *testing.T) {
	f := newFixture(t)
	appended(t, f.opener(t), 3)
	dir := ledger.EpochDir(f.data, 0)
	before, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	refusal := errors.New("no")
	_, err = f.opener(t)(t.Context(), func(ctx context.Context, tr ledger.Tree) error {
		// Long enough for Tessera's timer; growth would be signed if it could.
		_, err := tr.Append(ctx, [][]byte{[]byte("x")})
		if err != nil {
			return err
		}
		<-time.After(3 * posix.MinCheckpointInterval)
		return refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("open = %v, want the vet's error", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil || string(after) != string(before) {
		t.Errorf("checkpoint changed to %q, %v", after, err)
	}
	appended(t, f.opener(t), 3) // the lock is free again
}

func TestOneProcessAtATimeHasADirectory(t *testing.T) {
	f := newFixture(t)
	dir := ledger.EpochDir(f.data, 0)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.opener(t)(t.Context(), nil)
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "another assay process") {
		t.Errorf("open = %v, want unavailable", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	appended(t, f.opener(t), 1)
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryOlderThanItsHeadIsRefused(t *testing.T) {
	f := newFixture(t)
	dir, backup := ledger.EpochDir(f.data, 0), filepath.Join(t.TempDir(), "backup")
	appended(t, f.opener(t), 10)
	copyDir(t, dir, backup)
	appended(t, f.opener(t), 10)
	for name, damage := range map[string]func(){
		"older backup":      func() { copyDir(t, backup, dir) },
		"state removed":     func() { _ = os.RemoveAll(filepath.Join(dir, ".state")) },
		"directory removed": func() { _ = os.RemoveAll(dir) },
	} {
		damage()
		_, err := f.opener(t)(t.Context(), func(context.Context, ledger.Tree) error { return nil })
		if assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "older than its last head") {
			t.Errorf("%s: open = %v, want a refusal", name, err)
		}
	}
}

func TestTreeThatDoesNotExtendItsHeadIsNotSigned(t *testing.T) {
	f := newFixture(t)
	appended(t, f.opener(t), 10)
	// Another tree of the same size under the same key: rewritten history.
	other := &fixture{data: t.TempDir(), skey: f.skey, vkey: f.vkey}
	appended(t, other.opener(t), 4)
	appended(t, other.opener(t), 7)
	dir := ledger.EpochDir(f.data, 0)
	copyDir(t, ledger.EpochDir(other.data, 0), dir)
	if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	tree, err := f.opener(t)(t.Context(), func(context.Context, ledger.Tree) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Append(t.Context(), [][]byte{[]byte("more")}); err != nil {
		t.Fatal(err)
	}
	<-time.After(4 * posix.MinCheckpointInterval)
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if cp, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err == nil {
		t.Errorf("signed a fork: %q", cp)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	f := newFixture(t)
	appended(t, f.opener(t), 3)
	f.skey, f.vkey, _ = ledger.GenerateKey(rand.Reader, assay.DefaultOrigin)
	_, err := f.opener(t)(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be believed") {
		t.Errorf("open = %v, want a refusal", err)
	}
}

func TestCheckpointIntervalBelowTheLimitIsRefused(t *testing.T) {
	f := newFixture(t)
	s, v := f.keys(t, assay.DefaultOrigin)
	_, err := posix.Opener(posix.Config{Dir: f.data, Signer: s, Verifier: v, CheckpointInterval: time.Millisecond})(t.Context(), nil)
	if assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("open = %v, want invalid", err)
	}
}

func TestAuditFindsAnAlteredTileOnDisk(t *testing.T) {
	f := newFixture(t)
	ids := f.commit(t, 300)
	f.run(t, ids[299])
	path := filepath.Join(ledger.EpochDir(f.data, 0), "tile", "0", "000")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	r := f.audit(t)
	if r.OK || !strings.Contains(strings.Join(r.Problems, "\n"), "tile/0/000 of assay.dev/ledger does not hold") {
		t.Errorf("report %+v", r)
	}
	if _, err := f.ledger(t).Prove(t.Context(), "shop", ids[5]); assay.CodeOf(err) != assay.CodeUnverified {
		t.Errorf("Prove over the altered tile = %v", err)
	}
}

func TestRestoreOpensAnEpochThatCommitsToTheOldHead(t *testing.T) {
	for name, lost := range map[string]string{"ledger directory is older": "ledger", "store is older": "store"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			dir, backup := ledger.EpochDir(f.data, 0), filepath.Join(t.TempDir(), "backup")
			ids := f.commit(t, 20)
			f.run(t, ids[19])
			copyDir(t, dir, backup)
			if lost == "ledger" {
				ids = append(ids, f.commit(t, 15)...)
				f.run(t, ids[34])
				copyDir(t, backup, dir)
			} else {
				// The store begins anew with fewer and other facts.
				f.store = mem.New(mem.Config{})
				ids = f.commit(t, 5)
			}
			if err := f.sequencer(t).Run(t.Context()); assay.CodeOf(err) != assay.CodeConflict {
				t.Fatalf("Run = %v, want a refusal", err)
			}
			_, v := f.keys(t, assay.DefaultOrigin)
			old := f.epoch(t, 0)
			head, err := ledger.LastHead(t.Context(), old.Reader, ledger.HeadPath(dir), v)
			if err != nil {
				t.Fatal(err)
			}
			n, err := ledger.Restore(t.Context(), ledger.RestoreConfig{Data: f.data, Outbox: f.store, Salt: salt, Old: old,
				OldHead: head, OpenAt: f.openAt(t), Base: assay.DefaultOrigin})
			if err != nil || n != 1 {
				t.Fatalf("Restore = %d, %v", n, err)
			}
			ids = append(ids, f.commit(t, 7)...)
			f.run(t, ids[len(ids)-1])
			r := f.audit(t)
			if !r.OK || len(r.Epochs) != 2 || r.Unpublished != 0 || r.Entries != uint64(len(ids)) {
				t.Errorf("report %+v", r)
			}
			l := f.ledger(t)
			for i, id := range ids {
				p, err := l.Prove(t.Context(), "shop", id)
				if err != nil {
					t.Fatalf("fact %d: %v", i, err)
				}
				origin, err := ledger.ProofOrigin(p.Marshal())
				if err != nil {
					t.Fatal(err)
				}
				_, v := f.keys(t, origin)
				if err := ledger.VerifyProof(p.Leaf, p.Marshal(), v, origin); err != nil {
					t.Errorf("fact %d: %v", i, err)
				}
				if want := lost == "store" || i >= 20; (origin != assay.DefaultOrigin) != want {
					t.Errorf("fact %d is proven in %s", i, origin)
				}
			}
			if lost == "store" && r.Epochs[0].GivenUp != 20 {
				t.Errorf("given up %d leaves, want 20", r.Epochs[0].GivenUp)
			}
		})
	}
}

func TestSequencerRecoversWhenTheDiskFailsInTheMiddleOfABatch(t *testing.T) {
	f := newFixture(t)
	ids := f.commit(t, 200)
	f.run(t, ids[199])
	// The batch fills bundle 000, and then the folder of the next cannot be made.
	blocker := filepath.Join(ledger.EpochDir(f.data, 0), "tile", "entries", "001.p")
	if err := os.WriteFile(blocker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, f.commit(t, 100)...)
	halts := 0
	s, err := ledger.NewSequencer(ledger.SequencerConfig{Outbox: f.store, Open: f.opener(t), Salt: salt,
		Halted: func(h ledger.Halt) {
			if halts++; halts == 2 {
				if err := os.Remove(blocker); err != nil {
					t.Error(err)
				}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if _, err := f.ledger(t).WaitPublished(ctx, "shop", ids[299]); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if halts != 2 {
		t.Errorf("%d halts, want 2", halts)
	}
	if r := f.audit(t); !r.OK || r.Epochs[0].Size != 300 {
		t.Errorf("report %+v", r)
	}
}

func TestTreeStateSurvivesBeingReadBack(t *testing.T) {
	f := newFixture(t)
	appended(t, f.opener(t), 1)
	raw, err := os.ReadFile(filepath.Join(ledger.EpochDir(f.data, 0), ".state", "treeState"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Size uint64 }
	if err := json.Unmarshal(raw, &state); err != nil || state.Size != 1 {
		t.Errorf("state %s, %v: Tessera's private state moved; posix.go looks for it at .state/treeState", raw, err)
	}
}
