package ledger

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// State is how far a fact has come on its way into the ledger.
type State string

const (
	// StateRecorded facts are committed in the store and wait for the sequencer.
	StateRecorded State = "recorded"
	// StatePlaced facts are durable in the tree, but no signed checkpoint covers them yet.
	StatePlaced State = "placed"
	// StatePublished facts are covered by a signed checkpoint: they can be proven.
	StatePublished State = "published"
)

// Status is a fact's state and place.
type Status struct {
	State State
	Seq   uint64 // valid if Numbered
	Index uint64 // valid from StatePlaced on
	Epoch int    // number of the epoch whose tree holds it, from StatePlaced on

	Numbered bool
}

// Epoch is one tree of the ledger, as its readers need it.
type Epoch struct {
	Number   int
	Origin   string
	Reader   Reader
	Verifier note.Verifier

	// Cosigned reads the newest head that witnesses cosigned; it wraps fs.ErrNotExist
	// if there is none. May be nil.
	Cosigned func(ctx context.Context) ([]byte, error)
	// Witnesses says who must have cosigned it; nil means nobody is asked.
	Witnesses *WitnessPolicy
}

// Ledger answers where facts are and proves it. Its methods may be called
// concurrently, and beside a running Sequencer.
type Ledger struct {
	outbox store.Outbox
	salt   []byte
	poll   time.Duration
	epochs []*epoch // oldest first
}

// epoch caches what never changes of an epoch, and the head that was verified last.
type epoch struct {
	Epoch
	tiles tileCache

	mu       sync.Mutex
	head     Checkpoint
	cosigned Checkpoint
	base     epochBase
	based    bool
}

// New returns the ledger of the epochs, oldest first. Salt is the Sequencer's.
func New(outbox store.Outbox, salt []byte, epochs []Epoch) (*Ledger, error) {
	if len(epochs) == 0 {
		return nil, assay.Errorf(assay.CodeInternal, "a ledger has at least one epoch")
	}
	if err := checkSalt(salt); err != nil {
		return nil, err
	}
	l := &Ledger{outbox: outbox, salt: salt, poll: publishPoll}
	for _, e := range epochs {
		l.epochs = append(l.epochs, &epoch{Epoch: e})
	}
	return l, nil
}

// Head returns the newest checkpoint, verified. CodeNotFound means that none was
// signed yet.
func (l *Ledger) Head(ctx context.Context) (Checkpoint, error) {
	return l.current().readHead(ctx)
}

func (l *Ledger) current() *epoch { return l.epochs[len(l.epochs)-1] }

func (e *epoch) readHead(ctx context.Context) (Checkpoint, error) {
	raw, err := e.Reader.ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, assay.Errorf(assay.CodeNotFound, "the ledger %s has no checkpoint yet", e.Origin)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.head.Raw != nil && bytes.Equal(e.head.Raw, raw) {
		return e.head, nil // verified already
	}
	c, err := ParseCheckpoint(raw, e.Origin, e.Verifier)
	if err != nil {
		return Checkpoint{}, err
	}
	e.head = c
	return c, nil
}

// readBase reads how the epoch begins, from its first leaf.
func (e *epoch) readBase(ctx context.Context, size uint64) (epochBase, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.based || size == 0 || e.Number == 0 {
		return e.base, nil
	}
	raw, err := leafAt(ctx, e.Reader, 0, size)
	if err != nil {
		return epochBase{}, err
	}
	first, err := ParseLeaf(raw)
	if err != nil {
		return epochBase{}, err
	}
	e.base, e.based = baseOf(first), true
	return e.base, nil
}

// State says where a fact is. A fact that is not an audit fact is CodeNotFound.
func (l *Ledger) State(ctx context.Context, namespace string, id assay.FactID) (Status, error) {
	f, err := l.find(ctx, namespace, id)
	return f.Status, err
}

// found is where a fact was found.
type found struct {
	Status
	entry store.Entry
	epoch *epoch     // that holds it, from StatePlaced on
	head  Checkpoint // that covers it, if published
}

// find looks a fact up in the outbox and in the newest head.
func (l *Ledger) find(ctx context.Context, namespace string, id assay.FactID) (found, error) {
	en, err := l.outbox.Entry(ctx, namespace, id)
	if err != nil {
		return found{}, err
	}
	f := found{entry: en, Status: Status{State: StateRecorded, Numbered: en.Numbered, Seq: en.Seq}}
	if !en.Placed {
		return f, nil
	}
	ep, base, err := l.epochFor(ctx, en.Seq)
	if err != nil {
		return found{}, err
	}
	f.epoch = ep
	f.State, f.Index, f.Epoch = StatePlaced, en.Index, ep.Number
	if en.Seq < base.until {
		// The store knows the index in the epoch that was lost; here it was placed
		// again, in order.
		f.Index = en.Seq - base.start + base.base
	}
	head, err := ep.readHead(ctx)
	if assay.CodeOf(err) == assay.CodeNotFound {
		return f, nil
	}
	if err != nil {
		return found{}, err
	}
	if f.Index < head.Size {
		f.State, f.head = StatePublished, head
		// A proof under a head that others saw too says more than one under a newer head.
		if c, err := ep.readCosigned(ctx); err == nil && f.Index < c.Size && c.Size <= head.Size {
			f.head = c
		}
	}
	return f, nil
}

// epochFor returns the newest epoch that begins at or before a sequence number.
func (l *Ledger) epochFor(ctx context.Context, seq uint64) (*epoch, epochBase, error) {
	for i := len(l.epochs) - 1; i > 0; i-- {
		e := l.epochs[i]
		head, err := e.readHead(ctx)
		if err != nil {
			return nil, epochBase{}, err
		}
		base, err := e.readBase(ctx, head.Size)
		if err != nil {
			return nil, epochBase{}, err
		}
		if seq >= base.start {
			return e, base, nil
		}
	}
	return l.epochs[0], epochBase{}, nil
}

