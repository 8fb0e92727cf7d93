package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"assay.dev/assay"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

// Referrer is a bundle that hangs on an image: its manifest was read, holds
// what its digest says and is about the image. Nothing is known of the bundle
// itself.
type Referrer struct {
	Digest    assay.Digest `json:"digest"`     // of the manifest
	Bundle    assay.Digest `json:"bundle"`     // of the bundle, as the ledger names it
	Size      int64        `json:"size"`       // of the bundle, in bytes
	MediaType string       `json:"media_type"` // of the bundle
	// What whoever pushed it wrote beside it, made printable. It is not signed:
	// good for choosing, not for believing.
	Content       string `json:"content,omitempty"`
	PredicateType string `json:"predicate_type,omitempty"`
	Created       string `json:"created,omitempty"`
	// Omitted says that the registry's own list leaves it out; the index tag
	// names it.
	Omitted bool `json:"omitted,omitempty"`
}

// Fault is a referrer that is listed as a bundle and is not what it should be.
type Fault struct {
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// Listing is what a registry shows of an image.
type Listing struct {
	Reference string       `json:"reference"` // REGISTRY/NAME@DIGEST
	Subject   assay.Digest `json:"subject"`
	Referrers []Referrer   `json:"referrers"` // by creation as they say, then by digest
	Faults    []Fault      `json:"faults,omitempty"`
	Foreign   int          `json:"foreign,omitempty"`  // referrers of other kinds that were listed
	Excluded  int          `json:"excluded,omitempty"` // bundles that the filter left out
	Fallback  bool         `json:"fallback,omitempty"` // the registry has no referrers API; the index tag was read
}

// Filter chooses by what is written beside bundles. Bundles that do not say
// their predicate type stay: only their statement can tell.
type Filter struct {
	PredicateTypes []string // none means all
}

func (f Filter) accepts(r Referrer) bool {
	return len(f.PredicateTypes) == 0 || r.PredicateType == "" || slices.Contains(f.PredicateTypes, r.PredicateType)
}

// Only returns l with the bundles that f accepts.
func (l Listing) Only(f Filter) Listing {
	all := len(l.Referrers)
	l.Referrers = slices.DeleteFunc(slices.Clone(l.Referrers), func(r Referrer) bool { return !f.accepts(r) })
	l.Excluded += all - len(l.Referrers)
	return l
}

// Missing returns those of the bundles in want that the registry did not show.
// A registry may leave out what it likes; who knows from elsewhere what must be
// there, for example from a ledger, notices.
func (l Listing) Missing(want []assay.Digest) []assay.Digest {
	var missing []assay.Digest
	for _, d := range want {
		if !slices.ContainsFunc(l.Referrers, func(r Referrer) bool { return r.Bundle == d }) {
			missing = append(missing, d)
		}
	}
	return missing
}

// Discover lists the bundles of the image that reference names, by digest or
// by tag. What the registry's list leaves out but the index tag names is listed
// as well, marked Omitted.
func (c *Client) Discover(ctx context.Context, reference string, f Filter) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxOperation)
	defer cancel()
	r, err := c.open(reference)
	if err != nil {
		return Listing{}, err
	}
	desc := ocispec.Descriptor{Digest: digest.Digest(r.Reference.Reference)}
	if !strings.Contains(r.Reference.Reference, ":") {
		if desc, err = r.subject(ctx); err != nil {
			return Listing{}, err
		}
	}
	l, err := r.discover(ctx, assay.Digest(desc.Digest))
	if err != nil {
		return l, err
	}
	return l.Only(f), nil
}

func (r *repository) discover(ctx context.Context, subject assay.Digest) (Listing, error) {
	name := r.Reference
	name.Reference = string(subject)
	l := Listing{Reference: name.String(), Subject: subject, Referrers: []Referrer{}}
	listed, api, err := r.referrers(ctx, subject)
	if err != nil {
		return l, r.problem("cannot list referrers", err)
	}
	l.Fallback = !api
	_, tagged, err := r.tagIndex(ctx, subject)
	switch {
	case err != nil && l.Fallback:
		return l, r.problem("cannot read the tag that lists referrers", err)
	case err != nil: // the API answered; the tag is only a second opinion
		l.Faults = append(l.Faults, Fault{Digest: tagOf(subject), Reason: visible(err.Error())})
	}
	var entries []entry
	seen := map[string]bool{}
	for i, d := range slices.Concat(listed, tagged) {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		if !mayBeBundle(d) {
			l.Foreign++
			continue
		}
		entries = append(entries, entry{descriptor: d, omitted: api && i >= len(listed)})
	}
	if len(entries) > MaxReferrers {
		return l, r.problem("cannot list referrers", tooMany("attestation bundles", MaxReferrers))
	}
	r.examine(ctx, subject, entries)
	return l, r.sort(ctx, &l, entries)
}

