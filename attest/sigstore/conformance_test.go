package sigstore_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/attest/sigstore"
	"assay.dev/assay/internal/testenv"
)

// What the suite means where a case does not say otherwise.
const (
	beacon  = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
	actions = "https://token.actions.githubusercontent.com"
)

// now is an instant after every case was made; nothing depends on the day the test runs.
var now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// reasons says why each case that must be refused is: for the fault that its
// README describes, in our words. Where a bundle has a second fault that is found
// first, the comment says which.
var reasons = map[string]string{
	"bundle-empty-certificate-chain_fail":  "certificate: the chain is empty",
	"bundle-from-wrong-instance_fail":      "transparency log: no entry is by a log that the trusted root names",
	"bundle-invalid-base64-signature_fail": "messageSignature.signature is empty or not base64",
	"bundle-malformed-json_fail":           "is cut off",
	"bundle-negative-log-index_fail":       "transparency log: the entry's index is negative",
	"bundle-unknown-version_fail":          "versions 0.1 to 0.3 are read",
	"bundle-with-root-cert_fail":           "certificate: the bundle brings a root certificate",
	"checkpoint-bad-keyhint_fail":          "transparency log: the checkpoint is not signed by the log",
	"checkpoint-wrong-roothash_fail":       "transparency log: the checkpoint is of another tree than the inclusion proof",
	// The log holds the signature as it was; whatever was put in its place is not that one.
	"dsse-invalid-sig_fail":                           "transparency log: the entry is of another signature",
	"dsse-mismatch-envelope_fail":                     "transparency log: the entry is of another signature",
	"dsse-mismatch-sig_fail":                          "transparency log: the entry is of another signature",
	"inclusion-proof-corrupted-hash_fail":             "transparency log: the inclusion proof leads to another root",
	"incorrect-public-key_fail":                       "transparency log: the entry contradicts itself: its signature is not by its key",
	"integrated-time-in-future_fail":                  "transparency log: the certificate was not valid when the log took the entry",
	"intoto-expired-certificate_fail":                 "transparency log: the certificate was not valid when the log took the entry",
	"intoto-log-entry-mismatch_fail":                  "transparency log: the entry contradicts itself: the envelope it states does not verify",
	"intoto-missing-inclusion-proof_fail":             "transparency log: the entry has no inclusion proof",
	"intoto-set-outside-signing-cert-validity_fail":   "transparency log: the certificate was not valid when the log took the entry",
	"intoto-tsa-timestamp-outside-cert-validity_fail": "certificate: it was not valid at the time of signing",
	"invalid-checkpoint-signature_fail":               "transparency log: the checkpoint is not signed by the log",
	"invalid-ct-key_fail":                             "certificate log: no certificate log of the trusted root signed for the certificate",
	// The old proof was cut out of a bundle without checkpoints: there is no root to compare it with.
	"invalid-inclusion-proof_fail":                              "transparency log: the inclusion proof has no checkpoint",
	"managed-key-no-key_fail":                                   "no key is trusted",
	"managed-key-wrong-key_fail":                                "public key is damaged",
	"message-digest-mismatch_fail":                              "the signature is over sha256:a1cfc71271",
	"rekor2-checkpoint-missing-log-signature_fail":              "transparency log: the checkpoint is malformed",
	"rekor2-checkpoint-missing-origin_fail":                     "transparency log: the checkpoint was changed after the log signed it",
	"rekor2-checkpoint-missing-root-hash_fail":                  "transparency log: the checkpoint was changed after the log signed it",
	"rekor2-checkpoint-missing-size_fail":                       "transparency log: the checkpoint was changed after the log signed it",
	"rekor2-checkpoint-no-matching-signature_fail":              "transparency log: the checkpoint is not signed by the log",
	"rekor2-dsse-invalid-sig_fail":                              "transparency log: the log does not hold this signature",
	"rekor2-dsse-mismatch-envelope_fail":                        "transparency log: the log does not hold this signature",
	"rekor2-dsse-mismatch-sig_fail":                             "transparency log: the log does not hold this signature",
	"rekor2-no-inclusion-proof_fail":                            "transparency log: the entry has no inclusion proof",
	"rekor2-no-timestamp_fail":                                  "timestamp: there is none, and the log entry states no time",
	"rekor2-timestamp-outside-trust-root-tsa-validity_fail":     "timestamp: it was made after the end of the authority's term in the trusted root",
	"rekor2-timestamp-outside-tsa-cert-validity_fail":           "timestamp: it was made when the authority's own certificate was not valid",
	"rekor2-timestamp-payload-mismatch_fail":                    "timestamp: it is over another signature",
	"rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail":    "timestamp: it is by an authority that the trusted root does not name",
	"rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": "timestamp: it is by an authority that the trusted root does not name",
	// The file breaks its base64 into lines, which the bundle's format does not
	// allow; TestConformanceTimestampWithIncorrectTime looks behind that.
	"rekor2-timestamp-with-incorrect-time_fail":   "bundle: a field is not plain base64",
	"set-invalid-signature_fail":                  "transparency log: the log's signature over the entry's time does not hold",
	"signature-mismatch_fail":                     "transparency log: the entry is of another signature",
	"trust-root-tlog-missing-validity-start_fail": "missing public key validity period start time",
	"wrong-hashedrekord-artifact_fail":            "transparency log: the entry is of another signature",
	"wrong-hashedrekord-cert-and-sig_fail":        "transparency log: the entry is of another signature",
	"wrong-hashedrekord-entry_fail":               "transparency log: the entry is of another signature",
	"wrong-material_fail":                         "the signature is over sha256:a0cfc71271",
}

