package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/archive"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/term"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// backupStage begins the names of folders in which a backup is put together.
const backupStage = ".backup-"

func (a *app) backupCmd() *cobra.Command {
	var to string
	var keys bool
	cmd := &cobra.Command{
		Use:   "backup --to FILE",
		Short: "Copy the state directory into one verified file, also while a server runs",
		Long: `Copy the state directory into one verified file, also while a server runs.

The file is a tar archive: database, ledger, payloads and public keys, with the digest
of each and a seal over all of it. It is read back and verified before it gets its
name. A running assay serve makes the copy itself, asked through a socket in DIR that
only its owner can use: it goes on accepting requests; publishing waits while the database
is copied. Everything that was acknowledged before the command began is in it.

Private keys are left out unless --with-keys says otherwise (they stay encrypted with
their passphrase). Telemetry samples and policies are not in it.

Reads the state directory; writes FILE, which must not exist.

Exit codes: 0 written and verified · 1 error · 2 usage.`,
		Example: `  assay backup --to /backups/assay-2026-04-01.tar
  assay restore /backups/assay-2026-04-01.tar --dir /var/lib/assay`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := a.backupTo(cmd.Context(), to, keys)
			if err != nil {
				return err
			}
			v := struct {
				File    string    `json:"file"`
				Created time.Time `json:"created"`
				Files   int       `json:"files"`
				Bytes   int64     `json:"bytes"`
				Keys    bool      `json:"private_keys"`
			}{File: to, Created: m.Created, Files: len(m.Files), Keys: keys}
			for _, f := range m.Files {
				v.Bytes += f.Size
			}
			return a.print(v, func() {
				fmt.Fprintf(a.out, "%s %s: %d files, %d bytes, verified\n", a.out.Paint(term.Green, "✓"), to, v.Files, v.Bytes)
				if !keys {
					fmt.Fprintln(a.out, "private keys are not in it; keep a copy of them elsewhere")
				}
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "file to write")
	cmd.Flags().BoolVar(&keys, "with-keys", false, "put the private keys, encrypted, into the backup")
	_ = cmd.MarkFlagRequired("to") // fails only for a flag that does not exist
	return cmd
}

// backupTo writes and verifies the file at path.
func (a *app) backupTo(ctx context.Context, path string, keys bool) (m archive.Manifest, err error) {
	if _, err := os.Lstat(path); err == nil {
		return m, &assay.Error{Code: assay.CodeConflict, File: path, Msg: "exists already; nothing was written"}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*")
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err = a.writeBackup(ctx, f, keys); err != nil {
		return m, err
	}
	if err = f.Sync(); err != nil {
		return m, err
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	if m, err = archive.Verify(f); err != nil {
		return m, &assay.Error{Code: assay.CodeUnavailable, Msg: "the backup did not arrive whole: " + err.Error(), Hint: "the server's log says why"}
	}
	if err = os.Link(f.Name(), path); err != nil {
		return m, err
	}
	if err = errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return m, err
	}
	return m, durable.SyncDir(filepath.Dir(path))
}

// writeBackup has the running server write the archive, or writes it itself if none runs.
func (a *app) writeBackup(ctx context.Context, w io.Writer, keys bool) error {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if assay.CodeOf(err) == assay.CodeConflict {
		return a.askBackup(ctx, w, keys, err)
	}
	if err != nil {
		return err
	}
	defer in.close()
	return a.streamBackup(ctx, in, w, keys)
}

// streamBackup copies what changes into a folder aside, at one moment, and then
// writes that and what never changes. Retention waits meanwhile: what it removed after
// the database was copied would be lost in the copy, and not on record there.
func (a *app) streamBackup(ctx context.Context, in *installation, w io.Writer, keys bool) error {
	return in.plane.KeepPayloads(func() error { return a.copyState(ctx, in, w, keys) })
}

func (a *app) copyState(ctx context.Context, in *installation, w io.Writer, keys bool) (err error) {
	data := a.cfg.get("dir")
	stage, err := os.MkdirTemp(data, backupStage+"*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	about := map[string]string{"assay": version(), "private_keys": strconv.FormatBool(keys)}
	err = in.hold(func() error {
		if err := in.store.Backup(ctx, filepath.Join(stage, "assay.db")); err != nil {
			return err
		}
		return linkTree(filepath.Join(data, "ledger"), filepath.Join(stage, "ledger"))
	})
	if err != nil {
		return err
	}
	out := archive.NewWriter(w, a.now(), about)
	if err := addTree(ctx, out, stage, "", func(string) bool { return true }); err != nil {
		return err
	}
	if err := addTree(ctx, out, filepath.Join(data, "blobs", "sha256"), "blobs/sha256", func(string) bool { return true }); err != nil {
		return err
	}
	public := func(name string) bool { return keys || !strings.HasSuffix(name, ".key") }
	if err := addTree(ctx, out, a.keysDir(), "keys", public); err != nil {
		return err
	}
	return out.Close()
}

// hold keeps store and tree as they are while fn runs.
func (in *installation) hold(fn func() error) error {
	if in.seq == nil {
		return fn()
	}
	return in.seq.Hold(fn)
}

// linkTree makes another name for every file below from. What the ledger writes is
// renamed into place, so a file under its new name never changes.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no ledger yet, or a tile that a full one replaced meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !d.Type().IsRegular() || d.Name() == durable.LockName || strings.HasSuffix(d.Name(), ".lock") {
			return nil
		}
		if err := os.Link(path, filepath.Join(to, rel)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// addTree adds the files below folder that keep accepts, under a prefix.
func addTree(ctx context.Context, out *archive.Writer, folder, prefix string, keep func(name string) bool) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no such folder, or a payload that just expired
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() || !d.Type().IsRegular() || !keep(d.Name()) {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		err = out.AddFile(filepath.ToSlash(filepath.Join(prefix, rel)), path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
