package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/internal/testenv"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts of testdata/registry run with two registries: $API has the
// referrers API, $TAG is Debian's docker-registry, which has not. Either holds
// an image team/app, and another named bare, with the digests $DIGEST and $BARE.
func TestRegistryScripts(t *testing.T) {
	prepared := prepare(t)
	registries := map[string]string{"API": registryWithAPI(t), "TAG": testenv.DockerRegistry(t)}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/registry",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ASSAY_PASSPHRASE", testPassphrase)
			env.Setenv("ASSAY_POLICY", "policies")
			env.Setenv("GORACE", os.Getenv("GORACE")) // how the race detector behaves
			env.Setenv("ASSAY_DIR", "state")
			for name, host := range registries {
				// A name of its own for each script: the registries are shared.
				repo := host + "/" + filepath.Base(env.WorkDir)
				env.Setenv(name, repo)
				for variable, content := range map[string]string{"DIGEST": "app", "BARE": "bare"} {
					d, err := putImage(repo, content)
					if err != nil {
						return err
					}
					env.Setenv(variable, string(d))
				}
			}
			return copyDir(prepared, env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "isjson": isJSON, "sha256": sum256, "onlyfiles": onlyFiles, "setid": setID,
		},
	})
}

func registryWithAPI(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// putImage pushes an image without files, as docker push would; content makes it different from others.
func putImage(repo, content string) (assay.Digest, error) {
	host, name, _ := strings.Cut(repo, "/")
	api := "http://" + host + "/v2/" + name
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Labels":{"content":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`, content)
	configDigest := assay.DigestOf(sha256.Sum256(config))
	resp, err := http.Post(api+"/blobs/uploads/", "", nil)
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return "", err
	}
	query := at.Query()
	query.Set("digest", string(configDigest))
	at.RawQuery = query.Encode()
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`, configDigest, len(config))
	digest := assay.DigestOf(sha256.Sum256(manifest))
	for _, put := range []struct {
		url, kind string
		data      []byte
	}{
		{at.String(), "application/octet-stream", config},
		{api + "/manifests/" + content, "application/vnd.oci.image.manifest.v1+json", manifest},
	} {
		req, err := http.NewRequest(http.MethodPut, put.url, bytes.NewReader(put.data))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", put.kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return "", fmt.Errorf("PUT %s: %s %s", put.url, resp.Status, body)
		}
	}
	return digest, nil
}

// cosign runs the real cosign in dir with the switches for a key without Sigstore's services.
func cosign(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(testenv.Cosign(t), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=cosign", "HOME="+dir, "DOCKER_CONFIG="+dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// assayIn runs one command of ours in a folder that holds what the scripts find.
func assayIn(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	env := map[string]string{
		"ASSAY_DIR": filepath.Join(dir, "state"), "ASSAY_PASSPHRASE": testPassphrase,
		"HOME": dir,
	}
	if args[0] == "attest" { // to verify with a policy demands that this very policy was used
		env["ASSAY_POLICY"] = filepath.Join(dir, "policies")
	}
	var out bytes.Buffer
	code := run(t.Context(), args, func(k string) string { return env[k] }, strings.NewReader(""), &out, &out)
	return out.String(), code
}

// vsaPredicate is a summary that another verifier, who uses cosign, makes of an image.
const vsaPredicate = `{"verifier":{"id":"https://example.com/verifier"},"timeVerified":%q,"resourceUri":"pkg:oci/app",` +
	`"policy":{"uri":"https://example.com/policy"},"verificationResult":"PASSED","verifiedLevels":["SLSA_BUILD_LEVEL_3"],"slsaVersion":"1.2"}`

func TestCosignAndAssayReadEachOthersAttestationsInARegistry(t *testing.T) {
	for name, host := range map[string]string{"referrers API": registryWithAPI(t), "docker-registry 2.8": testenv.DockerRegistry(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := copyDir(prepare(t), dir); err != nil {
				t.Fatal(err)
			}
			in := func(name string) string { return filepath.Join(dir, name) }
			digest, err := putImage(host+"/team/app", "app")
			if err != nil {
				t.Fatal(err)
			}
			image := host + "/team/app@" + string(digest)
			must := func(out string, code int) string {
				t.Helper()
				if code != exitOK {
					t.Fatalf("exit %d\n%s", code, out)
				}
				return out
			}
			mustCosign := func(args ...string) {
				t.Helper()
				if out, err := cosign(t, dir, args...); err != nil {
					t.Fatalf("cosign %s: %v\n%s", args[0], err, out)
				}
			}

			// Ours, read by cosign.
			must(assayIn(t, dir, "attest", "--digest", string(digest), "--evidence", in("tests.json"), "--evidence", in("clean.json"), "--bundle", in("image.sigstore.json")))
			must(assayIn(t, dir, "attestation", "push", in("image.sigstore.json"), "--to", image))
			verify := []string{"verify-attestation", "--key", in("assay.pub"), "--insecure-ignore-tlog", "--type", assay.VSAPredicateType, image}
			mustCosign(verify...)
			if out, err := cosign(t, dir, append(verify[:1:1], append([]string{"--key", writeOtherKey(t, dir)}, verify[3:]...)...)...); err == nil {
				t.Errorf("cosign verified our attestation with another key:\n%s", out)
			}

			// Cosign's, read by us, beside ours.
			mustCosign("generate-key-pair")
			predicate := fmt.Sprintf(vsaPredicate, "2026-01-01T00:00:00Z")
			if err := os.WriteFile(in("vsa.json"), []byte(predicate), 0o600); err != nil {
				t.Fatal(err)
			}
			mustCosign("attest", "--key", in("cosign.key"), "--predicate", in("vsa.json"), "--type", assay.VSAPredicateType,
				"--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=true", "--yes", image)
			out := must(assayIn(t, dir, "attestation", "verify", "--registry", image, "--pub", in("cosign.pub"), "--resource", "pkg:oci/app",
				"--allow-verifier", "https://example.com/verifier", "--level", "SLSA_BUILD_LEVEL_3"))
			if !strings.Contains(out, "an attestation holds") || !strings.Contains(out, "NOT verified") {
				t.Errorf("expected cosign's to hold and ours, of another key, not to:\n%s", out)
			}
			out = must(assayIn(t, dir, "attestation", "discover", image))
			if strings.Count(out, assay.VSAPredicateType) != 2 {
				t.Errorf("expected two summaries:\n%s", out)
			}
			// Theirs did not disturb ours.
			mustCosign(verify...)
			must(assayIn(t, dir, "attestation", "verify", "--registry", image, "--pub", in("assay.pub"), "--resource", "pkg:generic/app"))
		})
	}
}

func TestCosignAndAssayReadEachOthersBundlesOfFiles(t *testing.T) {
	dir := t.TempDir()
	if err := copyDir(prepare(t), dir); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	verify := []string{"verify-blob-attestation", "--key", in("assay.pub"), "--bundle", in("app.sigstore.json"),
		"--type", assay.VSAPredicateType, "--insecure-ignore-tlog"}
	if out, err := cosign(t, dir, append(verify, in("app"))...); err != nil {
		t.Fatalf("cosign refuses our bundle: %v\n%s", err, out)
	}
	if out, err := cosign(t, dir, append(verify, in("tests.json"))...); err == nil {
		t.Errorf("cosign verified our bundle for another file:\n%s", out)
	}
	if out, err := cosign(t, dir, "generate-key-pair"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(in("vsa.json"), fmt.Appendf(nil, vsaPredicate, "2026-01-01T00:00:00Z"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := cosign(t, dir, "attest-blob", "--key", in("cosign.key"), "--predicate", in("vsa.json"), "--type", assay.VSAPredicateType,
		"--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=true", "--bundle", in("theirs.sigstore.json"), "--yes", in("app")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args := []string{"attestation", "verify", in("app"), "--bundle", in("theirs.sigstore.json"), "--resource", "pkg:oci/app",
		"--allow-verifier", "https://example.com/verifier", "--pub"}
	if out, code := assayIn(t, dir, append(args, in("cosign.pub"))...); code != exitOK {
		t.Errorf("exit %d for cosign's bundle\n%s", code, out)
	}
	if out, code := assayIn(t, dir, append(args, in("assay.pub"))...); code != exitFailed {
		t.Errorf("exit %d for cosign's bundle with another key, expected 3\n%s", code, out)
	}
}

// writeOtherKey writes a public key that signed nothing here.
func writeOtherKey(t *testing.T, dir string) string {
	t.Helper()
	other := filepath.Join(dir, "other")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := cosign(t, other, "generate-key-pair"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(other, "cosign.pub")
}
