package process_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/process"
	"assay.dev/assay/internal/testenv"
	sigbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	sigroot "github.com/sigstore/sigstore-go/pkg/root"
	sigverify "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

var now = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// attestation signs a passing verdict about the artifact "binary".
func attestation(t *testing.T, s attest.Signer) []byte {
	t.Helper()
	st, err := attest.VSA(assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: now,
		Subject: assay.Subject{Name: "app", Digest: digest("binary"), URI: "pkg:generic/app"},
		Policy:  assay.PolicyRef{URI: "file:policies", Digest: digest("policy")},
	}, attest.VSAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Sign(t.Context(), s, st)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// accepted requires that our verifier and Sigstore's accept a bundle by key.
func accepted(t *testing.T, bundle []byte, s attest.Signer) {
	t.Helper()
	key, err := attest.NewKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: key, VerifierIDs: []string{assay.DefaultVerifierID}}}}
	if r := attest.Verify(bundle, trust, attest.Expect{Subject: string(digest("binary")), ResourceURI: "pkg:generic/app"}, now); !r.OK() {
		t.Errorf("our verifier: %v", r.Err())
	}
	var b sigbundle.Bundle
	if err := b.UnmarshalJSON(bundle); err != nil {
		t.Fatal(err)
	}
	material := sigroot.NewTrustedPublicKeyMaterial(func(string) (sigroot.TimeConstrainedVerifier, error) {
		v, err := signature.LoadDefaultVerifier(s.Public())
		return sigroot.NewExpiringKey(v, time.Time{}, time.Time{}), err
	})
	v, err := sigverify.NewVerifier(material, sigverify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("binary"))
	if _, err := v.Verify(&b, sigverify.NewPolicy(sigverify.WithArtifactDigest("sha256", sum[:]), sigverify.WithKey())); err != nil {
		t.Errorf("sigstore-go: %v", err)
	}
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestAKeyInATokenSignsAnAttestationThatSigstoreAccepts(t *testing.T) {
	token := testenv.SoftHSM(t)
	program := testenv.SignerProgram(t, "pkcs11")
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	token.Import(t, "release", "a1", pkcs8(t, good))
	token.Import(t, "rsa", "a2", pkcs8(t, weak))
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte(token.PIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	uri := "pkcs11:token=" + token.Label + ";object=release?module-path=" + token.Module + "&pin-source=" + pin
	open := func(uri string, env ...string) (*process.Signer, error) {
		s, err := process.Start(t.Context(), process.Options{Program: program, Key: uri, Env: append(append(os.Environ(), token.Env...), env...)})
		if err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		return s, err
	}
	s, err := open(uri)
	if err != nil {
		t.Fatal(err)
	}
	if !good.PublicKey.Equal(s.Public()) {
		t.Error("the signer names another key than the token holds")
	}
	accepted(t, attestation(t, s), s)

	begin := time.Now()
	const rounds = 200
	for range rounds {
		if _, err := s.Sign(t.Context(), []byte("message")); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("one signature through the process and SoftHSM: %s", time.Since(begin)/rounds)

	byEnv := "pkcs11:token=assay;object=release?module-path=" + token.Module
	if _, err := open(byEnv, "ASSAY_SIGNER_PIN="+token.PIN); err != nil {
		t.Errorf("PIN from the environment: %v", err)
	}
	for name, c := range map[string]struct{ uri, env, why string }{
		"no PIN":         {byEnv, "", "no PIN: set ASSAY_SIGNER_PIN"},
		"wrong PIN":      {byEnv, "ASSAY_SIGNER_PIN=0000", "CKR_PIN_INCORRECT"},
		"PIN in the URI": {byEnv + "&pin-value=1234", "", "which others can read"},
		"no such key":    {strings.Replace(uri, "release", "relaese", 1), "", "has no key pair"},
		"no such token":  {strings.Replace(uri, "token=assay", "token=other", 1), "", "token"},
		"RSA":            {strings.Replace(uri, "release", "rsa", 1), "", "expected ECDSA P-256 or Ed25519"},
		"no such module": {strings.Replace(uri, token.Module, "/nowhere.so", 1), "", "/nowhere.so"},
		"no URI":         {"release", "", "not a PKCS#11 URI"},
	} {
		if _, err := open(c.uri, c.env); err == nil || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), token.PIN) {
			t.Errorf("%s: %v; want %q", name, err, c.why)
		}
	}
}

