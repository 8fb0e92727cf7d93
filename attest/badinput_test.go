package attest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// foreign makes a bundle that Sign would not make: any payload, really signed.
func foreign(t *testing.T, s memSigner, payload []byte) []byte {
	t.Helper()
	sig, err := s.Sign(t.Context(), attest.PAE(assay.StatementPayloadType, payload))
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":%q}},"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}}`,
		assay.BundleMediaType, s.KeyID(), b64(payload), assay.StatementPayloadType, b64(sig))
}

// Every kind of bad input has its own answer, soon and in little memory.
func TestBadInput(t *testing.T) {
	s, stranger, ed := newSigner(t, "ecdsa"), newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	pass := statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))
	good := signed(t, s, pass)
	deep := strings.Repeat(`{"a":`, 1<<19) + "1" + strings.Repeat("}", 1<<19)
	bomb := gzipped(t, bytes.Repeat([]byte{' '}, 64<<20))
	stripped := func(field string) []byte {
		var st map[string]any
		if err := json.Unmarshal(pass, &st); err != nil {
			t.Fatal(err)
		}
		delete(st["predicate"].(map[string]any), field)
		out, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		return signed(t, s, out)
	}
	expired := trust(s.key)
	expired.Keys[0].NotAfter = now.Add(-time.Hour)
	replay := expect()
	replay.Subject = string(digest("another artifact"))
	elsewhere := expect()
	elsewhere.ResourceURI = "pkg:generic/another"
	two := edit(t, good, func(_, _, e map[string]any) {
		e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)[0])
	})
	for _, c := range []struct {
		name   string
		data   []byte
		policy attest.TrustPolicy
		want   attest.Expect
		step   string
		words  string
	}{
		{"wrong key", good, trust(stranger.key), expect(), "signature", "no signature is by one of the 1 trusted key(s)"},
		{"expired key", good, expired, expect(), "verifier", "expired"},
		{"wrong subject", good, trust(s.key), replay, "subject digest", "expected " + replay.Subject},
		{"replayed bundle: another resource", good, trust(s.key), elsewhere, "resource URI", `expected "pkg:generic/another"`},
		{"two signatures in a bundle", two, trust(s.key), expect(), "signature", "exactly one"},
		{"algorithm confusion: an ECDSA signature under an Ed25519 key", good, trust(ed.key), expect(), "signature", "no signature is by"},
		{"algorithm confusion: an Ed25519 signature that claims an ECDSA key", edit(t, signed(t, ed, pass), func(_, m, e map[string]any) {
			m["publicKey"] = map[string]any{"hint": s.KeyID()}
			e["signatures"].([]any)[0].(map[string]any)["keyid"] = s.KeyID()
		}), trust(s.key), expect(), "signature", "was changed after signing"},
		{"stripped VSA: no verifier", stripped("verifier"), trust(s.key), expect(), "predicate type", "verifier.id is missing"},
		{"stripped VSA: no resource", stripped("resourceUri"), trust(s.key), expect(), "predicate type", "resourceUri is missing"},
		{"stripped VSA: no result", stripped("verificationResult"), trust(s.key), expect(), "predicate type", "verificationResult is missing"},
		{"stripped VSA: no levels", stripped("verifiedLevels"), trust(s.key), expect(), "predicate type", "verifiedLevels is missing"},
		{"stripped VSA: no policy", stripped("policy"), trust(s.key), expect(), "predicate type", "policy.uri is missing"},
		{"clock skew: a summary of the future", signed(t, s, bytes.Replace(pass, []byte("2026-11-02T09:30:00Z"), []byte("2026-11-02T10:30:00Z"), 1)), trust(s.key), expect(), "time", "in the future"},
		{"zip bomb: a compressed bundle", bomb, trust(s.key), expect(), "signature", "compressed (gzip)"},
		{"zip bomb: a compressed payload", foreign(t, s, bomb), trust(s.key), expect(), "subject digest", "compressed (gzip)"},
		{"zip bomb: deep JSON around the envelope", []byte(`{"mediaType":` + deep + `}`), trust(s.key), expect(), "signature", "deep"},
		{"zip bomb: a signed payload of deep JSON", foreign(t, s, []byte(deep)), trust(s.key), expect(), "subject digest", "deep"},
		{"zip bomb: a signature that claims a gigabyte", edit(t, good, func(_, _, e map[string]any) {
			e["signatures"].([]any)[0].(map[string]any)["sig"] = base64.StdEncoding.EncodeToString([]byte{0x30, 0x84, 0x40, 0, 0, 0, 2, 1, 1})
		}), trust(s.key), expect(), "signature", "was changed after signing"},
		{"a bundle above the limit", append(bytes.Clone(good), bytes.Repeat([]byte{' '}, attest.MaxBundle)...), trust(s.key), expect(), "signature", "at most 8388608"},
		{"a payload above the limit", foreign(t, s, bytes.Repeat([]byte{' '}, attest.MaxStatement+1)), trust(s.key), expect(), "signature", "at most 4194304"},
		{"no input", nil, trust(s.key), expect(), "signature", "there is no attestation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			r := attest.Verify(c.data, c.policy, c.want, now)
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			wantStop(t, r, c.step, c.words)
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 128 || took > 5*time.Second {
				t.Errorf("refused after %s and %d MiB; want less than 5 s and 128 MiB", took, mib)
			}
		})
	}
}

// An ECDSA signature has two spellings, and r or s of zero or above the order are none of them.
func TestSignaturesAtTheEdgesAreRefused(t *testing.T) {
	s := newSigner(t, "ecdsa")
	message := []byte("hello")
	n := elliptic.P256().Params().N
	der := func(r, v *big.Int) []byte {
		out, err := asn1.Marshal(struct{ R, S *big.Int }{r, v})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sum := sha256.Sum256(message)
	good, err := s.signer.Sign(rand.Reader, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.key.Verify(message, good); err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string][]byte{
		"empty": {}, "zeroes": make([]byte, 64), "zero r and s": der(new(big.Int), new(big.Int)), "order": der(n, n),
		"negative": der(big.NewInt(-1), big.NewInt(-1)), "one byte more": append(bytes.Clone(good), 0), "one byte less": good[:len(good)-1],
	} {
		if err := s.key.Verify(message, sig); assay.CodeOf(err) != assay.CodeUnverified {
			t.Errorf("%s: %v; want unverified", name, err)
		}
	}
}

func TestThresholdOfAnEnvelopeIsMetByDifferentKeysAlone(t *testing.T) {
	a, b, c := newSigner(t, "ecdsa"), newSigner(t, "ed25519"), newSigner(t, "ecdsa")
	pass := statement(t, verdict(assay.OutcomePass, assay.ModeEnforce))
	envelope := func(signers ...memSigner) []byte {
		var sigs []map[string]string
		for _, s := range signers {
			sig, err := s.Sign(t.Context(), attest.PAE(assay.StatementPayloadType, pass))
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, map[string]string{"keyid": "a hint", "sig": base64.URLEncoding.EncodeToString(sig)})
		}
		out, err := json.Marshal(map[string]any{"payload": base64.StdEncoding.EncodeToString(pass), "payloadType": assay.StatementPayloadType, "signatures": sigs})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	p := trust(a.key, b.key, a.key)
	p.Threshold = 2
	r := attest.Verify(envelope(a, b, c), p, expect(), now)
	wantOK(t, r)
	if len(r.KeyIDs) != 2 || !strings.Contains(r.Steps[3].Detail, " and ") {
		t.Errorf("keys %v, step 4 %q; want both", r.KeyIDs, r.Steps[3].Detail)
	}
	wantStop(t, attest.Verify(envelope(a, a, a), p, expect(), now), "signature", "1 trusted key(s) signed; expected at least 2")
	wantStop(t, attest.Verify(envelope(a, c), p, expect(), now), "signature", "expected at least 2")
	p.Keys[1].VerifierIDs = []string{"https://example.com/other"}
	wantStop(t, attest.Verify(envelope(a, b), p, expect(), now), "verifier", "only 1 of the 2 keys needed may")
}

func TestPlainSignatureByAKey(t *testing.T) {
	s, ed := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	sum := sha256.Sum256([]byte("binary"))
	sig, err := s.signer.Sign(rand.Reader, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	bundle := fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":"x"}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}}`,
		assay.BundleMediaType, b64(sum[:]), b64(sig))
	want := attest.Expect{Subject: string(digest("binary")), Type: attest.TypeSignature}
	if err := attest.Verify(bundle, trust(s.key), want, now).Err(); err != nil {
		t.Error(err)
	}
	wantStop(t, attest.Verify(bundle, trust(ed.key), want, now), "signature", "no signature is by one of the 1 trusted key(s)")
	want.Subject = string(digest("other"))
	wantStop(t, attest.Verify(bundle, trust(s.key), want, now), "signature", "the signature is over")
}
