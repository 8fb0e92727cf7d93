package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// preparer is a pool or a connection.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// statements are what a reader runs. query takes the text of the rarer ones.
type statements struct {
	get, version, list, fact, exists, pin *sql.Stmt
	entry, entries, unplaced              *sql.Stmt // of the outbox

	query    func(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	prepared []*sql.Stmt // all of them
}

func prepare(ctx context.Context, on preparer) (*statements, error) {
	st := &statements{query: on.QueryContext}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&st.get, "SELECT version, data FROM state WHERE namespace = ? AND bucket = ? AND name = ?"},
		{&st.version, "SELECT version FROM state WHERE namespace = ? AND bucket = ? AND name = ?"},
		{&st.list, "SELECT name, version, data FROM state WHERE namespace = ? AND bucket = ? AND name >= ? AND name > ? ORDER BY name LIMIT ?"},
		{&st.fact, "SELECT " + factColumns + " FROM facts WHERE namespace = ? AND id = ?"},
		{&st.exists, "SELECT 1 FROM facts WHERE namespace = ? AND id = ?"},
		{&st.pin, "SELECT count(*) FROM (SELECT 1 FROM state LIMIT 1)"},
		{&st.entry, entryColumns + "WHERE facts.namespace = ? AND facts.id = ?"},
		{&st.entries, entryColumns + "WHERE outbox.seq >= ? ORDER BY outbox.seq LIMIT ?"},
		{&st.unplaced, entryColumns + "WHERE outbox.seq IS NOT NULL AND outbox.idx IS NULL AND outbox.seq >= ? ORDER BY outbox.seq LIMIT ?"},
	} {
		var err error
		if *p.stmt, err = on.PrepareContext(ctx, p.text); err != nil {
			return st, err // with those that are prepared, to be closed
		}
		st.prepared = append(st.prepared, *p.stmt)
	}
	return st, nil
}

// within returns the same statements inside a transaction of a pool.
func (st *statements) within(ctx context.Context, t *sql.Tx) *statements {
	return &statements{
		get: t.StmtContext(ctx, st.get), list: t.StmtContext(ctx, st.list), fact: t.StmtContext(ctx, st.fact),
		query: t.QueryContext,
	}
}

// reader reads one snapshot.
type reader struct {
	st   *statements
	ctx  context.Context
	cfg  *Config
	done bool // its function returned
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(r store.Reader) error) error {
	return s.snapshot(ctx, func(r *reader) error { return fn(r) })
}

// enter keeps the store open until the caller calls views.Done, which it must
// unless there is an error.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed()
	}
	s.views.Add(1)
	return nil
}

// snapshot runs fn on a reading transaction.
func (s *Store) snapshot(ctx context.Context, fn func(r *reader) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.views.Done()
	t, err := s.pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return readError(ctx, err)
	}
	// The transaction only read: there is nothing a failed rollback could lose.
	defer func() { _ = t.Rollback() }()
	// SQLite takes the snapshot at the first read; take it now.
	var n int
	if err := t.StmtContext(ctx, s.read.pin).QueryRowContext(ctx).Scan(&n); err != nil {
		return readError(ctx, err)
	}
	r := &reader{st: s.read.within(ctx, t), ctx: ctx, cfg: &s.cfg}
	defer func() { r.done = true }()
	return fn(r)
}

// Get implements store.Reader.
func (r *reader) Get(k store.Key) (store.Value, error) {
	if err := r.check(store.CheckKey(k)); err != nil {
		return store.Value{}, err
	}
	v := store.Value{Key: k}
	err := r.st.get.QueryRowContext(r.ctx, k.Namespace, k.Bucket, k.Name).Scan(&v.Version, &v.Data)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Value{}, noValue(k)
	}
	if err != nil {
		return store.Value{}, readError(r.ctx, err)
	}
	return v, nil
}

