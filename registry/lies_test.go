package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// lying is an honest registry with one bundle on one image, some of whose
// answers are replaced. lie reports whether it answered.
type lying struct {
	ref     string
	subject assay.Digest
	bundle  assay.Digest
	entry   ocispec.Descriptor // of the bundle's manifest
	honest  http.Handler
	lie     func(w http.ResponseWriter, req *http.Request) bool
}

func newLying(t *testing.T) *lying {
	t.Helper()
	l := &lying{honest: withAPI()}
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if l.lie == nil || !l.lie(w, req) {
			l.honest.ServeHTTP(w, req)
		}
	}))
	l.ref, l.subject = putImage(t, host, "app")
	bundle := bundleAbout(t, l.subject, testPredicate, "")
	l.entry = putReferrer(t, l.ref, l.subject, assay.BundleMediaType, assay.BundleMediaType, bundle)
	pushed, err := newClient(t).Push(t.Context(), l.ref, bundle, created)
	if err != nil {
		t.Fatal(err)
	}
	l.bundle = pushed.Referrer.Bundle
	return l
}

// ask makes the honest registry answer.
func (l *lying) ask(method, path string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	l.honest.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
	return answer
}

// lists replaces the list of referrers.
func (l *lying) lists(entries ...ocispec.Descriptor) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_ = json.NewEncoder(w).Encode(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
		return true
	}
}

// onPath lets one lie answer requests whose path contains part.
func onPath(part string, lie http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodGet && strings.Contains(req.URL.Path, part) {
			lie(w, req)
			return true
		}
		return false
	}
}

// What a registry says of one referrer is reported beside the others, and never
// hands out a referrer that is not what it says.
func TestALieAboutAReferrerIsAFault(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func(l *lying) func(http.ResponseWriter, *http.Request) bool
		want string
	}{
		"the manifest is not what its digest says": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			return onPath("/manifests/"+l.entry.Digest.String(), func(w http.ResponseWriter, req *http.Request) {
				data := l.ask(http.MethodGet, req.URL.Path).Body.Bytes()
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				_, _ = w.Write(bytes.Replace(data, []byte("manifest.v1"), []byte("manifest.v2"), 1))
			})
		}, "mismatched digest"},
		"the manifest has another size": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			d := l.entry
			d.Size++
			return l.lists(d)
		}, "Content-Length"},
		"the manifest is longer than it says, without a length": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			return onPath("/manifests/"+l.entry.Digest.String(), func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				w.(http.Flusher).Flush()
				_, _ = io.Copy(w, io.MultiReader(l.ask(http.MethodGet, req.URL.Path).Body, strings.NewReader(strings.Repeat(" ", 1<<20))))
			})
		}, "trailing data"},
		"the manifest has another media type": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			return onPath("/manifests/"+l.entry.Digest.String(), func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.Copy(w, l.ask(http.MethodGet, req.URL.Path).Body)
			})
		}, "Content-Type"},
		"the manifest is huge": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			d := l.entry
			d.Size = 1 << 40
			return l.lists(d)
		}, "a size that no manifest"},
		"a digest that is none": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			d := l.entry
			d.Digest = "sha256:../../../etc"
			return l.lists(d)
		}, "64 lower-case hexadecimal"},
		"a bundle that is an index": {func(l *lying) func(http.ResponseWriter, *http.Request) bool {
			d := l.entry
			d.ArtifactType, d.MediaType = assay.BundleMediaType, ocispec.MediaTypeImageIndex
			return l.lists(d)
		}, "not as an image manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLying(t)
			l.lie = c.lie(l)
			got, err := newClient(t).Discover(t.Context(), l.ref, Filter{})
			if err != nil || len(got.Referrers) != 0 || len(got.Faults) != 1 || !strings.Contains(got.Faults[0].Reason, c.want) {
				t.Errorf("discovered %+v (%v); expected one fault with %q", got, err, c.want)
			}
			if missing := got.Missing([]assay.Digest{l.bundle}); len(missing) != 1 {
				t.Errorf("the bundle is not missing")
			}
		})
	}
}

func TestAReferrerOfAnotherImageIsAFault(t *testing.T) {
	l := newLying(t)
	otherSubject := assay.Digest("sha256:" + strings.Repeat("ab", 32))
	d := putReferrer(t, l.ref, otherSubject, assay.BundleMediaType, assay.BundleMediaType, bundleAbout(t, otherSubject, testPredicate, ""))
	l.lie = l.lists(l.entry, d)
	got, err := newClient(t).Discover(t.Context(), l.ref, Filter{})
	if err != nil || len(got.Referrers) != 1 || len(got.Faults) != 1 || !strings.Contains(got.Faults[0].Reason, "about another image") {
		t.Errorf("discovered %+v, %v", got, err)
	}
}

