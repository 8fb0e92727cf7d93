package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/archive"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/term"
	"assay.dev/assay/ledger"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// restoredName is a file in a directory that came from a backup and has not been told
// yet how its ledger goes on. While it is there nothing is signed.
const restoredName = "restored"

// restored is what a restore did.
type restored struct {
	Dir    string        `json:"dir"`
	Files  int           `json:"files"`
	Audit  ledger.Report `json:"audit"`
	Epoch  *int          `json:"epoch,omitempty"` // that was opened
	Signs  bool          `json:"signs"`           // the ledger may be signed on
	Remedy string        `json:"remedy,omitempty"`
}

func (a *app) restoreCmd() *cobra.Command {
	var head string
	var same bool
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Bring a state directory back from a backup, verified",
		Long: `Bring a state directory back from a backup, verified.

Every file is compared with its digest before anything appears in DIR, which must not exist or
be empty; then the whole ledger is compared with the store. The ledger may have gone on
after the backup was made, so it is not signed on under its old name: a new epoch is
opened that commits to the newest head that is known. Give the newest checkpoint
that anybody still has with --head. If you are sure that nothing was published after
the backup, --same-epoch goes on where it ended.

A backup without private keys needs them in DIR/keys first; the ledger then goes on
with: assay ledger restore.

Reads BACKUP; makes the state directory.

Exit codes: 0 restored · 1 error · 2 usage · 3 the backup was altered, or its ledger does not hold.`,
		Example: `  assay restore assay-2026-04-01.tar --dir /var/lib/assay --head newest.checkpoint`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if same && head != "" {
				return usageError{errors.New("--same-epoch and --head contradict each other")}
			}
			r, err := a.restore(cmd.Context(), args[0], head, same)
			if err != nil {
				return err
			}
			if err := a.print(r, func() { a.printRestored(r) }); err != nil {
				return err
			}
			if !r.Audit.OK {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "file with the newest known checkpoint of the ledger")
	cmd.Flags().BoolVar(&same, "same-epoch", false, "nothing was published after the backup: go on in the same epoch")
	return cmd
}

func (a *app) printRestored(r restored) {
	fmt.Fprintf(a.out, "%s %s restored into %s, every digest verified\n", a.out.Paint(term.Green, "✓"), plural(r.Files, "file"), r.Dir)
	a.printAudit(r.Audit)
	if r.Epoch != nil {
		fmt.Fprintf(a.out, "%s the ledger goes on in epoch %d\n", a.out.Paint(term.Green, "✓"), *r.Epoch)
	}
	if r.Remedy != "" {
		fmt.Fprintf(a.out, "%s %s\n", a.out.Paint(term.Amber, "!"), r.Remedy)
	}
}

func (a *app) restore(ctx context.Context, backup, head string, same bool) (restored, error) {
	dir := a.cfg.get("dir")
	r := restored{Dir: dir, Audit: ledger.Report{OK: true, Problems: []string{}}}
	f, err := os.Open(backup)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if err := durable.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return r, err
	}
	// The mark is there before the directory has its name: a process that finds the
	// directory signs nothing, also if this one is killed now.
	m, err := archive.Extract(f, dir, func(folder string, m archive.Manifest) error {
		return durable.WriteFile(filepath.Join(folder, restoredName), []byte(m.Created.String()+"\n"), 0o644)
	})
	if err != nil {
		return r, err
	}
	r.Files = len(m.Files)
	has, err := a.auditRestored(ctx, &r)
	if err != nil || !r.Audit.OK {
		return r, err
	}
	_, err = os.Stat(a.ledgerKeyPath())
	switch {
	case same || !has:
		r.Signs = true
		return r, a.signOn()
	case errors.Is(err, fs.ErrNotExist):
		r.Remedy = "the private keys are missing: put them into " + a.keysDir() + ", then: assay ledger restore"
		return r, nil
	case err != nil:
		return r, err
	}
	n, err := a.restoreLedger(ctx, head)
	if err != nil {
		return r, err
	}
	r.Epoch, r.Signs = &n, true
	return r, nil
}

// auditRestored compares store and ledger; has is false if there is no ledger yet.
func (a *app) auditRestored(ctx context.Context, r *restored) (has bool, err error) {
	in, err := a.open(ctx, false, prometheus.NewRegistry())
	if err != nil {
		return false, err
	}
	defer in.close()
	if in.ledger == nil {
		return false, nil
	}
	o, err := a.auditOptions(ctx, in, false)
	if err != nil {
		return true, err
	}
	o.Quorum = false
	r.Audit, err = in.ledger.Audit(ctx, o)
	return true, err
}

// signOn lets a restored ledger be signed.
func (a *app) signOn() error {
	dir := a.cfg.get("dir")
	if err := os.Remove(filepath.Join(dir, restoredName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(dir)
}

// cameFromBackup reports whether the directory was restored and nobody said yet how
// its ledger goes on.
func (a *app) cameFromBackup() bool {
	_, err := os.Stat(filepath.Join(a.cfg.get("dir"), restoredName))
	return err == nil
}

// refuseRestored keeps a ledger that came from a backup from being signed: it may have
// gone on after the backup was made, and two histories are worse than none.
func (a *app) refuseRestored() error {
	if !a.cameFromBackup() {
		return nil
	}
	dir := a.cfg.get("dir")
	hint := "open a new epoch with: assay ledger restore --dir " + dir
	if strings.ContainsAny(dir, " '") {
		hint = "open a new epoch with: assay ledger restore"
	}
	return &assay.Error{Code: assay.CodeConflict, File: dir, Msg: "came from a backup, and its ledger may have gone on since: nothing is signed", Hint: hint}
}
