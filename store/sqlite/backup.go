package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"

	"assay.dev/assay/internal/durable"
)

// Backup writes a copy of the store as it is at one moment into a new file at path. It
// waits for no writer and holds none up. Everything that was acknowledged before the
// call is in it.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return errClosed()
	}
	s.views.Add(1) // Close waits
	s.mu.RUnlock()
	defer s.views.Done()
	// The pool's connections may write nothing at all, not even a copy.
	db, err := sql.Open("sqlite", dsn(s.cfg.Path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)", "temp_store(MEMORY)"}}))
	if err != nil {
		return unavailable("be opened for a backup", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return unavailable("be copied", err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
