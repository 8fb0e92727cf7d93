package sigstore_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
	"assay.dev/assay/internal/golden"
)

// fixtures are the keyless bundles that documentation and scripts show: by a
// Sigstore of their own, whose trusted root lies beside them. With -update they
// are made anew. What was signed once verifies for ever: nothing here depends on
// the day that the test runs.
var fixtures = []struct{ dir, artifact, resource string }{
	{"../../examples/first-gate/keyless", "../greet-1.1.0.tar.gz", "pkg:generic/greet"},
	{"../../cmd/assay/testdata/fixtures/keyless", "../app", "pkg:generic/app"},
}

func TestKeylessFixturesVerify(t *testing.T) {
	for _, f := range fixtures {
		artifact, err := os.ReadFile(filepath.Join(f.dir, f.artifact))
		if err != nil {
			t.Fatal(err)
		}
		subject := assay.Subject{Name: filepath.Base(f.artifact), Digest: assay.DigestOf(sha256.Sum256(artifact)), URI: f.resource}
		if flag.Lookup("update").Value.String() == "true" {
			makeFixtures(t, f.dir, subject, artifact)
		}
		root, err := os.ReadFile(filepath.Join(f.dir, "trusted_root.json"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := sigstore.ParseTrustedRoot(root, private)
		if err != nil {
			t.Fatal(err)
		}
		p := attest.TrustPolicy{Authority: a, Identities: []attest.TrustedIdentity{{
			Issuer: attest.Exactly(issuer), Subject: attest.Exactly(identity), VerifierIDs: []string{assay.DefaultVerifierID},
		}}}
		for file, want := range map[string]attest.Expect{
			"summary.sigstore.json":   {ResourceURI: f.resource, Levels: []string{"RELEASE"}},
			"tests.sigstore.json":     {Type: "test-result"},
			"signature.sigstore.json": {Type: attest.TypeSignature},
		} {
			data, err := os.ReadFile(filepath.Join(f.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			want.Subject = string(subject.Digest)
			if err := attest.Verify(data, p, want, now).Err(); err != nil {
				t.Errorf("%s/%s: %v", f.dir, file, err)
			}
		}
	}
}

func makeFixtures(t *testing.T, dir string, subject assay.Subject, artifact []byte) {
	t.Helper()
	w := newWorld(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	how := signing{certificate: at.Add(-time.Minute), stamp: at}
	sum, err := attest.VSA(assay.Verdict{
		Gate: "release", Mode: assay.ModeEnforce, Outcome: assay.OutcomePass, Time: at, Subject: subject,
		Policy: assay.PolicyRef{URI: "dir:policies", Digest: digest("policy")}, Levels: []string{"RELEASE"},
	}, attest.VSAOptions{})
	w.must(err)
	tests, err := attest.TestResultStatement(subject, []assay.Evidence{{
		Kind: assay.KindTests, Source: "tests.json", Digest: digest("tests"), Tests: &assay.TestCounts{Passed: 12, Skipped: 1},
	}})
	w.must(err)
	plain := how
	plain.plain = artifact
	for file, data := range map[string][]byte{
		"trusted_root.json":       w.trustedRoot(),
		"summary.sigstore.json":   w.sign(sum, how),
		"tests.sigstore.json":     w.sign(tests, how),
		"signature.sigstore.json": w.sign(nil, plain),
	} {
		golden.Equal(t, filepath.Join(dir, file), append(bytes.TrimSpace(data), '\n'))
	}
}
