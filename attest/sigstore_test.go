package attest_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// sigstoreVerify checks a bundle with Sigstore's own verifier and one trusted key.
func sigstoreVerify(t *testing.T, data []byte, key attest.Key, subject assay.Digest) (*verify.VerificationResult, error) {
	t.Helper()
	v, err := signature.LoadVerifier(key.Public(), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	trusted := root.NewTrustedPublicKeyMaterialFromMapping(map[string]*root.ExpiringKey{
		key.KeyID(): root.NewExpiringKey(v, time.Time{}, time.Time{}),
	})
	sev, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	if id, err := dsse.SHA256KeyID(key.Public()); err != nil || id != key.KeyID() {
		t.Errorf("the reference library calls the key %q, %v; we call it %q", id, err, key.KeyID())
	}
	raw, err := hex.DecodeString(subject.Hex())
	if err != nil {
		t.Fatal(err)
	}
	return sev.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithKey()))
}

func TestSigstoreVerifiesOurBundles(t *testing.T) {
	for _, algorithm := range []string{"ecdsa", "ed25519"} {
		for _, outcome := range []assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent} {
			t.Run(algorithm+"/"+string(outcome), func(t *testing.T) {
				s, stranger := newSigner(t, algorithm), newSigner(t, algorithm)
				data := signed(t, s, statement(t, verdict(outcome, assay.ModeEnforce)))
				res, err := sigstoreVerify(t, data, s.key, digest("binary"))
				if err != nil {
					t.Fatalf("sigstore-go refuses our bundle: %v", err)
				}
				if res.Statement.GetPredicateType() != assay.VSAPredicateType {
					t.Errorf("predicate type = %q", res.Statement.GetPredicateType())
				}
				want := attest.ResultFailed
				if outcome == assay.OutcomePass {
					want = attest.ResultPassed
				}
				if got := res.Statement.GetPredicate().GetFields()["verificationResult"].GetStringValue(); got != want {
					t.Errorf("verificationResult = %q; want %q", got, want)
				}
				if _, err := sigstoreVerify(t, data, s.key, digest("other")); err == nil {
					t.Error("sigstore-go accepts the bundle for another artifact")
				}
				if _, err := sigstoreVerify(t, data, stranger.key, digest("binary")); err == nil {
					t.Error("sigstore-go accepts the bundle with another key")
				}
				at := bytes.Index(data, []byte(`"payload":"`)) + 400
				bad := bytes.Clone(data)
				bad[at] = 'A' + (bad[at]-'A'+1)%26
				if _, err := sigstoreVerify(t, bad, s.key, digest("binary")); err == nil {
					t.Error("sigstore-go accepts a tampered bundle")
				}
				if attest.Verify(bad, trust(s.key), expect(), now).Steps[0].OK {
					t.Error("we accept a tampered bundle")
				}
			})
		}
	}
}
