//go:build !race

package posix_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/crashfs"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/posix"
)

// powerCut replays what children did to a directory onto a simulated disk, lets the
// power fail at many moments, and recovers from what each leaves.
type powerCut struct {
	disk     *crashfs.Disk
	promises *promises
	keep     func() bool                            // what of the unsynced survives; nil is nothing
	when     func(e crashfs.Event, acked bool) bool // whether the power fails before e

	t     *testing.T
	room  chan struct{}
	wg    sync.WaitGroup
	stale bool // a name was changed since visible looked

	mu     sync.Mutex
	cuts   int
	losses []error
}

func newPowerCut(t *testing.T, g ground, root string) *powerCut {
	t.Helper()
	c := &powerCut{disk: crashfs.NewDisk(root), promises: g.promises.clone(), t: t, room: make(chan struct{}, atATime)}
	if g.dir != "" {
		if err := c.disk.Load(g.dir); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// play replays one child. With fail the power fails on the way.
func (c *powerCut) play(log crashfs.Log, fail bool) error {
	for i, e := range log {
		text, acked := e.Output(1)
		for line := range strings.Lines(string(text)) {
			if err := c.promises.hear(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		if fail && c.when(e, acked) {
			if err := c.cut(fmt.Sprintf("event %d of %d, at %s", i, len(log), e.Call.Name)); err != nil {
				return err
			}
		}
		if err := c.disk.Apply(e); err != nil {
			return err
		}
		c.stale = c.stale || e.Returns && strings.HasPrefix(e.Call.Name, "rename")
	}
	if fail {
		if err := c.cut("the end"); err != nil {
			return err
		}
	}
	c.disk.Kill()
	return nil
}

// cut recovers in the background from what a power failure leaves now.
func (c *powerCut) cut(moment string) error {
	if c.stale {
		c.stale = false
		if err := c.visible(); err != nil {
			return err
		}
	}
	p := c.promises.clone()
	dir := realTempDir(c.t)
	if err := c.disk.Save(dir, c.keep); err != nil {
		return err
	}
	c.cuts++
	c.room <- struct{}{}
	c.wg.Go(func() {
		defer func() { <-c.room }()
		err := p.recover(c.t.Context(), dir)
		if err != nil {
			err = fmt.Errorf("%s: %w", moment, err)
		}
		err = errors.Join(err, os.RemoveAll(dir))
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.losses = append(c.losses, err)
		}
	})
	return nil
}

// visible notes the head that readers saw at the moment of the failure, durable or not.
func (c *powerCut) visible() error {
	dir := realTempDir(c.t)
	if err := c.disk.Save(dir, func() bool { return true }); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(ledger.EpochDir(dir, 0), "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	_, verifier, err := crashKey()
	if err != nil {
		return err
	}
	head, err := ledger.ParseCheckpoint(raw, assay.DefaultOrigin, verifier)
	if err != nil {
		return err
	}
	return errors.Join(c.promises.head(head.Size, hex.EncodeToString(head.Root[:])), os.RemoveAll(dir))
}

// playLast replays the last child with power failures, waits for all recoveries and
// returns what was lost.
func (c *powerCut) playLast(log crashfs.Log) error {
	err := c.play(log, true)
	c.wg.Wait()
	return errors.Join(append(c.losses, err)...)
}

// settles are the calls that change what survives.
func settles(e crashfs.Event) bool {
	return slices.Contains([]string{"fsync", "fdatasync", "rename", "renameat", "link", "linkat", "mkdirat", "unlinkat"}, e.Call.Name)
}

// record runs a child below strace.
func record(t *testing.T, strace, data string, facts int, f fault) (crashfs.Log, run, error) {
	trace := filepath.Join(t.TempDir(), "trace")
	r := runChild(childCommand(t.Context(), data, facts, f, append([]string{strace}, crashfs.Flags(trace)...)...), newPromises())
	file, err := os.Open(trace)
	if err != nil {
		return nil, r, err
	}
	defer file.Close()
	log, err := crashfs.Parse(file)
	return log, r, err
}

func straceTool(t *testing.T) string { return testenv.Tool(t, "strace", "apt-get install strace") }

// TestUnsyncedWritesLostAtTheCrashLoseNothingAcknowledged records a child and lets
// the power fail at each acknowledgement and at each call that changes what survives.
func TestUnsyncedWritesLostAtTheCrashLoseNothingAcknowledged(t *testing.T) {
	for name, g := range map[string]ground{"new ledger": newLedger(), "a tile becomes full": almostFullTile(t)} {
		t.Run(name, func(t *testing.T) {
			root, _ := g.copy(t)
			log, r, err := record(t, straceTool(t), root, g.facts, fault{})
			if err != nil || r.err != nil || len(r.heard.facts) != childWorkers*g.facts {
				t.Fatalf("%v, %v: %s", err, r.err, r.stderr)
			}
			rng := seeded(t)
			for name, keep := range map[string]func() bool{
				"all unsynced is lost":         nil,
				"half of the unsynced is lost": func() bool { return rng.IntN(2) == 0 },
			} {
				start := time.Now()
				c := newPowerCut(t, g, root)
				calls := 0
				c.keep, c.when = keep, func(e crashfs.Event, acked bool) bool {
					if e.Returns && settles(e) {
						calls++
						return calls%sparse == 0
					}
					return acked
				}
				if err := c.playLast(log); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				t.Logf("%s: the power failed %d times, %v", name, c.cuts, time.Since(start).Round(time.Second))
			}
			c := newPowerCut(t, g, root)
			c.disk.IgnoreSync, c.when = true, func(_ crashfs.Event, acked bool) bool { return acked && len(c.promises.facts)%5 == 0 }
			if err := c.playLast(log); err == nil || !strings.Contains(err.Error(), "is missing") {
				t.Errorf("on a disk that ignores syncs the answer was %v; want a missing fact: this test cannot fail", err)
			}
		})
	}
}

// TestPowerFailsAfterAProcessWasKilled kills a child at each site, lets a second one
// go on with what the first made visible but not durable, and lets the power fail at
// each of its acknowledgements: nobody may build on a name that may still vanish.
func TestPowerFailsAfterAProcessWasKilled(t *testing.T) {
	strace := straceTool(t)
	for _, c := range []struct {
		name   string
		ground ground
		calls  int64  // of each site
		in     string // of the site
	}{
		{"new ledger", newLedger(), 2 / int64(min(2, sparse)), ""}, // the first time names appear, the second they are replaced
		{"a tile becomes full", almostFullTile(t), 1, "ledger/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := c.ground
			sites := slices.DeleteFunc(slices.Sorted(maps.Keys(sitesOf(t, g, syncCalls))), func(s string) bool { return !strings.Contains(s, c.in) })
			start := time.Now()
			var cuts atomic.Int64
			hits := eachFault(t, sites, func(site string, n int64) (hit, beyond bool, err error) {
				if n > c.calls {
					return false, true, nil
				}
				root, _ := g.copy(t)
				first, r, err := record(t, strace, root, g.facts, fault{calls: syncCalls, at: n, times: 1, root: root, site: site})
				if err != nil || r.err == nil {
					return false, true, err
				}
				left := filepath.Join(t.TempDir(), "left") // what the kill cut short may have happened
				if err := os.CopyFS(left, os.DirFS(root)); err != nil {
					return false, false, err
				}
				second, r, err := record(t, strace, root, 2, fault{})
				if err != nil || r.err != nil {
					return false, false, fmt.Errorf("%w: %s", errors.Join(err, r.err), r.stderr)
				}
				cut := newPowerCut(t, g, root)
				acks, syncs := 0, 0
				cut.when = func(e crashfs.Event, acked bool) bool {
					if acked {
						acks++
						return acks%(3*sparse) == 1
					}
					if !e.Returns || e.Call.Name != "fsync" {
						return false
					}
					syncs++
					return syncs%(4*sparse) == 0 && syncs < 48 // it has opened the ledger by then
				}
				if err = cut.play(first, false); err == nil {
					err = cut.disk.Adopt(left)
				}
				if err == nil {
					err = cut.playLast(second)
				}
				cuts.Add(int64(cut.cuts))
				return true, false, err
			})
			t.Logf("%d kills at %d sites, then %d power failures, in %v", total(hits), len(hits), cuts.Load(), time.Since(start).Round(time.Second))
		})
	}
}

// TestNoHeadIsSignedOverATreeThatMayShrink delays each sync of the folder that says
// how large the tree is: meanwhile the new size can be read, and a head over it may
// be due. A head over leaves that a power failure takes back would stop the ledger
// for good.
func TestNoHeadIsSignedOverATreeThatMayShrink(t *testing.T) {
	g := newLedger()
	sitesOf(t, g, syncCalls)
	root, _ := g.copy(t)
	log, r, err := record(t, straceTool(t), root, g.facts, fault{calls: syncCalls, at: 1, times: 1000,
		delay: 3 * posix.MinCheckpointInterval, root: root, site: "fsync ledger/epoch-0/.state"})
	if err != nil || r.err != nil || len(r.hit()) < 5 {
		t.Fatalf("%v, %v, delayed %d syncs: %s", err, r.err, len(r.hit()), r.stderr)
	}
	c := newPowerCut(t, g, root)
	calls := 0
	c.when = func(e crashfs.Event, _ bool) bool {
		if e.Returns && settles(e) {
			calls++
		}
		return e.Returns && settles(e) && calls%sparse == 0
	}
	if err := c.playLast(log); err != nil {
		t.Error(err)
	}
	t.Logf("%d power failures", c.cuts)
}
