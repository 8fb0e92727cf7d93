package keyfile_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
)

// newRing is a ring over freshly created files.
func newRing(t *testing.T, algorithm keyfile.Algorithm) (*keyfile.Ring, string, keyfile.Created) {
	t.Helper()
	dir, c := create(t, keyfile.CreateOptions{Passphrase: pass, LedgerOrigin: "example.com/ledger"})
	return keyfile.NewRing(keyfile.RingOptions{
		KeyFile: c.KeyFile, PublicFile: c.PublicFile, TrustFile: filepath.Join(dir, "release.trust.yaml"), Algorithm: algorithm,
		Passphrase: func() ([]byte, error) { return pass, nil },
	}), dir, c
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}

func TestARingTurnsToANewKeyAndKeepsTheOldFile(t *testing.T) {
	for _, algorithm := range keyfile.Algorithms {
		r, dir, c := newRing(t, algorithm)
		old, err := keyfile.Load(c.KeyFile, pass)
		if err != nil {
			t.Fatal(err)
		}
		next, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Next(t.Context())
		if err != nil || again.KeyID() != next.KeyID() || next.KeyID() == old.KeyID() {
			t.Errorf("Next gave %s and then %s, %v; the old one is %s", next.KeyID(), again.KeyID(), err, old.KeyID())
		}
		if s, err := keyfile.Load(c.KeyFile, pass); err != nil || s.KeyID() != old.KeyID() {
			t.Errorf("before Turn %v, %v signs", s, err)
		}
		for range 2 { // the second time changes nothing
			if err := r.Turn(t.Context(), next.KeyID()); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := keyfile.Load(c.KeyFile, pass); err != nil || s.KeyID() != next.KeyID() {
			t.Errorf("after Turn %v, %v signs; want %s", s, err, next.KeyID())
		}
		retired := slices.IndexFunc(names(t, dir), func(n string) bool { return strings.HasPrefix(n, "release.retired-") })
		if retired < 0 {
			t.Fatalf("files %v; the old key is gone", names(t, dir))
		}
		if s, err := keyfile.Load(filepath.Join(dir, names(t, dir)[retired]), pass); err != nil || s.KeyID() != old.KeyID() {
			t.Errorf("put aside was %v, %v", s, err)
		}
		if slices.Contains(names(t, dir), "release.next.key") {
			t.Error("the new key lies under two names")
		}
	}
}

func TestARingRefusesToTurnToAKeyItDidNotMake(t *testing.T) {
	r, dir, c := newRing(t, "")
	before := names(t, dir)
	if err := r.Turn(t.Context(), "SHA256:nobody"); err == nil {
		t.Error("turned to nothing")
	}
	if _, err := r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Turn(t.Context(), "SHA256:nobody"); assay.CodeOf(err) != assay.CodeConflict {
		t.Errorf("turned to another key: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "release.next.key")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, before) {
		t.Errorf("files %v; want %v", got, before)
	}
	if _, err := keyfile.Load(c.KeyFile, pass); err != nil {
		t.Error(err)
	}
}

func TestPublishedFilesLeaveRevokedKeysOut(t *testing.T) {
	r, dir, c := newRing(t, "")
	next, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := attest.NewKey(next.Public())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	trust := attest.Trust{Name: "x", Ledger: c.Public.Ledger, Policy: attest.TrustPolicy{Keys: []attest.TrustedKey{
		{Key: c.Public.Keys[0], VerifierIDs: []string{"v"}},
		{Key: fresh, VerifierIDs: []string{"v"}, NotBefore: at},
	}}}
	publish := func() (keyfile.Public, attest.Trust) {
		t.Helper()
		if err := r.Publish(t.Context(), trust); err != nil {
			t.Fatal(err)
		}
		p, err := keyfile.LoadPublic(c.PublicFile)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "release.trust.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		read, err := attest.ParseTrust(data)
		if err != nil {
			t.Fatal(err)
		}
		return p, read
	}
	if p, _ := publish(); len(p.Keys) != 2 || p.Keys[0].KeyID() != fresh.KeyID() || p.Ledger != c.Public.Ledger {
		t.Errorf("public file %+v; want both keys, the newest first", p)
	}
	trust.Policy.Keys[0].Revoked = &attest.Revocation{CompromisedSince: at, Reason: "stolen"}
	p, read := publish()
	if len(p.Keys) != 1 || p.Keys[0].KeyID() != fresh.KeyID() || len(read.Policy.Keys) != 2 || read.Policy.Keys[0].Revoked == nil {
		t.Errorf("public file %+v, trust %+v; want the revoked key in the second only", p, read)
	}
	trust.Policy.Keys[1].Revoked = &attest.Revocation{CompromisedSince: at, Reason: "stolen too"}
	if p, _ := publish(); len(p.Keys) != 0 || p.Ledger != c.Public.Ledger {
		t.Errorf("public file %+v; want no key at all", p)
	}
}
