package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

func TestVerifyWalksTheSevenStepsAndMore(t *testing.T) {
	for _, algorithm := range []string{"ecdsa", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			s := newSigner(t, algorithm)
			bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
			want := expect()
			want.MaxAge, want.PolicyDigest = time.Hour, digest("policy")
			want.Evidence = []assay.Digest{digest("tests"), digest("vulns"), digest("exception")}
			want.Levels = append(want.Levels, "SLSA_BUILD_LEVEL_1") // granted: level 2 of the same track
			r := attest.Verify(bundle, trust(s.key), want, now.Add(time.Minute))
			wantOK(t, r)
			if len(r.Steps) != 11 || r.Statement == nil || r.Summary == nil || len(r.KeyIDs) != 1 || r.KeyIDs[0] != s.KeyID() {
				t.Errorf("report = %+v; want 11 steps, statement, summary and the key", r)
			}
		})
	}
}

func TestVerifyStopsAtTheStepThatFails(t *testing.T) {
	s, stranger := newSigner(t, "ecdsa"), newSigner(t, "ecdsa")
	pass := statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))
	exception, err := attest.ExceptionStatement(assay.Exception{ID: "x", State: assay.ExceptionApproved, Approver: "kim", NotAfter: now})
	if err != nil {
		t.Fatal(err)
	}
	alien := bytes.Replace(pass, []byte(assay.VSAPredicateType), []byte("https://slsa.dev/provenance/v1"), 1)
	brokenExtension := bytes.Replace(pass, []byte(`"gate":"release"`), []byte(`"gate":["x"]`), 1)
	for _, c := range []struct {
		name      string
		statement []byte
		change    func(*attest.Expect, *attest.TrustPolicy)
		step      string
		words     string
	}{
		{"wrong key", pass, func(_ *attest.Expect, p *attest.TrustPolicy) { *p = trust(stranger.key) }, "signature", "no signature is by one of the 1 trusted key(s)"},
		{"no key", pass, func(_ *attest.Expect, p *attest.TrustPolicy) { *p = attest.TrustPolicy{} }, "signature", "no key is trusted"},
		{"foreign subject", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.Subject = string(digest("other")) }, "subject digest", "expected " + string(digest("other"))},
		{"no expected subject", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.Subject = "" }, "subject digest", "no expected subject"},
		{"foreign statement: an exception", exception, func(e *attest.Expect, _ *attest.TrustPolicy) {
			st, _ := attest.ParseStatement(exception)
			e.Subject = "sha256:" + st.Subject[0].Digest["sha256"]
		}, "predicate type", assay.ExceptionPredicateType},
		{"foreign statement: provenance", alien, nil, "predicate type", "https://slsa.dev/provenance/v1"},
		{"damaged extension", brokenExtension, nil, "predicate type", "assay.dev/vsa/requirements/v1 is not what this version writes"},
		{"wrong verifier", pass, func(_ *attest.Expect, p *attest.TrustPolicy) {
			p.Keys[0].VerifierIDs = []string{"https://example.com/gate"}
		}, "verifier", `found verifier "https://assay.dev/gate"; expected https://example.com/gate`},
		{"key without verifier", pass, func(_ *attest.Expect, p *attest.TrustPolicy) { p.Keys[0].VerifierIDs = nil }, "verifier", "not trusted for any verifier"},
		{"key not yet valid", pass, func(_ *attest.Expect, p *attest.TrustPolicy) { p.Keys[0].NotBefore = now.Add(time.Second) }, "verifier", "is trusted from 2026-11-02T09:30:01Z"},
		{"key no longer valid", pass, func(_ *attest.Expect, p *attest.TrustPolicy) { p.Keys[0].NotAfter = now.Add(-time.Second) }, "verifier", "is trusted until"},
		{"wrong resource", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.ResourceURI = "pkg:generic/other" }, "resource URI", `found "pkg:generic/assay"; expected "pkg:generic/other"`},
		{"no expected resource", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.ResourceURI = "" }, "resource URI", "no expected resource URI"},
		{"failed", statement(t, verdict(assay.OutcomeFail, assay.ModeEnforce)), nil, "result", "found FAILED; expected PASSED"},
		{"absent", statement(t, verdict(assay.OutcomeAbsent, assay.ModeEnforce)), nil, "result", "required evidence is absent"},
		{"level not granted", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = []string{"SLSA_BUILD_LEVEL_3"} }, "levels", "expected SLSA_BUILD_LEVEL_3"},
		{"level of another track", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = []string{"SLSA_SOURCE_LEVEL_1"} }, "levels", "expected SLSA_SOURCE_LEVEL_1"},
		{"dry-run grants no level", statement(t, verdict(assay.OutcomePass, assay.ModeDryRun)), nil, "levels", "found no level"},
		{"too old", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.MaxAge = time.Second }, "time", "1m0s ago; expected at most 1s"},
		{"dry-run", statement(t, verdict(assay.OutcomePass, assay.ModeDryRun)), func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = nil }, "mode", `in mode "dry-run"; expected enforce`},
		{"warn", statement(t, verdict(assay.OutcomePass, assay.ModeWarn)), func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = nil }, "mode", "expected enforce"},
		{"another policy", pass, func(e *attest.Expect, _ *attest.TrustPolicy) { e.PolicyDigest = digest("other") }, "policy digest", "expected " + string(digest("other"))},
		{"missing evidence", pass, func(e *attest.Expect, _ *attest.TrustPolicy) {
			e.Evidence = []assay.Digest{digest("tests"), digest("other")}
		}, "evidence digests", "not among the 3 inputs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, policy := expect(), trust(s.key)
			if c.change != nil {
				c.change(&want, &policy)
			}
			wantStop(t, attest.Verify(signed(t, s, c.statement), policy, want, now.Add(time.Minute)), c.step, c.words)
		})
	}
}