func TestABundleThatIsNotWhatItsDigestSaysIsNotPulled(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, data []byte)
		want   string
	}{
		"another content": {func(w http.ResponseWriter, data []byte) {
			data[len(data)/2] ^= 1
			_, _ = w.Write(data)
		}, "mismatched digest"},
		"more than it says": {func(w http.ResponseWriter, data []byte) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(append(data, " "...))
		}, "trailing data"},
		"less than it says": {func(w http.ResponseWriter, data []byte) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(data[:len(data)-1])
		}, "unexpected EOF"},
		"another length": {func(w http.ResponseWriter, data []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)-1))
			_, _ = w.Write(data[:len(data)-1])
		}, "Content-Length"},
		"nothing": {func(w http.ResponseWriter, _ []byte) { http.NotFound(w, nil) }, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLying(t)
			l.lie = onPath("/blobs/"+string(l.bundle), func(w http.ResponseWriter, req *http.Request) {
				c.answer(w, l.ask(http.MethodGet, req.URL.Path).Body.Bytes())
			})
			client := newClient(t)
			got, err := client.Discover(t.Context(), l.ref, Filter{})
			if err != nil || len(got.Referrers) != 1 {
				t.Fatalf("discovered %+v, %v", got, err)
			}
			data, err := client.Pull(t.Context(), l.ref, got.Referrers[0])
			if err == nil || len(data) > 0 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("pulled %d bytes with %v; expected an error with %q", len(data), err, c.want)
			}
		})
	}
}

func TestAListThatCannotBeTrustedIsAnError(t *testing.T) {
	page := func(w http.ResponseWriter, next string, entries ...ocispec.Descriptor) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if next != "" {
			w.Header().Set("Link", "<"+next+`>; rel="next"`)
		}
		_ = json.NewEncoder(w).Encode(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   assay.Code
		want   string
	}{
		"pages without end": {func(w http.ResponseWriter, req *http.Request) {
			n, _ := strconv.Atoi(req.URL.Query().Get("n"))
			page(w, fmt.Sprintf("%s?n=%d", req.URL.Path, n+1))
		}, assay.CodeTooLarge, "more than 100 pages"},
		"a page that leads to itself": {func(w http.ResponseWriter, req *http.Request) { page(w, req.URL.String()) }, assay.CodeTooLarge, "more than 1 pages"},
		"entries without end": {func(w http.ResponseWriter, req *http.Request) {
			n, _ := strconv.Atoi(req.URL.Query().Get("n"))
			page(w, fmt.Sprintf("%s?n=%d", req.URL.Path, n+1), make([]ocispec.Descriptor, 500)...)
		}, assay.CodeTooLarge, "more than 10000 referrers"},
		"a page without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			for range 80 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, assay.CodeTooLarge, "larger than 4194304 bytes"},
		"the next page on another host": {func(w http.ResponseWriter, _ *http.Request) {
			page(w, "http://169.254.169.254/latest/meta-data/")
		}, assay.CodeDenied, "points to another host, 169.254.169.254"},
		"a next page that is not there": {func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Has("n") {
				http.NotFound(w, req)
				return
			}
			page(w, req.URL.Path+"?n=1")
		}, assay.CodeUnverified, "page 2 of the list is not there"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			fmt.Fprint(w, "{")
		}, assay.CodeUnverified, "is not an OCI index"},
		"twice the same key": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			fmt.Fprint(w, `{"manifests":[],"manifests":[]}`)
		}, assay.CodeUnverified, "duplicate"},
		"an image in place of a list": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			fmt.Fprint(w, `{"mediaType":"application/vnd.oci.image.manifest.v1+json"}`)
		}, assay.CodeUnverified, "is of type"},
		"a redirect into the network's inside": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://169.254.169.254/latest/", http.StatusTemporaryRedirect)
		}, assay.CodeDenied, "private network"},
		"redirects without end": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.Path+"?again", http.StatusFound)
		}, assay.CodeDenied, "more than 3 times"},
		"denied":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, assay.CodeDenied, "403"},
		"unauthorised": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, assay.CodeUnauthenticated, "docker login"},
		"out of order": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, assay.CodeUnavailable, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLying(t)
			l.lie = onPath("/referrers/", c.answer)
			got, err := newClient(t).Discover(t.Context(), l.ref, Filter{})
			if assay.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) || len(got.Referrers) > 0 {
				t.Errorf("discovered %+v\n%v (%s)\nexpected %q (%s)", got, err, assay.CodeOf(err), c.want, c.code)
			}
		})
	}
}

func TestATagIndexThatCannotBeTrustedIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		kind, body string
		code       assay.Code
		want       string
	}{
		"entries without end":   {ocispec.MediaTypeImageIndex, `{"manifests":[` + strings.Repeat("{},", MaxListed) + `{}]}`, assay.CodeTooLarge, "more than 10000 referrers"},
		"a tag without end":     {ocispec.MediaTypeImageIndex, strings.Repeat(" ", MaxIndex+1), assay.CodeTooLarge, "4194304"},
		"an image":              {ocispec.MediaTypeImageManifest, `{}`, assay.CodeUnverified, "not an index of referrers"},
		"a page for people":     {"text/html", `<html>`, assay.CodeUnverified, "not an index of referrers"},
		"entries of other form": {ocispec.MediaTypeImageIndex, `{"manifests":["x"]}`, assay.CodeUnverified, "entry 0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLying(t)
			l.lie = func(w http.ResponseWriter, req *http.Request) bool {
				switch {
				case strings.Contains(req.URL.Path, "/referrers/"):
					http.NotFound(w, req)
				case strings.Contains(req.URL.Path, "/manifests/sha256-"):
					w.Header().Set("Content-Type", c.kind)
					w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
					_, _ = io.WriteString(w, c.body)
				default:
					return false
				}
				return true
			}
			got, err := newClient(t).Discover(t.Context(), l.ref, Filter{})
			if assay.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) || len(got.Referrers) > 0 {
				t.Errorf("gave %v (%s); expected %q (%s)", err, assay.CodeOf(err), c.want, c.code)
			}
		})
	}
}

func TestOnlySoManyRedirectsAreFollowed(t *testing.T) {
	l := newLying(t)
	asked := 0
	l.lie = onPath("/referrers/", func(w http.ResponseWriter, req *http.Request) {
		if asked++; asked <= MaxRedirects {
			http.Redirect(w, req, req.URL.Path+"?again", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.Copy(w, l.ask(http.MethodGet, req.URL.Path).Body)
	})
	if _, err := newClient(t).Discover(t.Context(), l.ref, Filter{}); err != nil || asked != MaxRedirects+1 {
		t.Errorf("%d redirects: asked %d times, %v", MaxRedirects, asked, err)
	}
	asked = -1
	if _, err := newClient(t).Discover(t.Context(), l.ref, Filter{}); err == nil || asked != MaxRedirects {
		t.Errorf("%d redirects: asked %d times, %v", MaxRedirects+1, asked+1, err)
	}
}

func TestARegistryThatAnswersSlowlyIsGivenUp(t *testing.T) {
	for _, part := range []string{"/referrers/", "/manifests/sha256:", "/blobs/"} {
		t.Run(part, func(t *testing.T) {
			l := newLying(t)
			end := make(chan struct{})
			l.lie = onPath(part, func(w http.ResponseWriter, req *http.Request) {
				answer := l.ask(http.MethodGet, req.URL.Path)
				w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
				w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
				_, _ = w.Write(answer.Body.Bytes()[:10])
				w.(http.Flusher).Flush()
				<-end
			})
			defer close(end)
			c := clientWith(t, Config{Timeout: 100 * time.Millisecond})
			began := time.Now()
			got, err := c.Discover(t.Context(), l.ref, Filter{})
			if part == "/blobs/" && err == nil {
				_, err = c.Pull(t.Context(), l.ref, got.Referrers[0])
			}
			if took := time.Since(began); assay.CodeOf(err) != assay.CodeUnavailable || took > 20*time.Second {
				t.Errorf("gave %v after %s", err, took)
			}
		})
	}
}

func TestMoreBundlesThanAreReadIsAnError(t *testing.T) {
	l := newLying(t)
	entries := make([]ocispec.Descriptor, MaxReferrers+1)
	for i := range entries {
		entries[i] = ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, ArtifactType: assay.BundleMediaType, Size: 100,
			Digest: digest.Digest(fmt.Sprintf("sha256:%064x", i)),
		}
	}
	l.lie = l.lists(entries...)
	_, err := newClient(t).Discover(t.Context(), l.ref, Filter{})
	if assay.CodeOf(err) != assay.CodeTooLarge || !strings.Contains(err.Error(), "more than 1000 attestation bundles") {
		t.Errorf("gave %v", err)
	}
}
