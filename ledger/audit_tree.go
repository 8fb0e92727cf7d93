package ledger

import (
	"bytes"
	"context"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
)

// treeWalk reads all leaves of one epoch once.
type treeWalk struct {
	*auditor
	epoch   *epoch
	tree    *auditedTree
	head    Checkpoint
	next    epochStart
	first   *Leaf // the leaf that opens a later epoch
	givenUp uint64

	cosigned    Checkpoint // by witnesses
	hasCosigned bool

	last    uint64                    // number of the leaf before
	any     bool                      // last is set
	entries map[uint64]store.Entry    // window of the outbox
	tiles   map[compact.NodeID][]byte // tiles that are not full yet; Level counts tile levels
	damaged bool
}

// walk returns whether leaves, tiles and root belong together.
func (w *treeWalk) walk(ctx context.Context) (sound bool, err error) {
	w.tiles = map[compact.NodeID][]byte{}
	r := newRange()
	var tileErr error
	visit := func(id compact.NodeID, hash []byte) {
		if tileErr == nil {
			tileErr = w.node(ctx, id, hash)
		}
	}
	for l, err := range ReadLeaves(ctx, w.epoch.Reader, 0, w.head.Size, w.head.Size) {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			w.problem("the leaves of %s cannot be read from index %d on: %v", w.epoch.Origin, r.End(), err)
			return false, nil
		}
		w.committed(r)
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(l.Raw), visit); err != nil {
			return false, err
		}
		if tileErr != nil {
			return false, tileErr
		}
		if err := w.leaf(ctx, l); err != nil {
			return false, err
		}
	}
	w.committed(r)
	if w.hasCosigned && w.cosigned.Size > w.head.Size {
		w.problem("witnesses cosigned %s with %d leaves, but its published head covers only %d: it was set back", w.epoch.Origin, w.cosigned.Size, w.head.Size)
	}
	for id, content := range w.tiles {
		if err := w.tile(ctx, id, content); err != nil {
			return false, err
		}
	}
	root, err := rootOf(r)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(root, w.head.Root[:]) {
		w.damaged = true
		w.problem("the root recomputed from the %d leaves of %s is not the signed one: a leaf was altered, added or removed", w.head.Size, w.epoch.Origin)
	}
	return !w.damaged, nil
}

// committed compares the tree with the heads that others hold of it: the one that
// witnesses cosigned, and the one in the next epoch's first leaf.
func (w *treeWalk) committed(r *compact.Range) {
	if w.hasCosigned && r.End() == w.cosigned.Size {
		if root, err := rootOf(r); err != nil || !bytes.Equal(root, w.cosigned.Root[:]) {
			w.problem("the head of %d leaves that witnesses cosigned is not a head of %s: history was rewritten", w.cosigned.Size, w.epoch.Origin)
		}
	}
	p := w.next.previous
	if p == nil || r.End() != p.Size {
		return
	}
	root, err := rootOf(r)
	if err != nil || assay.DigestOf([32]byte(root)) != p.Root || p.Origin != w.epoch.Origin {
		w.problem("the head that the next epoch commits to (%s, %d leaves) is not a head of %s", clip(p.Origin), p.Size, w.epoch.Origin)
	}
}

// node collects the hashes of tiles and compares each tile when it is full.
func (w *treeWalk) node(ctx context.Context, id compact.NodeID, hash []byte) error {
	if id.Level%layout.TileHeight != 0 {
		return nil
	}
	k := compact.NodeID{Level: id.Level / layout.TileHeight, Index: id.Index / layout.TileWidth}
	w.tiles[k] = append(w.tiles[k], hash...)
	if len(w.tiles[k]) < maxTile {
		return nil
	}
	content := w.tiles[k]
	delete(w.tiles, k)
	return w.tile(ctx, k, content)
}

