package process_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/process"
)

// TestMain runs the tests, or, where FAKE_SIGNER says how, a signer program that misbehaves.
func TestMain(m *testing.M) {
	if how := os.Getenv("FAKE_SIGNER"); how != "" {
		os.Exit(fake(how))
	}
	os.Exit(m.Run())
}

// seedKey is the fake's key: the same in every run, so that a restart finds it again.
func seedKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// fake is a signer program; how says what it does wrong, and "well" nothing.
func fake(how string) int {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	key := seedKey(1)
	if how == "other key after restart" && restarted() {
		key = seedKey(2)
	}
	for in.Scan() {
		var q struct {
			ID      uint64
			Op, Key string
			Message []byte
		}
		if json.Unmarshal(in.Bytes(), &q) != nil {
			return 3
		}
		if q.Op == "describe" {
			der, _ := x509.MarshalPKIXPublicKey(key.Public())
			switch {
			case how == "exits at once":
				fmt.Fprintln(os.Stderr, "libvendor.so: no such token")
				return 1
			case how == "refuses the key":
				fmt.Printf(`{"id":%d,"error":"no key %s"}`+"\n", q.ID, "release")
				continue
			case how == "weak key":
				p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
				der, _ = x509.MarshalPKIXPublicKey(p384.Public())
			case how == "no key at all":
				der = nil
			case how == "hangs at once":
				_, _ = io.Copy(io.Discard, os.Stdin)
				return 0
			}
			fmt.Printf(`{"id":%d,"public_key":%q}`+"\n", q.ID, base64.StdEncoding.EncodeToString(der))
			continue
		}
		sig := ed25519.Sign(key, q.Message)
		switch how {
		case "wrong signature":
			sig[0] ^= 1
		case "wrong key":
			sig = ed25519.Sign(seedKey(9), q.Message)
		case "hangs":
			_, _ = io.Copy(io.Discard, os.Stdin)
			return 0
		case "hangs and ignores the end of its input":
			for {
				_ = syscall.Pause()
			}
		case "exits", "other key after restart":
			return 0
		case "exits once":
			if !restarted() {
				return 0
			}
		case "oversized line":
			fmt.Println(strings.Repeat("x", process.MaxAnswer+10))
			continue
		case "nonsense":
			fmt.Println(`{"id":`)
			continue
		case "unknown field":
			fmt.Printf(`{"id":%d,"signatures":"x"}`+"\n", q.ID)
			continue
		case "wrong id":
			q.ID += 7
		case "no signature":
			sig = nil
		case "busy":
			fmt.Printf(`{"id":%d,"error":"session limit","retry":true}`+"\n", q.ID)
			continue
		}
		fmt.Printf(`{"id":%d,"signature":%q}`+"\n", q.ID, base64.StdEncoding.EncodeToString(sig))
	}
	return 0
}

// restarted reports whether this program ran before in its folder, and remembers that it did.
func restarted() bool {
	mark := filepath.Join(os.Getenv("FAKE_DIR"), "mark")
	_, err := os.Stat(mark)
	_ = os.WriteFile(mark, nil, 0o600)
	return err == nil
}

func start(t *testing.T, how string, timeout time.Duration) (*process.Signer, error) {
	t.Helper()
	s, err := process.Start(t.Context(), process.Options{
		Program: os.Args[0], Key: "release", Timeout: timeout,
		Env: append(os.Environ(), "FAKE_SIGNER="+how, "FAKE_DIR="+t.TempDir()),
	})
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

// long is more than any of these exchanges takes; a test that meets it has failed anyway.
const long = time.Minute

func TestASignerProgramSignsWhatVerifies(t *testing.T) {
	s, err := start(t, "well", long)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.NewKey(s.Public())
	if err != nil || key.KeyID() != s.KeyID() {
		t.Fatalf("key %s, %v; want %s", key.KeyID(), err, s.KeyID())
	}
	var wg sync.WaitGroup
	for i := range 16 { // requests wait for each other
		wg.Go(func() {
			message := []byte(strings.Repeat("m", i*10000))
			sig, err := s.Sign(t.Context(), message)
			if err != nil || key.Verify(message, sig) != nil {
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Sign(context.Background(), nil); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestAProgramThatCannotNameAKeyIsNotStarted(t *testing.T) {
	for how, want := range map[string]string{
		"exits at once":   "libvendor.so: no such token",
		"refuses the key": "says: no key",
		"weak key":        "is ECDSA P-384",
		"no key at all":   "names no public key",
	} {
		if _, err := start(t, how, long); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v; want %q", how, err, want)
		}
	}
	if _, err := start(t, "hangs at once", 50*time.Millisecond); assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "in time") {
		t.Errorf("hangs: %v", err)
	}
	_, err := process.Start(t.Context(), process.Options{Program: "assay-no-such-signer", Key: "k"})
	if assay.CodeOf(err) != assay.CodeNotFound || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("no program: %v", err)
	}
}

func TestNoSignatureIsUsedThatTheKeyRefuses(t *testing.T) {
	for how, c := range map[string]struct {
		code assay.Code
		why  string
	}{
		"wrong signature":         {assay.CodeUnverified, "refuses; it is not used"},
		"wrong key":               {assay.CodeUnverified, "refuses; it is not used"},
		"other key after restart": {assay.CodeUnverified, "names key"},
		"exits":                   {assay.CodeUnavailable, "ended before it answered"},
		"oversized line":          {assay.CodeTooLarge, "more than 65536 bytes"},
		"nonsense":                {assay.CodeInvalid, "not understood"},
		"unknown field":           {assay.CodeInvalid, "signatures"},
		"wrong id":                {assay.CodeInvalid, "the request was"},
		"no signature":            {assay.CodeInternal, "without a signature"},
		"busy":                    {assay.CodeUnavailable, "session limit"},
	} {
		t.Run(how, func(t *testing.T) {
			s, err := start(t, how, long)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time with a program that was started again
				sig, err := s.Sign(t.Context(), []byte("message"))
				if sig != nil || assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.why) {
					t.Errorf("%x, %v; want %s %q", sig, err, c.code, c.why)
				}
			}
		})
	}
}

func TestAProgramThatHangsIsStopped(t *testing.T) {
	for _, how := range []string{"hangs", "hangs and ignores the end of its input"} {
		s, err := start(t, how, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Sign(ctx, []byte("m")); assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestAProgramThatEndedIsStartedAgain(t *testing.T) {
	s, err := start(t, "exits once", long)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), []byte("m")); err != nil {
		t.Errorf("the program was not started again: %v", err)
	}
}

func TestASignerProgramDoesNotGetOurSecrets(t *testing.T) {
	got := process.Environment([]string{"PATH=/bin", "ASSAY_PASSPHRASE=x", "ASSAY_TOKEN=x", "ASSAY_SIGNER_PIN=1", "ASSAY_PKCS11_MODULE=m", "VAULT_ADDR=a"})
	if want := []string{"PATH=/bin", "ASSAY_SIGNER_PIN=1", "ASSAY_PKCS11_MODULE=m", "VAULT_ADDR=a"}; !slices.Equal(got, want) {
		t.Errorf("environment %q; want %q", got, want)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"id":1,"public_key":"AA=="}`))
	f.Add([]byte(`{"id":1,"error":"x","retry":true}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _, _, err := process.ReadAnswer(line)
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%q", err)
		}
	})
}
