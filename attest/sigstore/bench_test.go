package sigstore_test

import (
	"os"
	"path/filepath"
	"testing"

	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
	"assay.dev/assay/internal/testenv"
)

// BenchmarkVerifyBundle is the whole of an offline verification, from the bytes
// of a bundle to a report, with a trusted root that was read before.
func BenchmarkVerifyBundle(b *testing.B) {
	w := newWorld(b, now.AddDate(-1, 0, 0))
	bundle, want := w.sign(summary(b), signing{}), expect()
	run := func(b *testing.B, data []byte, p attest.TrustPolicy, want attest.Expect) {
		for b.Loop() {
			if r := attest.Verify(data, p, want, now); !r.OK() {
				b.Fatal(r.Err())
			}
		}
	}
	b.Run("keyless", func(b *testing.B) { run(b, bundle, w.policy(), want) })
	b.Run("keyless cached", func(b *testing.B) {
		p := w.policy()
		p.Cache = attest.NewCache(1 << 20)
		run(b, bundle, p, want)
	})
	b.Run("public good instance", func(b *testing.B) {
		base := testenv.Data(b, "vectors/sigstore-conformance")
		data, p, want := publicGood(b, base)
		run(b, data, p, want)
	})
	b.Run("public good instance cached", func(b *testing.B) {
		base := testenv.Data(b, "vectors/sigstore-conformance")
		data, p, want := publicGood(b, base)
		p.Cache = attest.NewCache(1 << 20)
		run(b, data, p, want)
	})
}

// publicGood is a real attestation: Fulcio, certificate log and Rekor of the public instance.
func publicGood(b *testing.B, base string) ([]byte, attest.TrustPolicy, attest.Expect) {
	read := func(path string) []byte {
		data, err := os.ReadFile(filepath.Join(base, path))
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	a, err := sigstore.ParseTrustedRoot(read("trusted_root.json"), sigstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p := attest.TrustPolicy{Authority: a, Identities: []attest.TrustedIdentity{{Issuer: attest.Exactly(actions), Subject: attest.Exactly(beacon)}}}
	want := attest.Expect{Subject: artifactDigest(b, base), Type: attest.TypeAny}
	return read("test/assets/bundle-verify/happy-path-intoto-in-dsse-v3/bundle.sigstore.json"), p, want
}
