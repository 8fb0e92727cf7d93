package keyfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"golang.org/x/mod/sumdb/note"
)

var _ attest.Signer = (*keyfile.Signer)(nil)

var pass = []byte("correct horse")

func create(t *testing.T, o keyfile.CreateOptions) (string, keyfile.Created) {
	t.Helper()
	dir := t.TempDir()
	c, err := keyfile.Create(dir, "release", o)
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestCreatedKeySignsAndItsPublicFileVerifies(t *testing.T) {
	for a, origin := range map[keyfile.Algorithm]string{keyfile.ECDSAP256: "", keyfile.Ed25519: "example.com/ledger"} {
		t.Run(string(a), func(t *testing.T) {
			_, c := create(t, keyfile.CreateOptions{Algorithm: a, Passphrase: pass, LedgerOrigin: origin})
			s, err := keyfile.Load(c.KeyFile, pass)
			if err != nil {
				t.Fatal(err)
			}
			p, err := keyfile.LoadPublic(c.PublicFile)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Keys) != 1 || p.Keys[0].KeyID() != s.KeyID() || p.Ledger != c.Public.Ledger {
				t.Errorf("public file = %+v; want key %s and verifier %s", p, s.KeyID(), c.Public.Ledger)
			}
			message := []byte("a message")
			sig, err := s.Sign(t.Context(), message)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Keys[0].Verify(message, sig); err != nil {
				t.Error(err)
			}
			if origin == "" {
				if c.LedgerFile != "" || p.Ledger != "" {
					t.Error("a ledger key was made that nobody asked for")
				}
				return
			}
			skey, err := keyfile.LoadLedger(c.LedgerFile, pass)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := note.NewSigner(skey)
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := note.NewVerifier(p.Ledger)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := note.Sign(&note.Note{Text: "head\n"}, signer)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
				t.Errorf("the ledger's verifier refuses its signature: %v", err)
			}
		})
	}
}

func TestKeyFilesHaveTheFormatOfCosign(t *testing.T) {
	_, c := create(t, keyfile.CreateOptions{Passphrase: pass})
	data, err := os.ReadFile(c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data) // what cosign's LoadPrivateKey does
	if block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" {
		t.Fatalf("block = %+v; want the type that cosign reads", block)
	}
	der, err := encrypted.Decrypt(block.Bytes, pass)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := x509.ParsePKCS8PrivateKey(der); err != nil {
		t.Fatal(err)
	} else if _, ok := k.(*ecdsa.PrivateKey); !ok {
		t.Errorf("the default key is a %T; want ECDSA", k)
	}
	public, err := os.ReadFile(c.PublicFile)
	if err != nil {
		t.Fatal(err)
	}
	// How cosign reads a public key; the ledger verifier behind it must not be in the way.
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.com/ledger")
	if err != nil {
		t.Fatal(err)
	}
	withLedger, err := keyfile.MarshalPublic(keyfile.Public{Keys: c.Public.Keys, Ledger: vkey})
	if err != nil || bytes.Contains(withLedger, []byte(skey)) {
		t.Fatal(err)
	}
	for _, file := range [][]byte{public, withLedger} {
		pub, err := cryptoutils.UnmarshalPEMToPublicKey(file)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := attest.NewKey(pub); err != nil || k.KeyID() != c.Public.Keys[0].KeyID() {
			t.Errorf("cosign reads key %s, %v; want %s", k.KeyID(), err, c.Public.Keys[0].KeyID())
		}
	}
}

func TestKeyOfOlderCosignIsRead(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.EncryptWithCustomKDFParameters(der, pass, encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	s, err := keyfile.ParsePrivate(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED COSIGN PRIVATE KEY", Bytes: sealed}), pass)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := attest.NewKey(k.Public()); s.KeyID() != want.KeyID() {
		t.Errorf("key id = %s; want %s", s.KeyID(), want.KeyID())
	}
}

func TestCreateNeverOverwritesAndLeavesNothingHalfDone(t *testing.T) {
	for taken, origin := range map[string]string{"release.key": "", "release.pub": "example.com/ledger"} {
		t.Run(taken, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, taken)
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := keyfile.Create(dir, "release", keyfile.CreateOptions{Passphrase: pass, LedgerOrigin: origin})
			if assay.CodeOf(err) != assay.CodeConflict || !strings.Contains(err.Error(), path) {
				t.Errorf("Create = %v; want a conflict that names %s", err, path)
			}
			if got, _ := os.ReadFile(path); string(got) != "precious" {
				t.Errorf("%s = %q; want it untouched", taken, got)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("files left behind: %v", left)
			}
		})
	}
}

func TestCreateSetsModesAndReadersInsistOnThem(t *testing.T) {
	_, c := create(t, keyfile.CreateOptions{Passphrase: pass, LedgerOrigin: "example.com/ledger"})
	for path, mode := range map[string]os.FileMode{c.KeyFile: 0o600, c.LedgerFile: 0o600, c.PublicFile: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644} {
		if err := os.Chmod(c.KeyFile, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyfile.Load(c.KeyFile, pass)
		if assay.CodeOf(err) != assay.CodeDenied || !strings.Contains(err.Error(), "chmod 600 "+c.KeyFile) {
			t.Errorf("mode %v: %v; want denied with the command that mends it", mode, err)
		}
	}
	if err := os.Chmod(c.LedgerFile, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keyfile.LoadLedger(c.LedgerFile, pass); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("ledger key with mode 0640: %v; want denied", err)
	}
}

func TestCreateIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, key string
		o         keyfile.CreateOptions
		want      string
	}{
		{"an empty passphrase", "k", keyfile.CreateOptions{}, "passphrase is empty"},
		{"a name with a path", "../k", keyfile.CreateOptions{Passphrase: pass}, "key name"},
		{"an unknown algorithm", "k", keyfile.CreateOptions{Passphrase: pass, Algorithm: "ed25591"}, `did you mean "ed25519"?`},
		{"an origin that cannot be a name", "k", keyfile.CreateOptions{Passphrase: pass, LedgerOrigin: "a b"}, "ledger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := keyfile.Create(dir, c.key, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("files left behind: %v", left)
			}
		})
	}
	_, made := create(t, keyfile.CreateOptions{AllowEmpty: true})
	if _, err := keyfile.Load(made.KeyFile, nil); err != nil {
		t.Errorf("a key with an explicitly empty passphrase: %v", err)
	}
}

