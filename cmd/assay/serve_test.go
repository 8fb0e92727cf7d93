package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/ledger"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
)

// world is a folder with the fixtures and a state directory, as scripts have it.
type world struct {
	t    *testing.T
	root string
	env  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir()}
	if err := copyDir(prepare(t), w.root); err != nil {
		t.Fatal(err)
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ASSAY_") {
			w.env = append(w.env, v)
		}
	}
	w.env = append(w.env, "ASSAY_PASSPHRASE="+testPassphrase, "ASSAY_POLICY=policies")
	return w
}

// command is the program as a child process.
func (w *world) command(env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), "assay", args...)
	cmd.Dir, cmd.Env = w.root, append(w.env[:len(w.env):len(w.env)], env...)
	return cmd
}

// must runs a command that has to end with the exit code, and returns its output.
func (w *world) must(want int, env []string, args ...string) (stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd := w.command(env, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		w.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		w.t.Fatalf("assay %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// daemon is a running "assay serve".
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	lines chan string // of its log
}

func (w *world) serve(flags ...string) *daemon {
	w.t.Helper()
	args := append([]string{"serve", "--dir", "state", "--listen", "127.0.0.1:0"}, flags...)
	d := &daemon{t: w.t, cmd: w.command(nil, args...), lines: make(chan string, 1000)}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	var logs sync.WaitGroup
	logs.Go(func() {
		defer close(d.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			select {
			case d.lines <- s.Text():
			default: // nobody waits for so many
			}
		}
	})
	w.t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it may have ended long ago
		logs.Wait()
		_ = d.cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, rest, ok := strings.Cut(line, "serving ")
	if err != nil || !ok {
		w.t.Fatalf("serve said %q (%v)", line, err)
	}
	d.url, _, _ = strings.Cut(rest, " ")
	return d
}

// logged waits for a line of the log with the text.
func (d *daemon) logged(text string) string {
	d.t.Helper()
	for line := range d.lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	d.t.Fatalf("the log ended without %q", text)
	return ""
}

// stop sends SIGTERM and returns the exit code.
func (d *daemon) stop() int {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	_ = d.cmd.Wait() // the exit code tells
	return d.cmd.ProcessState.ExitCode()
}

// token makes a token on the local directory, which must not be in use.
func (w *world) token(name string, roles ...string) string {
	args := []string{"token", "create", name, "--dir", "state"}
	for _, r := range roles {
		args = append(args, "--role", r)
	}
	out, _ := w.must(0, nil, args...)
	return "ASSAY_TOKEN=" + strings.TrimSpace(out)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func field(t *testing.T, doc string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(doc), into); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
}

func TestServeDoesOverHTTPWhatTheCommandLineDoesLocally(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, admin := w.token("alice", "developer"), w.token("bob", "approver"), w.token("root", "admin")
	d := w.serve()
	server := "ASSAY_SERVER=" + d.url
	as := func(who string) []string { return []string{server, who} }

	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if status, body := get(t, d.url+path); status != 200 || body != want {
			t.Errorf("%s answered %d %q", path, status, body)
		}
	}
	vulnerable := []string{"app", "--evidence", "tests.json", "--evidence", "vulnerable.json"}
	w.must(exitFailed, as(alice), append([]string{"verify"}, vulnerable...)...)
	w.must(exitAbsent, as(alice), "verify", "app", "--evidence", "tests.json")

	out, _ := w.must(0, as(alice), "exception", "request", "--rule", "ship/no-critical-vulnerabilities",
		"--reason", "not reachable from outside", "--until", "72h", "-o", "json")
	var asked struct{ ID, Requester string }
	field(t, out, &asked)
	if asked.Requester != "alice" {
		t.Errorf("the requester is %q, not who the token says", asked.Requester)
	}
	if _, stderr := w.must(exitError, as(alice), "exception", "approve", asked.ID); !strings.Contains(stderr, "this needs approver") {
		t.Errorf("alice was refused with %q", stderr)
	}
	w.must(0, as(bob), "exception", "approve", asked.ID)

	out, _ = w.must(0, as(alice), append([]string{"attest", "--proof", "excused.proof.json", "-o", "json"}, vulnerable...)...)
	var att api.Attested
	field(t, out, &att)
	if len(att.Verdict.Exceptions) != 1 || att.Verdict.Exceptions[0].ID != asked.ID {
		t.Errorf("the verdict used %+v, want exception %s", att.Verdict.Exceptions, asked.ID)
	}
	w.must(0, nil, "attestation", "verify", "app", "--proof", "excused.proof.json", "--pub", "assay.pub", "--resource", "pkg:generic/app")
	w.must(0, as(alice), "ledger", "prove", string(att.Fact), "-f", "again.proof.json")
	w.must(0, nil, "ledger", "verify", "again.proof.json", "--pub", "assay.pub")
	out, _ = w.must(0, as(bob), "ledger", "facts", "--kind", "exception.approved", "-o", "json")
	var facts []struct{ ID, State, Actor string }
	field(t, out, &facts)
	if len(facts) != 1 || facts[0].Actor != "bob" || facts[0].State != "published" {
		t.Fatalf("approvals: %+v", facts)
	}
	w.must(0, as(bob), "ledger", "prove", facts[0].ID, "-f", "approval.proof.json")
	w.must(0, nil, "ledger", "verify", "approval.proof.json", "--pub", "assay.pub")

	var head api.Head
	out, _ = w.must(0, as(bob), "ledger", "head", "-o", "json")
	field(t, out, &head)
	if status, body := get(t, d.url+"/ledger/checkpoint"); status != 200 || !strings.HasPrefix(body, head.Origin+"\n") {
		t.Errorf("the public checkpoint is %d %q", status, body)
	}

	w.tesseraReads(d, head)
	w.must(0, as(bob), "exception", "revoke", asked.ID, "--reason", "exploited in the wild")
	w.must(exitFailed, as(alice), append([]string{"verify"}, vulnerable...)...)
	w.must(0, as(admin), "token", "create", "eve", "--role", "viewer")
	if _, stderr := w.must(exitError, []string{server}, "exception", "list"); !strings.Contains(stderr, "the server wants a token, and none is set") {
		t.Errorf("without a token: %q", stderr)
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
	w.must(0, nil, "ledger", "audit", "--fsck", "--dir", "state")
}

// tesseraReads lets Tessera's own client read the whole served ledger and check one inclusion.
func (w *world) tesseraReads(d *daemon, head api.Head) {
	w.t.Helper()
	verifier, err := ledger.ParseVerifier(head.Verifier)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range []string{"/ledger/", "/ledger/epoch-0/"} {
		u, err := url.Parse(d.url + path)
		if err != nil {
			w.t.Fatal(err)
		}
		fetcher, err := client.NewHTTPFetcher(u, http.DefaultClient)
		if err != nil {
			w.t.Fatal(err)
		}
		cp, _, _, err := client.FetchCheckpoint(w.t.Context(), fetcher.ReadCheckpoint, verifier, head.Origin)
		if err != nil || cp.Size < head.Size {
			w.t.Fatalf("%s: checkpoint %+v, %v", path, cp, err)
		}
		bundle, err := client.GetEntryBundle(w.t.Context(), fetcher.ReadEntryBundle, 0, cp.Size)
		if err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
		proofs, err := client.NewProofBuilder(w.t.Context(), cp.Size, fetcher.ReadTile)
		if err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
		for i, leaf := range bundle.Entries {
			hashes, err := proofs.InclusionProof(w.t.Context(), uint64(i))
			if err == nil {
				err = ledger.VerifyInclusion(uint64(i), cp.Size, rfc6962.DefaultHasher.HashLeaf(leaf), hashes, cp.Hash)
			}
			if err != nil {
				w.t.Errorf("%s: leaf %d: %v", path, i, err)
			}
		}
	}
}

func TestAnInstallationWhoseSequencerStoppedIsNotReady(t *testing.T) {
	in := &installation{stopped: make(chan struct{})}
	close(in.stopped)
	if err := in.ready(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("ready: %v", err)
	}
}

func TestServeKeepsTheOldPolicyWhenTheNewOneIsBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	env := []string{w.token("alice", "developer")}
	d := w.serve()
	env = append(env, "ASSAY_SERVER="+d.url)
	check := func() (string, string) {
		return w.must(0, env, "verify", "app", "--evidence", "tests.json", "--evidence", "clean.json", "-o", "json")
	}
	before, _ := check()
	path := filepath.Join(w.root, "policies", "ship.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload(strings.Replace(string(good), "minTests", "minTest", 1))
	if line := d.logged("policy refused"); !strings.Contains(line, "ship.yaml:12:7") {
		t.Errorf("the log does not name the place: %s", line)
	}
	after, _ := check()
	var a, b struct{ Policy struct{ Digest string } }
	field(t, before, &a)
	field(t, after, &b)
	if a != b {
		t.Errorf("policy %s became %s", a.Policy.Digest, b.Policy.Digest)
	}
	reload(strings.Replace(string(good), "minTests: 2", "minTests: 3", 1))
	d.logged("policy loaded")
	w.must(exitAbsent, env, "verify", "app", "--evidence", "tests.json", "--evidence", "clean.json") // too few tests now
	if code := d.stop(); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
}

func TestServeSaysThatItsPortIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	taken := newWorld(t).serve()
	addr := strings.TrimPrefix(taken.url, "http://")
	_, stderr := w.must(exitError, nil, "serve", "--dir", "state", "--listen", addr)
	if want := "assay: the address " + addr + " is in use (stop who uses it or choose another with --listen)\n"; !strings.HasSuffix(stderr, want) {
		t.Errorf("got %q, want %q", stderr, want)
	}
	// Nothing stays behind: the directory can be used at once.
	w.must(0, nil, "token", "list", "--dir", "state")
	if _, stderr := w.must(exitError, nil, "serve", "--dir", "state", "--listen", "127.0.0.1:x"); !strings.Contains(stderr, "unknown port") {
		t.Errorf("a bad address: %q", stderr)
	}
	if _, stderr := w.must(exitError, nil, "serve", "--dir", "state", "--policy", "nowhere"); !strings.Contains(stderr, "nowhere") {
		t.Errorf("a missing policy: %q", stderr)
	}
}
