package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync/atomic"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// writer runs closures in groups. All fields but requests and done belong to
// the goroutine in run.
type writer struct {
	cfg      Config
	db       *sql.DB // at most one connection, the session's
	sess     *session
	requests chan *request
	done     chan struct{} // closed when run has returned
	group    []*request    // reused
}

// request is one closure on its way.
type request struct {
	ctx    context.Context
	run    func(t *tx) error
	taken  atomic.Bool // by the writer, to run it, or by a caller who gave up
	err    error       // of run
	answer chan error
}

func newWriter(ctx context.Context, cfg Config, schema fs.FS) (*writer, error) {
	db, err := sql.Open("sqlite", writerDSN(cfg))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	w := &writer{cfg: cfg, db: db, requests: make(chan *request, cfg.MaxBatch), done: make(chan struct{})}
	if err = migrate(ctx, db, schema); err == nil {
		w.sess, err = newSession(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return w, nil
}

// close releases the connection; run has returned or was never started.
func (w *writer) close() error {
	return errors.Join(w.drop(), w.db.Close())
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(tx store.Tx) error) error {
	return s.submit(ctx, func(t *tx) error { return fn(t) })
}

// submit hands run to the writer and waits for the answer.
func (s *Store) submit(ctx context.Context, run func(t *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, run: run, answer: make(chan error, 1)}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return errClosed()
	}
	select {
	case s.write.requests <- r:
		s.mu.RUnlock()
	case <-ctx.Done():
		s.mu.RUnlock()
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-r.answer // it runs or ran: only the commit can tell what became of it
	}
}

// run is the writer goroutine. It ends when requests is closed and empty.
func (w *writer) run() {
	finished := false
	defer func() {
		if finished {
			close(w.done)
			return
		}
		// A closure ended this goroutine (runtime.Goexit, as testing's FailNow
		// does). Nothing of its group is committed; a new goroutine takes over.
		w.fail(assay.Errorf(assay.CodeUnavailable, "a transaction of the same group ended the writer; nothing was committed"))
		go w.run()
	}()
	for r := range w.requests {
		w.commitGroup(r)
	}
	finished = true
}

// commitGroup runs first and whatever waits behind it in one transaction.
func (w *writer) commitGroup(first *request) {
	w.group = w.group[:0]
	if err := w.begin(); err != nil {
		w.group = append(w.group, first)
		w.fail(unavailable("begin a transaction", err))
		return
	}
	for r := first; r != nil; r = w.next() {
		if !r.taken.CompareAndSwap(false, true) {
			continue // the caller gave up
		}
		w.group = append(w.group, r)
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		if err := w.runOne(r); err != nil {
			w.fail(unavailable("write", err))
			return
		}
	}
	if err := w.sess.exec(w.sess.commit); err != nil {
		w.fail(unavailable("commit", err))
		return
	}
	for _, r := range w.group {
		r.answer <- r.err
	}
}

// next returns a request that waits, nil when the group is complete. Before it
// gives up it yields once: callers just answered are often about to send again,
// and a commit that carries them too costs the same.
func (w *writer) next() *request {
	if len(w.group) >= w.cfg.MaxBatch {
		return nil
	}
	for yielded := false; ; yielded = true {
		select {
		case r := <-w.requests: // nil when closed
			return r
		default:
			if yielded {
				return nil
			}
			runtime.Gosched()
		}
	}
}

// begin starts the group's transaction, on a fresh connection if the last one failed.
func (w *writer) begin() error {
	if w.sess == nil {
		if err := w.recover(); err != nil {
			return err
		}
	}
	return w.sess.exec(w.sess.begin)
}

// runOne runs one closure under a savepoint. Its own error goes into r; the
// error returned is the engine's and ends the group.
func (w *writer) runOne(r *request) error {
	t := &tx{reader: reader{st: w.sess.stmts, ctx: context.Background(), cfg: &w.cfg}, sess: w.sess}
	r.err = call(t, r)
	t.done = true
	if t.broken != nil {
		return t.broken
	}
	if !t.saved {
		return nil // it wrote nothing
	}
	if r.err != nil {
		if err := w.sess.exec(w.sess.rollbackTo); err != nil {
			return err
		}
	}
	return w.sess.exec(w.sess.release)
}

// call runs the closure and turns its panic into an error.
func call(t *tx, r *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = assay.Errorf(assay.CodeInternal, "a transaction panicked: %v", p)
		}
	}()
	return r.run(t)
}

// fail answers the whole group with err, also those whose closure failed by
// itself: it may have failed over something a neighbour wrote that is now gone.
// The session goes with the transaction.
func (w *writer) fail(err error) {
	if derr := w.drop(); derr != nil {
		err = fmt.Errorf("%w; %w", err, derr)
	}
	for _, r := range w.group {
		r.taken.Store(true)
		r.answer <- err
	}
	w.group = w.group[:0]
}

// drop closes the session; SQLite rolls back what it had open.
func (w *writer) drop() error {
	if w.sess == nil {
		return nil
	}
	sess := w.sess
	w.sess = nil
	return sess.close()
}

// recover makes a new session after a failure and proves that it can write.
//
// The failed commit may lie in the log without being on disk, and the kernel
// reports a failed write only once. So the log is not trusted: a complete
// checkpoint writes every page it holds anew, into the database file, syncs
// that and empties the log. Only then is anything acknowledged again.
func (w *writer) recover() error {
	ctx := context.Background()
	sess, err := newSession(ctx, w.db)
	if err != nil {
		return err
	}
	var busy, logged, moved int
	row := sess.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err = row.Scan(&busy, &logged, &moved); err == nil && busy != 0 {
		err = errors.New("readers hold the log that has to be written anew")
	}
	if err != nil {
		return errors.Join(err, sess.close())
	}
	w.sess = sess
	return nil
}
