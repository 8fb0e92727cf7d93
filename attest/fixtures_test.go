package attest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

// now is the instant that every test is about.
var now = time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)

// memSigner is a key held in memory; it implements attest.Signer.
type memSigner struct {
	signer crypto.Signer
	key    attest.Key
}

func newSigner(t testing.TB, algorithm string) memSigner {
	t.Helper()
	var s crypto.Signer
	var err error
	switch algorithm {
	case "ecdsa":
		s, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, s, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.NewKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return memSigner{s, k}
}

func (s memSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	if _, ok := s.signer.(ed25519.PrivateKey); ok {
		return s.signer.Sign(nil, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return s.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}
func (s memSigner) KeyID() string            { return s.key.KeyID() }
func (s memSigner) Public() crypto.PublicKey { return s.key.Public() }

func digest(of string) assay.Digest { return assay.DigestOf(sha256.Sum256([]byte(of))) }

// verdict is a realistic verdict with the given outcome and mode.
func verdict(outcome assay.Outcome, mode assay.Mode) assay.Verdict {
	v := assay.Verdict{
		Gate: "release", Mode: mode, Environment: "prod", Outcome: outcome, Time: now,
		Subject: assay.Subject{Name: "assay", Digest: digest("binary"), URI: "pkg:generic/assay", Commit: "4f2c9d1"},
		Policy:  assay.PolicyRef{URI: "file:policies", Digest: digest("policy")},
		Levels:  []string{"ASSAY_RELEASE", "SLSA_BUILD_LEVEL_2"},
		Requirements: []assay.Requirement{
			{Name: "unit-tests", Kind: assay.KindTests, State: assay.Satisfied, Reason: "412 tests passed", Evidence: []assay.Digest{digest("tests")}},
		},
		Evidence: []assay.EvidenceRef{
			{Kind: assay.KindTests, Format: "go-test-json", Source: "out/unit tests.json", Digest: digest("tests"), Origin: assay.OriginLive, Summary: "412 passed"},
			{Kind: assay.KindVulnerabilities, Format: "osv", Source: "vulns.json", Digest: digest("vulns"), Origin: assay.OriginRecorded, Summary: "1 high"},
		},
		Violations: []assay.Violation{{
			Rule: "release/no-high-vulnerabilities", Severity: assay.SeverityHigh, Mode: assay.ModeEnforce,
			Message: "GO-2026-1 in example.com/x", Remedy: "upgrade to v1.2.3", Kind: assay.KindVulnerabilities,
			Package: assay.Component{Name: "example.com/x", Version: "v1.2.2"}, Fingerprint: "f00",
		}},
	}
	switch outcome {
	case assay.OutcomePass:
		v.Violations[0].Exception = "0198b0aa-0000-7000-8000-000000000001"
		v.Exceptions = []assay.ExceptionUse{{
			ID: v.Violations[0].Exception, Digest: digest("exception"), Rules: []string{v.Violations[0].Rule},
			Requester: "dana", Approver: "kim", ValidUntil: now.AddDate(0, 0, 30),
		}}
	case assay.OutcomeAbsent:
		v.Requirements = append(v.Requirements, assay.Requirement{
			Name: "sbom", Kind: assay.KindSBOM, State: assay.Missing, Reason: "no SBOM was presented",
		})
	}
	return v
}

func statement(t testing.TB, v assay.Verdict) []byte {
	t.Helper()
	s, err := attest.VSA(v, attest.VSAOptions{VerifierVersion: map[string]string{"assay": "v0.1.0"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t testing.TB, s attest.Signer, statement []byte) []byte {
	t.Helper()
	b, err := attest.Sign(t.Context(), s, statement)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trust(keys ...attest.Key) attest.TrustPolicy {
	var p attest.TrustPolicy
	for _, k := range keys {
		p.Keys = append(p.Keys, attest.TrustedKey{Key: k, VerifierIDs: []string{assay.DefaultVerifierID}})
	}
	return p
}

func expect() attest.Expect {
	return attest.Expect{Subject: string(digest("binary")), ResourceURI: "pkg:generic/assay", Levels: []string{"ASSAY_RELEASE"}}
}

// wantStop demands that exactly the step with this name failed, with these
// words, that all before it hold and that none behind it was reached.
func wantStop(t *testing.T, r attest.Report, name, words string) {
	t.Helper()
	stopped := false
	for _, s := range r.Steps {
		switch {
		case stopped && (s.Reached || s.OK || s.Detail != "not reached"):
			t.Errorf("step %d (%s) behind the failed one: %+v; want not reached", s.N, s.Name, s)
		case s.Name == name:
			stopped = true
			if s.OK || !s.Reached || !strings.Contains(s.Detail, words) {
				t.Errorf("step %d (%s) = %+v; want a failure with %q", s.N, s.Name, s, words)
			}
		case !stopped && !s.OK:
			t.Errorf("step %d (%s) failed: %s; want only %q to fail", s.N, s.Name, s.Detail, name)
		}
	}
	if !stopped {
		t.Errorf("no step %q in %+v", name, r.Steps)
	}
	if code := assay.CodeOf(r.Err()); code != assay.CodeUnverified {
		t.Errorf("Err code = %q; want unverified", code)
	}
}

func wantOK(t *testing.T, r attest.Report) {
	t.Helper()
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Steps) < 9 {
		t.Fatalf("report is not complete: %+v", r)
	}
}
