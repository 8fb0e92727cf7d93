package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// session is the writing connection with everything prepared on it.
type session struct {
	conn  *sql.Conn
	stmts *statements

	begin, commit, savepoint, release, rollbackTo *sql.Stmt
	insertFact, insertCause, insertOutbox         *sql.Stmt
	putState, deleteState                         *sql.Stmt
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
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(err, s.close())
		}
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
// the next session starts from the file.
func (s *session) close() error {
	err := s.conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		err = nil
	}
	if cerr := s.conn.Close(); cerr != nil && !errors.Is(cerr, sql.ErrConnDone) && !errors.Is(cerr, driver.ErrBadConn) {
		err = errors.Join(err, cerr)
	}
	return err
}
