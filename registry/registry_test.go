package registry

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestABundleIsPushedDiscoveredAndPulledOnBothKindsOfRegistry(t *testing.T) {
	for name, host := range registries(t) {
		t.Run(name, func(t *testing.T) {
			ref, subject := putImage(t, host, "team/app")
			want := bundleAbout(t, subject, testPredicate, "one")
			c := newClient(t)
			pushed, err := c.Push(t.Context(), ref, want, created)
			if err != nil {
				t.Fatal(err)
			}
			if pushed.Existed || pushed.Reference != ref || pushed.Fallback != (name != "referrers API") {
				t.Errorf("pushed %+v", pushed)
			}
			l, err := c.Discover(t.Context(), ref, Filter{})
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Referrers) != 1 || len(l.Faults) > 0 || l.Foreign > 0 || l.Subject != subject {
				t.Fatalf("discovered %+v", l)
			}
			r := l.Referrers[0]
			if r.PredicateType != testPredicate || r.Content != "dsse-envelope" || r.Created != "2026-03-01T12:00:00Z" ||
				r.MediaType != assay.BundleMediaType || r.Bundle != assay.DigestOf(sha256.Sum256(want)) || r.Omitted {
				t.Errorf("discovered %+v", r)
			}
			got, err := c.Pull(t.Context(), ref, r)
			if err != nil || string(got) != string(want) {
				t.Errorf("pulled %d bytes (%v), pushed %d", len(got), err, len(want))
			}
			if d, err := c.Resolve(t.Context(), host+"/team/app:latest"); err != nil || d != subject {
				t.Errorf("the tag resolves to %s (%v), expected %s", d, err, subject)
			}
			if byTag, err := c.Discover(t.Context(), host+"/team/app:latest", Filter{}); err != nil || byTag.Reference != ref || len(byTag.Referrers) != 1 {
				t.Errorf("by tag: %+v, %v", byTag, err)
			}
		})
	}
}

// The layout is a contract with cosign and everybody else.
func TestTheManifestIsLaidOutAsCosignDoes(t *testing.T) {
	host := serve(t, withAPI())
	ref, subject := putImage(t, host, "app")
	pushed, err := newClient(t).Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created)
	if err != nil {
		t.Fatal(err)
	}
	r := repositoryAt(t, ref)
	_, body, err := r.FetchReference(t.Context(), string(pushed.Referrer.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var m ocispec.Manifest
	if err := json.NewDecoder(body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest || m.ArtifactType != assay.BundleMediaType ||
		m.Config.MediaType != "application/vnd.oci.empty.v1+json" || m.Config.Size != 2 ||
		m.Config.Digest != "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" ||
		len(m.Layers) != 1 || m.Layers[0].MediaType != assay.BundleMediaType ||
		m.Subject == nil || string(m.Subject.Digest) != string(subject) || m.Subject.MediaType != ocispec.MediaTypeImageManifest || m.Subject.Size == 0 {
		t.Errorf("manifest %+v", m)
	}
	want := map[string]string{
		"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": testPredicate,
		"org.opencontainers.image.created": "2026-03-01T12:00:00Z",
	}
	if fmt.Sprint(m.Annotations) != fmt.Sprint(want) {
		t.Errorf("annotations %v, expected %v", m.Annotations, want)
	}
}

func TestPushingABundleTwiceLeavesOneReferrer(t *testing.T) {
	for name, host := range registries(t) {
		t.Run(name, func(t *testing.T) {
			ref, subject := putImage(t, host, "app")
			bundle := bundleAbout(t, subject, testPredicate, "same")
			c := newClient(t)
			first, err := c.Push(t.Context(), ref, bundle, created)
			if err != nil {
				t.Fatal(err)
			}
			second, err := c.Push(t.Context(), ref, bundle, created.Add(time.Hour))
			if err != nil || !second.Existed || second.Referrer != first.Referrer {
				t.Errorf("the second push gave %+v (%v) after %+v", second, err, first)
			}
			if l, err := c.Discover(t.Context(), ref, Filter{}); err != nil || len(l.Referrers) != 1 {
				t.Errorf("discovered %+v, %v", l, err)
			}
		})
	}
}

func TestWritersAtTheSameTimeLoseNothing(t *testing.T) {
	for name, host := range registries(t) {
		t.Run(name, func(t *testing.T) {
			ref, subject := putImage(t, host, "app")
			const writers = 4
			var wg sync.WaitGroup
			errs := make([]error, writers)
			var want []string
			for i := range writers {
				bundle := bundleAbout(t, subject, testPredicate, fmt.Sprint("writer ", i))
				want = append(want, string(assay.DigestOf(sha256.Sum256(bundle))))
				// As if each were a program of its own; a slow machine needs a long settling time.
				c := clientWith(t, Config{Settle: 700 * time.Millisecond})
				wg.Go(func() { _, errs[i] = c.Push(t.Context(), ref, bundle, created) })
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					t.Error(err)
				}
			}
			slices.Sort(want)
			l, err := newClient(t).Discover(t.Context(), ref, Filter{})
			if err != nil || !slices.Equal(bundles(l), want) {
				t.Errorf("%d of %d bundles are listed (%v): %+v", len(l.Referrers), writers, err, l)
			}
		})
	}
}

func TestAWriterWhoseEntryWasReplacedWritesItAgain(t *testing.T) {
	honest := withoutAPIHandler()
	writes := 0
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		honest.ServeHTTP(w, req)
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/sha256-") {
			if writes++; writes == 1 { // another writer, who read the tag before this write, replaces it
				stale := httptest.NewRequest(http.MethodPut, req.URL.Path, strings.NewReader(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
				stale.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
				honest.ServeHTTP(httptest.NewRecorder(), stale)
			}
		}
	}))
	ref, subject := putImage(t, host, "app")
	if _, err := newClient(t).Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created); err != nil {
		t.Fatal(err)
	}
	if l, err := newClient(t).Discover(t.Context(), ref, Filter{}); err != nil || len(l.Referrers) != 1 || writes != 2 {
		t.Errorf("%d referrers after %d writes (%v), expected 1 after 2", len(l.Referrers), writes, err)
	}
}

