package attest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/testenv"
)

func pemKey(t *testing.T, path string) attest.Key {
	t.Helper()
	block, _ := pem.Decode(readFile(t, path))
	if block == nil {
		t.Fatalf("%s holds no PEM block", path)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	k, err := attest.NewKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The summary that Google publishes for a GKE node image, and what slsa-verifier is told about it.
const (
	gkeSubject  = "gce_image_id:8970095005306000053"
	gkeVerifier = "https://bcid.corp.google.com/verifier/bcid_package_enforcer/v0.1"
	gkeResource = "gce_image://gke-node-images:gke-12615-gke1418000-cos-101-17162-463-29-c-cgpv1-pre"
)

func TestSummaryPublishedByGoogleVerifies(t *testing.T) {
	dir := testenv.Data(t, "vectors/slsa-vsa/cli/slsa-verifier/testdata/vsa/gce/v1")
	data := readFile(t, filepath.Join(dir, "gke-gce-pre.bcid-vsa.jsonl"))
	key := pemKey(t, filepath.Join(dir, "vsa_signing_public_key.pem"))
	at := time.Date(2024, 6, 12, 8, 0, 0, 0, time.UTC)
	policy := attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: key, VerifierIDs: []string{gkeVerifier}}}}
	good := attest.Expect{Subject: gkeSubject, ResourceURI: gkeResource, Levels: []string{"BCID_L1", "SLSA_BUILD_LEVEL_2"}, MaxAge: time.Hour}

	r := attest.Verify(data, policy, good, at)
	wantOK(t, r)
	if r.Summary.Gate != nil || r.Summary.Violations != nil {
		t.Error("a foreign summary got our extensions")
	}
	for _, c := range []struct {
		name   string
		change func(*attest.Expect, *attest.TrustPolicy)
		step   string
	}{
		{"another key", func(_ *attest.Expect, p *attest.TrustPolicy) { p.Keys[0].Key = helloKey(t) }, "signature"},
		{"another digest", func(e *attest.Expect, _ *attest.TrustPolicy) { e.Subject = "gce_image_id:8970095005306000054" }, "subject digest"},
		{"another algorithm", func(e *attest.Expect, _ *attest.TrustPolicy) { e.Subject = "sha256:8970095005306000053" }, "subject digest"},
		{"another verifier", func(_ *attest.Expect, p *attest.TrustPolicy) {
			p.Keys[0].VerifierIDs = []string{assay.DefaultVerifierID}
		}, "verifier"},
		{"another resource", func(e *attest.Expect, _ *attest.TrustPolicy) { e.ResourceURI += "x" }, "resource URI"},
		{"a higher level", func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = []string{"SLSA_BUILD_LEVEL_3"} }, "levels"},
		{"a custom level that was not granted", func(e *attest.Expect, _ *attest.TrustPolicy) { e.Levels = []string{"BCID_L2"} }, "levels"},
		{"too old", func(e *attest.Expect, _ *attest.TrustPolicy) { e.MaxAge = time.Minute }, "time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, p := good, attest.TrustPolicy{Keys: []attest.TrustedKey{policy.Keys[0]}}
			c.change(&want, &p)
			wantStop(t, attest.Verify(data, p, want, at), c.step, "")
		})
	}
	t.Run("a changed payload", func(t *testing.T) {
		bad := bytes.Replace(data, []byte("eyJfdHlwZSI6"), []byte("eyJfdHlwZSI7"), 1)
		wantStop(t, attest.Verify(bad, policy, good, at), "signature", "")
	})
}

// The conformance bundles are keyless, or sign plain files, or both: none may be
// taken for a statement under a key. Package sigstore verifies all of them.
func TestSigstoreConformanceBundlesAreNoStatementsUnderAKey(t *testing.T) {
	dir := testenv.Data(t, "vectors/sigstore-conformance/test/assets/bundle-verify")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen, s := 0, newSigner(t, "ecdsa")
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name(), "bundle.sigstore.json"))
		if err != nil {
			continue
		}
		seen++
		b, err := attest.ParseBundle(data)
		switch {
		case err == nil && !b.Certificate:
			t.Errorf("%s: was read as a statement under a key", e.Name())
		case strings.Contains(e.Name(), "managed-key-happy") && (err == nil || !strings.Contains(err.Error(), "signs a file")):
			t.Errorf("%s: %v; want the reason that it signs a file", e.Name(), err)
		case e.Name() == "happy-path-intoto-in-dsse-v3":
			wantStop(t, attest.Verify(data, trust(s.key), expect(), now), "signature", "no trusted root was given")
		}
	}
	if seen < 60 {
		t.Errorf("only %d bundles found", seen)
	}
}