func TestVerifyRefusesASummaryFromTheFuture(t *testing.T) {
	s := newSigner(t, "ed25519")
	bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	wantOK(t, attest.Verify(bundle, trust(s.key), expect(), now.Add(-attest.MaxSkew)))
	wantStop(t, attest.Verify(bundle, trust(s.key), expect(), now.Add(-attest.MaxSkew-time.Second)), "time", "in the future")
}

func TestSummaryWithoutATimeHoldsOnlyWhereNoTimeMatters(t *testing.T) {
	s := newSigner(t, "ed25519")
	timeless := bytes.Replace(statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)), []byte(`"timeVerified":"2026-11-02T09:30:00Z",`), nil, 1)
	bundle := signed(t, s, timeless)
	wantOK(t, attest.Verify(bundle, trust(s.key), expect(), now))
	want := expect()
	want.MaxAge = time.Hour
	wantStop(t, attest.Verify(bundle, trust(s.key), want, now), "time", "states no time")
	bounded := trust(s.key)
	bounded.Keys[0].NotBefore = now.AddDate(-1, 0, 0)
	wantStop(t, attest.Verify(bundle, bounded, expect(), now), "verifier", "states no time")
}

func TestTrustPolicyIsBounded(t *testing.T) {
	s := newSigner(t, "ed25519")
	bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	policy := trust(s.key)
	for len(policy.Keys) < attest.MaxTrustedKeys {
		policy.Keys = append(policy.Keys, policy.Keys[0])
	}
	wantOK(t, attest.Verify(bundle, policy, expect(), now))
	policy.Keys = append(policy.Keys, policy.Keys[0])
	wantStop(t, attest.Verify(bundle, policy, expect(), now), "signature", "at most 64")
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"ecdsa", "ed25519"} {
		b.Run(algorithm, func(b *testing.B) {
			s := newSigner(b, algorithm)
			bundle := signed(b, s, statement(b, verdict(assay.OutcomePass, assay.ModeEnforce)))
			policy, want := trust(s.key), expect()
			for b.Loop() {
				if !attest.Verify(bundle, policy, want, now).OK() {
					b.Fatal("does not verify")
				}
			}
		})
	}
}

