package posix_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
	"assay.dev/assay/store"
	"assay.dev/assay/store/files"
	"assay.dev/assay/store/sqlite"
	"golang.org/x/mod/sumdb/note"
)

// The crash tests run this test binary again as a child that is an installation of
// its own: it opens a directory as cmd/assay does, appends facts from several
// goroutines, and says on standard output, a line in one write each, what was
// acknowledged:
//
//	fact ID                        Update returned
//	published ID INDEX SIZE ROOT   WaitPublished returned INDEX, and the head is SIZE and ROOT
//	site N CALL PATH               before a clean end, how many such calls a fault could have hit
const (
	childDir   = "ASSAY_LEDGER_CHILD"       // the directory; set means "be the child"
	childFacts = "ASSAY_LEDGER_CHILD_FACTS" // facts per worker; 0 means until killed
	childFault = "ASSAY_LEDGER_CHILD_FAULT" // a fault; empty means none
)

const (
	childWorkers   = 3
	crashNamespace = "crash"
	childPatience  = 20 * time.Second
)

func TestMain(m *testing.M) {
	posix.RedirectLog(slog.New(slog.DiscardHandler))
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashKey is an Ed25519 key of a fixed seed, as a C2SP signer and verifier.
func crashKey() (note.Signer, note.Verifier, error) {
	seed := []byte("a seed that only the tests have.")
	vkey, err := note.NewEd25519VerifierKey(assay.DefaultOrigin, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		return nil, nil, err
	}
	v, err := ledger.ParseVerifier(vkey)
	if err != nil {
		return nil, nil, err
	}
	id := strings.Split(vkey, "+")[1]
	s, err := ledger.ParseSigner("PRIVATE+KEY+"+assay.DefaultOrigin+"+"+id+"+"+base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)), assay.DefaultOrigin)
	return s, v, err
}

// installation is an open directory, put together as cmd/assay/wire.go does.
type installation struct {
	lock   *durable.Lock
	store  *sqlite.Store
	blobs  *files.Blobs
	dir    *ledger.Dir
	seq    *ledger.Sequencer
	ledger *ledger.Ledger

	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	halts []ledger.Halt
}

func openInstallation(ctx context.Context, data string) (_ *installation, err error) {
	in := &installation{stop: func() {}}
	defer func() {
		if err != nil {
			_ = in.close() // err is the reason
		}
	}()
	if in.lock, err = durable.LockDir(data); err != nil {
		return nil, err
	}
	if in.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(data, "assay.db"), Upcasters: store.BuiltinUpcasters()}); err != nil {
		return nil, err
	}
	if err = durable.MkdirAll(filepath.Join(data, "blobs"), 0o700); err != nil {
		return nil, err
	}
	if in.blobs, err = files.Open(filepath.Join(data, "blobs")); err != nil {
		return nil, err
	}
	signer, verifier, err := crashKey()
	if err != nil {
		return nil, err
	}
	epoch := ledger.EpochDir(data, 0)
	if err = durable.MkdirAll(epoch, 0o755); err != nil {
		return nil, err
	}
	if in.dir, err = ledger.OpenDir(epoch); err != nil {
		return nil, err
	}
	in.seq, err = ledger.NewSequencer(ledger.SequencerConfig{
		Outbox: in.store, Salt: salt, Head: in.dir.ReadCheckpoint, Halted: in.halted,
		// The shortest interval makes a short test.
		Open: posix.Opener(posix.Config{Dir: epoch, Signer: signer, Verifier: verifier, CheckpointInterval: posix.MinCheckpointInterval}),
	})
	if err != nil {
		return nil, err
	}
	in.ledger, err = ledger.New(in.store, salt, []ledger.Epoch{{Origin: assay.DefaultOrigin, Reader: in.dir, Verifier: verifier}})
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	in.stop = stop
	in.done.Go(func() { _ = in.seq.Run(run) }) // its error is a halt
	return in, nil
}

