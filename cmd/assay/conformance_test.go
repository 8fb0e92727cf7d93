package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/testenv"
)

// Sigstore's conformance suite as a user runs it. Why each bundle is refused is
// the matter of package attest/sigstore; here it is that nothing bad exits 0.
func TestSigstoreConformanceThroughTheCommandLine(t *testing.T) {
	base := testenv.Data(t, "vectors/sigstore-conformance")
	suite := filepath.Join(base, "test/assets/bundle-verify")
	bundles, err := filepath.Glob(filepath.Join(suite, "*/bundle.sigstore.json"))
	if err != nil || len(bundles) != 70 {
		t.Fatalf("%d cases, %v; want 70", len(bundles), err)
	}
	for _, bundle := range bundles {
		dir := filepath.Dir(bundle)
		own := func(name, def string) string {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return filepath.Join(dir, name)
			}
			return def
		}
		text := func(name, def string) string {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return def
			}
			return strings.TrimSpace(string(data))
		}
		args := []string{"attestation", "verify", own("artifact", filepath.Join(suite, "a.txt")), "--bundle", bundle,
			"--trusted-root", own("trusted_root.json", filepath.Join(base, "trusted_root.json"))}
		if key := own("key.pub", ""); key != "" {
			args = append(args, "--pub", key)
		} else {
			args = append(args,
				"--certificate-identity", text("identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
				"--certificate-oidc-issuer", text("issuer", "https://token.actions.githubusercontent.com"))
		}
		kind := "any"
		if data, err := os.ReadFile(bundle); err == nil && bytes.Contains(data, []byte(`"messageSignature"`)) {
			kind = "signature"
		}
		var out bytes.Buffer
		code := run(context.Background(), append(args, "--type", kind), func(string) string { return "" }, strings.NewReader(""), &out, &out)
		switch bad := strings.HasSuffix(dir, "_fail"); {
		case !bad && code != exitOK:
			t.Errorf("%s: exit %d\n%s", filepath.Base(dir), code, &out)
		case bad && code != exitFailed && code != exitError:
			t.Errorf("%s: exit %d; want a refusal\n%s", filepath.Base(dir), code, &out)
		}
	}
}
