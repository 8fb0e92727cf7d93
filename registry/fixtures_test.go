package registry

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/testenv"
	"github.com/go-json-experiment/json/jsontext"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signer signs with a key of the test.
type signer struct{ key ed25519.PrivateKey }

func (s signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	return ed25519.Sign(s.key, message), nil
}
func (s signer) Public() crypto.PublicKey { return s.key.Public() }
func (s signer) KeyID() string {
	k, err := attest.NewKey(s.Public())
	if err != nil {
		return ""
	}
	return k.KeyID()
}

var testSigner = signer{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))}

const testPredicate = "https://example.com/predicate/v1"

// bundleAbout makes a bundle whose statement is about subject; note makes it different from others.
func bundleAbout(t testing.TB, subject assay.Digest, predicateType, note string) []byte {
	t.Helper()
	statement := fmt.Sprintf(`{"_type":%q,"subject":[{"name":"image","digest":{"sha256":%q}}],"predicateType":%q,"predicate":{"note":%q}}`,
		assay.StatementType, subject.Hex(), predicateType, note)
	data, err := attest.Sign(t.Context(), testSigner, []byte(statement))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withAPI is a registry in this process that has the referrers API. It states
// the type of the config as artifact type and knows neither pages nor filters.
func withAPI() http.Handler {
	return ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0)))
}

// withoutAPIHandler is the same registry without the referrers API.
func withoutAPIHandler() http.Handler { return ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))) }

// serve starts a registry and returns its address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// registries are both kinds: with the referrers API, and a real one without.
func registries(t *testing.T) map[string]string {
	return map[string]string{"referrers API": serve(t, withAPI()), "docker-registry 2.8": testenv.DockerRegistry(t)}
}

func newClient(t testing.TB) *Client {
	t.Helper()
	return clientWith(t, Config{Timeout: 10 * time.Second, Settle: 20 * time.Millisecond})
}

func clientWith(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// putImage pushes an image without content and returns its reference and digest.
func putImage(t testing.TB, host, name string) (string, assay.Digest) {
	t.Helper()
	r := repositoryAt(t, host+"/"+name+":latest")
	empty := ocispec.DescriptorEmptyJSON
	if err := r.Blobs().Push(t.Context(), empty, bytes.NewReader(empty.Data)); err != nil {
		t.Fatal(err)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.example.app",
		Config: ocispec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size},
		Layers: []ocispec.Descriptor{{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size}},
	}
	d := putManifest(t, r, m, "latest")
	return host + "/" + name + "@" + d.Digest.String(), assay.Digest(d.Digest)
}

func repositoryAt(t testing.TB, reference string) *repository {
	t.Helper()
	r, err := newClient(t).open(reference)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// putManifest pushes a manifest, with a tag unless tag is "", and returns its entry.
func putManifest(t testing.TB, r *repository, m ocispec.Manifest, tag string) ocispec.Descriptor {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{
		MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data)),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	if tag == "" {
		tag = d.Digest.String()
	}
	if err := r.PushReference(t.Context(), d, bytes.NewReader(data), tag); err != nil {
		t.Fatal(err)
	}
	return d
}

// putReferrer pushes a referrer of any kind: a layer of one type in a manifest of another.
func putReferrer(t testing.TB, reference string, subject assay.Digest, artifactType, layerType string, data []byte) ocispec.Descriptor {
	t.Helper()
	r := repositoryAt(t, reference)
	layer := ocispec.Descriptor{MediaType: layerType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := r.Blobs().Push(t.Context(), layer, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	empty := ocispec.DescriptorEmptyJSON
	return putManifest(t, r, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config:  ocispec.Descriptor{MediaType: empty.MediaType, Digest: empty.Digest, Size: empty.Size},
		Layers:  []ocispec.Descriptor{layer},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(subject), Size: 2},
	}, "")
}

// bundles are the digests of the bundles in a listing, sorted.
func bundles(l Listing) []string {
	out := []string{}
	for _, r := range l.Referrers {
		out = append(out, string(r.Bundle))
	}
	slices.Sort(out)
	return out
}

// modern wraps a registry whose referrers API lacks what newer ones have: the
// true artifact type of each entry, pages of n entries, and the filter, which it
// applies if filter is set and announces if announce is.
type modern struct {
	http.Handler
	pageSize         int
	filter, announce bool
	asked            []string // queries of the referrers API
}

func (m *modern) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !strings.Contains(req.URL.Path, "/referrers/") {
		m.Handler.ServeHTTP(w, req)
		return
	}
	m.asked = append(m.asked, req.URL.RawQuery)
	answer := httptest.NewRecorder()
	m.Handler.ServeHTTP(answer, req)
	var x ocispec.Index
	if err := json.Unmarshal(answer.Body.Bytes(), &x); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	slices.SortFunc(x.Manifests, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	for i, d := range x.Manifests {
		x.Manifests[i].ArtifactType = m.artifactType(req, d)
	}
	query := req.URL.Query()
	if want := query.Get("artifactType"); want != "" && m.filter {
		x.Manifests = slices.DeleteFunc(x.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType != want })
	}
	if query.Get("artifactType") != "" && m.announce {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if from, _ := strconv.Atoi(query.Get("from")); m.pageSize > 0 {
		if from+m.pageSize < len(x.Manifests) {
			query.Set("from", strconv.Itoa(from+m.pageSize))
			w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, req.URL.Path, query.Encode()))
		}
		x.Manifests = x.Manifests[min(from, len(x.Manifests)):min(from+m.pageSize, len(x.Manifests))]
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(x)
}

func (m *modern) artifactType(req *http.Request, d ocispec.Descriptor) string {
	at := strings.Split(req.URL.Path, "/referrers/")[0] + "/manifests/" + d.Digest.String()
	answer := httptest.NewRecorder()
	m.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, at, nil))
	var x ocispec.Manifest
	_ = json.Unmarshal(answer.Body.Bytes(), &x)
	return x.ArtifactType
}

func jsonValues(list ...string) (out []jsontext.Value) {
	for _, s := range list {
		out = append(out, jsontext.Value(s))
	}
	return out
}
