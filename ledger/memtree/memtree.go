// Package memtree is a ledger tree in memory: for tests, demonstrations and dry
// runs.
//
// A Log plays the disk: it survives Close and is opened again through Opener, with
// the same rules as a tree on disk (one opener at a time, nothing signed before the
// vet). It is a ledger.Reader too. Its hook makes appends fail in the ways a real
// tree can: with and without effect, in part, and in another order.
package memtree

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"sync"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Fault is what goes wrong with one append.
type Fault int

const (
	// None lets the append succeed.
	None Fault = iota
	// NotPersisted answers an error and appends nothing.
	NotPersisted
	// Persisted appends everything and answers an error.
	Persisted
	// FirstHalf appends the first half and answers an error.
	FirstHalf
	// SecondHalf loses the first half, appends the rest and answers an error: an
	// early flush failed, and the indices of the next one shifted.
	SecondHalf
	// Swapped appends the second half before the first and succeeds.
	Swapped
	// Misreported appends in order but answers indices that are one too high.
	Misreported
)

// Log is the content of one tree. Its methods may be called concurrently.
type Log struct {
	signer note.Signer
	// Fault is asked before each append; it gets the number of leaves. nil means
	// None. Set it before the first use.
	Fault func(n int) Fault
	// Held stops checkpoints until Publish; set it before the first use.
	Held bool

	mu         sync.Mutex
	open       bool
	leaves     [][]byte
	tree       *compact.Range
	tiles      map[compact.NodeID][]byte // by tile level and index
	checkpoint []byte
}

var _ ledger.Reader = (*Log)(nil)

// New returns an empty log whose checkpoints signer signs; the signer's name is the origin.
func New(signer note.Signer) *Log {
	l := &Log{signer: signer}
	l.reset()
	return l
}

func (l *Log) reset() {
	l.leaves, l.tiles = nil, map[compact.NodeID][]byte{}
	l.tree = (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
}

// Truncate forgets all leaves from size on and the checkpoint over them, as if the
// log had been brought back from an older backup.
func (l *Log) Truncate(size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.leaves[:size]
	l.reset()
	l.checkpoint = nil
	return l.add(kept)
}

// Publish signs a checkpoint over all leaves.
func (l *Log) Publish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sign()
}

// Opener opens the log.
func (l *Log) Opener() ledger.Opener {
	return func(ctx context.Context, vet ledger.Vet) (ledger.Tree, error) {
		l.mu.Lock()
		busy := l.open
		l.open = true
		l.mu.Unlock()
		if busy {
			return nil, assay.Errorf(assay.CodeUnavailable, "the tree is open already")
		}
		t := &tree{log: l}
		if err := vet(ctx, t); err != nil {
			l.mu.Lock()
			l.open = false
			l.mu.Unlock()
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return t, l.publish()
	}
}

// publish signs unless held. The caller holds mu.
func (l *Log) publish() error {
	if l.Held {
		return nil
	}
	return l.sign()
}

func (l *Log) sign() error {
	root := rfc6962.DefaultHasher.EmptyRoot()
	if len(l.leaves) > 0 {
		var err error
		if root, err = l.tree.GetRootHash(nil); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", l.signer.Name(), len(l.leaves), base64.StdEncoding.EncodeToString(root))
	cp, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		return err
	}
	l.checkpoint = cp
	return nil
}

// add appends leaves. The caller holds mu.
func (l *Log) add(leaves [][]byte) error {
	for _, leaf := range leaves {
		err := l.tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf), func(id compact.NodeID, h []byte) {
			if id.Level%8 == 0 {
				k := compact.NodeID{Level: id.Level / 8, Index: id.Index / 256}
				l.tiles[k] = append(l.tiles[k], h...)
			}
		})
		if err != nil {
			return err
		}
		l.leaves = append(l.leaves, leaf)
	}
	return nil
}

// ReadCheckpoint implements ledger.Reader.
func (l *Log) ReadCheckpoint(context.Context) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checkpoint == nil {
		return nil, fmt.Errorf("checkpoint: %w", fs.ErrNotExist)
	}
	return append([]byte(nil), l.checkpoint...), nil
}

// ReadTile implements ledger.Reader.
func (l *Log) ReadTile(_ context.Context, level, index uint64, p uint8) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tiles[compact.NodeID{Level: uint(level), Index: index}]
	n := 32 * width(p)
	if len(t) < n {
		return nil, fmt.Errorf("tile %d/%d: %w", level, index, fs.ErrNotExist)
	}
	return append([]byte(nil), t[:n]...), nil
}

// ReadEntryBundle implements ledger.Reader.
func (l *Log) ReadEntryBundle(_ context.Context, index uint64, p uint8) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := index * 256
	to := from + uint64(width(p))
	if to > uint64(len(l.leaves)) {
		return nil, fmt.Errorf("entries %d: %w", index, fs.ErrNotExist)
	}
	var out []byte
	for _, leaf := range l.leaves[from:to] {
		out = append(out, byte(len(leaf)>>8), byte(len(leaf)))
		out = append(out, leaf...)
	}
	return out, nil
}

func width(p uint8) int {
	if p == 0 {
		return 256
	}
	return int(p)
}

// tree is an open Log.
type tree struct {
	log *Log
}

// Append implements ledger.Tree.
func (t *tree) Append(ctx context.Context, leaves [][]byte) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := t.log
	fault := None
	if l.Fault != nil {
		fault = l.Fault(len(leaves))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first, half := uint64(len(l.leaves)), len(leaves)/2
	kept, shift, failed := leaves, uint64(0), false
	switch fault {
	case NotPersisted:
		kept, failed = nil, true
	case Persisted:
		failed = true
	case FirstHalf:
		kept, failed = leaves[:half], true
	case SecondHalf:
		kept, failed = leaves[half:], true
	case Swapped:
		kept = append(append([][]byte{}, leaves[half:]...), leaves[:half]...)
	case Misreported:
		shift = 1
	}
	if err := l.add(kept); err != nil {
		return nil, err
	}
	if err := l.publish(); err != nil {
		return nil, err
	}
	if failed {
		return nil, assay.Errorf(assay.CodeUnavailable, "the disk failed (fault %d)", fault)
	}
	out := make([]uint64, len(leaves))
	for i := range out {
		out[i] = first + uint64(i) + shift
		if fault == Swapped {
			out[i] = first + uint64((i+len(leaves)-half)%len(leaves))
		}
	}
	return out, nil
}

// Size implements ledger.Tree.
func (t *tree) Size(context.Context) (uint64, error) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return uint64(len(t.log.leaves)), nil
}

// Leaves implements ledger.Tree.
func (t *tree) Leaves(_ context.Context, from uint64, limit int) ([][]byte, error) {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	n := uint64(len(t.log.leaves))
	if from >= n {
		return nil, nil
	}
	return append([][]byte(nil), t.log.leaves[from:min(n, from+uint64(limit))]...), nil
}

// Close implements ledger.Tree.
func (t *tree) Close() error {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.log.open = false
	return nil
}
