package ledger

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// reconcilePage is how many leaves are compared at a time, from the tree's end.
const reconcilePage = MaxBatch

// reconcile is the Sequencer's Vet: it makes the store and a freshly opened tree
// agree, or refuses. The tree is the truth about what was appended, the store about
// what should be. Leaves at the tree's end whose entries have no index yet are the
// rest of a batch that was cut short: they are placed where they are. Everything
// else that differs is a contradiction:
//
//   - a leaf that the store never numbered, or numbered for another fact: the store
//     is older than the tree (restored from a backup) or was rewritten;
//   - an entry that the store has placed beyond the tree's end: the ledger directory
//     is older than the store.
func (s *Sequencer) reconcile(ctx context.Context, t Tree) error {
	size, err := t.Size(ctx)
	if err != nil {
		return err
	}
	eb, err := readBase(ctx, t, size)
	if err != nil {
		return err
	}
	r := reconciler{outbox: s.cfg.Outbox, salt: s.cfg.Salt, epochBase: eb, seen: map[uint64]uint64{}}
	end := size
	for end > eb.base {
		from := eb.base
		if end-eb.base > reconcilePage {
			from = end - reconcilePage
		}
		leaves, err := t.Leaves(ctx, from, int(end-from))
		if err != nil {
			return err
		}
		if uint64(len(leaves)) != end-from {
			return assay.Errorf(assay.CodeUnavailable, "ledger tree of %d leaves yields %d from index %d, expected %d", size, len(leaves), from, end-from)
		}
		open, err := r.page(ctx, from, leaves)
		if err != nil {
			return err
		}
		if open == 0 {
			break // batches are placed in order: all before it is placed too
		}
		end = from
	}
	if err := r.beyond(ctx, size); err != nil {
		return err
	}
	if len(r.found) > 0 {
		s.cfg.Log.Warn("ledger tree held leaves that the store had not noted yet", "leaves", len(r.found))
		if err := s.cfg.Outbox.Place(ctx, r.found); err != nil {
			return err
		}
	}
	s.next, s.origin, s.ahead, s.unnoted = size, eb, batch{}, arrived{}
	s.cfg.Metrics.treeSize.Set(float64(size))
	s.cfg.Metrics.stopped.Set(0)
	return nil
}

// readBase reads how an epoch begins.
func readBase(ctx context.Context, t Tree, size uint64) (epochBase, error) {
	if size == 0 {
		return epochBase{}, nil
	}
	first, err := t.Leaves(ctx, 0, 1)
	if err != nil {
		return epochBase{}, err
	}
	if len(first) != 1 {
		return epochBase{}, assay.Errorf(assay.CodeUnavailable, "ledger tree of %d leaves does not yield the first one", size)
	}
	l, err := ParseLeaf(first[0])
	if err != nil {
		return epochBase{}, contradiction("leaf 0 of the tree is not a leaf of ours: %v", err)
	}
	return baseOf(l), nil
}

func baseOf(first Leaf) epochBase {
	if first.Previous == nil {
		return epochBase{}
	}
	return epochBase{base: 1, start: first.Seq, until: first.Previous.Until}
}

// reconciler compares leaves with outbox entries.
type reconciler struct {
	epochBase
	outbox store.Outbox
	salt   []byte
	seen   map[uint64]uint64 // index by sequence number, of the leaves read
	found  []store.Placement // leaves whose entries have no index yet
}

// page compares leaves from index from on and returns how many entries had no index.
func (r *reconciler) page(ctx context.Context, from uint64, raws [][]byte) (open int, err error) {
	leaves := make([]Leaf, len(raws))
	low, high := ^uint64(0), uint64(0)
	for i, raw := range raws {
		l, err := ParseLeaf(raw)
		if err != nil {
			return 0, contradiction("leaf %d of the tree is not a leaf of ours: %v", from+uint64(i), err)
		}
		if other, twice := r.seen[l.Seq]; twice {
			return 0, contradiction("fact number %d is in the tree twice, at index %d and %d", l.Seq, from+uint64(i), other)
		}
		r.seen[l.Seq] = from + uint64(i)
		leaves[i], low, high = l, min(low, l.Seq), max(high, l.Seq)
	}
	// The numbers of a page lie close together unless something is very wrong.
	entries := map[uint64]store.Entry{}
	if high-low < 4*reconcilePage {
		if entries, err = entriesBetween(ctx, r.outbox, low, high); err != nil {
			return 0, err
		}
	}
	for i, l := range leaves {
		index := from + uint64(i)
		e, ok := entries[l.Seq]
		if !ok {
			return 0, contradiction("the tree holds fact number %d (at index %d), which the store has never numbered: the store is older than the ledger", l.Seq, index)
		}
		want, err := LeafOf(e, r.salt)
		if err != nil {
			return 0, &finalError{assay.Errorf(assay.CodeConflict, "%w", err)}
		}
		if string(want.Marshal()) != string(raws[i]) {
			return 0, contradiction("leaf %d of the tree is about fact %s, but the store's number %d is fact %s with digest %s: one of them was rewritten",
				index, l.Fact, l.Seq, e.Fact.ID, want.Digest.Short())
		}
		switch {
		case l.Seq < r.until: // its index in the store is of an earlier epoch
		case !e.Placed:
			open++
			r.found = append(r.found, store.Placement{Seq: l.Seq, Index: index})
		case e.Index != index:
			return 0, contradiction("the store has fact number %d at index %d, the tree has it at %d", l.Seq, e.Index, index)
		}
	}
	return open, nil
}

// beyond refuses a tree that ends before what the store has placed in it.
func (r *reconciler) beyond(ctx context.Context, size uint64) error {
	from := r.start + max(size, r.base) - r.base
	entries, err := r.outbox.Entries(ctx, max(from, r.until), 2*MaxBatch)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Numbered && e.Placed && e.Index >= size {
			return contradiction("the store has fact number %d at index %d, but the tree ends at %d: the ledger directory is older than the store",
				e.Seq, e.Index, size)
		}
	}
	return nil
}

// entriesBetween returns the numbered entries low to high, inclusive.
func entriesBetween(ctx context.Context, o store.Outbox, low, high uint64) (map[uint64]store.Entry, error) {
	out := map[uint64]store.Entry{}
	for from := low; from <= high; {
		page, err := o.Entries(ctx, from, int(min(high-from+1, MaxBatch)))
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Numbered && e.Seq <= high {
				out[e.Seq] = e
			}
		}
		if len(page) == 0 {
			break
		}
		from = page[len(page)-1].Seq + 1
	}
	return out, nil
}

// contradiction is a state in which signing on would fork the ledger.
func contradiction(format string, args ...any) error {
	e := assay.Errorf(assay.CodeConflict, "ledger and store contradict each other: "+format, args...)
	e.Msg += "; nothing is signed, because a fork is worse than a stop"
	e.Hint = "bring back the newer of the two from a backup, or open a new epoch with `assay ledger restore`"
	return &finalError{e}
}
