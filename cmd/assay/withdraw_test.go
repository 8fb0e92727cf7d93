package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestARevokedExceptionEndsTheEntryOfWhatRunsByIt(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the app") }))
	defer backend.Close()
	w := newWorld(t)
	w.env = append(w.env, proxyToken)
	alice, bob := w.token("alice", "developer"), w.token("bob", "approver")
	out, _ := w.must(0, []string{alice}, "exception", "request", "--dir", "state", "--rule", "ship/no-critical-vulnerabilities",
		"--reason", "not reachable from outside", "--until", "72h", "-o", "json")
	var asked struct{ ID string }
	field(t, out, &asked)
	w.must(0, []string{bob}, "exception", "approve", "--dir", "state", asked.ID)
	w.must(0, nil, "attest", "app", "--dir", "state", "--evidence", "tests.json", "--evidence", "vulnerable.json", "--bundle", "excused.json")
	excused, err := os.ReadFile(filepath.Join(w.root, "excused.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.root, "app.sigstore.json"), excused, 0o600); err != nil {
		t.Fatal(err)
	}
	w.routes(backend.URL, true)
	p := w.proxy()
	if status, body := get(t, p.data+"/"); status != http.StatusOK {
		t.Fatalf("while the exception lasts: %d %s", status, body)
	}
	d := w.serve("--proxy", p.control)
	w.must(0, []string{"ASSAY_SERVER=" + d.url, bob}, "exception", "revoke", asked.ID, "--reason", "it is reachable after all")
	if status, body := get(t, p.data+"/"); status != http.StatusForbidden || !strings.Contains(body, asked.ID+", which was revoked") {
		t.Errorf("when the command has returned: %d %s", status, body)
	}
	d.stop()
	// The proxy has it on its disk, and needs nobody.
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p = w.proxy()
	if status, body := get(t, p.data+"/"); status != http.StatusForbidden || !strings.Contains(body, "which was revoked") {
		t.Errorf("after a restart without a control plane: %d %s", status, body)
	}
}

func TestWhatWasRevokedWhileTheProxyWasAwayIsToldWhenItIsBack(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "the app") }))
	defer backend.Close()
	w := newWorld(t)
	w.env = append(w.env, proxyToken)
	bob := w.token("bob", "approver")
	out, _ := w.must(0, []string{bob}, "exception", "bypass", "--dir", "state", "--rule", "ship/no-critical-vulnerabilities",
		"--reason", "the shop is down, INC-42", "--until", "1h", "-o", "json")
	var by struct{ ID string }
	field(t, out, &by)
	w.must(0, nil, "attest", "app", "--dir", "state", "--evidence", "tests.json", "--evidence", "vulnerable.json", "--bundle", "app.sigstore.json")
	w.must(0, []string{bob}, "exception", "revoke", "--dir", "state", by.ID, "--reason", "it is over") // nobody hears it
	w.routes(backend.URL, true)
	p := w.proxy()
	w.serve("--proxy", p.control)
	deadline := time.Now().Add(20 * time.Second)
	for {
		status, body := get(t, p.data+"/")
		if status == http.StatusForbidden && strings.Contains(body, by.ID) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a server that has just begun tells the proxy nothing: %d %s", status, body)
		}
	}
}