// List implements store.Reader.
func (r *reader) List(k store.Key, after string, limit int) ([]store.Value, error) {
	limit, err := store.CheckList(k, after, limit)
	if err := r.check(err); err != nil {
		return nil, err
	}
	rows, err := r.st.list.QueryContext(r.ctx, k.Namespace, k.Bucket, k.Name, after, limit)
	if err != nil {
		return nil, readError(r.ctx, err)
	}
	defer rows.Close()
	out := []store.Value{}
	for rows.Next() {
		v := store.Value{Key: k}
		if err := rows.Scan(&v.Key.Name, &v.Version, &v.Data); err != nil {
			return nil, readError(r.ctx, err)
		}
		if !strings.HasPrefix(v.Key.Name, k.Name) {
			break // names are in order: no later one has the prefix
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, readError(r.ctx, err)
	}
	return out, nil
}

// Fact implements store.Reader.
func (r *reader) Fact(namespace string, id assay.FactID) (store.Row, error) {
	if err := r.check(store.CheckID(id)); err != nil {
		return store.Row{}, err
	}
	row, err := r.raw(namespace, id)
	if err == nil {
		row.Fact, err = r.cfg.Upcasters.Fact(row.Fact)
	}
	if err != nil {
		return store.Row{}, err
	}
	return row, nil
}

// raw reads a fact as it was written.
func (r *reader) raw(namespace string, id assay.FactID) (store.Row, error) {
	var row factRow
	err := r.st.fact.QueryRowContext(r.ctx, namespace, idBytes(id)).Scan(row.fields()...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Row{}, assay.Errorf(assay.CodeNotFound, "there is no fact %q in this namespace", id)
	}
	if err != nil {
		return store.Row{}, readError(r.ctx, err)
	}
	return row.row()
}

// Facts implements store.Reader.
func (r *reader) Facts(q store.Query) ([]store.Row, error) {
	q, err := store.CheckQuery(q)
	if err := r.check(err); err != nil {
		return nil, err
	}
	text, args := selectFacts(q)
	rows, err := r.st.query(r.ctx, text, args...)
	if err != nil {
		return nil, readError(r.ctx, err)
	}
	defer rows.Close()
	out := []store.Row{}
	for rows.Next() {
		var fr factRow
		if err := rows.Scan(fr.fields()...); err != nil {
			return nil, readError(r.ctx, err)
		}
		row, err := fr.row()
		if err == nil {
			row.Fact, err = r.cfg.Upcasters.Fact(row.Fact)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, readError(r.ctx, err)
	}
	return out, nil
}

// selectFacts writes the statement for a checked query. Only placeholders and
// constants go into its text.
func selectFacts(q store.Query) (text string, args []any) {
	var b strings.Builder
	b.WriteString("SELECT " + factColumns + " FROM facts WHERE namespace = ?")
	args = append(args, q.Namespace)
	where := func(cond string, a ...any) {
		b.WriteString(" AND " + cond)
		args = append(args, a...)
	}
	if len(q.Kinds) > 0 {
		kinds := make([]any, len(q.Kinds))
		for i, k := range q.Kinds {
			kinds[i] = k
		}
		where("kind IN (?"+strings.Repeat(",?", len(kinds)-1)+")", kinds...)
	}
	if q.Subject != "" {
		where("subject = ?", digestBytes(q.Subject))
	}
	if q.Cause != "" {
		where("pos IN (SELECT pos FROM causes WHERE namespace = ? AND cause = ?)", q.Namespace, idBytes(q.Cause))
	}
	if !q.Since.IsZero() {
		where("time >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		where("time < ?", q.Until.UnixNano())
	}
	order := " ORDER BY pos"
	if q.Newest {
		order = " ORDER BY pos DESC"
		if q.After > 0 {
			where("pos < ?", q.After)
		}
	} else {
		where("pos > ?", q.After)
	}
	b.WriteString(order + " LIMIT ?")
	return b.String(), append(args, q.Limit)
}

func (r *reader) check(err error) error {
	if r.done {
		return assay.Errorf(assay.CodeInternal, "a transaction was used after its function returned")
	}
	return err
}

// readError lets a caller's own cancellation through as it is.
func readError(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	return unavailable("read", err)
}

func noValue(k store.Key) error {
	return assay.Errorf(assay.CodeNotFound, "there is no %s %q in namespace %q", k.Bucket, k.Name, k.Namespace)
}