// tile compares one tile of the log with the recomputed one.
func (w *treeWalk) tile(ctx context.Context, id compact.NodeID, want []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := uint8(len(want) / 32 % layout.TileWidth)
	path := layout.TilePath(uint64(id.Level), id.Index, p)
	got, err := w.epoch.Reader.ReadTile(ctx, uint64(id.Level), id.Index, p)
	switch {
	case err != nil:
		w.damaged = true
		w.problem("%s of %s cannot be read: %v", path, w.epoch.Origin, err)
	case len(got) < len(want) || !bytes.Equal(got[:len(want)], want):
		w.damaged = true
		w.problem("%s of %s does not hold the hashes of its leaves: the tile was altered", path, w.epoch.Origin)
	}
	return nil
}

// leaf checks one leaf against the store.
func (w *treeWalk) leaf(ctx context.Context, il IndexedLeaf) error {
	l, err := ParseLeaf(il.Raw)
	if err != nil {
		w.problem("leaf %d of %s is not a leaf of ours: %v", il.Index, w.epoch.Origin, err)
		return nil
	}
	if l.Previous != nil {
		if il.Index != 0 || w.epoch.Number == 0 {
			w.problem("leaf %d of %s opens an epoch in the middle of one", il.Index, w.epoch.Origin)
			return nil
		}
		w.first, w.tree.base = &l, baseOf(l)
		return nil
	}
	base := w.tree.base
	if l.Seq < base.start {
		w.problem("leaf %d of %s has number %d, which is of an earlier epoch", il.Index, w.epoch.Origin, l.Seq)
		return nil
	}
	if l.Seq >= w.next.seq {
		w.givenUp++ // the epoch that followed says so
		return nil
	}
	// A number far beyond the tree's size is no number the sequencer gave; the
	// bound also keeps a forged one from growing the set.
	if l.Seq-base.start > w.head.Size+MaxBatch {
		w.problem("leaf %d of %s has number %d, far beyond the ledger's size", il.Index, w.epoch.Origin, l.Seq)
		return nil
	}
	if !w.tree.seen.add(l.Seq - base.start) {
		w.problem("fact number %d is in %s twice, the second time at index %d", l.Seq, w.epoch.Origin, il.Index)
		return nil
	}
	if w.any && l.Seq < w.last {
		w.problem("leaf %d of %s has number %d after number %d: a failed append changed the order", il.Index, w.epoch.Origin, l.Seq, w.last)
	}
	w.last, w.any = l.Seq, true
	if l.Seq-base.start+base.base != il.Index {
		w.tree.index[l.Seq] = il.Index
	}
	return w.compare(ctx, l, il)
}

// compare looks a leaf's fact up and compares it byte by byte.
func (w *treeWalk) compare(ctx context.Context, l Leaf, il IndexedLeaf) error {
	e, ok := w.entries[l.Seq]
	if !ok {
		var err error
		if w.entries, err = entriesBetween(ctx, w.ledger.outbox, l.Seq, l.Seq+MaxBatch-1); err != nil {
			return err
		}
		if e, ok = w.entries[l.Seq]; !ok {
			w.problem("leaf %d of %s is about fact number %d (%s), which the store does not have", il.Index, w.epoch.Origin, l.Seq, l.Fact)
			return nil
		}
	}
	want, err := LeafOf(e, w.ledger.salt)
	if err != nil {
		w.problem("the store's fact number %d is not valid any more: %v", l.Seq, err)
		return nil
	}
	if bytes.Equal(want.Marshal(), il.Raw) {
		return nil
	}
	switch {
	case want.Fact != l.Fact:
		w.problem("leaf %d of %s is about fact %s, but the store's number %d is fact %s", il.Index, w.epoch.Origin, l.Fact, l.Seq, want.Fact)
	case want.Digest != l.Digest:
		w.problem("fact number %d (%s) was altered in the store after it entered the ledger: its digest is %s, the ledger has %s", l.Seq, l.Fact, want.Digest.Short(), l.Digest.Short())
	default:
		w.problem("leaf %d of %s does not say what the store's fact number %d (%s) says", il.Index, w.epoch.Origin, l.Seq, l.Fact)
	}
	return nil
}
