package sqlite

import (
	"context"
	"database/sql"
	"errors"

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
	row := t.sess.conn.QueryRowContext(t.ctx, "SELECT pos, seq + 1 FROM outbox WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1")
	if err := row.Scan(&lastPos, &next); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return t.fault(err)
	}
	fresh, err := t.unnumbered(lastPos, limit)
	if err != nil {
		return t.fault(err)
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := t.save(); err != nil {
		return err
	}
	stmt, err := t.sess.conn.PrepareContext(t.ctx, "UPDATE outbox SET seq = ? WHERE pos = ? AND seq IS NULL")
	if err != nil {
		return t.fault(err)
	}
	defer stmt.Close()
	for i, pos := range fresh {
		if _, err := stmt.ExecContext(t.ctx, next+int64(i), pos); err != nil {
			return t.fault(err)
		}
	}
	return nil
}

func (t *tx) unnumbered(after int64, limit int) ([]int64, error) {
	rows, err := t.sess.conn.QueryContext(t.ctx, "SELECT pos FROM outbox WHERE pos > ? ORDER BY pos LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var fresh []int64
	for rows.Next() {
		var pos int64
		if err := rows.Scan(&pos); err != nil {
			return nil, err
		}
		fresh = append(fresh, pos)
	}
	return fresh, rows.Err()
}

// Place implements store.Outbox.
func (s *Store) Place(ctx context.Context, placed []store.Placement) error {
	if len(placed) > store.MaxLimit {
		return store.TooManyPlacements(len(placed))
	}
	return s.submit(ctx, func(t *tx) error {
		update, err := t.sess.conn.PrepareContext(t.ctx, "UPDATE outbox SET idx = ? WHERE seq = ? AND (idx IS NULL OR idx = ?)")
		if err != nil {
			return t.fault(err)
		}
		defer update.Close()
		for _, p := range placed {
			if err := t.save(); err != nil {
				return err
			}
			if err := t.place(update, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) place(update *sql.Stmt, p store.Placement) error {
	res, err := update.ExecContext(t.ctx, int64(p.Index), int64(p.Seq), int64(p.Index))
	if err != nil {
		return t.fault(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return t.fault(err)
	}
	if n == 1 {
		return nil
	}
	var idx int64
	err = t.sess.conn.QueryRowContext(t.ctx, "SELECT idx FROM outbox WHERE seq = ?", int64(p.Seq)).Scan(&idx)
	if errors.Is(err, sql.ErrNoRows) {
		return assay.Errorf(assay.CodeNotFound, "there is no outbox entry %d", p.Seq)
	}
	if err != nil {
		return t.fault(err)
	}
	return assay.Errorf(assay.CodeConflict, "outbox entry %d is at ledger index %d, not %d", p.Seq, idx, p.Index)
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
