package posix

import (
	"context"
	"sync"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/ledger"
	"golang.org/x/mod/sumdb/note"
)

// guard is the signer that Tessera gets. Tessera signs by itself, on a timer; the
// guard decides whether it may. It signs nothing before the tree was vetted and
// after it was closed, and never a head that does not extend the last one it
// signed. That head is kept in a file beside the tree's directory, written before
// the signature leaves the guard, so that a directory brought back from a backup
// is recognised.
type guard struct {
	signer note.Signer
	reader ledger.Reader
	dir    string // of the tree
	path   string // of the kept head

	mu     sync.Mutex
	allow  bool
	closed bool
	last   ledger.Checkpoint // zero if nothing was signed
	signed []byte            // text of the last note that was signed by this process
	err    error             // why signing was refused last, nil after a success
}

// newGuard reads the last signed head: the newer of the one kept beside the
// directory and the one published in it.
func newGuard(ctx context.Context, cfg Config, reader ledger.Reader) (*guard, error) {
	g := &guard{signer: cfg.Signer, reader: reader, dir: cfg.Dir, path: ledger.HeadPath(cfg.Dir)}
	var err error
	if g.last, err = ledger.LastHead(ctx, reader, g.path, cfg.Verifier); err != nil {
		return nil, err
	}
	return g, nil
}

// Name implements note.Signer.
func (g *guard) Name() string { return g.signer.Name() }

// KeyHash implements note.Signer.
func (g *guard) KeyHash() uint32 { return g.signer.KeyHash() }

// Sign implements note.Signer.
func (g *guard) Sign(text []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sig, err := g.sign(text)
	g.err = err
	return sig, err
}

func (g *guard) sign(text []byte) ([]byte, error) {
	next, err := ledger.ParseHead(text)
	if err != nil {
		return nil, err
	}
	// The head of an empty tree says nothing, and Tessera wants it to begin with.
	begins := next.Size == 0 && g.last.Size == 0
	if g.closed || !g.allow && !begins {
		return nil, assay.Errorf(assay.CodeUnavailable, "the ledger may not be signed now")
	}
	if next.Size < g.last.Size {
		return nil, older(g.last, next.Size)
	}
	if g.last.Raw != nil {
		if err := ledger.CheckExtends(context.Background(), g.reader, g.last, next); err != nil {
			return nil, assay.Errorf(assay.CodeConflict, "the tree does not extend its last signed head: %w", err)
		}
	}
	// A head over a tree that shrinks in a power failure could never be extended.
	if err := settleState(g.dir); err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot make the tree durable before it is signed: %w", err)
	}
	sig, err := g.signer.Sign(text)
	if err != nil {
		return nil, err
	}
	raw, err := note.Sign(&note.Note{Text: string(text)}, fixed{g.signer, sig})
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(g.path, raw, 0o644); err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "cannot keep the signed head: %w", err)
	}
	next.Raw = raw
	g.last, g.signed = next, raw
	return sig, nil
}

// fixed answers a signature that was made already.
type fixed struct {
	note.Signer
	sig []byte
}

func (f fixed) Sign([]byte) ([]byte, error) { return f.sig, nil }

// check refuses a tree that is older than its last signed head.
func (g *guard) check(size uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if size < g.last.Size {
		return older(g.last, size)
	}
	return nil
}

// permit lets the guard sign from now on.
func (g *guard) permit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allow, g.err = true, nil
}

// refusal returns why the guard refused last, nil if it did not.
func (g *guard) refusal() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// close stops all signing and returns the last checkpoint that was signed, which
// Tessera may still be about to publish.
func (g *guard) close() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return g.signed
}

func older(last ledger.Checkpoint, size uint64) error {
	e := assay.Errorf(assay.CodeConflict, "the ledger's tree has %d leaves, but a head over %d was signed: the directory is older than its last head", size, last.Size)
	e.Hint = "bring back the newer directory, or open a new epoch with `assay ledger restore`"
	return e
}
