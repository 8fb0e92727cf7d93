package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/testenv"
)

func TestAnInstallationMovesItsKeyIntoAToken(t *testing.T) {
	token, program := testenv.SoftHSM(t), testenv.SignerProgram(t, "pkcs11")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	token.Import(t, "release", "a1", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	w := newWorld(t)
	pin := filepath.Join(w.root, "pin")
	if err := os.WriteFile(pin, []byte(token.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	uri := "pkcs11:token=" + token.Label + ";object=release?module-path=" + token.Module + "&pin-source=" + pin
	env := append([]string{"ASSAY_SIGNER=" + program, "ASSAY_DIR=state"}, token.Env...)
	moved := append([]string{"ASSAY_KEY=" + uri}, env...)
	attest := []string{"attest", "app", "--evidence", "tests.json", "--evidence", "clean.json", "--bundle", "hsm.json", "--proof", "hsm.proof.json"}
	out, _ := w.must(exitOK, env, "key", "rotate", "--overlap", "0s", "--to", uri)
	if !strings.Contains(out, "put key:") {
		t.Errorf("nobody is told to configure the key: %s", out)
	}
	w.must(exitOK, moved, attest...)
	for _, form := range [][]string{{"--bundle", "hsm.json"}, {"--proof", "hsm.proof.json"}} {
		w.must(exitOK, nil, append([]string{"attestation", "verify", "app", "--pub", "state/keys/assay.trust.yaml", "--resource", "pkg:generic/app"}, form...)...)
	}
	// The old key has ended, and the successor of one in a token has to be named.
	if _, said := w.must(exitError, moved, "key", "rotate"); !strings.Contains(said, "--to") {
		t.Errorf("rotated a key in a token into a file: %s", said)
	}
	if _, said := w.must(exitError, append([]string{"ASSAY_KEY=" + strings.Replace(uri, "release", "other", 1)}, env...), attest...); !strings.Contains(said, "has no key pair") {
		t.Errorf("a key that is not there: %s", said)
	}
}
