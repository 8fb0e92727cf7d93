package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// freeAddress is an address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// ledgerKey is the line of a public file that names the ledger.
func (w *world) ledgerKey(dir string) string {
	w.t.Helper()
	out, _ := w.must(0, nil, "key", "list", "--dir", dir, "-o", "json")
	var keys []struct{ Use, ID string }
	field(w.t, out, &keys)
	for _, k := range keys {
		if k.Use == "ledger" {
			return k.ID
		}
	}
	w.t.Fatalf("no ledger key in %s", out)
	return ""
}

func TestTwoInstallationsWitnessOneAnotherAndRefuseAFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(0, nil, "key", "create", "--dir", "other", "--origin", "other.example/ledger")
	if err := copyDir(filepath.Join(w.root, "state"), filepath.Join(w.root, "fork")); err != nil {
		t.Fatal(err)
	}
	a, b := freeAddress(t), freeAddress(t)
	one, _ := w.must(0, nil, "ledger", "witness", "--dir", "state", "--name", "witness.example/one")
	two, _ := w.must(0, nil, "ledger", "witness", "--dir", "other", "--name", "witness.example/two", "--algorithm", "ml-dsa-44")
	if again, _ := w.must(0, nil, "ledger", "witness", "--dir", "other"); again != two {
		t.Errorf("the witness key was %q and is %q", two, again)
	}
	w.write("logs", "log "+w.ledgerKey("state")+"\nlog "+w.ledgerKey("other")+"\nquorum none\n")
	w.write("by-two", fmt.Sprintf("log %s\nwitness two %s http://%s/witness\nquorum two\n", w.ledgerKey("state"), strings.TrimSpace(two), b))
	w.write("by-one", fmt.Sprintf("log %s\nwitness one %s http://%s/witness\nquorum one\n", w.ledgerKey("other"), strings.TrimSpace(one), a))
	alice := w.token("alice", "developer")
	forger := strings.TrimSpace(func() string {
		out, _ := w.must(0, nil, "token", "create", "mallory", "--role", "developer", "--dir", "fork")
		return "ASSAY_TOKEN=" + out
	}())

	first := w.serve("--listen", a, "--witnesses", "by-two", "--witness-logs", "logs")
	second := w.serve("--dir", "other", "--listen", b, "--witnesses", "by-one", "--witness-logs", "logs")
	env := []string{"ASSAY_SERVER=" + first.url, alice}
	out, _ := w.must(0, env, attestArgs...)
	var att api.Attested
	field(t, out, &att)

	// The proof's head carries the other's cosignature, and verifies without either server.
	w.must(0, env, "ledger", "prove", string(att.Fact), "-f", "cosigned.json")
	w.must(0, env, "ledger", "prove", string(att.Fact), "--format", "tlog-proof", "-f", "cosigned.tlog-proof")
	out, _ = w.must(0, env, "ledger", "head", "-o", "json")
	var head api.Head
	field(t, out, &head)
	if head.Witnessed == nil || len(head.Witnessed.Witnesses) != 1 || !head.Witnessed.Quorum || head.Witnessed.Size == 0 {
		t.Errorf("head %+v, want it witnessed by two", head.Witnessed)
	}
	if code := first.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}

	// A copy of the first installation goes another way under the same key.
	w.must(0, nil, "attest", "app", "--evidence", "tests.json", "--evidence", "clean.json", "--dir", "fork")
	fork := w.serve("--dir", "fork", "--witnesses", "by-two")
	for range 4 {
		w.must(0, []string{"ASSAY_SERVER=" + fork.url, forger}, attestArgs...)
	}
	refused := fork.logged("no cosignature")
	if !strings.Contains(refused, "witness") || !strings.Contains(refused, "422") && !strings.Contains(refused, "set back") {
		t.Errorf("the fork's log: %s", refused)
	}
	if line := second.logged("does not extend the one that was cosigned"); !strings.Contains(line, assay.DefaultOrigin) {
		t.Errorf("the witness's log does not name the ledger: %s", line)
	}
	second.stop()
	fork.stop()

	for _, file := range []string{"cosigned.json", "cosigned.tlog-proof"} {
		out, _ = w.must(0, nil, "ledger", "verify", file, "--pub", "assay.pub", "--witnesses", "by-two")
		if !strings.Contains(out, "quorum of witnesses is met") || !strings.Contains(out, "witness two saw the head") {
			t.Errorf("%s: %q", file, out)
		}
		_, stderr := w.must(exitFailed, nil, "ledger", "verify", file, "--pub", "assay.pub", "--witnesses", "by-one")
		if !strings.Contains(stderr, "no quorum") {
			t.Errorf("%s with a policy of others: %q", file, stderr)
		}
	}
	w.must(0, nil, "ledger", "audit", "--fsck", "--dir", "state", "--witnesses", "by-two")
	w.must(exitFailed, nil, "ledger", "audit", "--dir", "state", "--witnesses", "by-one")
}
