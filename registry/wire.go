package registry

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"assay.dev/assay"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations of a referrer, as cosign 3 writes them.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	// contentDSSE is the annotationContent of a bundle with a statement.
	contentDSSE = "dsse-envelope"
)

// bundleTypes begins the media types of Sigstore bundles of all versions.
const bundleTypes = "application/vnd.dev.sigstore.bundle"

// descriptor is an OCI descriptor, as far as it matters here. The digest is not
// checked yet.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
}

// manifest is an OCI image manifest, as far as it matters here.
type manifest struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       descriptor        `json:"config"`
	Layers       []descriptor      `json:"layers"`
	Subject      *descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// index is an OCI image index. Whoever adds to one keeps the rest byte by byte.
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []jsontext.Value  `json:"manifests"`
	Subject       jsontext.Value    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// parseIndex reads one page of a listing, or a tag index, and its entries.
func parseIndex(data []byte) (index, []descriptor, error) {
	var x index
	if err := jsonv2.Unmarshal(data, &x); err != nil {
		return x, nil, assay.Errorf(assay.CodeUnverified, "the list of referrers is not an OCI index: %w", err)
	}
	if x.MediaType != "" && x.MediaType != ocispec.MediaTypeImageIndex {
		return x, nil, assay.Errorf(assay.CodeUnverified, "the list of referrers is of type %q, not %s", clip(x.MediaType), ocispec.MediaTypeImageIndex)
	}
	if len(x.Manifests) > MaxListed {
		return x, nil, tooMany("referrers", MaxListed)
	}
	list := make([]descriptor, len(x.Manifests))
	for i, raw := range x.Manifests {
		if err := jsonv2.Unmarshal(raw, &list[i]); err != nil {
			return x, nil, assay.Errorf(assay.CodeUnverified, "entry %d of the list of referrers is not a descriptor: %w", i, err)
		}
	}
	return x, list, nil
}

// parseManifest reads the manifest of a referrer that should be a bundle about
// subject. foreign is true if it is something else; an error says what is wrong
// with something that claims to be a bundle.
func parseManifest(data []byte, subject assay.Digest) (m manifest, foreign bool, err error) {
	if err := jsonv2.Unmarshal(data, &m); err != nil {
		return m, false, assay.Errorf(assay.CodeUnverified, "its manifest is not an OCI image manifest: %w", err)
	}
	kind := m.ArtifactType
	if kind == "" {
		kind = m.Config.MediaType
	}
	if !strings.HasPrefix(kind, bundleTypes) {
		return m, true, nil
	}
	switch {
	case m.Subject == nil:
		err = errors.New("its manifest is about no image")
	case m.Subject.Digest != string(subject):
		err = errors.New("its manifest is about another image, " + visible(m.Subject.Digest))
	case len(m.Layers) != 1:
		err = errors.New("its manifest does not have exactly one layer")
	case !strings.HasPrefix(m.Layers[0].MediaType, bundleTypes):
		err = errors.New("its layer is " + visible(m.Layers[0].MediaType) + ", not a Sigstore bundle")
	case m.Layers[0].Size <= 0 || m.Layers[0].Size > MaxBundle:
		err = errors.New("its bundle has a size of no bundle that is read")
	default:
		_, err = assay.ParseDigest(m.Layers[0].Digest)
	}
	return m, false, err
}

// nextLink returns where a Link header says that the next page is, nil for the
// last page.
func nextLink(header http.Header, from *url.URL) (*url.URL, error) {
	for _, value := range header.Values("Link") {
		for part := range strings.SplitSeq(value, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(part), ">")
			target, open := strings.CutPrefix(target, "<")
			if !ok || !open || !isNext(params) {
				continue
			}
			u, err := from.Parse(target)
			if err != nil {
				return nil, assay.Errorf(assay.CodeUnverified, "the link to the next page is not a URL: %w", err)
			}
			return u, nil
		}
	}
	return nil, nil
}

func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
			return true
		}
	}
	return false
}

func tooMany(what string, limit int) error {
	e := assay.Errorf(assay.CodeTooLarge, "names more than %d %s", limit, what)
	e.Hint = "the list has no end, or is not one to read whole"
	return e
}
