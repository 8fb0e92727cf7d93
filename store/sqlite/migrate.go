package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"github.com/pressly/goose/v3"
)

// Migrations change the schema by expand, then contract: a version may add
// tables, columns with a default and indexes; it removes or reinterprets
// nothing that the version before it still uses. What became useless is removed
// one version later. Migration files are never edited once released.
//
//go:embed migrations/*.sql
var embedded embed.FS

// applicationID marks the file as ours, in SQLite's header: "ASAY".
const applicationID = 0x41534159

func migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return embedded // unreachable: the path is a constant
	}
	return sub
}

// migrate brings the schema up to date, each migration in a transaction of its
// own, and refuses a newer one.
func migrate(ctx context.Context, db *sql.DB, schema fs.FS) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, schema,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_versions"))
	if err != nil {
		return err
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > know {
		return &assay.Error{Code: assay.CodeUnavailable,
			Msg:  fmt.Sprintf("has schema version %d, written by a newer assay; this one knows up to %d", have, know),
			Hint: "upgrade this assay"}
	}
	_, err = p.Up(ctx)
	return err
}

// claim makes sure that the file at path is ours before anything is written to
// it: it refuses another program's, and marks an empty one.
func claim(ctx context.Context, path string) error {
	if _, err := durable.CreateFile(path, 0o600); err != nil {
		return fmt.Errorf("make the store's file: %w", err)
	}
	header, err := readHeader(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path + "-journal"); errors.Is(err, fs.ErrNotExist) && len(header) > 0 {
		if len(header) < headerLen || string(header[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(header[68:]) != applicationID {
			return notAStore(nil)
		}
		return nil
	}
	// New, or a crash interrupted the marking: SQLite has to say which.
	db, err := sql.Open("sqlite", dsn(path, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(5000)", "synchronous(EXTRA)"}}))
	if err != nil {
		return err
	}
	if err := errors.Join(mark(ctx, db), db.Close()); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// headerLen is the length of the header of a SQLite file.
const headerLen = 100

// readHeader returns the file's first bytes, fewer if it is shorter.
func readHeader(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	header := make([]byte, headerLen)
	n, err := io.ReadFull(f, header)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return header[:n], errors.Join(err, f.Close())
}

func mark(ctx context.Context, db *sql.DB) error {
	var owner, tables int
	row := db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)")
	if err := row.Scan(&owner, &tables); err != nil {
		return notAStore(err)
	}
	if owner == applicationID {
		return nil
	}
	if owner != 0 || tables > 0 {
		return notAStore(nil)
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	return err
}

func notAStore(err error) error {
	return &assay.Error{Code: assay.CodeInvalid, Msg: "is not an assay store", Hint: "name another file", Err: err}
}