func TestReferrersOfAllPagesAreListed(t *testing.T) {
	m := &modern{Handler: withAPI(), pageSize: 2, filter: true, announce: true}
	host := serve(t, m)
	ref, subject := putImage(t, host, "app")
	var want []string
	for i := range 7 {
		bundle := bundleAbout(t, subject, testPredicate, fmt.Sprint(i))
		want = append(want, string(assay.DigestOf(sha256.Sum256(bundle))))
		putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, bundle)
	}
	slices.Sort(want)
	l, err := newClient(t).Discover(t.Context(), ref, Filter{})
	if err != nil || !slices.Equal(bundles(l), want) {
		t.Errorf("discovered %v (%v), expected %v", bundles(l), err, want)
	}
	if len(m.asked) != 4 {
		t.Errorf("asked %d times for 7 referrers in pages of 2: %v", len(m.asked), m.asked)
	}
}

func TestTheFilterOfARegistryIsHonouredOnlyIfItSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		filter, announce bool
		foreign, asked   int
	}{
		"applied and announced":         {true, true, 0, 1},
		"not applied, not announced":    {false, false, 2, 1},
		"announced without being true":  {false, true, 2, 1},
		"applied without announcing it": {true, false, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := &modern{Handler: withAPI(), filter: c.filter, announce: c.announce}
			ref, subject := putImage(t, serve(t, m), "app")
			putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, bundleAbout(t, subject, testPredicate, ""))
			putReferrer(t, ref, subject, "application/spdx+json", "application/spdx+json", []byte(`{}`))
			putReferrer(t, ref, subject, "application/vnd.example.icon", "image/png", []byte(`png`))
			l, err := newClient(t).Discover(t.Context(), ref, Filter{})
			if err != nil || len(l.Referrers) != 1 || l.Foreign != c.foreign || len(m.asked) != c.asked {
				t.Errorf("discovered %+v (%v) with the questions %q", l, err, m.asked)
			}
		})
	}
}

func TestARegistryThatFiltersByTheTypeOfTheConfigIsAskedForAll(t *testing.T) {
	honest := withAPI() // states the type of the config
	asked := 0
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/referrers/") {
			if asked++; req.URL.Query().Get("artifactType") != "" {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				w.Header().Set("OCI-Filters-Applied", "artifactType")
				fmt.Fprint(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
				return
			}
		}
		honest.ServeHTTP(w, req)
	}))
	ref, subject := putImage(t, host, "app")
	putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, bundleAbout(t, subject, testPredicate, ""))
	if l, err := newClient(t).Discover(t.Context(), ref, Filter{}); err != nil || len(l.Referrers) != 1 || asked != 2 {
		t.Errorf("discovered %+v (%v) with %d questions", l, err, asked)
	}
}

func TestA404FallsBackToTheTagIndexAndKeepsWhatOthersWroteThere(t *testing.T) {
	host := serve(t, withoutAPIHandler())
	ref, subject := putImage(t, host, "app")
	foreign := putReferrer(t, ref, subject, "application/spdx+json", "application/spdx+json", []byte(`{}`))
	r := repositoryAt(t, ref)
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/spdx+json","data":"e30=","x-other":{"kept":true}}`, foreign.MediaType, foreign.Digest, foreign.Size)
	if err := r.writeTag(t.Context(), subject, index{Manifests: jsonValues(entry), Annotations: map[string]string{"by": "others"}}); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	pushed, err := c.Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created)
	if err != nil || !pushed.Fallback {
		t.Fatalf("pushed %+v, %v", pushed, err)
	}
	l, err := c.Discover(t.Context(), ref, Filter{})
	if err != nil || len(l.Referrers) != 1 || l.Foreign != 1 || !l.Fallback {
		t.Errorf("discovered %+v, %v", l, err)
	}
	x, list, err := r.tagIndex(t.Context(), subject)
	if err != nil || len(list) != 2 || string(x.Manifests[0]) != entry || x.Annotations["by"] != "others" {
		t.Errorf("the tag holds %s %v (%v); expected the other's entry unchanged", x.Manifests, x.Annotations, err)
	}
	if list[1].ArtifactType != assay.BundleMediaType || list[1].Annotations["dev.sigstore.bundle.predicateType"] != testPredicate {
		t.Errorf("our entry in the tag is %+v", list[1])
	}
}

