package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// diagnosis is one line of the doctor's report.
type diagnosis struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn or fail
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the state directory, keys, policies and the disk below, and say what to do",
		Long: `Check the state directory, keys, policies and the disk below, and say what to do.

Reads DIR and the policy directory; writes and removes one small file in DIR to
time the disk.

Exit codes: 0 nothing fails, warnings included · 1 a check fails · 2 usage.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := a.diagnose(cmd.Context())
			if err := a.print(list, func() { a.printDiagnoses(list) }); err != nil {
				return err
			}
			if slices.ContainsFunc(list, func(d diagnosis) bool { return d.State == "fail" }) {
				return exit(exitError)
			}
			return nil
		},
	}
}

func (a *app) printDiagnoses(list []diagnosis) {
	sign := map[string]string{
		"ok":   a.out.Paint(term.Green, "✓"),
		"warn": a.out.Paint(term.Amber, "!"),
		"fail": a.out.Paint(term.Vermilion, "✗"),
	}
	for _, d := range list {
		fmt.Fprintf(a.out, "%s %-10s %s\n", sign[d.State], d.Check, d.Detail)
		if d.Remedy != "" {
			fmt.Fprintf(a.out, "             → %s\n", d.Remedy)
		}
	}
}

func (a *app) diagnose(ctx context.Context) []diagnosis {
	dir := a.cfg.get("dir")
	list := []diagnosis{diagnoseDir(dir)}
	if _, err := os.Stat(dir); err == nil && list[0].State != "fail" {
		list = append(list, diagnoseDisk(dir), diagnoseEncryption(dir), diagnoseSync(dir), diagnoseLock(dir), diagnoseKeys(a.keyPaths()))
		list = append(list, diagnoseSessions(dir)...)
	}
	return append(list, a.diagnosePolicy(ctx))
}

func diagnoseDir(dir string) diagnosis {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return diagnosis{"directory", "warn", dir + " does not exist yet", "create it with: assay key create --dir " + dir}
	case err != nil:
		return diagnosis{"directory", "fail", err.Error(), ""}
	case !info.IsDir():
		return diagnosis{"directory", "fail", dir + " is not a directory", "choose another with --dir"}
	case info.Mode().Perm()&0o077 != 0:
		return diagnosis{"directory", "warn", fmt.Sprintf("%s is open to others (%s)", dir, info.Mode().Perm()), "chmod 700 " + dir}
	}
	return diagnosis{"directory", "ok", dir, ""}
}

// Filesystems on which fsync or file locks do not mean what the store and the ledger need.
var unfitFilesystems = map[int64]string{0x6969: "NFS", 0x01021994: "tmpfs", 0xff534d42: "CIFS", 0x65735546: "FUSE"}

// lowSpace is what should be free on the disk, in bytes.
const lowSpace = 1 << 30

func diagnoseDisk(dir string) diagnosis {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return diagnosis{"disk", "warn", "cannot be examined: " + err.Error(), ""}
	}
	if name := unfitFilesystems[int64(st.Type)]; name != "" {
		return diagnosis{
			"disk", "warn", dir + " is on " + name + ", where durable writes and locks cannot be relied on",
			"move DIR to a local disk",
		}
	}
	free := int64(st.Bavail) * st.Bsize
	if free < lowSpace {
		return diagnosis{"disk", "warn", fmt.Sprintf("%d MiB free", free>>20), "free some space, at least 1 GiB"}
	}
	return diagnosis{"disk", "ok", fmt.Sprintf("%d GiB free", free>>30), ""}
}

// diagnoseEncryption looks for dm-crypt below the file system: the database and
// the ledger rely on disk encryption.
func diagnoseEncryption(dir string) diagnosis {
	const remedy = "put DIR on an encrypted volume (LUKS, or the cloud provider's)"
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return diagnosis{"encryption", "warn", "cannot be examined: " + err.Error(), remedy}
	}
	dev := fmt.Sprintf("/sys/dev/block/%d:%d/dm/uuid", unix.Major(st.Dev), unix.Minor(st.Dev))
	if uuid, err := os.ReadFile(dev); err == nil && strings.HasPrefix(string(uuid), "CRYPT-") {
		return diagnosis{"encryption", "ok", "the disk is encrypted by dm-crypt", ""}
	}
	return diagnosis{"encryption", "warn", "no disk encryption is visible from here", remedy}
}

// diagnoseSessions looks at the key that seals the sessions of the pages, if there is one.
func diagnoseSessions(dir string) []diagnosis {
	path := filepath.Join(dir, sessionKeyFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // the first server makes it
	}
	if _, err := sessionKey(dir); err != nil {
		return []diagnosis{{"sessions", "fail", oneLine(err), "rm " + path}}
	}
	return []diagnosis{{"sessions", "ok", "the key of the pages' sessions is this user's alone", ""}}
}

func diagnoseSync(dir string) diagnosis {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return diagnosis{"fsync", "fail", err.Error(), "make DIR writable for this user"}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const rounds = 32
	took := make([]time.Duration, 0, rounds)
	for i := range rounds {
		start := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), int64(i)*4096); err != nil {
			return diagnosis{"fsync", "fail", err.Error(), ""}
		}
		if err := f.Sync(); err != nil {
			return diagnosis{"fsync", "fail", err.Error(), ""}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	p50, worst := took[rounds/2].Round(time.Microsecond), took[rounds-1].Round(time.Microsecond)
	d := diagnosis{"fsync", "ok", fmt.Sprintf("median %s, worst %s", p50, worst), ""}
	if p50 > 20*time.Millisecond {
		d.State, d.Remedy = "warn", "every recorded fact waits for this; use a faster disk"
	}
	return d
}

func diagnoseLock(dir string) diagnosis {
	lock, err := durable.LockDir(dir)
	if assay.CodeOf(err) == assay.CodeConflict {
		return diagnosis{"process", "ok", "in use: " + err.Error(), ""}
	}
	if err != nil {
		return diagnosis{"process", "fail", err.Error(), "make DIR writable for this user"}
	}
	if err := lock.Release(); err != nil {
		return diagnosis{"process", "fail", err.Error(), ""}
	}
	return diagnosis{"process", "ok", "no other process uses the directory", ""}
}

func diagnoseKeys(paths []string) diagnosis {
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return diagnosis{"keys", "warn", p + " does not exist; nothing can be attested", "assay key create"}
		}
		if err != nil {
			return diagnosis{"keys", "fail", err.Error(), ""}
		}
		if info.Mode().Perm()&0o077 != 0 {
			return diagnosis{"keys", "fail", p + " is readable by others", "chmod 600 " + p}
		}
	}
	return diagnosis{"keys", "ok", filepath.Dir(paths[0]) + " holds the attestation and ledger keys, encrypted", ""}
}
