package mem

import (
	"context"
	"maps"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Sequence implements store.Outbox.
func (s *Store) Sequence(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	limit, err := store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	out := []store.Entry{}
	err = s.write(ctx, func() (func(), error) {
		return func() {
			s.numbered = min(s.numbered+limit, len(s.outbox))
			for seq := max(from, s.placedTo); seq < uint64(s.numbered) && len(out) < limit; seq++ {
				if e := s.entry(seq); !e.Placed {
					out = append(out, e)
				}
			}
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Place implements store.Outbox.
func (s *Store) Place(ctx context.Context, placed []store.Placement) error {
	if len(placed) > store.MaxLimit {
		return store.TooManyPlacements(len(placed))
	}
	return s.write(ctx, func() (func(), error) {
		set := map[uint64]uint64{}
		for _, p := range placed {
			if p.Seq >= uint64(s.numbered) {
				return nil, assay.Errorf(assay.CodeNotFound, "there is no outbox entry %d", p.Seq)
			}
			for _, m := range []map[uint64]uint64{s.placed, set} {
				if i, ok := m[p.Seq]; ok && i != p.Index {
					return nil, assay.Errorf(assay.CodeConflict, "outbox entry %d is at ledger index %d, not %d", p.Seq, i, p.Index)
				}
			}
			set[p.Seq] = p.Index
		}
		return func() {
			maps.Copy(s.placed, set)
			for {
				if _, ok := s.placed[s.placedTo]; !ok {
					break
				}
				s.placedTo++
			}
		}, nil
	})
}

// Entries implements store.Outbox.
func (s *Store) Entries(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	limit, err := store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed()
	}
	out := []store.Entry{}
	for seq := from; seq < uint64(s.numbered) && len(out) < limit; seq++ {
		out = append(out, s.entry(seq))
	}
	return out, nil
}

// Entry implements store.Outbox.
func (s *Store) Entry(ctx context.Context, namespace string, id assay.FactID) (store.Entry, error) {
	if err := store.CheckID(id); err != nil {
		return store.Entry{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Entry{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.Entry{}, errClosed()
	}
	c, ok := s.byID[factKey{namespace, id}]
	if !ok || s.facts[c-1].Retention != assay.RetainAudit {
		return store.Entry{}, assay.Errorf(assay.CodeNotFound, "there is no fact %q that the ledger holds or will hold", id)
	}
	if seq, ok := slices.BinarySearch(s.outbox, c); ok && seq < s.numbered {
		return s.entry(uint64(seq)), nil
	}
	return store.Entry{Fact: copyFact(s.facts[c-1])}, nil
}

// entry returns a numbered entry; the caller holds the store's lock.
func (s *Store) entry(seq uint64) store.Entry {
	index, placed := s.placed[seq]
	return store.Entry{Numbered: true, Seq: seq, Placed: placed, Index: index, Fact: copyFact(s.facts[s.outbox[seq]-1])}
}
