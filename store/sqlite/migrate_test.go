package sqlite

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// withNext returns the schema of this version and one that a next version
// might have: it expands, and breaks nothing.
func withNext(t *testing.T) fs.FS {
	t.Helper()
	next := fstest.MapFS{"99999_next.sql": {Data: []byte("-- +goose Up\n" +
		"ALTER TABLE facts ADD COLUMN region TEXT NOT NULL DEFAULT '';\nCREATE TABLE jobs (id INTEGER PRIMARY KEY) STRICT;\n")}}
	files, err := fs.Glob(migrations(), "*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := fs.ReadFile(migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		next[name] = &fstest.MapFile{Data: data}
	}
	return next
}

func mustAppend(t *testing.T, s *Store, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Append(benchFact(assay.RetainAudit, n))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func countFacts(t *testing.T, s *Store) int {
	t.Helper()
	var n int
	err := s.View(t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: "bench"})
		n = len(rows)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheNextVersionOpensThisVersionsFileAndIsRefusedByThisOne(t *testing.T) {
	cfg := Config{Path: filepath.Join(t.TempDir(), "store.db")}
	for _, schema := range []fs.FS{migrations(), withNext(t)} {
		s, err := open(t.Context(), cfg, schema)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), cfg)
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "schema version 99999, written by a newer assay") ||
		!strings.HasPrefix(err.Error(), cfg.Path) {
		t.Errorf("this version opening the next one's file: %v", err)
	}
	if after, err := os.ReadFile(cfg.Path); err != nil || string(after) != string(before) {
		t.Errorf("the refused file was changed (%v)", err)
	}
	s, err := open(t.Context(), cfg, withNext(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := countFacts(t, s); n != 2 {
		t.Errorf("%d facts, want 2", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatIsNoStoreIsRefusedUnharmed(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE theirs (x)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("dear diary ", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, text} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Path: path}); assay.CodeOf(err) != assay.CodeInvalid || !strings.Contains(err.Error(), "not an assay store") {
			t.Errorf("%s: %v, want %s", path, err, assay.CodeInvalid)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s was changed (%v)", path, err)
		}
	}
	if _, err := Open(t.Context(), Config{}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("no path: %v", err)
	}
	if _, err := Open(t.Context(), Config{Path: filepath.Join(dir, "absent", "s.db")}); err == nil {
		t.Error("opened a store in a folder that does not exist")
	}
}

// TestAClosureThatEndsTheWriterTakesOnlyItsGroupAlong covers FailNow inside a closure.
func TestAClosureThatEndsTheWriterTakesOnlyItsGroupAlong(t *testing.T) {
	s := openPath(t, filepath.Join(t.TempDir(), "s.db"))
	mustAppend(t, s, 1)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Append(benchFact(assay.RetainAudit, 2)); err != nil {
			return err
		}
		runtime.Goexit()
		return nil
	})
	if assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("error %v, want %s", err, assay.CodeUnavailable)
	}
	mustAppend(t, s, 3)
	if n := countFacts(t, s); n != 2 {
		t.Errorf("%d facts, want 2", n)
	}
}

// TestAGroupThatTheEngineRolledBackIsNotAcknowledged takes the transaction away
// from under a closure that notices nothing.
func TestAGroupThatTheEngineRolledBackIsNotAcknowledged(t *testing.T) {
	s := openPath(t, filepath.Join(t.TempDir(), "s.db"))
	mustAppend(t, s, 1)
	err := s.submit(t.Context(), func(tx *tx) error {
		if _, err := tx.Append(benchFact(assay.RetainAudit, 2)); err != nil {
			return err
		}
		_, err := tx.sess.conn.ExecContext(context.Background(), "ROLLBACK") // as SQLite does by itself on some I/O errors
		return err
	})
	if assay.CodeOf(err) != assay.CodeUnavailable {
		t.Fatalf("error %v, want %s", err, assay.CodeUnavailable)
	}
	mustAppend(t, s, 3)
	if n := countFacts(t, s); n != 2 {
		t.Errorf("%d facts, want 2", n)
	}
}
