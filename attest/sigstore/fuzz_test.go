package sigstore_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
)

// FuzzCertified changes bundles at will: whatever comes, it is refused with a
// reason or it is the very statement that was signed.
func FuzzCertified(f *testing.F) {
	w := newWorld(f, now.AddDate(-1, 0, 0))
	statement := summary(f)
	good := w.sign(statement, signing{})
	f.Add(good)
	f.Add(w.sign(nil, signing{plain: []byte("binary")}))
	f.Add(good[:len(good)/2])
	policy := w.policy()
	authority := policy.Authority
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := authority.Certified(data, digest("binary"))
		switch {
		case err != nil && assay.CodeOf(err) == assay.CodeInternal:
			t.Fatalf("refused without a reason of its own: %v", err)
		case err == nil && got.Payload != nil && string(got.Payload) != string(statement):
			t.Fatalf("another statement verified: %q", got.Payload)
		}
		attest.Verify(data, policy, expect(), now)
	})
}

func FuzzParseTrustedRoot(f *testing.F) {
	f.Add(newWorld(f, now.AddDate(-1, 0, 0)).trustedRoot())
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := sigstore.ParseTrustedRoot(data, sigstore.Options{}); err == nil && a.ID() == "" {
			t.Fatal("an authority without an identity")
		} else if err != nil && assay.CodeOf(err) == assay.CodeInternal {
			t.Fatalf("refused without a reason of its own: %v", err)
		}
	})
}
