package registry

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"assay.dev/assay"
)

func TestPushRefusesWhatNobodyCouldVerify(t *testing.T) {
	host := serve(t, withAPI())
	ref, subject := putImage(t, host, "app")
	good := bundleAbout(t, subject, testPredicate, "")
	other := assay.Digest("sha256:" + strings.Repeat("ab", 32))
	for name, c := range map[string]struct {
		ref    string
		bundle []byte
		code   assay.Code
		want   string
	}{
		"a statement about another image":   {ref, bundleAbout(t, other, testPredicate, ""), assay.CodeInvalid, "is not about " + string(subject)},
		"an image that is not there":        {host + "/app@" + string(other), bundleAbout(t, other, testPredicate, ""), assay.CodeNotFound, "no such image"},
		"two signatures":                    {ref, bytes.Replace(good, []byte(`"signatures":[`), []byte(`"signatures":[{"sig":"AAAA"},`), 1), assay.CodeInvalid, "signature"},
		"no bundle":                         {ref, []byte(`{}`), assay.CodeInvalid, "mediaType"},
		"no JSON":                           {ref, []byte("PK\x03\x04"), assay.CodeInvalid, ""},
		"a bundle above the limit":          {ref, bytes.Repeat([]byte(" "), MaxBundle+1), assay.CodeTooLarge, ""},
		"a reference without registry":      {"app", good, assay.CodeInvalid, "REGISTRY/NAME@sha256"},
		"a reference without digest or tag": {host + "/app", good, assay.CodeInvalid, "neither digest nor tag"},
		"a digest of another kind":          {host + "/app@sha512:" + strings.Repeat("ab", 64), good, assay.CodeInvalid, ""},
		"a name that is none":               {host + "/App:1", good, assay.CodeInvalid, "App"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t).Push(t.Context(), c.ref, c.bundle, created)
			if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gave %v (%s), expected %q (%s)", err, assay.CodeOf(err), c.want, c.code)
			}
		})
	}
	if l, err := newClient(t).Discover(t.Context(), ref, Filter{}); err != nil || len(l.Referrers)+l.Foreign > 0 {
		t.Errorf("something was pushed: %+v, %v", l, err)
	}
}

func TestABundleThatTheRegistryTakesButDoesNotListIsSaid(t *testing.T) {
	l := newLying(t)
	l.lie = l.lists()
	_, err := newClient(t).Push(t.Context(), l.ref, bundleAbout(t, l.subject, testPredicate, "new"), created)
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "does not list it") {
		t.Errorf("gave %v", err)
	}
}

func TestAManifestThatIsNoBundleAboutTheImageIsRefused(t *testing.T) {
	subject := assay.Digest("sha256:" + strings.Repeat("ab", 32))
	good := `{"artifactType":"` + assay.BundleMediaType + `","config":{"mediaType":"application/vnd.oci.empty.v1+json"},` +
		`"layers":[{"mediaType":"` + assay.BundleMediaType + `","digest":"` + string(subject) + `","size":9}],"subject":{"digest":"` + string(subject) + `"}}`
	if _, foreign, err := parseManifest([]byte(good), subject); foreign || err != nil {
		t.Fatalf("the good one: foreign %v, %v", foreign, err)
	}
	layer := `{"mediaType":"` + assay.BundleMediaType + `","digest":"` + string(subject) + `","size":9}`
	for name, c := range map[string]struct{ old, new, want string }{
		"no subject":                       {`,"subject":{"digest":"` + string(subject) + `"}`, "", "about no image"},
		"a subject that is {}":             {`"subject":{"digest":"` + string(subject) + `"}`, `"subject":{}`, "about another image"},
		"another image":                    {`"subject":{"digest":"` + string(subject), `"subject":{"digest":"sha256:` + strings.Repeat("cd", 32), "about another image"},
		"two layers":                       {`"layers":[`, `"layers":[` + layer + `,`, "exactly one layer"},
		"no layer":                         {layer, "", "exactly one layer"},
		"a layer of another type":          {`"layers":[{"mediaType":"` + assay.BundleMediaType, `"layers":[{"mediaType":"application/zip`, "not a Sigstore bundle"},
		"an empty bundle":                  {`"size":9`, `"size":0`, "size of no bundle"},
		"a huge bundle":                    {`"size":9`, `"size":8388609`, "size of no bundle"},
		"a layer with a path for a digest": {`"digest":"` + string(subject) + `","size"`, `"digest":"sha256:../../x","size"`, "64 lower-case"},
		"two subjects":                     {`"subject":`, `"subject":{"digest":"x"},"subject":`, "duplicate"},
		"no JSON":                          {good, "{", "not an OCI image manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if _, foreign, err := parseManifest([]byte(text), subject); text == good || foreign || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngave %v, foreign %v; expected %q", text, err, foreign, c.want)
			}
		})
	}
	for _, other := range []string{`"application/spdx+json"`, `""`} {
		text := strings.Replace(good, `"`+assay.BundleMediaType+`"`, other, 1)
		if _, foreign, err := parseManifest([]byte(text), subject); !foreign || err != nil {
			t.Errorf("artifact type %s: foreign %v, %v", other, foreign, err)
		}
	}
}

func TestLinksToTheNextPage(t *testing.T) {
	from, err := url.Parse("https://registry.example/v2/a/referrers/x?n=1")
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"":                                 "",
		`</v2/a?last=b>; rel="next"`:       "https://registry.example/v2/a?last=b",
		`<?last=b>; rel=next`:              "https://registry.example/v2/a/referrers/x?last=b",
		`</a>; rel="prev"`:                 "",
		`</a>; rel="prev", </b>; rel=NEXT`: "https://registry.example/b",
		`</a>`:                             "",
		`/a; rel=next`:                     "",
		`<https://other.example/a>; title="x"; rel="next"`: "https://other.example/a", // refused when it is asked
	} {
		got, err := nextLink(http.Header{"Link": {value}}, from)
		if text := ""; got != nil {
			text = got.String()
			if text != want || err != nil {
				t.Errorf("%q leads to %q (%v), expected %q", value, text, err, want)
			}
		} else if want != "" || err != nil {
			t.Errorf("%q leads nowhere (%v), expected %q", value, err, want)
		}
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"a","digest":"sha256:b","size":1,"annotations":{"c":"d"}}]}`))
	f.Add([]byte(`{"manifests":[null,{}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, list, err := parseIndex(data)
		if err == nil && len(list) != len(x.Manifests) {
			t.Errorf("%d entries of %d", len(list), len(x.Manifests))
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	subject := assay.Digest("sha256:" + strings.Repeat("ab", 32))
	f.Add([]byte(`{"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"` + string(subject) + `","size":9}],"subject":{"digest":"` + string(subject) + `"}}`))
	f.Add([]byte(`{"config":{"mediaType":"application/vnd.oci.empty.v1+json"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, foreign, err := parseManifest(data, subject)
		if err == nil && !foreign && (len(m.Layers) != 1 || m.Subject == nil || m.Subject.Digest != string(subject) || m.Layers[0].Size > MaxBundle) {
			t.Errorf("accepted %+v", m)
		}
	})
}

func FuzzNextLink(f *testing.F) {
	f.Add(`</v2/a?last=b>; rel="next"`)
	f.Add(`<http://[::1>; rel=next, <>; rel=next`)
	f.Fuzz(func(t *testing.T, value string) {
		_, _ = nextLink(http.Header{"Link": {value}}, &url.URL{Scheme: "https", Host: "registry.example"})
	})
}