// mayBeBundle reports whether a listed descriptor can be a bundle. Some
// registries state no artifact type, or the type of the config in its place;
// then the manifest has to tell.
func mayBeBundle(d descriptor) bool {
	return strings.HasPrefix(d.ArtifactType, bundleTypes) ||
		(d.ArtifactType == "" || d.ArtifactType == ocispec.MediaTypeEmptyJSON) && d.MediaType == ocispec.MediaTypeImageManifest
}

// entry is a listed descriptor and what became of it.
type entry struct {
	descriptor
	omitted bool
	found   Referrer
	foreign bool
	err     error
}

// parallel is the number of manifests that are fetched at a time.
const parallel = 8

// examine reads the manifests of entries and fills in what they are.
func (r *repository) examine(ctx context.Context, subject assay.Digest, entries []entry) {
	next := make(chan *entry)
	var wg sync.WaitGroup
	for range min(parallel, len(entries)) {
		wg.Go(func() {
			for e := range next {
				e.found, e.foreign, e.err = r.referrer(ctx, subject, e.descriptor)
			}
		})
	}
	for i := range entries {
		next <- &entries[i]
	}
	close(next)
	wg.Wait()
}

// sort distributes entries over the listing. A registry that stopped answering
// is an error: a list that is cut short must not pass for the whole.
func (r *repository) sort(ctx context.Context, l *Listing, entries []entry) error {
	for _, e := range entries {
		switch {
		case e.foreign:
			l.Foreign++
		case e.err != nil && (ctx.Err() != nil || transient(e.err)):
			return r.problem("cannot read referrer "+visible(e.Digest), e.err)
		case e.err != nil:
			l.Faults = append(l.Faults, Fault{Digest: visible(e.Digest), Reason: visible(e.err.Error())})
		default:
			e.found.Omitted = e.omitted
			l.Referrers = append(l.Referrers, e.found)
		}
	}
	slices.SortFunc(l.Referrers, func(a, b Referrer) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Digest, b.Digest))
	})
	return nil
}

// transient reports whether asking again may give another answer.
func transient(err error) bool {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		return e.Code == assay.CodeUnavailable
	}
	code, _ := codeOf(err)
	return code == assay.CodeUnavailable || code == assay.CodeUnauthenticated
}

// referrer reads one manifest and says what it is.
func (r *repository) referrer(ctx context.Context, subject assay.Digest, d descriptor) (Referrer, bool, error) {
	digest, err := assay.ParseDigest(d.Digest)
	if err != nil {
		return Referrer{}, false, err
	}
	switch {
	case d.MediaType != ocispec.MediaTypeImageManifest:
		return Referrer{}, false, errors.New("is listed as " + visible(d.MediaType) + ", not as an image manifest")
	case d.Size <= 0 || d.Size > MaxManifest:
		return Referrer{}, false, errors.New("is listed with a size that no manifest of a bundle has")
	}
	data, err := fetch(ctx, r.Manifests(), d)
	if err != nil {
		return Referrer{}, false, err
	}
	m, foreign, err := parseManifest(data, subject)
	if foreign || err != nil {
		return Referrer{}, foreign, err
	}
	return Referrer{
		Digest: digest, Bundle: assay.Digest(m.Layers[0].Digest), Size: m.Layers[0].Size, MediaType: visible(m.Layers[0].MediaType),
		Content: visible(m.Annotations[annotationContent]), PredicateType: visible(m.Annotations[annotationPredicate]),
		Created: visible(m.Annotations[ocispec.AnnotationCreated]),
	}, false, nil
}

// fetch returns what d describes: as many bytes as it says, with its digest.
// The caller has bounded d.Size.
func fetch(ctx context.Context, from content.Fetcher, d descriptor) ([]byte, error) {
	desc := ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size}
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	data, err := content.ReadAll(body, desc)
	return data, errors.Join(err, body.Close())
}

// Pull returns the bytes of a bundle that Discover listed for reference. They
// have the stated digest; nothing in them is verified.
func (c *Client) Pull(ctx context.Context, reference string, found Referrer) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxOperation)
	defer cancel()
	r, err := c.open(reference)
	if err != nil {
		return nil, err
	}
	if found.Size <= 0 || found.Size > MaxBundle {
		return nil, r.problem("cannot pull", assay.Errorf(assay.CodeTooLarge, "a bundle has 1 to %d bytes, not %d", MaxBundle, found.Size))
	}
	data, err := fetch(ctx, r.Blobs(), descriptor{MediaType: found.MediaType, Digest: string(found.Bundle), Size: found.Size})
	if err != nil {
		return nil, r.problem("cannot pull bundle "+string(found.Bundle), err)
	}
	return data, nil
}