func TestVerifyAcceptsDryRunOnlyWhenAskedTo(t *testing.T) {
	s := newSigner(t, "ecdsa")
	bundle := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeDryRun)))
	want := expect()
	want.Levels, want.AllowUnenforced = nil, true
	wantOK(t, attest.Verify(bundle, trust(s.key), want, now))
}

func TestVerifyAuditsARefusalOnlyWhenAskedTo(t *testing.T) {
	s := newSigner(t, "ecdsa")
	want := expect()
	want.Levels, want.Result = nil, attest.ResultFailed
	wantOK(t, attest.Verify(signed(t, s, statement(t, verdict(assay.OutcomeAbsent, assay.ModeEnforce))), trust(s.key), want, now))
	wantStop(t, attest.Verify(signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))), trust(s.key), want, now), "result", "found PASSED; expected FAILED")
}

// edit decodes a bundle loosely, changes it and encodes it again.
func edit(t *testing.T, bundle []byte, change func(b, material, envelope map[string]any)) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	change(b, b["verificationMaterial"].(map[string]any), b["dsseEnvelope"].(map[string]any))
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDamagedBundleFailsTheFirstStep(t *testing.T) {
	s := newSigner(t, "ecdsa")
	good := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	swap := func(payload any) any {
		raw, _ := base64.StdEncoding.DecodeString(payload.(string))
		raw = bytes.Replace(raw, []byte("PASSED"), []byte("passed"), 1)
		return base64.StdEncoding.EncodeToString(raw)
	}
	for _, c := range []struct {
		name   string
		change func(b, m, e map[string]any)
		words  string
	}{
		{"stripped of its signatures", func(_, _, e map[string]any) { e["signatures"] = []any{} }, "stripped of its signature"},
		{"stripped of its payload", func(_, _, e map[string]any) { delete(e, "payload") }, "stripped of what was signed"},
		{"stripped of its envelope", func(b, _, _ map[string]any) { delete(b, "dsseEnvelope") }, "stripped of its statement"},
		{"stripped of its material", func(b, _, _ map[string]any) { delete(b, "verificationMaterial") }, "verificationMaterial is missing"},
		{"stripped of its key hint", func(_, m, _ map[string]any) { delete(m, "publicKey") }, "publicKey is missing"},
		{"one byte of the payload changed", func(_, _, e map[string]any) { e["payload"] = swap(e["payload"]) }, "was changed after signing"},
		{"another payload type", func(_, _, e map[string]any) { e["payloadType"] = "application/json" }, "payload type"},
		{"two signatures", func(_, _, e map[string]any) {
			e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)...)
		}, "exactly one"},
		{"a hint that is not the keyid", func(_, m, _ map[string]any) { m["publicKey"] = map[string]any{"hint": "other"} }, "must be equal"},
		{"a certificate beside the key", func(_, m, _ map[string]any) { m["certificate"] = map[string]any{"rawBytes": "AA=="} }, "names more than one signer"},
		{"a certificate chain beside the key", func(_, m, _ map[string]any) { m["x509CertificateChain"] = map[string]any{} }, "names more than one signer"},
		{"a certificate, and no trusted root", func(_, m, _ map[string]any) {
			delete(m, "publicKey")
			m["certificate"] = map[string]any{"rawBytes": "AA=="}
		}, "no trusted root was given"},
		{"a signature of a file", func(b, _, _ map[string]any) {
			delete(b, "dsseEnvelope")
			b["messageSignature"] = map[string]any{
				"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": strings.Repeat("A", 43) + "="}, "signature": "AAAA",
			}
		}, "signs a file"},
		{"a signature of a file beside the statement", func(b, _, _ map[string]any) { b["messageSignature"] = map[string]any{} }, "exactly one of them"},
		{"an unknown version", func(b, _, _ map[string]any) { b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.9+json" }, "versions 0.1 to 0.3 are read"},
		{"an unknown field", func(b, _, _ map[string]any) { b["mediatype"] = 1 }, "mediatype"},
		{"no media type", func(b, _, _ map[string]any) { delete(b, "mediaType") }, "neither a Sigstore bundle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantStop(t, attest.Verify(edit(t, good, c.change), trust(s.key), expect(), now), "signature", c.words)
		})
	}
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		t.Run("version "+version+" is read", func(t *testing.T) {
			old := edit(t, good, func(b, m, _ map[string]any) {
				b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=" + version
				m["tlogEntries"] = []any{map[string]any{"logIndex": "1"}}
			})
			wantOK(t, attest.Verify(old, trust(s.key), expect(), now))
			if b, err := attest.ParseBundle(old); err != nil || b.Unchecked != 1 {
				t.Errorf("Unchecked = %d, %v; want the one log entry counted", b.Unchecked, err)
			}
		})
	}
	large := append(bytes.Clone(good), bytes.Repeat([]byte(" "), attest.MaxBundle)...)
	wantStop(t, attest.Verify(large, trust(s.key), expect(), now), "signature", "at most 8388608")
	if _, err := attest.ParseBundle(large); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("ParseBundle above the limit: %v; want too_large", err)
	}
}

