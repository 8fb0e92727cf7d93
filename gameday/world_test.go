package gameday

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// mute is a narrator that nobody listens to.
type mute struct{}

func (mute) Step(string, string) func(bool, string, string) { return func(bool, string, string) {} }
func (mute) Say(string)                                     {}
func (mute) Watch(api.Rollout)                              {}

// sh is a child that runs a shell script.
func sh(w *World, name, script string) command {
	return command{name: name, path: "/bin/sh", args: []string{"-c", script}, env: w.environment(), ready: "ready"}
}

func TestAChildThatDiesIsReportedWithItsLastLines(t *testing.T) {
	w := testWorld(t)
	_, _, err := w.start(w.ctx, sh(w, "early", "echo one; echo the disk is full >&2; exit 7"))
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("error %v; expected the exit status and the last lines", err)
	}
}

func TestTheWorldEndsWhenAChildDiesLater(t *testing.T) {
	w := testWorld(t)
	if _, _, err := w.start(w.ctx, sh(w, "later", "echo ready; read line; echo out of memory; exit 1")); err != nil {
		t.Fatal(err)
	}
	<-w.ctx.Done()
	if cause := context.Cause(w.ctx); !strings.Contains(cause.Error(), "out of memory") {
		t.Errorf("the world ended with %v", cause)
	}
}

func TestCloseEndsWholeProcessGroupsEvenThoseThatDoNotWantTo(t *testing.T) {
	w := testWorld(t)
	pidfile := w.path("tmp", "grandchild")
	c, _, err := w.start(w.ctx, sh(w, "stubborn", "trap '' TERM; sleep 600 & echo $! > "+pidfile+"; echo ready; wait; wait"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	c.kill()
	grandchild, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if syscall.Kill(grandchild, 0) != nil || zombie(grandchild) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its group", grandchild)
		}
	}
}

// zombie reports whether a process is dead and only waits to be noticed.
func zombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(data), ") Z ")
}

func TestABusyPortIsAClearErrorAndTouchesNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := filepath.Join(t.TempDir(), "demo")
	_, err = Open(t.Context(), Config{Dir: dir, Listen: ln.Addr().String(), Log: mute{}})
	if assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("error %v; expected a conflict that says what to do", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestAFolderThatNoDemoMadeIsRefusedAndLeftAlone(t *testing.T) {
	for name, files := range map[string][]string{
		"somebody's files":          {"thesis.txt"},
		"a state directory":         {"assay.db", "keys/assay.pub"},
		"a demo's folder with more": {markFile + ":mark", "state/assay.db", "thesis.txt"},
		"names of ours, no mark":    {"src/main.go"},
		"a mark that is none":       {markFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range files {
				f, isMark := strings.CutSuffix(f, ":mark")
				path := filepath.Join(dir, f)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				text := "mine"
				if isMark {
					text = `{"kind":"` + markKind + `"}`
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Open(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:0", Log: mute{}}); assay.CodeOf(err) != assay.CodeConflict {
				t.Errorf("error %v; expected a conflict", err)
			}
			for _, f := range files {
				f, _ = strings.CutSuffix(f, ":mark")
				if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
					t.Errorf("%s is gone: %v", f, err)
				}
			}
		})
	}
}

func TestAFinishedDemoIsReplacedAndARunningOneIsNot(t *testing.T) {
	w := testWorld(t)
	again := Config{Dir: w.cfg.Dir, Listen: "127.0.0.1:0", Log: mute{}, Began: time.Now()}
	if _, err := Open(t.Context(), again); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("error %v while it runs; expected a conflict", err)
	}
	old := w.path("logs", "old.log")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Open(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("what was there before is still there: %v", err)
	}
}

func TestChildrenSeeNothingOfThePersonsAssay(t *testing.T) {
	w := testWorld(t)
	w.cfg.Env = []string{"HOME=/somewhere", "ASSAY_TOKEN=secret", "ASSAY_SERVER=https://production", "TMPDIR=/var/tmp"}
	for _, kv := range w.assayEnv() {
		if strings.Contains(kv, "secret") || strings.Contains(kv, "production") || kv == "TMPDIR=/var/tmp" {
			t.Errorf("children get %s", kv)
		}
	}
	if list := strings.Join(w.environment(), " "); !strings.Contains(list, "HOME=/somewhere") || !strings.Contains(list, "TMPDIR="+w.path("tmp")) {
		t.Errorf("children get %s", list)
	}
}

func TestScenariosAreFoundByName(t *testing.T) {
	for _, s := range Scenarios() {
		if got, err := ScenarioNamed(s.Name); err != nil || got.Name != s.Name || got.About == "" {
			t.Errorf("%s: %+v, %v", s.Name, got, err)
		}
	}
	if _, err := ScenarioNamed("bad-relase"); assay.CodeOf(err) != assay.CodeNotFound || !strings.Contains(err.Error(), "bad-release") {
		t.Errorf("error %v; expected the name that was meant", err)
	}
}