func TestWrongPassphraseAndDamagedFilesAreToldApart(t *testing.T) {
	s, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	good, err := keyfile.MarshalPrivate(s, pass)
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyfile.MarshalPublic(keyfile.Public{Keys: []attest.Key{s.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	reseal := func(old, new string) []byte {
		b, _ := pem.Decode(good)
		return pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: bytes.Replace(b.Bytes, []byte(old), []byte(new), 1)})
	}
	notKey, err := encrypted.Encrypt([]byte("attack at dawn"), pass)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		data, pass []byte
		code       assay.Code
		want       string
	}{
		{"wrong passphrase", good, []byte("guess"), assay.CodeDenied, "wrong passphrase"},
		{"costly scrypt", reseal("65536", "1073741824"), pass, assay.CodeInvalid, "scrypt with N=1073741824"},
		{"another cipher", reseal("secretbox", "sekretbox"), pass, assay.CodeInvalid, "nacl/secretbox"},
		{"damaged header", reseal(`"kdf"`, `"kdg"`), pass, assay.CodeInvalid, "damaged header"},
		{"cut off", good[:len(good)-40], pass, assay.CodeInvalid, "cut off"},
		{"text around it", append([]byte("key:\n"), good...), pass, assay.CodeInvalid, "outside of PEM"},
		{"two blocks", append(bytes.Clone(good), good...), pass, assay.CodeInvalid, "exactly one block"},
		{"the public file", public, pass, assay.CodeInvalid, "give the .key file"},
		{"a secret that is no key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: notKey}), pass, assay.CodeInvalid, "PKCS #8"},
		{"too large", bytes.Repeat([]byte(" "), keyfile.MaxFile+1), pass, assay.CodeTooLarge, "at most"},
		{"empty", nil, pass, assay.CodeInvalid, "no PEM block"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := keyfile.ParsePrivate(c.data, c.pass)
			if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v (%s); want %s with %q", err, assay.CodeOf(err), c.code, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "dawn") || strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), string(pass))) {
				t.Errorf("error tells a secret: %v", err)
			}
		})
	}
	if _, err := keyfile.ParsePublic(good); err == nil || !strings.Contains(err.Error(), "private key where a public one") {
		t.Errorf("a private key as public file: %v", err)
	}
}

func TestPrintingASignerShowsOnlyItsPublicKey(t *testing.T) {
	s, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, s); got != "key "+s.KeyID() {
			t.Errorf("%s prints %q", format, got)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	s, err := keyfile.Generate(keyfile.ECDSAP256)
	if err != nil {
		f.Fatal(err)
	}
	_, vkey, err := note.GenerateKey(rand.Reader, "example.com/ledger")
	if err != nil {
		f.Fatal(err)
	}
	data, err := keyfile.MarshalPublic(keyfile.Public{Keys: []attest.Key{s.Key()}, Ledger: vkey})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nA: b\n\nAAAA\n-----END PUBLIC KEY-----\n-----BEGIN X-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := keyfile.ParsePublic(data)
		if err != nil {
			return
		}
		again, err := keyfile.MarshalPublic(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := keyfile.ParsePublic(again)
		if err != nil || len(q.Keys) != len(p.Keys) || q.Ledger != p.Ledger {
			t.Fatalf("a public file does not survive writing: %v", err)
		}
	})
}

// The fuzzer mutates the file; the cost of scrypt keeps it slow, so its seeds
// are those whose damage is found before the key derivation.
func FuzzParsePrivate(f *testing.F) {
	for _, body := range []string{
		`{"kdf":{"name":"scrypt","params":{"N":1,"r":8,"p":1},"salt":"AA=="},"cipher":{"name":"nacl/secretbox","nonce":"AA=="},"ciphertext":"AA=="}`,
		`{}`, `[`,
	} {
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte(body)}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := keyfile.ParsePrivate(data, pass); err == nil {
			t.Fatal("the fuzzer found a passphrase")
		}
	})
}

func FuzzParseLedger(f *testing.F) {
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED ASSAY LEDGER KEY", Bytes: []byte(`{"kdf":{}}`)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := keyfile.ParseLedger(data, pass); err == nil {
			t.Fatal("the fuzzer found a passphrase")
		}
	})
}

// LoadPublic's parsing is ParsePublic's; this target covers the way through a file.
func FuzzLoadPublic(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	path := filepath.Join(f.TempDir(), "k.pub")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, fromFile := keyfile.LoadPublic(path)
		_, direct := keyfile.ParsePublic(data)
		if (fromFile == nil) != (direct == nil) {
			t.Fatalf("from the file: %v; directly: %v", fromFile, direct)
		}
	})
}