func TestSignedStatementWithDuplicateKeysIsRefused(t *testing.T) {
	s := newSigner(t, "ed25519")
	doubled := bytes.Replace(statement(t, verdict(assay.OutcomeFail, assay.ModeEnforce)),
		[]byte(`"verificationResult":`), []byte(`"verificationResult":"PASSED","verificationResult":`), 1)
	if _, err := attest.Sign(t.Context(), s, doubled); err == nil || !strings.Contains(err.Error(), "duplicate key") {
		t.Errorf("Sign = %v; want it to refuse duplicate keys", err)
	}
	sig, err := s.Sign(t.Context(), attest.PAE(assay.StatementPayloadType, doubled)) // someone else's tool signs it
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := attest.MarshalBundle(attest.Bundle{Hint: s.KeyID(), Envelope: attest.Envelope{
		PayloadType: assay.StatementPayloadType, Payload: doubled, Signatures: []attest.Signature{{KeyID: s.KeyID(), Sig: sig}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantStop(t, attest.Verify(bundle, trust(s.key), expect(), now), "subject digest", "duplicate key")
}

// flipBytes changes a bit of every so many bytes.
func flipBytes(t *testing.T, every int) {
	t.Helper()
	for _, algorithm := range []string{"ecdsa", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			s := newSigner(t, algorithm)
			good := signed(t, s, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
			want, err := attest.ParseSigned(good)
			if err != nil {
				t.Fatal(err)
			}
			all, refused := 0, 0
			for i := 0; i < len(good); i += every {
				all++
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				if !attest.Verify(bad, trust(s.key), expect(), now).OK() {
					refused++
				} else if got, err := attest.ParseSigned(bad); err != nil || !bytes.Equal(got.Payload, want.Payload) {
					t.Fatalf("byte %d flipped verifies with another statement", i)
				}
			}
			if refused < all*9/10 {
				t.Errorf("only %d of %d flips were refused", refused, all)
			}
		})
	}
}

func TestSignRefusesASignerWhoseKeyDoesNotFit(t *testing.T) {
	a, b := newSigner(t, "ecdsa"), newSigner(t, "ecdsa")
	mixed := memSigner{signer: a.signer, key: b.key}
	_, err := attest.Sign(t.Context(), mixed, statement(t, verdict(assay.OutcomePass, assay.ModeEnforce)))
	if assay.CodeOf(err) != assay.CodeInternal {
		t.Errorf("Sign = %v; want an internal error", err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
