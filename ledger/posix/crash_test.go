package posix_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/store"
	"github.com/transparency-dev/tessera/api/layout"
)

// atATime is how many children and recoveries run beside each other: most of their
// time they wait for the next checkpoint.
const atATime = 6

// childLimit is when a child is taken for stuck: it gives up by itself long before.
const childLimit = 4 * time.Minute

// run is one child and what it did.
type run struct {
	heard  *promises
	stderr string
	err    error // nil after a clean end
}

// killed reports whether a signal ended the child.
func (r run) killed() bool {
	exit, ok := errors.AsType[*exec.ExitError](r.err)
	return ok && !exit.Exited()
}

// hit returns the calls that the fault hit.
func (r run) hit() (calls []string) {
	for line := range strings.Lines(r.stderr) {
		if call, ok := strings.CutPrefix(line, faultPrefix); ok {
			calls = append(calls, strings.TrimSpace(call))
		}
	}
	return calls
}

func childCommand(ctx context.Context, data string, facts int, f fault, strace ...string) *exec.Cmd {
	args := append(strace, os.Args[0], "-test.run=^$")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 10 * time.Second // if strace is killed, whom it watches goes on
	cmd.Env = append(os.Environ(), childDir+"="+data, fmt.Sprintf("%s=%d", childFacts, facts),
		"GODEBUG=asyncpreemptoff=1", // no signals that interrupt a call while it is decided about
		"GORACE=atexit_sleep_ms=0")  // the race detector waits a second at exit otherwise
	if f.calls != "" {
		cmd.Env = append(cmd.Env, childFault+"="+f.String())
	}
	return cmd
}

// runChild runs a child to its end. What it said is added to p. One that is stuck is
// made to say where and ends the tests, as the go command's own limit would.
func runChild(cmd *exec.Cmd, p *promises) run {
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	r := run{heard: p}
	if r.err = cmd.Start(); r.err == nil {
		limit := time.AfterFunc(childLimit, func() {
			_ = cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
			_ = time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		})
		r.err = cmd.Wait()
		if !limit.Stop() {
			panic(fmt.Sprintf("a child was stuck for %v (%v): %s", childLimit, r.err, stderr.String()))
		}
	}
	r.stderr = stderr.String()
	for line := range strings.Lines(out.String()) {
		if text, whole := strings.CutSuffix(line, "\n"); whole {
			if err := p.hear(text); err != nil {
				r.err = errors.Join(err, r.err)
			}
		}
	}
	return r
}

// realTempDir has no symbolic link in its path, as the kernel names it.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ground is a directory that children begin with, and what was promised about it.
type ground struct {
	dir      string // "" for an empty one
	promises *promises
	facts    int // that a child appends, per worker
}

// copy returns a fresh directory like g and its promises.
func (g ground) copy(t *testing.T) (string, *promises) {
	t.Helper()
	dir := realTempDir(t)
	if g.dir != "" {
		if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
			t.Error(err)
		}
	}
	return dir, g.promises.clone()
}

// newLedger is an empty directory.
func newLedger() ground { return ground{promises: newPromises(), facts: 4} }

// almostFullTile is a ledger whose first tile the children make full.
func almostFullTile(t *testing.T) ground {
	t.Helper()
	g := ground{dir: realTempDir(t), promises: newPromises(), facts: 4}
	in, err := openInstallation(t.Context(), g.dir)
	if err != nil {
		t.Fatal(err)
	}
	err = in.store.Update(t.Context(), func(tx store.Tx) error {
		for range layout.TileWidth - childWorkers*g.facts/2 {
			id, err := tx.Append(assay.Fact{Kind: assay.FactVerdict, Version: 1, Namespace: crashNamespace, Actor: "ground",
				Retention: assay.RetainAudit, Payload: json.RawMessage(`{}`)})
			if err != nil {
				return err
			}
			g.promises.facts[id] = true
		}
		return nil
	})
	if err := errors.Join(err, in.close()); err != nil {
		t.Fatal(err)
	}
	if err := g.promises.recover(t.Context(), g.dir); err != nil {
		t.Fatal(err)
	}
	return g
}

