package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/archive"
)

// attestArgs attest the fixture's artifact.
var attestArgs = []string{"attest", "app", "--evidence", "tests.json", "--evidence", "clean.json", "-o", "json"}

func TestBackupOfABusyServerHoldsEverythingAcknowledgedBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	env := []string{w.token("alice", "developer")}
	d := w.serve()
	env = append(env, "ASSAY_SERVER="+d.url)
	attest := func() assay.FactID {
		out, _ := w.must(0, env, attestArgs...)
		var att api.Attested
		field(t, out, &att)
		return att.Fact
	}
	acknowledged := []assay.FactID{attest(), attest()}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					attest()
				}
			}
		})
	}
	w.must(0, nil, "backup", "--dir", "state", "--to", "keys.tar", "--with-keys")
	w.must(0, nil, "backup", "--dir", "state", "--to", "plain.tar")
	close(stop)
	load.Wait()
	later := attest()
	out, _ := w.must(0, env, "ledger", "head", "-o", "json")
	var head api.Head
	field(t, out, &head)
	if err := os.WriteFile(filepath.Join(w.root, "newest"), []byte(head.Checkpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := d.stop(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if _, stderr := w.must(exitError, nil, "backup", "--dir", "state", "--to", "plain.tar"); !strings.Contains(stderr, "exists already") {
		t.Errorf("a second backup over the first: %q", stderr)
	}

	out, _ = w.must(0, nil, "restore", "keys.tar", "--dir", "back", "--head", "newest", "-o", "json")
	var got restored
	field(t, out, &got)
	if !got.Audit.OK || !got.Signs || got.Epoch == nil || *got.Epoch != 1 {
		t.Errorf("restored %+v; want a clean audit and epoch 1", got)
	}
	for _, id := range acknowledged {
		w.must(0, nil, "ledger", "prove", string(id), "--dir", "back", "-f", string(id)+".json")
		w.must(0, nil, "ledger", "verify", string(id)+".json", "--pub", "assay.pub")
	}
	w.must(exitError, nil, "ledger", "prove", string(later), "--dir", "back")
	w.must(0, nil, "ledger", "audit", "--fsck", "--dir", "back")
	w.must(0, nil, append(attestArgs, "--dir", "back")...)

	// Without the keys the ledger is there to be read, and nothing is signed until somebody says how it goes on.
	out, _ = w.must(0, nil, "restore", "plain.tar", "--dir", "plain")
	if !strings.Contains(out, "private keys are missing") {
		t.Errorf("restore without keys said %q", out)
	}
	w.must(0, nil, "ledger", "audit", "--dir", "plain")
	if err := copyDir(filepath.Join(w.root, "state", "keys"), filepath.Join(w.root, "plain", "keys")); err != nil {
		t.Fatal(err)
	}
	if _, stderr := w.must(exitError, nil, append(attestArgs, "--dir", "plain")...); !strings.Contains(stderr, "came from a backup") {
		t.Errorf("signing in a restored directory: %q", stderr)
	}
	w.must(0, nil, "ledger", "restore", "--dir", "plain", "--head", "newest")
	w.must(0, nil, append(attestArgs, "--dir", "plain")...)
}

func TestBackupWithAFlippedByteIsRefusedAndTheFileNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(0, nil, "backup", "--dir", "state", "--to", "good.tar")
	good, err := os.ReadFile(filepath.Join(w.root, "good.tar"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.Verify(bytes.NewReader(good))
	if err != nil || len(m.Files) < 8 {
		t.Fatalf("%d files, %v", len(m.Files), err)
	}
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, ".key") || strings.Contains(f.Name, "wal") {
			t.Errorf("%s is in a backup without keys", f.Name)
		}
		at := bytes.Index(good, []byte(f.Name))
		if f.Name != "assay.db" && f.Name != "keys/assay.pub" && !strings.HasSuffix(f.Name, "checkpoint") || f.Size == 0 {
			continue
		}
		changed := bytes.Clone(good)
		changed[at-at%512+512+int(f.Size)/2] ^= 1
		if err := os.WriteFile(filepath.Join(w.root, "bad.tar"), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr := w.must(exitFailed, nil, "restore", "bad.tar", "--dir", "bad")
		if !strings.HasPrefix(stderr, "assay: "+f.Name+": is not what was backed up") {
			t.Errorf("%s: %q", f.Name, stderr)
		}
		if _, err := os.Stat(filepath.Join(w.root, "bad")); err == nil {
			t.Errorf("%s: something was restored", f.Name)
		}
	}
	if err := os.WriteFile(filepath.Join(w.root, "cut.tar"), good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(exitFailed, nil, "restore", "cut.tar", "--dir", "bad")
	if _, stderr := w.must(exitError, nil, "restore", "good.tar", "--dir", "state"); !strings.Contains(stderr, "is not empty") {
		t.Errorf("over an installation: %q", stderr)
	}
	out, _ := w.must(0, nil, "restore", "good.tar", "--dir", "same", "--same-epoch")
	if !strings.Contains(out, "store and ledger agree") {
		t.Errorf("restored: %q", out)
	}
	if err := copyDir(filepath.Join(w.root, "state", "keys"), filepath.Join(w.root, "same", "keys")); err != nil {
		t.Fatal(err)
	}
	w.must(0, nil, append(attestArgs, "--dir", "same")...)
}
