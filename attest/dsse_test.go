package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
)

// The published test vector of the DSSE specification.
const (
	helloType = "http://example.com/HelloWorld"
	helloX    = "46950820868899156662930047687818585632848591499744589407958293238635476079160"
	helloY    = "5640078356564379163099075877009565129882514886557779369047442380624545832820"
	helloSig  = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
)

func helloKey(t *testing.T) attest.Key {
	t.Helper()
	point := []byte{4}
	for _, c := range []string{helloX, helloY} {
		n, _ := new(big.Int).SetString(c, 10)
		point = append(point, n.FillBytes(make([]byte, 32))...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.NewKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func helloEnvelope(payload, payloadType, keyid, sig string) []byte {
	return fmt.Appendf(nil, `{"payload":%q,"payloadType":%q,"signatures":[{"keyid":%q,"sig":%q}]}`, payload, payloadType, keyid, sig)
}

func TestPAEIsTheOneOfTheSpecification(t *testing.T) {
	want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"
	if got := string(attest.PAE(helloType, []byte("hello world"))); got != want {
		t.Errorf("PAE = %q; want %q", got, want)
	}
}

func TestEnvelopeOfTheDSSESpecificationVerifies(t *testing.T) {
	key := helloKey(t)
	std := base64.StdEncoding.EncodeToString([]byte("hello world"))
	raw, err := base64.StdEncoding.DecodeString(helloSig)
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]byte{
		"standard base64":           helloEnvelope(std, helloType, "", helloSig),
		"without padding":           helloEnvelope(strings.TrimRight(std, "="), helloType, "", strings.TrimRight(helloSig, "=")),
		"URL-safe":                  helloEnvelope(std, helloType, "", base64.URLEncoding.EncodeToString(raw)),
		"URL-safe without padding":  helloEnvelope(std, helloType, "", base64.RawURLEncoding.EncodeToString(raw)),
		"a false key id":            helloEnvelope(std, helloType, "someone-else", helloSig),
		"an unknown field":          []byte(strings.Replace(string(helloEnvelope(std, helloType, "", helloSig)), "{", `{"later":[1],`, 1)),
		"a foreign signature first": []byte(strings.Replace(string(helloEnvelope(std, helloType, "", helloSig)), "[{", `[{"sig":"AAAA"},{`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			e, err := attest.ParseEnvelope(env)
			if err != nil {
				t.Fatal(err)
			}
			payload, by, err := e.Verify(helloType, []attest.Verifier{key}, 1)
			if err != nil || string(payload) != "hello world" || len(by) != 1 || by[0] != key.KeyID() {
				t.Errorf("Verify = %q, %v, %v; want the payload, signed by the key", payload, by, err)
			}
		})
	}
}

func TestEnvelopeIsRefused(t *testing.T) {
	key := helloKey(t)
	std := base64.StdEncoding.EncodeToString([]byte("hello world"))
	good := string(helloEnvelope(std, helloType, "", helloSig))
	for _, c := range []struct{ name, env, want string }{
		{"another payload type", strings.Replace(good, "HelloWorld", "HelloMoon", 1), "payload type"},
		{"another payload", string(helloEnvelope("aGVsbG8gd29ybGQh", helloType, "", helloSig)), "no signature is by"},
		{"a trusted key id on another payload", string(helloEnvelope("aGVsbG8gd29ybGQh", helloType, key.KeyID(), helloSig)), "was changed after signing"},
		{"no signature", `{"payload":"aGk=","payloadType":"` + helloType + `","signatures":[]}`, "stripped of its signature"},
		{"no payload", `{"payloadType":"` + helloType + `","signatures":[{"sig":"AAAA"}]}`, "stripped of what was signed"},
		{"an empty signature", string(helloEnvelope(std, helloType, "", "")), "empty or not base64"},
		{"white space in base64", string(helloEnvelope(std+`\n`, helloType, "", helloSig)), "not base64"},
		{"two alphabets in one value", string(helloEnvelope("-+--", helloType, "", helloSig)), "not base64"},
		{"wrong padding", string(helloEnvelope("aGk==", helloType, "", helloSig)), "not base64"},
		{"stray bits", string(helloEnvelope("aGl=", helloType, "", helloSig)), "not base64"},
		{"a duplicate key", strings.Replace(good, "{", `{"payload":"AA==",`, 1), "duplicate key"},
		{"other case of a name", strings.Replace(good, `"payload"`, `"Payload"`, 1), "payload is missing"},
		{"data behind it", good + "{}", "after the end"},
		{"a cut", good[:len(good)/2], "cut off"},
		{"too many signatures", strings.Replace(good, "[{", "["+strings.Repeat(`{"sig":"AAAA"},`, attest.MaxSignatures)+"{", 1), "at most 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := attest.ParseEnvelope([]byte(c.env))
			if err == nil {
				_, _, err = e.Verify(helloType, []attest.Verifier{key}, 1)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
}

func TestThresholdCountsKeysNotSignatures(t *testing.T) {
	a, b := newSigner(t, "ecdsa"), newSigner(t, "ed25519")
	e := attest.Envelope{PayloadType: helloType, Payload: []byte("hello world")}
	for _, s := range []memSigner{a, a, a} { // three valid, different signatures of one key
		sig, err := s.Sign(t.Context(), attest.PAE(helloType, e.Payload))
		if err != nil {
			t.Fatal(err)
		}
		e.Signatures = append(e.Signatures, attest.Signature{Sig: sig})
	}
	keys := []attest.Verifier{a.key, a.key, b.key}
	if _, by, err := e.Verify(helloType, keys, 2); err == nil || len(by) != 1 || !strings.Contains(err.Error(), "expected at least 2") {
		t.Errorf("three signatures of one key met a threshold of two: by %v, error %v", by, err)
	}
	sig, err := b.Sign(t.Context(), attest.PAE(helloType, e.Payload))
	if err != nil {
		t.Fatal(err)
	}
	e.Signatures = append(e.Signatures, attest.Signature{Sig: sig})
	if _, by, err := e.Verify(helloType, keys, 2); err != nil || len(by) != 2 {
		t.Errorf("two keys: by %v, error %v; want both", by, err)
	}
	if _, _, err := e.Verify(helloType, keys, 0); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("threshold 0: %v; want invalid", err)
	}
}

func TestNewKeyRefusesOtherAlgorithms(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []any{p384.Public(), nil, "key", (*ecdsa.PublicKey)(nil)} {
		if _, err := attest.NewKey(pub); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("NewKey(%T) = %v; want invalid", pub, err)
		}
	}
	if err := (attest.Key{}).Verify(nil, nil); err == nil {
		t.Error("the zero key verified a signature")
	}
}
