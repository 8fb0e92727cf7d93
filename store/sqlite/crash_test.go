package sqlite

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/crashfs"
	"assay.dev/assay/internal/testenv"
)

// command returns the child, below strace if args name it.
func command(t *testing.T, dir string, facts int, strace ...string) *exec.Cmd {
	t.Helper()
	args := append(strace, os.Args[0], "-test.run=^$")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childFacts, facts), "GOTRACEBACK=none",
		"GORACE=atexit_sleep_ms=0") // the race detector waits a second at exit otherwise
	return cmd
}

// runChild runs the child to its end and returns what it acknowledged and how it ended.
func runChild(t *testing.T, cmd *exec.Cmd) (acked map[assay.FactID]bool, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	acked = map[assay.FactID]bool{}
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(line, "\n") {
			acked[assay.FactID(strings.TrimSpace(line))] = true
		}
	}
	return acked, errs.String(), err
}

// TestNothingAcknowledgedIsLostWhenKilledAtAnySyscall kills the child at the
// first, second, third … call that changes the disk, until one survives.
func TestNothingAcknowledgedIsLostWhenKilledAtAnySyscall(t *testing.T) {
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	const syncs = "fsync,fdatasync,ftruncate,?unlink,unlinkat,?rename,renameat,?renameat2"
	for _, c := range []struct {
		name, calls string
		facts       int  // per worker
		filled      bool // the store exists: nearly all calls are the writer's
	}{
		{"syncs of a new store", syncs, 12, false},
		{"syncs of an existing store", syncs, 10, true},
		{"writes of a new store", "pwrite64,write", 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			kills, acks := 0, 0
			deadline := time.Now().Add(30 * time.Second)
			for n := 1; ; n++ {
				if time.Now().After(deadline) {
					t.Logf("stopped at call %d for lack of time", n)
					break
				}
				dir := t.TempDir()
				before := map[assay.FactID]bool{}
				if c.filled {
					var err error
					if before, _, err = runChild(t, command(t, dir, 1)); err != nil {
						t.Fatal(err)
					}
				}
				acked, stderr, err := runChild(t, command(t, dir, c.facts, strace, "-f", "-qq", "-o", os.DevNull,
					"-e", "trace="+c.calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", c.calls, n), "--"))
				maps.Copy(acked, before)
				if what := inspect(t, dir, acked); what != "" {
					t.Fatalf("killed at call %d: %s", n, what)
				}
				if err == nil {
					break // there was no such call any more
				}
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
					t.Fatalf("call %d: the child failed by itself: %v: %s", n, err, stderr)
				}
				kills++
				acks += len(acked) - len(before)
			}
			t.Logf("%d kills, %d acknowledged facts", kills, acks)
			if kills < 10 || acks == 0 {
				t.Errorf("only %d kills with %d acknowledged facts: this proves nothing", kills, acks)
			}
		})
	}
}

// TestNothingAcknowledgedIsLostWhenKilledUnderLoad kills the child at 50 random
// moments; each run goes on with the file that the one before left.
func TestNothingAcknowledgedIsLostWhenKilledUnderLoad(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[assay.FactID]bool{}
	for kill := range 50 {
		cmd := command(t, dir, 0)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for after, n := rng.IntN(60), 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // and what came without a line's end was not acknowledged
			}
			acked[assay.FactID(strings.TrimSpace(line))] = true
			if n == after {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("kill %d: the child ended by itself: %v: %s", kill, err, stderr.String())
		}
		if what := inspect(t, dir, acked); what != "" {
			t.Fatalf("kill %d: %s", kill, what)
		}
	}
	t.Logf("%d acknowledged facts", len(acked))
	if len(acked) < 500 {
		t.Errorf("only %d acknowledged facts: this is no load", len(acked))
	}
}

// TestAFailedSyncIsNeverAcknowledged lets the child's n-th sync fail with an
// I/O error. The child retries; what it got acknowledged must be there.
func TestAFailedSyncIsNeverAcknowledged(t *testing.T) {
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	recovered := 0
	for n := 1; n <= 36; n += 3 {
		dir := t.TempDir()
		acked, stderr, err := runChild(t, command(t, dir, 6, strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", n), "--"))
		if what := inspect(t, dir, acked); what != "" {
			t.Fatalf("sync %d failed: %s", n, what)
		}
		if err != nil && len(acked) > 0 {
			t.Errorf("sync %d failed, and the child did not recover: %v: %s", n, err, stderr)
		}
		if err == nil && strings.Contains(stderr, "retry after:") {
			recovered++
		}
	}
	t.Logf("%d runs recovered", recovered)
	if recovered == 0 {
		t.Error("no commit failed: this proves nothing")
	}
}

// TestNothingAcknowledgedIsLostWhenThePowerFails records a child and lets the
// power fail at each acknowledgement and between: with every unsynced write
// gone, with a random part of them kept, and with all kept, as when only the
// process dies.
func TestNothingAcknowledgedIsLostWhenThePowerFails(t *testing.T) {
	log, root := record(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct {
		name string
		keep func() bool
	}{
		{"unsynced writes are lost", nil},
		{"half of the unsynced writes are lost", func() bool { return rng.IntN(2) == 0 }},
		{"only the process dies", func() bool { return true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if lost := powerFails(t, log, root, false, c.keep); lost != "" {
				t.Error(lost)
			}
		})
	}
	t.Run("the test can fail", func(t *testing.T) {
		lost := powerFails(t, log, root, true, nil)
		if !strings.Contains(lost, "is missing") {
			t.Errorf("on a disk that ignores syncs the answer was %q; want a missing fact", lost)
		}
	})
}

func record(t *testing.T) (crashfs.Log, string) {
	t.Helper()
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	acked, stderr, err := runChild(t, command(t, root, 10, append([]string{strace}, crashfs.Flags(trace)...)...))
	if err != nil || len(acked) != childWorkers*10 {
		t.Fatalf("%d facts acknowledged, %v: %s", len(acked), err, stderr)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := crashfs.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return log, root
}

// powerFails returns the first loss, "" if there is none.
func powerFails(t *testing.T, log crashfs.Log, root string, ignoreSync bool, keep func() bool) string {
	t.Helper()
	disk := crashfs.NewDisk(root)
	disk.IgnoreSync = ignoreSync
	acked := map[assay.FactID]bool{}
	crashes := 0
	for i, e := range log {
		text, ack := e.Output(1)
		if ack {
			for line := range strings.Lines(string(text)) {
				acked[assay.FactID(strings.TrimSpace(line))] = true
			}
		}
		sync := strings.Contains(e.Call.Name, "sync") || strings.Contains(e.Call.Name, "truncate") || strings.Contains(e.Call.Name, "unlink")
		if ack || sync && len(acked) > 0 && i%3 == 0 {
			dir := filepath.Join(t.TempDir(), "crash")
			if err := disk.Save(dir, keep); err != nil {
				t.Fatal(err)
			}
			if what := inspect(t, dir, acked); what != "" {
				return fmt.Sprintf("crash at event %d (%s): %s", i, e.Call.Name, what)
			}
			crashes++
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d crashes, %d acknowledged facts", crashes, len(acked))
	return ""
}