func TestATagThatIsNoIndexIsNotOverwritten(t *testing.T) {
	host := serve(t, withoutAPIHandler())
	ref, subject := putImage(t, host, "app")
	putManifest(t, repositoryAt(t, ref), ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON}, tagOf(subject))
	_, err := newClient(t).Push(t.Context(), ref, bundleAbout(t, subject, testPredicate, ""), created)
	if err == nil || !strings.Contains(err.Error(), "not an index of referrers") {
		t.Errorf("the push gave %v", err)
	}
}

func TestForeignReferrersAreIgnoredAndCounted(t *testing.T) {
	for name, host := range map[string]string{"stated types": serve(t, &modern{Handler: withAPI()}), "unknown types": serve(t, withAPI())} {
		t.Run(name, func(t *testing.T) {
			ref, subject := putImage(t, host, "app")
			putReferrer(t, ref, subject, "application/vnd.cncf.notary.signature", "application/jose+json", []byte(`{}`))
			putReferrer(t, ref, subject, "application/vnd.in-toto+json", "application/vnd.dsse.envelope.v1+json", []byte(`{"a":1}`))
			putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, bundleAbout(t, subject, testPredicate, ""))
			l, err := newClient(t).Discover(t.Context(), ref, Filter{})
			if err != nil || len(l.Referrers) != 1 || l.Foreign != 2 || len(l.Faults) > 0 {
				t.Errorf("discovered %+v, %v", l, err)
			}
		})
	}
}

func TestAFilterByPredicateTypeKeepsWhatDoesNotSayItsType(t *testing.T) {
	ref, subject := putImage(t, serve(t, withAPI()), "app")
	c := newClient(t)
	for _, p := range []string{testPredicate, assay.VSAPredicateType} {
		if _, err := c.Push(t.Context(), ref, bundleAbout(t, subject, p, ""), created); err != nil {
			t.Fatal(err)
		}
	}
	putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, bundleAbout(t, subject, assay.VSAPredicateType, "no annotation"))
	l, err := c.Discover(t.Context(), ref, Filter{PredicateTypes: []string{assay.VSAPredicateType}})
	if err != nil || len(l.Referrers) != 2 || l.Excluded != 1 {
		t.Errorf("discovered %+v, %v", l, err)
	}
}

func TestARegistryThatOmitsAReferrerIsNoticed(t *testing.T) {
	honest := withAPI()
	var hidden string
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			honest.ServeHTTP(w, req)
			return
		}
		answer := httptest.NewRecorder()
		honest.ServeHTTP(answer, req)
		var x ocispec.Index
		_ = json.Unmarshal(answer.Body.Bytes(), &x)
		x.Manifests = slices.DeleteFunc(x.Manifests, func(d ocispec.Descriptor) bool { return d.Digest.String() == hidden })
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_ = json.NewEncoder(w).Encode(x)
	}))
	ref, subject := putImage(t, host, "app")
	shown, secret := bundleAbout(t, subject, testPredicate, "shown"), bundleAbout(t, subject, testPredicate, "secret")
	putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, shown)
	d := putReferrer(t, ref, subject, assay.BundleMediaType, assay.BundleMediaType, secret)
	hidden = d.Digest.String()
	want := []assay.Digest{assay.DigestOf(sha256.Sum256(shown)), assay.DigestOf(sha256.Sum256(secret))}
	c := newClient(t)

	l, err := c.Discover(t.Context(), ref, Filter{})
	if missing := l.Missing(want); err != nil || len(l.Referrers) != 1 || !slices.Equal(missing, want[1:]) {
		t.Errorf("missing are %v of %+v (%v); expected %s", missing, l, err, want[1])
	}

	// The index tag of a registry that has the API now but had not before.
	entry, err := json.Marshal(d)
	if err == nil {
		err = repositoryAt(t, ref).writeTag(t.Context(), subject, index{Manifests: jsonValues(string(entry))})
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err = c.Discover(t.Context(), ref, Filter{})
	if err != nil || len(l.Referrers) != 2 || len(l.Missing(want)) > 0 {
		t.Fatalf("discovered %+v, %v", l, err)
	}
	for _, r := range l.Referrers {
		if r.Omitted != (r.Bundle == want[1]) {
			t.Errorf("bundle %s: omitted is %v", r.Bundle, r.Omitted)
		}
	}
}
