package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay/gameday"
	"assay.dev/assay/internal/testenv"
)

// playTest skips a test that plays for minutes on real processes, unless
// ASSAY_DEMO=1, and returns the program, built as `make build` does.
func playTest(t *testing.T) string {
	t.Helper()
	if os.Getenv("ASSAY_DEMO") != "1" {
		t.Skip("plays for a minute and needs the machine for itself; run it with ASSAY_DEMO=1")
	}
	exe, err := played()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// played builds the program once for all plays, beside what TestMain removes in the end.
var played = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "assay-played-*")
	if err != nil {
		return "", err
	}
	playedRoot = dir
	exe := filepath.Join(dir, "assay")
	build := exec.Command("go", "build", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+testenv.BuildFlags)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return exe, nil
})

// playedRoot is what played made, "" before.
var playedRoot string

// playTime is how long a play may take on a slow machine.
const playTime = 8 * time.Minute

// replays is how often a play that came out differently is played again. Its services,
// proxies and customers are real and share one machine with whatever else runs there, and
// what its strategies conclude is right with a stated probability. Both runs are printed:
// a play that fails now and then is to be looked into all the same.
const replays = 1

// differed is what plays said that came out differently.
var differed struct {
	sync.Mutex
	said []string
}

// comeOut plays a play that has to come out as asserted, if need be once more, and returns
// its report.
func comeOut(t *testing.T, exe string, args ...string) gameday.Report {
	t.Helper()
	for again := range replays + 1 {
		r, err := play(t, exe, args...)
		if err == nil && r.OK {
			return r
		}
		said := fmt.Sprintf("%s, run %d: %v: %+v", strings.Join(args, " "), again+1, err, gameday.Failed(r.Checks))
		differed.Lock()
		differed.said = append(differed.said, said)
		differed.Unlock()
		t.Log(said)
		args = onlyFailed(args, err, r)
	}
	t.Fatal("it did not come out as asserted, and not when it was repeated either")
	return gameday.Report{}
}

// onlyFailed is a command without those of its plays that came out as asserted, if it
// played all of them to their end.
func onlyFailed(args []string, ended error, r gameday.Report) []string {
	exit, ok := errors.AsType[*exec.ExitError](ended)
	if !ok || exit.ExitCode() != exitFailed {
		return args
	}
	again := args[:2:2] // gameday run
	for _, c := range gameday.Failed(r.Checks) {
		name, _, _ := strings.Cut(c.Name, ":")
		if !slices.Contains(args[2:], name) {
			return args
		}
		if !slices.Contains(again, name) {
			again = append(again, name)
		}
	}
	if len(again) == 2 {
		return args
	}
	return again
}

// play runs a play with JSON output in an empty folder and returns its report and how the
// program ended.
func play(t *testing.T, exe string, args ...string) (r gameday.Report, ended error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), playTime)
	defer cancel()
	folder := t.TempDir()
	cmd := exec.CommandContext(ctx, exe, append(args, "-o", "json", "--listen", "127.0.0.1:0", "--dir", filepath.Join(folder, "play"))...)
	cmd.Dir = folder
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	ended = cmd.Run()
	t.Logf("%s\n%s", strings.Join(args, " "), &talk)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, errors.Join(ended, fmt.Errorf("%w in %s", err, &out))
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("it left %v beside its folder (%v)", entries, err)
	}
	for name, pid := range r.PIDs {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("%s (pid %d) outlives the play", name, pid)
		}
	}
	if r.RateRPS > 0 && len(r.PIDs) < 5 {
		t.Errorf("processes %v; expected control plane, proxy, two shops and load", r.PIDs)
	}
	return r, ended
}