// halted records the fact, as cmd/assay does.
func (in *installation) halted(h ledger.Halt) {
	in.mu.Lock()
	in.halts = append(in.halts, h)
	in.mu.Unlock()
	fmt.Fprintln(os.Stderr, "halted:", h.Final, h.Err)
	_ = in.store.Update(context.Background(), func(tx store.Tx) error { // a store that fails is why it halted
		_, err := tx.Append(assay.Fact{Kind: assay.FactLedgerHalted, Version: 1, Namespace: "system", Actor: "ledger.sequencer",
			Retention: assay.RetainOperational, Payload: json.RawMessage(`{}`)})
		return err
	})
}

func (in *installation) firstHalt(final bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, h := range in.halts {
		if h.Final || !final {
			return fmt.Errorf("the sequencer stopped (final: %v): %w", h.Final, h.Err)
		}
	}
	return nil
}

func (in *installation) close() error {
	in.stop()
	in.done.Wait()
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if in.dir != nil {
		keep(in.dir.Close())
	}
	if in.store != nil {
		keep(in.store.Close())
	}
	if in.blobs != nil {
		keep(in.blobs.Close())
	}
	if in.lock != nil {
		keep(in.lock.Release())
	}
	return first
}

// child is the process that the tests kill.
func child(data string) error {
	count, err := strconv.Atoi(os.Getenv(childFacts))
	if err != nil {
		return err
	}
	seen := func() map[string]int64 { return nil }
	if text := os.Getenv(childFault); text != "" {
		f, err := parseFault(text)
		if err != nil {
			return err
		}
		if seen, err = inject(f); err != nil {
			return fmt.Errorf("%s: %w", cannotInject, err)
		}
	}
	in, err := openInstallation(context.Background(), data)
	if err != nil {
		return err
	}
	errs := make([]error, childWorkers)
	var wg sync.WaitGroup
	for w := range childWorkers {
		wg.Go(func() {
			for n := 0; errs[w] == nil && (count == 0 || n < count); n++ {
				errs[w] = in.work(w, n, count == 0)
			}
		})
	}
	wg.Wait()
	for _, err := range append(errs, in.close()) {
		if err != nil {
			return err
		}
	}
	for site, n := range seen() {
		if _, err := fmt.Fprintf(os.Stdout, "site %d %s\n", n, site); err != nil {
			return err
		}
	}
	return nil
}

// cannotInject begins the child's complaint on a machine that lets no process hurt itself.
const cannotInject = "faults cannot be injected here"

// crashPayload says which blob a fact speaks of, "" if none.
type crashPayload struct {
	N    int          `json:"n"`
	Blob assay.Digest `json:"blob"`
}

// work appends one fact; some have a blob, and some are awaited until they are
// published, under load only by one worker. What fails is tried again, with the
// same fact.
func (in *installation) work(worker, n int, load bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), childPatience)
	defer cancel()
	p := crashPayload{N: n}
	if n%3 == worker {
		text := fmt.Sprintf("evidence %s of %d %s", store.NewFactID(), worker, strings.Repeat("x", 100*n%5000))
		err := retry(func() (err error) {
			p.Blob, err = in.blobs.Put(ctx, strings.NewReader(text), 1<<20)
			return err
		})
		if err != nil {
			return err
		}
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f := assay.Fact{
		ID: store.NewFactID(), Kind: assay.FactVerdict, Version: 1, Namespace: crashNamespace, Actor: fmt.Sprint("worker-", worker),
		Retention: assay.RetainAudit, Payload: payload,
	}
	if err := retry(func() error { return in.append(ctx, f) }); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(os.Stdout, "fact %s\n", f.ID); err != nil {
		return err
	}
	in.seq.Poke()
	if load && worker > 0 || n%2 == 0 {
		return nil
	}
	s, err := in.ledger.WaitPublished(ctx, crashNamespace, f.ID)
	if err != nil {
		return err
	}
	head, err := in.ledger.Head(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "published %s %d %d %s\n", f.ID, s.Index, head.Size, hex.EncodeToString(head.Root[:]))
	return err
}

func (in *installation) append(ctx context.Context, f assay.Fact) error {
	return in.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Append(f)
		return err
	})
}

// retry is for disks that fail for a while.
func retry(do func() error) (err error) {
	for range 50 {
		if err = do(); err == nil {
			return nil
		}
	}
	return err
}

// readBlob reads a blob to its end, which verifies it.
func (in *installation) readBlob(ctx context.Context, d assay.Digest) error {
	r, err := in.blobs.Open(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}