// WaitPublished waits until a signed checkpoint covers the fact, and returns where
// it is. It ends with ctx, or at once with CodeNotFound for a fact that is not in
// the outbox. While it waits it looks at the head alone: the store is asked again
// only when the head is another one, or may cover the fact before the store noted so.
func (l *Ledger) WaitPublished(ctx context.Context, namespace string, id assay.FactID) (Status, error) {
	t := time.NewTicker(l.poll)
	defer t.Stop()
	late := func(s Status) (Status, error) {
		e := assay.Errorf(assay.CodeUnavailable, "fact %s is %s, but not published yet: %w", id, s.State, ctx.Err())
		e.Hint = "is the sequencer running? see `assay ledger head`"
		return s, e
	}
	last, asked := Status{State: StateRecorded}, []byte(nil)
	for {
		head, err := l.current().Reader.ReadCheckpoint(ctx)
		if err != nil || asked == nil || !bytes.Equal(head, asked) || last.State == StateRecorded && last.Numbered {
			s, err := l.State(ctx, namespace, id)
			if err != nil && ctx.Err() != nil {
				return late(last)
			}
			if err != nil || s.State == StatePublished {
				return s, err
			}
			last, asked = s, append([]byte{}, head...)
		}
		select {
		case <-ctx.Done():
			return late(last)
		case <-t.C:
		}
	}
}

// Prove returns the proof that a fact is in the ledger. A fact that no checkpoint
// covers yet is CodeUnavailable; a leaf that is not the fact's is CodeUnverified.
// The proof was verified before it is returned.
func (l *Ledger) Prove(ctx context.Context, namespace string, id assay.FactID) (Proof, error) {
	f, err := l.find(ctx, namespace, id)
	if err != nil {
		return Proof{}, err
	}
	if f.State != StatePublished {
		e := assay.Errorf(assay.CodeUnavailable, "fact %s is %s, but no signed checkpoint covers it yet", id, f.State)
		e.Hint = "wait for the next checkpoint, or start the sequencer"
		return Proof{}, e
	}
	want, err := LeafOf(f.entry, l.salt)
	if err != nil {
		return Proof{}, err
	}
	return f.epoch.prove(ctx, f.head, f.Index, want.Marshal())
}

// prove proves a leaf under a head that covers it.
func (e *epoch) prove(ctx context.Context, head Checkpoint, index uint64, leaf []byte) (Proof, error) {
	leafHash := rfc6962.DefaultHasher.HashLeaf(leaf)
	build := func(p *prover) ([][]byte, error) {
		hashes, err := p.inclusion(ctx, index)
		if err != nil {
			return nil, err
		}
		return hashes, VerifyInclusion(index, head.Size, leafHash, hashes, head.Root[:])
	}
	p := &prover{reader: e.Reader, size: head.Size, cache: &e.tiles}
	hashes, err := build(p)
	if err != nil && p.cached {
		p = &prover{reader: e.Reader, size: head.Size}
		hashes, err = build(p)
	}
	switch assay.CodeOf(err) {
	case "":
	case assay.CodeUnverified:
		e := unverified("the ledger's leaf %d is not what the store's fact gives: %w", index, err)
		e.Hint = "run `assay ledger audit --fsck` to see what was altered"
		return Proof{}, e
	default:
		return Proof{}, err
	}
	e.tiles.keep(p.read)
	out := Proof{Leaf: leaf, Index: index, Checkpoint: head.Raw, Hashes: make([][32]byte, len(hashes))}
	for i, h := range hashes {
		out.Hashes[i] = [32]byte(h)
	}
	return out, nil
}

// ProveConsistency returns the hashes that show that the current head extends an
// older one, and the current head. Verify them with VerifyConsistency.
func (l *Ledger) ProveConsistency(ctx context.Context, older uint64) ([][]byte, Checkpoint, error) {
	e := l.current()
	head, err := e.readHead(ctx)
	if err != nil {
		return nil, Checkpoint{}, err
	}
	if older > head.Size {
		return nil, Checkpoint{}, assay.Errorf(assay.CodeConflict, "the ledger has only %d leaves; it cannot continue one of %d", head.Size, older)
	}
	hashes, err := consistency(ctx, e.Reader, older, head.Size)
	return hashes, head, err
}

// consistency builds a proof between two sizes from tiles.
func consistency(ctx context.Context, r Reader, older, newer uint64) ([][]byte, error) {
	if older == 0 || older == newer {
		return nil, nil
	}
	return (&prover{reader: r, size: newer}).consistency(ctx, older)
}

// CheckExtends verifies, from a tree's own tiles, that newer extends older.
func CheckExtends(ctx context.Context, r Reader, older, newer Checkpoint) error {
	if newer.Size < older.Size {
		return unverified("ledger shrank from %d to %d leaves", older.Size, newer.Size)
	}
	hashes, err := consistency(ctx, r, older.Size, newer.Size)
	if err != nil {
		return err
	}
	return VerifyConsistency(older, newer, hashes)
}

// leafAt reads one leaf.
func leafAt(ctx context.Context, r Reader, index, size uint64) ([]byte, error) {
	for l, err := range ReadLeaves(ctx, r, index, index+1, size) {
		return l.Raw, err
	}
	return nil, assay.Errorf(assay.CodeNotFound, "the ledger has no leaf %d; it ends at %d", index, size)
}
