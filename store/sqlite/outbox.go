package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"iter"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// entryColumns leads the outbox columns before those of the fact.
const entryColumns = "SELECT outbox.seq, outbox.idx, facts.* FROM outbox JOIN (SELECT " + factColumns + " FROM facts) AS facts ON facts.pos = outbox.pos "

// Sequence implements store.Outbox. Commit order is the order of pos, so the
// facts without a number are exactly those behind the last one that has one.
func (s *Store) Sequence(ctx context.Context, limit int) ([]store.Entry, error) {
	limit, err := store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	err = s.submit(ctx, func(t *tx) error {
		if err := t.number(limit); err != nil {
			return err
		}
		rows, err := t.st.query(t.ctx, entryColumns+
			"WHERE outbox.seq IS NOT NULL AND outbox.idx IS NULL ORDER BY outbox.seq LIMIT ?", limit)
		if err == nil {
			out, err = scanEntries(rows)
		}
		if err != nil {
			return t.fault(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// number gives the next sequence numbers to up to limit facts.
func (t *tx) number(limit int) error {
	var lastPos, next int64
	err := t.sess.lastNumber.QueryRowContext(t.ctx).Scan(&lastPos, &next)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return t.fault(err)
	}
	var fresh bool
	if err := t.sess.hasUnnumbered.QueryRowContext(t.ctx, lastPos).Scan(&fresh); err != nil {
		return t.fault(err)
	}
	if !fresh {
		return nil // a poll of an idle ledger writes nothing
	}
	if err := t.save(); err != nil {
		return err
	}
	if _, err := t.sess.number.ExecContext(t.ctx, next, lastPos, limit); err != nil {
		return t.fault(err)
	}
	return nil
}

// Place implements store.Outbox.
func (s *Store) Place(ctx context.Context, placed []store.Placement) error {
	if len(placed) > store.MaxLimit {
		return store.TooManyPlacements(len(placed))
	}
	return s.submit(ctx, func(t *tx) error {
		for run := range runs(placed) {
			if err := t.save(); err != nil {
				return err
			}
			if err := t.place(run); err != nil {
				return err
			}
		}
		return nil
	})
}

// runs cuts placements where numbers or indices skip: a batch is usually one
// run, and a run is one statement.
func runs(placed []store.Placement) iter.Seq[[]store.Placement] {
	return func(yield func([]store.Placement) bool) {
		for from, i := 0, 1; i <= len(placed); i++ {
			if i < len(placed) && placed[i].Seq == placed[i-1].Seq+1 && placed[i].Index == placed[i-1].Index+1 {
				continue
			}
			if !yield(placed[from:i]) {
				return
			}
			from = i
		}
	}
}

// place records the indices of one run.
func (t *tx) place(run []store.Placement) error {
	first, last := run[0], run[len(run)-1]
	res, err := t.sess.place.ExecContext(t.ctx, int64(first.Seq), int64(last.Seq), int64(first.Index-first.Seq))
	if err != nil {
		return t.fault(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return t.fault(err)
	}
	if n == int64(len(run)) {
		return nil
	}
	for _, p := range run {
		if err := t.misplaced(p); err != nil {
			return err
		}
	}
	return assay.Errorf(assay.CodeInternal, "%d of the outbox entries %d to %d took their index, none of them says why", n, first.Seq, last.Seq)
}

// misplaced says what keeps one entry from its index, nil if it is there.
func (t *tx) misplaced(p store.Placement) error {
	var idx sql.NullInt64
	err := t.sess.placeOf.QueryRowContext(t.ctx, int64(p.Seq)).Scan(&idx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return assay.Errorf(assay.CodeNotFound, "there is no outbox entry %d", p.Seq)
	case err != nil:
		return t.fault(err)
	case idx.Int64 != int64(p.Index):
		return assay.Errorf(assay.CodeConflict, "outbox entry %d is at ledger index %d, not %d", p.Seq, idx.Int64, p.Index)
	}
	return nil
}

// Entries implements store.Outbox.
func (s *Store) Entries(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	limit, err := store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	return s.entries(ctx, "WHERE outbox.seq >= ? ORDER BY outbox.seq LIMIT ?", int64(min(from, 1<<63-1)), limit)
}

// Entry implements store.Outbox.
func (s *Store) Entry(ctx context.Context, namespace string, id assay.FactID) (store.Entry, error) {
	if err := store.CheckID(id); err != nil {
		return store.Entry{}, err
	}
	found, err := s.entries(ctx, "WHERE facts.namespace = ? AND facts.id = ?", namespace, idBytes(id))
	if err != nil {
		return store.Entry{}, err
	}
	if len(found) == 0 {
		return store.Entry{}, assay.Errorf(assay.CodeNotFound, "fact %q is not in the outbox", id)
	}
	return found[0], nil
}

func (s *Store) entries(ctx context.Context, where string, args ...any) ([]store.Entry, error) {
	var out []store.Entry
	err := s.snapshot(ctx, func(r *reader) error {
		rows, err := r.st.query(ctx, entryColumns+where, args...)
		if err == nil {
			out, err = scanEntries(rows)
		}
		if err != nil {
			return readError(ctx, err)
		}
		return nil
	})
	return out, err
}

func scanEntries(rows *sql.Rows) ([]store.Entry, error) {
	defer rows.Close()
	out := []store.Entry{}
	for rows.Next() {
		var seq, idx sql.NullInt64
		var fr factRow
		if err := rows.Scan(append([]any{&seq, &idx}, fr.fields()...)...); err != nil {
			return nil, err
		}
		row, err := fr.row()
		if err != nil {
			return nil, err
		}
		out = append(out, store.Entry{
			Numbered: seq.Valid, Seq: uint64(seq.Int64),
			Placed: idx.Valid, Index: uint64(idx.Int64),
			Fact: row.Fact,
		})
	}
	return out, rows.Err()
}