// transit is Vault's transit engine as its API documentation shows it: what the
// recorded requests were answered with. It is no Vault.
type transit struct {
	t       *testing.T
	mu      sync.Mutex
	key     ed25519.PrivateKey // or
	ecdsa   *ecdsa.PrivateKey
	wrong   bool // signs something else
	request []string
}

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.request = append(v.request, r.Method+" "+r.URL.Path)
	answer := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintln(w, body)
	}
	switch {
	case r.Header.Get("X-Vault-Token") != "s.token":
		answer(403, `{"errors":["permission denied"]}`)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/transit/keys/release":
		kind, public := "ecdsa-p256", ""
		if v.key != nil {
			kind, public = "ed25519", base64.StdEncoding.EncodeToString(v.key.Public().(ed25519.PublicKey))
		} else {
			der, err := x509.MarshalPKIXPublicKey(v.ecdsa.Public())
			if err != nil {
				v.t.Error(err)
			}
			public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		quoted, _ := json.Marshal(public)
		name := map[bool]string{true: "ed25519", false: "P-256"}[v.key != nil]
		answer(200, fmt.Sprintf(`{"request_id":"1","lease_id":"","renewable":false,"lease_duration":0,"data":{"name":"release","type":%q,"latest_version":1,"min_decryption_version":1,"keys":{"1":{"name":%q,"creation_time":"2026-11-01T00:00:00Z","public_key":%s}}},"wrap_info":null,"warnings":null,"auth":null}`, kind, name, quoted))
	case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v1/transit/sign/release"):
		var q struct {
			Input     []byte `json:"input"`
			Prehashed bool   `json:"prehashed"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			v.t.Error(err)
		}
		if v.wrong {
			q.Input = bytes.Repeat([]byte{1}, len(q.Input))
		}
		var sig []byte
		var err error
		switch {
		case v.key != nil && !q.Prehashed:
			sig = ed25519.Sign(v.key, q.Input)
		case v.key == nil && q.Prehashed && len(q.Input) == sha256.Size && strings.HasSuffix(r.URL.Path, "/sha2-256"):
			sig, err = ecdsa.SignASN1(rand.Reader, v.ecdsa, q.Input)
		default:
			err = errors.New("a request that Vault would not sign so")
		}
		if err != nil {
			v.t.Errorf("%s prehashed=%v, %d bytes: %v", r.URL.Path, q.Prehashed, len(q.Input), err)
		}
		answer(200, `{"request_id":"2","data":{"signature":"vault:v1:`+base64.StdEncoding.EncodeToString(sig)+`","key_version":1}}`)
	default:
		answer(404, `{"errors":[]}`)
	}
}

func TestAKeyManagementServiceSignsThroughSigstoresInterface(t *testing.T) {
	program := testenv.SignerProgram(t, "kms")
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*transit{"ecdsa-p256": {t: t, ecdsa: p256}, "ed25519": {t: t, key: seedKey(5)}} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(v)
			defer srv.Close()
			open := func(key, token string) (*process.Signer, error) {
				return process.Start(t.Context(), process.Options{
					Program: program, Key: key,
					Env: append(os.Environ(), "VAULT_ADDR="+srv.URL, "VAULT_TOKEN="+token, "VAULT_MAX_RETRIES=0"),
				})
			}
			s, err := open("hashivault://release", "s.token")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			accepted(t, attestation(t, s), s)
			if got := strings.Join(v.request, ", "); !strings.HasPrefix(got, "GET /v1/transit/keys/release, ") || !strings.Contains(got, "PUT /v1/transit/sign/release") {
				t.Errorf("requests %s", got)
			}
			v.mu.Lock()
			v.wrong = true
			v.mu.Unlock()
			if _, err := s.Sign(t.Context(), []byte("m")); assay.CodeOf(err) != assay.CodeUnverified {
				t.Errorf("a service that signs something else: %v", err)
			}
			for name, c := range map[string]struct{ key, token, why string }{
				"wrong token":     {"hashivault://release", "other", "permission denied"},
				"no such key":     {"hashivault://relaese", "s.token", "says:"},
				"unknown service": {"ourkms://release", "s.token", "no service that is built in"},
			} {
				if _, err := open(c.key, c.token); err == nil || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "s.token") {
					t.Errorf("%s: %v; want %q", name, err, c.why)
				}
			}
		})
	}
}
