package oci_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/inventory"
	"assay.dev/assay/inventory/oci"
	"assay.dev/assay/registry"
	"assay.dev/assay/store/mem"
)

// push puts an image without files into a registry and returns its digest.
func push(t *testing.T, client *http.Client, base, repo, tag, note string) assay.Digest {
	t.Helper()
	send := func(method, url, kind, body string, want int) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, said)
		}
		return resp
	}
	blob := fmt.Sprintf("%x", sha256.Sum256([]byte("{}")))
	up := send(http.MethodPost, base+"/v2/"+repo+"/blobs/uploads/", "", "", 202)
	send(http.MethodPut, up.Header.Get("Location")+"&digest=sha256:"+blob, "application/octet-stream", "{}", 201)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":2},"layers":[],"annotations":{"note":%q}}`, blob, note)
	send(http.MethodPut, base+"/v2/"+repo+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", manifest, 201)
	return assay.DigestOf(sha256.Sum256([]byte(manifest)))
}

func client(t *testing.T, cfg registry.Config) *registry.Client {
	t.Helper()
	c, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func seen(t *testing.T, r oci.Registry) string {
	t.Helper()
	reports, err := r.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || !reports[0].Complete || reports[0].Environment != "registry" {
		t.Fatalf("%+v", reports)
	}
	var out bytes.Buffer
	for _, g := range reports[0].Sightings {
		fmt.Fprintf(&out, "%s %s %s\n", g.Service, strings.TrimPrefix(g.Image, g.Place+"/"), g.Digest)
	}
	return out.String()
}

func TestARealRegistrySaysWhatLiesInIt(t *testing.T) {
	host := testenv.DockerRegistry(t)
	base := "http://" + host
	one := push(t, http.DefaultClient, base, "team/web", "1.0", "one")
	two := push(t, http.DefaultClient, base, "team/web", "1.1", "two")
	mail := push(t, http.DefaultClient, base, "mail", "latest", "mail")
	push(t, http.DefaultClient, base, "mail", "sha256-"+mail.Hex(), "a list of referrers")
	all := oci.Registry{Client: client(t, registry.Config{}), Place: host, Environment: "registry", Source: "hub"}
	web := fmt.Sprintf("team/web team/web:1.0 %s\nteam/web team/web:1.1 %s\n", one, two)
	if got, want := seen(t, all), fmt.Sprintf("mail mail:latest %s\n", mail)+web; got != want {
		t.Errorf("in all repositories lie\n%swant\n%s", got, want)
	}
	all.Place = host + "/team/web"
	if got := seen(t, all); got != web {
		t.Errorf("in one repository lie\n%swant\n%s", got, web)
	}
	for _, place := range []string{host + "/nobody", "not a host", ""} {
		all.Place = place
		if reports, err := all.Observe(t.Context()); err == nil || len(reports) != 0 {
			t.Errorf("%q: %+v, %v", place, reports, err)
		}
	}
}

func TestAPrivateRegistryIsBelievedByItsAuthority(t *testing.T) {
	dir := t.TempDir()
	if err := certs.Make(dir, []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	host := testenv.DockerRegistry(t, filepath.Join(dir, certs.CertName), filepath.Join(dir, certs.KeyName))
	ca, err := os.ReadFile(filepath.Join(dir, certs.CAName))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	d := push(t, &http.Client{Transport: transport}, "https://"+host, "web", "1", "one")
	r := oci.Registry{Client: client(t, registry.Config{CA: ca}), Place: host, Environment: "registry"}
	if got, want := seen(t, r), fmt.Sprintf("web web:1 %s\n", d); got != want {
		t.Errorf("%q, want %q", got, want)
	}

	if err := certs.Make(t.TempDir(), []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := certs.Make(other, []string{"127.0.0.1"}, time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	if ca, err = os.ReadFile(filepath.Join(other, certs.CAName)); err != nil {
		t.Fatal(err)
	}
	r.Client = client(t, registry.Config{CA: ca})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := r.Observe(ctx); assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "--registry-ca") {
		t.Errorf("by another authority: %v", err)
	}
	if _, err := registry.New(registry.Config{CA: []byte("no certificate")}); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("a file without a certificate: %v", err)
	}
}

// longest is a registry whose repository has the longest name that the distribution
// specification allows.
type longest struct{}

func (longest) Images(context.Context, string) ([]registry.Tagged, error) {
	return []registry.Tagged{
		{Repository: strings.Repeat("r", 255), Tag: "1", Digest: assay.DigestOf(sha256.Sum256([]byte("long")))},
		{Repository: "web", Tag: "1", Digest: assay.DigestOf(sha256.Sum256([]byte("web")))},
	}, nil
}

func TestOneLongRepositoryDoesNotHideARegistry(t *testing.T) {
	r := oci.Registry{Client: longest{}, Place: strings.Repeat("h", 240) + ".example:5000", Environment: "registry", Source: "registry"}
	reports, err := r.Observe(t.Context())
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	reports[0].Namespace, reports[0].Actor = "default", "test"
	p, err := inventory.Push(t.Context(), mem.New(mem.Config{}), reports[0], time.Now())
	if err != nil || p.Appeared != 2 {
		t.Errorf("of two images %d are known, %v", p.Appeared, err)
	}
}