func TestDemoShowsTheBadReleaseStoppedAndTheGoodOnePromoted(t *testing.T) {
	r := comeOut(t, playTest(t), "demo", "--once")
	if !r.OK || len(r.Checks) < 15 {
		t.Errorf("ok %v with %d outcomes: %v", r.OK, len(r.Checks), gameday.Failed(r.Checks))
	}
	if r.StoppedAfter == 0 || r.Harmed == 0 || r.Floor < 50 || r.Stopped == nil || r.Stopped.Version != "v2" {
		t.Errorf("stopped after %d, %d harmed, floor %.0f", r.StoppedAfter, r.Harmed, r.Floor)
	}
	if len(r.Promoted) != 1 || r.Promoted[0].Version != "v3" || r.PromotedAfter <= r.StoppedAfter {
		t.Errorf("promoted %+v", r.Promoted)
	}
	if r.Decisions < 5 || r.Identical != r.Decisions {
		t.Errorf("%d of %d decisions identical", r.Identical, r.Decisions)
	}
	if len(r.Peers) != 2 || r.Peers[0].Action != "abort" || !r.Peers[0].Simulated || r.Peers[0].Harmed <= r.Harmed {
		t.Errorf("peers %+v", r.Peers)
	}
	if r.ReadyMS >= 5000 {
		t.Errorf("the page was ready after %d ms", r.ReadyMS)
	}
}

func TestDemoWithoutTheRegressionPromotesV2(t *testing.T) {
	r := comeOut(t, playTest(t), "demo", "--once", "--healthy")
	if !r.OK || r.Stopped != nil || len(r.Promoted) != 1 || r.Promoted[0].Version != "v2" {
		t.Errorf("ok %v, stopped %v, promoted %+v: %v", r.OK, r.Stopped, r.Promoted, gameday.Failed(r.Checks))
	}
}

