package registry

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// withoutAPI are the answers of registries that do not know the referrers API.
var withoutAPI = []int{
	http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
}

// referrers asks the referrers API; ok is false if the registry has none. The
// question is for bundles only. A registry that answers with none is asked
// again for all: some compare with the type of the config, which is another.
func (r *repository) referrers(ctx context.Context, subject assay.Digest) (list []descriptor, ok bool, err error) {
	list, filtered, ok, err := r.pages(ctx, subject, assay.BundleMediaType)
	if err != nil || !ok || !filtered || len(list) > 0 {
		return list, ok, err
	}
	list, _, ok, err = r.pages(ctx, subject, "")
	return list, ok, err
}

// pages reads all pages of one listing. filtered reports whether the registry
// says that it left out other artifact types.
func (r *repository) pages(ctx context.Context, subject assay.Digest, artifactType string) (list []descriptor, filtered, ok bool, err error) {
	next := &url.URL{
		Scheme: r.door.scheme, Host: r.door.host,
		Path: "/v2/" + r.Reference.Repository + "/referrers/" + string(subject),
	}
	if artifactType != "" {
		next.RawQuery = url.Values{"artifactType": {artifactType}}.Encode()
	}
	var seen []string
	for next != nil {
		if len(seen) == MaxPages || slices.Contains(seen, next.String()) {
			return nil, false, true, tooMany("pages", len(seen))
		}
		seen = append(seen, next.String())
		p, err := r.page(ctx, next)
		if err != nil {
			return nil, false, true, err
		}
		if p == nil {
			if len(seen) > 1 {
				return nil, false, true, assay.Errorf(assay.CodeUnverified, "page %d of the list is not there", len(seen))
			}
			return nil, false, false, nil
		}
		if list = append(list, p.entries...); len(list) > MaxListed {
			return nil, false, true, tooMany("referrers", MaxListed)
		}
		filtered = filtered || p.filtered
		next = p.next
	}
	return list, filtered, true, nil
}

// page is one answer of the referrers API.
type page struct {
	entries  []descriptor
	filtered bool
	next     *url.URL
}

// page reads one page; nil means that the registry does not know the API.
func (r *repository) page(ctx context.Context, at *url.URL) (*page, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex)
	resp, err := r.door.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // what is no type is not the one expected
	switch {
	case slices.Contains(withoutAPI, resp.StatusCode):
		return nil, nil
	case resp.StatusCode != http.StatusOK:
		return nil, &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
	case kind != ocispec.MediaTypeImageIndex:
		return nil, nil // an error page, or the start page of something else
	}
	data, err := strict.Bounded(resp.Body, MaxIndex, "the list of referrers")
	if err != nil {
		return nil, err
	}
	_, entries, err := parseIndex(data)
	if err != nil {
		return nil, err
	}
	next, err := nextLink(resp.Header, resp.Request.URL)
	return &page{entries: entries, filtered: appliesFilter(resp.Header), next: next}, err
}

func appliesFilter(h http.Header) bool {
	for _, value := range h.Values("OCI-Filters-Applied") {
		for name := range strings.SplitSeq(value, ",") {
			if strings.TrimSpace(name) == "artifactType" {
				return true
			}
		}
	}
	return false
}

// tagOf is the tag that lists the referrers of subject where there is no API.
func tagOf(subject assay.Digest) string { return "sha256-" + subject.Hex() }

// tagIndex reads the index tag of subject. A tag that does not exist is an
// empty index.
func (r *repository) tagIndex(ctx context.Context, subject assay.Digest) (index, []descriptor, error) {
	desc, body, err := r.FetchReference(ctx, tagOf(subject))
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); errors.Is(err, errdef.ErrNotFound) || ok && answer.StatusCode == http.StatusNotFound {
		return index{SchemaVersion: 2, MediaType: ocispec.MediaTypeImageIndex}, nil, nil
	}
	if err != nil {
		return index{}, nil, err
	}
	defer body.Close()
	switch {
	case desc.MediaType != ocispec.MediaTypeImageIndex:
		return index{}, nil, assay.Errorf(assay.CodeUnverified, "tag %s is %q, not an index of referrers", tagOf(subject), clip(desc.MediaType))
	case desc.Size > MaxIndex:
		return index{}, nil, assay.Errorf(assay.CodeTooLarge, "tag %s has %d bytes; at most %d are read", tagOf(subject), desc.Size, MaxIndex)
	}
	data, err := content.ReadAll(io.LimitReader(body, MaxIndex+1), desc)
	if err != nil {
		return index{}, nil, err
	}
	return parseIndex(data)
}
