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
	"strings"
	"testing"

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