func TestSigstoreConformance(t *testing.T) {
	base := testenv.Data(t, "vectors/sigstore-conformance")
	paths, err := filepath.Glob(filepath.Join(base, "test/assets/bundle-verify/*/bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			r, err := conformance(t, base, readFile(t, path), filepath.Dir(path))
			if err == nil {
				err = r.Err()
			}
			switch words, bad := reasons[name]; {
			case strings.HasSuffix(name, "_fail") != bad:
				t.Errorf("the table of reasons does not know this case; found %v", err)
			case !bad && err != nil:
				t.Error(err)
			case bad && (err == nil || !strings.Contains(err.Error(), words)):
				t.Errorf("refused because %v; want a reason with %q", err, words)
			case bad:
				refused++
			}
		})
	}
	if len(paths) != 70 || refused != len(reasons) {
		t.Errorf("%d cases, %d refused for the right reason; want 70 and %d", len(paths), refused, len(reasons))
	}
}

func TestConformanceTimestampWithIncorrectTime(t *testing.T) {
	base := testenv.Data(t, "vectors/sigstore-conformance")
	dir := filepath.Join(base, "test/assets/bundle-verify/rekor2-timestamp-with-incorrect-time_fail")
	repaired := bytes.ReplaceAll(readFile(t, filepath.Join(dir, "bundle.sigstore.json")), []byte(`\n`), nil)
	// A checkpoint does have lines.
	repaired = lineFeeds(t, readFile(t, filepath.Join(dir, "bundle.sigstore.json")), repaired)
	r, err := conformance(t, base, repaired, dir)
	if err != nil {
		t.Fatal(err)
	}
	wantStop(t, r, "signature", "certificate: it was not valid at the time of signing")
}

// lineFeeds puts the checkpoint of the original back into the repaired bundle.
func lineFeeds(t *testing.T, original, repaired []byte) []byte {
	t.Helper()
	envelope := regexp.MustCompile(`"envelope": *"[^"]*"`)
	found := envelope.Find(original)
	if found == nil {
		t.Fatal("the case has no checkpoint")
	}
	return envelope.ReplaceAllLiteral(repaired, found)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// conformance runs one case as assay attestation verify does.
func conformance(t *testing.T, base string, data []byte, dir string) (attest.Report, error) {
	t.Helper()
	file := func(name, def string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			data, err = os.ReadFile(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	text := func(name, def string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return def
		}
		return strings.TrimSpace(string(data))
	}
	authority, err := sigstore.ParseTrustedRoot(file("trusted_root.json", filepath.Join(base, "trusted_root.json")), sigstore.Options{})
	if err != nil {
		return attest.Report{}, err
	}
	policy := attest.TrustPolicy{Authority: authority, LoggedKeys: true}
	if key, err := os.ReadFile(filepath.Join(dir, "key.pub")); err == nil {
		public, err := keyfile.ParsePublic(key)
		if err != nil {
			return attest.Report{}, err
		}
		policy.Keys = []attest.TrustedKey{{Key: public.Keys[0]}}
	} else {
		policy.Identities = []attest.TrustedIdentity{{
			Issuer: attest.Exactly(text("issuer", actions)), Subject: attest.Exactly(text("identity", beacon)),
		}}
	}
	want := attest.Expect{
		Subject: artifactDigest(t, base),
		Type:    attest.TypeAny,
	}
	if own, err := os.ReadFile(filepath.Join(dir, "artifact")); err == nil {
		want.Subject = string(assay.DigestOf(sha256.Sum256(own)))
	}
	if strings.Contains(string(data), `"messageSignature"`) {
		want.Type = attest.TypeSignature
	}
	return attest.Verify(data, policy, want, now), nil
}

// artifactDigest is of the file that cases are about unless they bring their own.
func artifactDigest(t testing.TB, base string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(base, "test/assets/bundle-verify/a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(assay.DigestOf(sha256.Sum256(data)))
}
