package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
)

// session is the writing connection with everything prepared on it.
type session struct {
	conn     *sql.Conn
	stmts    *statements
	prepared []*sql.Stmt // all of this struct, to be closed

	begin, commit, savepoint, release, rollbackTo *sql.Stmt
	insertFact, insertCause, insertOutbox         *sql.Stmt
	putState, deleteState                         *sql.Stmt
	lastNumber, hasUnnumbered, number             *sql.Stmt
	place, placeOf                                *sql.Stmt
}

func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	if s.stmts, err = prepare(ctx, conn); err != nil {
		return nil, errors.Join(err, s.close())
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.savepoint, "SAVEPOINT closure"},
		{&s.release, "RELEASE closure"},
		{&s.rollbackTo, "ROLLBACK TO closure"},
		{&s.insertFact, "INSERT INTO facts (namespace, id, kind, version, time, recorded, service, environment, subject," +
			" trace_id, deployment_id, policy_revision, actor, causes, retention, payload)" +
			" VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
		{&s.insertCause, "INSERT INTO causes (namespace, cause, pos) VALUES (?,?,?)"},
		{&s.insertOutbox, "INSERT INTO outbox (pos) VALUES (?)"},
		{&s.putState, "INSERT INTO state (namespace, bucket, name, version, data) VALUES (?,?,?,?,?)" +
			" ON CONFLICT DO UPDATE SET version = excluded.version, data = excluded.data"},
		{&s.deleteState, "DELETE FROM state WHERE namespace = ? AND bucket = ? AND name = ?"},
		{&s.lastNumber, "SELECT pos, seq + 1 FROM outbox WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"},
		{&s.hasUnnumbered, "SELECT EXISTS (SELECT 1 FROM outbox WHERE pos > ?)"},
		{&s.number, "UPDATE outbox SET seq = ?1 + fresh.nth FROM (SELECT pos, row_number() OVER (ORDER BY pos) - 1 AS nth" +
			" FROM outbox WHERE pos > ?2 ORDER BY pos LIMIT ?3) AS fresh WHERE outbox.pos = fresh.pos AND outbox.seq IS NULL"},
		// An index that stands already is written again, so that every row counts.
		{&s.place, "UPDATE outbox SET idx = seq + ?3 WHERE seq >= ?1 AND seq <= ?2 AND (idx IS NULL OR idx = seq + ?3)"},
		{&s.placeOf, "SELECT idx FROM outbox WHERE seq = ?"},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.prepared = append(s.prepared, *p.stmt)
	}
	return s, nil
}

// exec runs a statement without arguments. It takes no context: what the
// writer began it ends, and waiting for a context costs a goroutine per call.
func (s *session) exec(stmt *sql.Stmt) error {
	_, err := stmt.ExecContext(context.Background())
	return err
}

// close closes the connection itself, not only its place in the pool, so that
// the next session starts from the file. database/sql does not close what was
// prepared on a reserved connection, and SQLite keeps a connection, its locks
// and its open transaction alive for as long as it has statements.
func (s *session) close() error {
	var errs []error
	for _, stmt := range slices.Concat(s.prepared, s.stmts.prepared) {
		errs = append(errs, stmt.Close())
	}
	err := s.conn.Raw(func(any) error { return driver.ErrBadConn })
	if !errors.Is(err, driver.ErrBadConn) {
		errs = append(errs, err)
	}
	if err := s.conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