func TestNothingOfADemoOutlivesItsParentHoweverItDies(t *testing.T) {
	exe := playTest(t)
	t.Parallel() // nothing that it asserts is a matter of time
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), exe, "demo", "--listen", "127.0.0.1:0", "--dir", filepath.Join(folder, "play"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for s := bufio.NewScanner(stdout); s.Scan(); {
		if _, list, ok := strings.Cut(s.Text(), "processes  "); ok {
			for _, m := range regexp.MustCompile(`[a-z0-9-]+ (\d+)`).FindAllStringSubmatch(list, -1) {
				var pid int
				fmt.Sscan(m[1], &pid)
				pids = append(pids, pid)
			}
			break
		}
	}
	if len(pids) != 4 {
		t.Fatalf("processes %v; expected four", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(10 * time.Second); slices.ContainsFunc(pids, alive); {
		if time.Now().After(deadline) {
			t.Fatalf("of %v some outlive their parent", pids)
		}
	}
}

// alive reports whether a process runs; one that only waits to be noticed does not.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// written are system calls that make or change a file, by the number of the
// argument that names it, and whether a folder's descriptor stands before it.
var written = regexp.MustCompile(`^(?:\d+ +)?(openat|open|creat|mkdirat|mkdir|unlinkat|unlink|rmdir|rename|renameat|renameat2|symlink|symlinkat|link|linkat|truncate)\((.*)\) += (-?\d+|\?)`)

// quoted is a path argument, with the folder that a relative one is below.
var quoted = regexp.MustCompile(`(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"`)

// changes are the paths that one line of strace says were made or changed.
func changes(line string) (out []string) {
	m := written.FindStringSubmatch(line)
	if m == nil || strings.HasPrefix(m[3], "-") {
		return nil
	}
	if strings.HasPrefix(m[1], "open") && !regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND`).MatchString(m[2]) {
		return nil
	}
	for _, p := range quoted.FindAllStringSubmatch(m[2], -1) {
		path := p[2]
		if !filepath.IsAbs(path) {
			path = filepath.Join(p[1], path)
		}
		out = append(out, filepath.Clean(path))
	}
	return out
}

func TestChangesAreReadFromTheLinesOfStrace(t *testing.T) {
	for line, want := range map[string]string{
		`12 openat(AT_FDCWD</w>, "/tmp/a", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 7</tmp/a>`: "/tmp/a",
		`12 openat(AT_FDCWD</w>, "b/../c", O_WRONLY|O_TRUNC) = 7</w/c>`:                 "/w/c",
		`12 openat(8</w/x>, "y", O_WRONLY|O_CREAT, 0600) = 7</w/x/y>`:                   "/w/x/y",
		`12 openat(AT_FDCWD</w>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 7</etc/hosts>`:     "",
		`12 openat(AT_FDCWD</w>, "/tmp/a", O_RDWR|O_CREAT, 0600) = -1 EACCES (denied)`:  "",
		`12 renameat(AT_FDCWD</w>, "/t/a", AT_FDCWD</w>, "/t/b") = 0`:                   "/t/a /t/b",
		`12 mkdirat(AT_FDCWD</w>, "/t/d", 0700) = 0`:                                    "/t/d",
		`12 +++ exited with 0 +++`:                                                      "",
	} {
		if got := strings.Join(changes(line), " "); got != want {
			t.Errorf("%s\ngave %q; expected %q", line, got, want)
		}
	}
}

// TestADemoWritesBelowItsFolderAndIntoGosCachesOnly lists every file that the demo
// or anything it starts made, opened for writing, renamed or removed.
func TestADemoWritesBelowItsFolderAndIntoGosCachesOnly(t *testing.T) {
	exe := playTest(t)
	t.Parallel() // nothing that it asserts is a matter of time
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	folder, logs := t.TempDir(), t.TempDir()
	dir, trace := filepath.Join(folder, "play"), filepath.Join(logs, "trace")
	ctx, cancel := context.WithTimeout(t.Context(), playTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, strace, "-f", "--seccomp-bpf", "-y", "-s", "4096", "-o", trace,
		"-e", "trace=openat,open,creat,mkdirat,mkdir,unlinkat,unlink,rmdir,rename,renameat,renameat2,symlink,symlinkat,link,linkat,truncate",
		exe, "demo", "--once", "--listen", "127.0.0.1:0", "--dir", dir)
	cmd.Dir = folder
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal's, which Ctrl-C goes to
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What comes out is not asserted here: a traced world is a slow one, and a good release
	// may wait for longer than a play does. Once its second rollout has begun it has done all
	// kinds of things that it does, and is ended as with Ctrl-C.
	said, began := "", false
	for s := bufio.NewScanner(stdout); s.Scan(); {
		said += s.Text() + "\n"
		if !began && strings.Contains(s.Text(), "canary    v3") {
			began = true
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); !began {
		t.Fatalf("%v\n%s", err, said)
	}
	allowed := []string{dir, "/dev", "/proc"}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		path, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		allowed = append(allowed, strings.TrimSpace(string(path)))
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside := map[string]bool{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		for _, path := range changes(s.Text()) {
			i := slices.IndexFunc(allowed, func(a string) bool { return path == a || strings.HasPrefix(path, a+"/") })
			if i < 0 {
				t.Errorf("wrote outside: %s", s.Text())
				continue
			}
			inside[allowed[i]] = true
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if !inside[dir] || !inside[allowed[3]] {
		t.Errorf("wrote below %v; expected the folder and the build cache: was the trace not understood?", inside)
	}
}

// TestEveryGameDayComesOutAsAsserted plays those that want the machine for themselves one
// after the other, and then the patient ones beside each other, as many as there are
// processors, each in a world of its own.
func TestEveryGameDayComesOutAsAsserted(t *testing.T) {
	exe := playTest(t)
	t.Cleanup(func() {
		for _, said := range differed.said {
			t.Log(said)
		}
	})
	var patient, list []gameday.Scenario
	for _, s := range gameday.Scenarios() {
		if s.Patient() {
			patient = append(patient, s)
		} else {
			list = append(list, s)
		}
	}
	for len(list) > 0 {
		names := []string{list[0].Name} // with those that share its installation
		rest := list[:0:0]
		for _, s := range list[1:] {
			if s.Shares(list[0]) {
				names = append(names, s.Name)
			} else {
				rest = append(rest, s)
			}
		}
		list = rest
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			comeOut(t, exe, append([]string{"gameday", "run"}, names...)...)
		})
	}
	t.Parallel()
	for _, s := range patient {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			comeOut(t, exe, "gameday", "run", s.Name)
		})
	}
}
