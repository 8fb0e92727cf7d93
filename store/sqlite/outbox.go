package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// entryColumns are the columns of an entry. Numbers and names come as one text
// between separators, because the driver takes its price per column: packed, an
// entry costs half the allocations. No name has a control character in it
// (store.Complete). The first part is never empty: concat_ws puts no separator
// behind an empty first one.
const entryColumns = "SELECT concat_ws(char(31), ifnull(outbox.seq, '-'), ifnull(outbox.idx, '-'), version, time, recorded," +
	" namespace, kind, service, environment, trace_id, deployment_id, actor, retention)," +
	" id, subject, policy_revision, causes, payload FROM outbox JOIN facts ON facts.pos = outbox.pos "

// entryParts is how many parts the packed column has.
const entryParts = 13

// Sequence implements store.Outbox. Commit order is the order of pos, so the
// facts without a number are exactly those behind the last one that has one. The
// numbers are durable before the entries are read, and reading them is no work
// for the writer, for which others wait.
func (s *Store) Sequence(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	limit, err := store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	if err := s.submit(ctx, func(t *tx) error { return t.number(limit) }); err != nil {
		return nil, err
	}
	return s.entries(ctx, s.read.unplaced, signed(from), limit)
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
	return s.entries(ctx, s.read.entries, signed(from), limit)
}

// signed is a number as SQLite holds it; there is none above it.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// Entry implements store.Outbox.
func (s *Store) Entry(ctx context.Context, namespace string, id assay.FactID) (store.Entry, error) {
	if err := store.CheckID(id); err != nil {
		return store.Entry{}, err
	}
	found, err := s.entries(ctx, s.read.entry, namespace, idBytes(id))
	if err != nil {
		return store.Entry{}, err
	}
	if len(found) == 0 {
		return store.Entry{}, assay.Errorf(assay.CodeNotFound, "there is no fact %q that the ledger holds or will hold", id)
	}
	return found[0], nil
}

// entries runs one of the statements that select entryColumns. One statement sees
// one snapshot by itself; a transaction around it would cost more than it does.
func (s *Store) entries(ctx context.Context, stmt *sql.Stmt, args ...any) ([]store.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.views.Done()
	var out []store.Entry
	rows, err := stmt.QueryContext(ctx, args...)
	if err == nil {
		out, err = scanEntries(rows)
	}
	if err != nil {
		return nil, readError(ctx, err)
	}
	return out, nil
}

func scanEntries(rows *sql.Rows) ([]store.Entry, error) {
	defer rows.Close()
	out := []store.Entry{}
	for rows.Next() {
		var packed string
		var fr factRow
		if err := rows.Scan(&packed, &fr.id, &fr.subject, &fr.revision, &fr.causes, &fr.payload); err != nil {
			return nil, err
		}
		e, err := unpack(packed, &fr)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// unpack makes an entry of its packed column and the rest of its fact.
func unpack(packed string, fr *factRow) (store.Entry, error) {
	var part [entryParts]string
	for i := range part {
		var more bool
		part[i], packed, more = strings.Cut(packed, "\x1f")
		if more != (i < entryParts-1) {
			return store.Entry{}, assay.Errorf(assay.CodeInternal, "a row of the outbox has another number of parts than %d", entryParts)
		}
	}
	var e store.Entry
	var errs [5]error
	if e.Numbered = part[0] != "-"; e.Numbered {
		e.Seq, errs[0] = strconv.ParseUint(part[0], 10, 64)
	}
	if e.Placed = part[1] != "-"; e.Placed {
		e.Index, errs[1] = strconv.ParseUint(part[1], 10, 64)
	}
	f := &fr.fact
	f.Version, errs[2] = strconv.Atoi(part[2])
	fr.time, errs[3] = strconv.ParseInt(part[3], 10, 64)
	fr.recorded, errs[4] = strconv.ParseInt(part[4], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return store.Entry{}, assay.Errorf(assay.CodeInternal, "a row of the outbox has a damaged number: %w", err)
	}
	f.Namespace, f.Kind, f.Service, f.Environment = part[5], part[6], part[7], part[8]
	f.TraceID, f.DeploymentID, f.Actor, f.Retention = part[9], part[10], part[11], assay.Retention(part[12])
	row, err := fr.row()
	e.Fact = row.Fact
	return e, err
}
