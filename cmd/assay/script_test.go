package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/durable"
	_ "assay.dev/assay/internal/golden" // for its -update flag
	"assay.dev/assay/internal/strict"
	"github.com/rogpeppe/go-internal/testscript"
)

// testPassphrase protects the keys of every state directory made here.
const testPassphrase = "correct horse battery staple"

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"assay": assayCommand})
}

// tidy removes what the tests share once they all ended.
type tidy struct{ m *testing.M }

func (t tidy) Run() int {
	code := t.m.Run()
	if err := errors.Join(os.RemoveAll(sharedRoot), os.RemoveAll(playedRoot)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// assayCommand is main, with a clock that ASSAY_TEST_CLOCK puts forward.
func assayCommand() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := newApp(os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	if d, err := time.ParseDuration(os.Getenv("ASSAY_TEST_CLOCK")); err == nil {
		a.now = func() time.Time { return time.Now().Add(d) }
	}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// TestScripts runs the program as a user does. The scripts are the
// specification of the command line; each finds the files of testdata/fixtures,
// and in state/ a directory whose ledger holds one attestation of app, with its
// bundle and proof in app.sigstore.json and app.proof.json and the public file
// in assay.pub.
func TestScripts(t *testing.T) {
	prepared := prepare(t)
	update := flag.Lookup("update").Value.String() == "true"
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ASSAY_PASSPHRASE", testPassphrase)
			env.Setenv("ASSAY_POLICY", "policies")
			env.Setenv("GORACE", os.Getenv("GORACE")) // how the race detector behaves
			return copyDir(prepared, env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"flip":      flip,
			"swap":      swap,
			"setid":     setID,
			"repeat":    repeat,
			"isjson":    isJSON,
			"copytree":  copyTree,
			"onlyfiles": onlyFiles,
			"sha256":    sum256,
			"lockdir":   lockDir,
		},
	})
}

// sharedRoot is what prepare made, "" before.
var sharedRoot string

var prepareOnce = sync.OnceValues(makeShared)

// prepare returns a folder with what every test starts with; copy it. Creating
// keys is slow on purpose, so it is done once.
func prepare(t *testing.T) string {
	t.Helper()
	root, err := prepareOnce()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func makeShared() (root string, err error) {
	if root, err = os.MkdirTemp("", "assay-test-*"); err != nil {
		return "", err
	}
	sharedRoot = root
	if err := copyDir("testdata/fixtures", root); err != nil {
		return "", err
	}
	env := map[string]string{
		"ASSAY_DIR": filepath.Join(root, "state"), "ASSAY_PASSPHRASE": testPassphrase,
		"ASSAY_POLICY": filepath.Join(root, "policies"),
	}
	in := func(name string) string { return filepath.Join(root, name) }
	for _, args := range [][]string{
		{"key", "create"},
		{"attest", in("app"), "--evidence", in("tests.json"), "--evidence", in("clean.json"),
			"--bundle", in("app.sigstore.json"), "--proof", in("app.proof.json")},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), args, func(k string) string { return env[k] }, strings.NewReader(""), &out, &out); code != exitOK {
			return "", fmt.Errorf("assay %s: exit %d\n%s", args[0], code, &out)
		}
	}
	public, err := os.ReadFile(in("state/keys/assay.pub"))
	if err == nil {
		err = os.WriteFile(in("assay.pub"), public, 0o644)
	}
	return root, err
}

// exits runs a command and requires its exit code: exits CODE COMMAND….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		status, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = status.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// flip changes one bit in the middle of a file, or at an offset: flip FILE [OFFSET].
func flip(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	at := len(data) / 2
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		at = n
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// escapes are what scripts write for characters that they cannot hold.
var escapes = strings.NewReplacer(`\n`, "\n", `\x1b`, "\x1b")

// swap replaces text in a file, which must be there: swap FILE OLD NEW.
func swap(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.ReadFile(args[0])
	if !strings.Contains(data, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(data, args[1], escapes.Replace(args[2]))), 0o644))
}

// setID sets a variable to the value of a JSON field in the last output: setid VAR FIELD.
func setID(ts *testscript.TestScript, _ bool, args []string) {
	_, rest, ok := strings.Cut(ts.ReadFile("stdout"), strconv.Quote(args[1])+": \"")
	value, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		ts.Fatalf("the last output has no field %q", args[1])
	}
	ts.Setenv(args[0], value)
}

// repeat writes a text many times into a file: repeat FILE COUNT TEXT.
func repeat(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	_, err = f.WriteString(strings.Repeat(escapes.Replace(args[2]), n))
	ts.Check(errors.Join(err, f.Close()))
}

// copyTree copies a folder as a backup does: copytree FROM TO.
func copyTree(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(ts.MkAbs(args[1])))
	ts.Check(copyDir(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// copyDir copies files with their modes, which os.CopyFS does not keep.
func copyDir(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, info.Mode().Perm())
	})
}

// onlyFiles requires that a folder holds exactly the named entries: onlyfiles DIR [NAME…].
func onlyFiles(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(args[1:]) {
		ts.Fatalf("%s holds %v, want %v", args[0], got, args[1:])
	}
}

// lockDir takes a state directory as another process would: lockdir DIR VAR sets VAR to its pid.
func lockDir(ts *testscript.TestScript, _ bool, args []string) {
	lock, err := durable.LockDir(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = lock.Release() })
	ts.Setenv(args[1], strconv.Itoa(os.Getpid()))
}

// sum256 sets a variable to the digest of a file: sha256 VAR FILE.
func sum256(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], string(assay.DigestOf(sha256.Sum256([]byte(ts.ReadFile(args[1]))))))
}

// isJSON requires that the last output is exactly one JSON value, strictly.
func isJSON(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(strict.CheckJSON([]byte(ts.ReadFile("stdout"))))
}
