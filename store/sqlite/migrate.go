package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"assay.dev/assay"
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

// migrate refuses files that are not ours or newer than this program, and
// brings older ones up to date, each migration in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB, schema fs.FS) error {
	if err := checkOwner(ctx, db); err != nil {
		return err
	}
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

// checkOwner refuses another program's database and claims an empty one.
func checkOwner(ctx context.Context, db *sql.DB) error {
	var owner, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&owner); err != nil {
		return notAStore(err)
	}
	if owner == applicationID {
		return nil
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return notAStore(err)
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