// sitesOf skips where a process may not hurt itself, and returns which calls of a
// kind a clean run of the child makes.
func sitesOf(t *testing.T, g ground, kind string) map[string]int64 {
	t.Helper()
	dir, p := g.copy(t)
	r := runChild(childCommand(t.Context(), dir, g.facts, fault{calls: kind, root: dir}), p)
	if strings.Contains(r.stderr, cannotInject) {
		if os.Getenv("ASSAY_REQUIRE_ALL") == "1" {
			t.Fatalf("ASSAY_REQUIRE_ALL=1, but %s", r.stderr)
		}
		t.Skipf("this needs Linux 5.7 and a sandbox that allows seccomp: %s", r.stderr)
	}
	if r.err != nil || len(p.facts) != len(g.promises.facts)+childWorkers*g.facts || len(p.sites) == 0 {
		t.Fatalf("a run without faults: %v, %d facts, %d calls: %s", r.err, len(p.facts), len(p.sites), r.stderr)
	}
	if err := p.recover(t.Context(), dir); err != nil {
		t.Fatalf("after a run without faults: %v", err)
	}
	return p.sites
}

// total counts calls.
func total(sites map[string]int64) (n int64) {
	for _, c := range sites {
		n += c
	}
	return n
}

// eachFault calls try for the first, second, third … call of each site from several
// goroutines, until it says that this was beyond the last one, or fails. It returns
// how many were hit, by site.
func eachFault(t *testing.T, sites []string, try func(site string, n int64) (hit, beyond bool, err error)) (hits map[string]int64) {
	t.Helper()
	hits = map[string]int64{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	room := make(chan struct{}, atATime)
	for _, site := range sites {
		wg.Go(func() {
			for n := int64(1); ; n++ {
				room <- struct{}{}
				hit, beyond, err := try(site, n)
				<-room
				if hit {
					mu.Lock()
					hits[site]++
					mu.Unlock()
				}
				if err != nil {
					t.Errorf("%s, call %d: %v", site, n, err)
				}
				if beyond || err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return hits
}

// mustBeHit are calls without which a test has not been where it says it was.
var mustBeHit = []string{
	"fsync assay.db", "fsync assay.db-wal", "fsync .",
	"fsync blobs/tmp/XX", "renameat blobs/sha256/XX", "fsync blobs/sha256/XX",
	"linkat ledger/epoch-0/.state/version",
	"renameat ledger/epoch-0/.state/treeState", "fsync ledger/epoch-0/.state",
	"renameat ledger/epoch-0/tile/entries/N.p/N", "fsync ledger/epoch-0/tile/entries/N.p",
	"renameat ledger/epoch-0/tile/N/N.p/N", "fsync ledger/epoch-0/tile/N/N.p",
	"renameat ledger/epoch-0/tile/entries/N", "renameat ledger/epoch-0/tile/N/N", // full ones
	"fsync ledger/.epoch-0.head.tmp", "renameat ledger/epoch-0.head", "fsync ledger",
	"renameat ledger/epoch-0/checkpoint", "fsync ledger/epoch-0",
}

// killedAtSyncs kills the child before each call that makes something durable or
// visible: the first, second, third … of its site (what is called on which file),
// until a child survives; under the race detector only before one in the middle of
// each site's. It recovers from each.
func killedAtSyncs(t *testing.T) {
	all := map[string]int64{}
	for name, g := range map[string]ground{"new ledger": newLedger(), "a tile becomes full": almostFullTile(t)} {
		t.Run(name, func(t *testing.T) {
			sites := sitesOf(t, g, syncCalls)
			if g.dir != "" && sparse > 1 { // the store's were all reached in the new one
				maps.DeleteFunc(sites, func(site string, _ int64) bool { return !strings.Contains(site, "ledger/") })
			}
			var mu sync.Mutex
			var facts, published int
			start := time.Now()
			hits := eachFault(t, slices.Sorted(maps.Keys(sites)), func(site string, n int64) (hit, beyond bool, err error) {
				if testenv.RaceDetector && n > 1 {
					return false, true, nil
				} else if testenv.RaceDetector {
					n = (sites[site] + 1) / 2
				}
				dir, p := g.copy(t)
				r := runChild(childCommand(t.Context(), dir, g.facts, fault{calls: syncCalls, at: n, times: 1, root: dir, site: site}), p)
				if r.err != nil && !r.killed() {
					return false, false, fmt.Errorf("the child failed by itself: %w: %s", r.err, r.stderr)
				}
				mu.Lock()
				facts, published = facts+len(p.facts)-len(g.promises.facts), published+len(p.published)-len(g.promises.published)
				mu.Unlock()
				// Runs differ by a few calls: that one survives here says little
				// while others made as many.
				return r.err != nil, r.err == nil && n > sites[site], p.recover(t.Context(), dir)
			})
			t.Logf("%d kills at %d sites (a clean run makes %d calls) in %v; %d facts acknowledged, %d published",
				total(hits), len(hits), total(sites), time.Since(start).Round(time.Second), facts, published)
			if facts == 0 || published == 0 && !testenv.RaceDetector { // a sample of kills comes too early
				t.Error("nothing was acknowledged before a kill: this proves nothing")
			}
			for site, n := range hits {
				all[site] += n
			}
		})
	}
	for _, site := range slices.Sorted(maps.Keys(all)) {
		t.Logf("%4d %s", all[site], site)
	}
	for _, site := range mustBeHit {
		if all[site] == 0 {
			t.Errorf("never killed at %s", site)
		}
	}
}

// seeded returns a source of randomness that a failure can be repeated with.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ASSAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("repeat with ASSAY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// killAfter runs a child under load and kills it after a while.
func killAfter(ctx context.Context, data string, p *promises, d time.Duration) error {
	cmd := childCommand(ctx, data, 0, fault{})
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	kill := time.AfterFunc(d, func() { _ = cmd.Process.Kill() }) // it may have failed by then
	defer kill.Stop()
	var heard error
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // what came without a line's end was not acknowledged
		}
		if err != nil {
			return err
		}
		heard = errors.Join(heard, p.hear(strings.TrimSuffix(line, "\n")))
	}
	r := run{err: cmd.Wait(), stderr: stderr.String()}
	if !r.killed() || r.stderr != "" {
		return fmt.Errorf("the child ended by itself: %w: %s", r.err, r.stderr)
	}
	return heard
}

// killedAtRandom kills children under load: some in
// fresh directories, most in one that keeps growing. There some find what the kill
// before left, the others what a recovery left. Under the race detector there are a
// quarter as many, with more time, as a process takes longer to start.
func killedAtRandom(t *testing.T) {
	one, fresh, longest, load := 44, 12, 500*time.Millisecond, 500
	if testenv.RaceDetector {
		one, fresh, longest, load = one/4, fresh/4, 2*longest, load/16
	}
	rng := seeded(t)
	moments := make([]time.Duration, one+fresh)
	for i := range moments {
		moments[i] = time.Duration(rng.Int64N(int64(longest)))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for kill, d := range moments[one:] {
			dir := realTempDir(t)
			p := newPromises()
			err := killAfter(t.Context(), dir, p, d)
			if err == nil {
				err = p.recover(t.Context(), dir)
			}
			if err != nil {
				t.Errorf("kill %d in a fresh directory, after %v: %v", kill, d, err)
				return
			}
		}
	})
	dir := realTempDir(t)
	p := newPromises()
	for kill, d := range moments[:one] {
		err := killAfter(t.Context(), dir, p, d)
		if err == nil && (kill%5 == 1 || kill == one-1) {
			err = p.recover(t.Context(), dir)
		}
		if err != nil {
			t.Errorf("kill %d, after %v: %v", kill, d, err)
			break
		}
	}
	wg.Wait()
	t.Logf("%d kills; in the one directory %d facts acknowledged, %d published, %d heads seen", one+fresh, len(p.facts), len(p.published), len(p.heads))
	if len(p.facts) < load || len(p.published) < max(1, load/50) {
		t.Error("this was no load")
	}
}

// failedCalls lets calls fail, one after the other and some in a row, and recovers from what is on the disk after the
// child has ended, well or badly.
func failedCalls(t *testing.T) {
	for _, c := range []struct {
		name   string
		ground ground
		kind   string
		errno  syscall.Errno
		times  int64 // calls in a row that fail
		step   int64 // from one run's first such call to the next one's
	}{
		{"a sync or rename fails", newLedger(), syncCalls, syscall.EIO, 1, 1},
		{"a sync or rename fails when a tile becomes full", almostFullTile(t), syncCalls, syscall.EIO, 1, 1},
		{"the disk fails for a while", newLedger(), syncCalls, syscall.EIO, 5, 3},
		{"a write finds no space", newLedger(), writeCalls, syscall.ENOSPC, 1, 2},
		{"there is no space for a while", almostFullTile(t), writeCalls, syscall.ENOSPC, 6, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			sites := sitesOf(t, c.ground, c.kind)
			var mu sync.Mutex
			var gaveUp, halts int
			start := time.Now()
			one := func(at int64) (hit, beyond bool, err error) {
				dir, p := c.ground.copy(t)
				f := fault{calls: c.kind, at: at, times: c.times, errno: c.errno, root: dir}
				r := runChild(childCommand(t.Context(), dir, c.ground.facts, f), p)
				mu.Lock()
				if r.err != nil {
					gaveUp++
				}
				halts += strings.Count(r.stderr, "halted:")
				mu.Unlock()
				if r.killed() || strings.Contains(r.stderr, "goroutine ") || strings.Contains(r.stderr, "halted: true") {
					return false, false, fmt.Errorf("the child did not take it well: %w: %s", r.err, r.stderr)
				}
				if err := p.recover(t.Context(), dir); err != nil {
					return false, false, fmt.Errorf("after failures of %v: %w; the child said: %s", r.hit(), err, r.stderr)
				}
				return len(r.hit()) > 0, len(r.hit()) == 0, nil
			}
			// Each lane takes every atATime-th call.
			lanes := make([]string, atATime)
			for i := range lanes {
				lanes[i] = strconv.Itoa(i)
			}
			hits := eachFault(t, lanes, func(lane string, n int64) (hit, beyond bool, err error) {
				i, err := strconv.ParseInt(lane, 10, 64)
				if err != nil {
					return false, false, err
				}
				return one(1 + int64(sparse)*c.step*(i+(n-1)*atATime))
			})
			t.Logf("%d runs with failures (a clean one makes %d calls) in %v; %d children gave up, sequencers halted %d times",
				total(hits), total(sites), time.Since(start).Round(time.Second), gaveUp, halts)
			if halts == 0 && !testenv.RaceDetector { // which sees a few of them only
				t.Error("no append failed: this proves nothing")
			}
		})
	}
}

// TestAProcessThatDiesOfALockLosesNothing lets the library fail to open its own lock,
// as when the process has no file descriptor left. It panics then, in a goroutine of
// its own, where nobody can catch it: the process ends in the middle of its work.
func TestAProcessThatDiesOfALockLosesNothing(t *testing.T) {
	const site = "openat ledger/epoch-0/.state/treeState.lock"
	g := newLedger()
	opens := sitesOf(t, g, openCalls)[site]
	if opens < 3 {
		t.Fatalf("the lock was opened %d times: the library changed, this test proves nothing", opens)
	}
	for at := range opens {
		dir, p := g.copy(t)
		r := runChild(childCommand(t.Context(), dir, g.facts, fault{calls: openCalls, at: at + 1, times: 1, errno: syscall.EMFILE, root: dir, site: site}), p)
		if at == 0 && len(r.hit()) != 1 {
			t.Errorf("the lock did not fail: %s", r.stderr)
		}
		t.Logf("opening %d fails: panicked %v, %d facts acknowledged", at+1, strings.Contains(r.stderr, "panic: "), len(p.facts))
		if err := p.recover(t.Context(), dir); err != nil {
			t.Errorf("opening %d failed: %v: %s", at+1, err, r.stderr)
		}
	}
}
