package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/pause"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pushed says where a bundle is now.
type Pushed struct {
	Reference string   `json:"reference"` // of the image, REGISTRY/NAME@DIGEST
	Referrer  Referrer `json:"referrer"`
	Existed   bool     `json:"existed"`            // it was there already, and nothing was written
	Fallback  bool     `json:"fallback,omitempty"` // it is listed by the index tag, for want of a referrers API
}

// Push hangs a bundle on the image that reference names and returns once the
// registry lists it. The image must be there, and the bundle's statement must be
// about it. Push is safe to repeat: a bundle that the registry lists is not
// pushed again. created is written beside it, for people.
func (c *Client) Push(ctx context.Context, reference string, bundle []byte, created time.Time) (Pushed, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxOperation)
	defer cancel()
	r, err := c.open(reference)
	if err != nil {
		return Pushed{}, err
	}
	statement, err := statementOf(bundle)
	if err != nil {
		return Pushed{}, err
	}
	subject, err := r.subject(ctx)
	if err != nil {
		return Pushed{}, err
	}
	if err := about(statement, subject.Digest.String()); err != nil {
		return Pushed{}, r.problem("is not pushed", err)
	}
	before, err := r.discover(ctx, assay.Digest(subject.Digest))
	if err != nil {
		return Pushed{}, err
	}
	sum := assay.DigestOf(sha256.Sum256(bundle))
	out := Pushed{Reference: before.Reference, Fallback: before.Fallback}
	if i := slices.IndexFunc(before.Referrers, func(f Referrer) bool { return f.Bundle == sum && !f.Omitted }); i >= 0 {
		out.Referrer, out.Existed = before.Referrers[i], true
		return out, nil
	}
	desc, err := r.upload(ctx, subject, bundle, statement.PredicateType, created)
	if err != nil {
		return Pushed{}, err
	}
	if before.Fallback {
		err = r.addToTag(ctx, assay.Digest(subject.Digest), desc, c.cfg.Settle)
	}
	if err == nil {
		out.Referrer, err = r.listed(ctx, assay.Digest(subject.Digest), sum)
	}
	return out, err
}

// statementOf reads the statement in a bundle, as far as it can be read without
// believing it.
func statementOf(bundle []byte) (attest.Statement, error) {
	b, err := attest.ParseBundle(bundle)
	if err != nil {
		return attest.Statement{}, err
	}
	if b.Envelope.PayloadType != assay.StatementPayloadType {
		return attest.Statement{}, assay.Errorf(assay.CodeInvalid, "the bundle signs %q, not an in-toto statement", clip(b.Envelope.PayloadType))
	}
	return attest.ParseStatement(b.Envelope.Payload)
}

// about refuses a statement that does not name the image: nobody who verifies
// it there could accept it.
func about(s attest.Statement, subject string) error {
	if slices.ContainsFunc(s.Subject, func(d attest.Descriptor) bool { return d.Has(subject) }) {
		return nil
	}
	e := assay.Errorf(assay.CodeInvalid, "the statement in the bundle is not about %s", subject)
	e.Hint = "attest the image itself: assay attest --digest " + subject
	return e
}

// upload writes config, bundle and manifest and returns the manifest's entry in an index.
func (r *repository) upload(ctx context.Context, subject ocispec.Descriptor, bundle []byte, predicate string, created time.Time) (ocispec.Descriptor, error) {
	layer := ocispec.Descriptor{MediaType: assay.BundleMediaType, Digest: digest.FromBytes(bundle), Size: int64(len(bundle))}
	config := ocispec.DescriptorEmptyJSON
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: assay.BundleMediaType,
		Config:  ocispec.Descriptor{MediaType: config.MediaType, Digest: config.Digest, Size: config.Size},
		Layers:  []ocispec.Descriptor{layer},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{
			annotationContent: contentDSSE, annotationPredicate: predicate,
			ocispec.AnnotationCreated: created.UTC().Format(time.RFC3339),
		},
	}
	data, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, r.problem("cannot encode the manifest", err)
	}
	desc := ocispec.Descriptor{
		MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data)),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	for _, b := range []struct {
		what string
		desc ocispec.Descriptor
		data []byte
	}{{"the empty config", config, config.Data}, {"the bundle", layer, bundle}} {
		there, err := r.Blobs().Exists(ctx, b.desc)
		if err == nil && !there {
			err = r.Blobs().Push(ctx, b.desc, bytes.NewReader(b.data))
		}
		if err != nil {
			return desc, r.problem("cannot push "+b.what, err)
		}
	}
	if err := r.Manifests().Push(ctx, desc, bytes.NewReader(data)); err != nil {
		return desc, r.problem("cannot push the manifest", err)
	}
	return desc, nil
}

// tries is how often what a registry does not show yet is looked for, or what
// another writer replaced is written again.
const tries = 6

// listed waits until the registry shows the bundle. Some take a moment.
func (r *repository) listed(ctx context.Context, subject, bundle assay.Digest) (Referrer, error) {
	for n := range tries {
		l, err := r.discover(ctx, subject)
		if err != nil {
			return Referrer{}, err
		}
		if i := slices.IndexFunc(l.Referrers, func(f Referrer) bool { return f.Bundle == bundle && !f.Omitted }); i >= 0 {
			return l.Referrers[i], nil
		}
		if !pause.For(ctx, time.Duration(n+1)*100*time.Millisecond) {
			return Referrer{}, r.problem("gave up waiting", ctx.Err())
		}
	}
	e := assay.Errorf(assay.CodeUnavailable, "the registry took bundle %s but does not list it", bundle)
	e.Hint = "push again later; it is not pushed twice"
	return Referrer{}, r.problem("cannot be found by others", e)
}

// addToTag adds desc to the index tag of subject. A registry cannot be asked to
// replace a tag only if it is still what was read, so of two writers at once one
// may undo the other. Each therefore looks again after the time that a write
// takes, and writes once more if its entry is gone. Only what writers of other
// kinds do later than settle remains unnoticed.
func (r *repository) addToTag(ctx context.Context, subject assay.Digest, desc ocispec.Descriptor, settle time.Duration) error {
	entry, err := json.Marshal(desc)
	if err != nil {
		return r.problem("cannot encode the entry", err)
	}
	for range tries {
		x, list, err := r.tagIndex(ctx, subject)
		if err != nil {
			return r.problem("cannot read the tag that lists referrers", err)
		}
		if !slices.ContainsFunc(list, func(d descriptor) bool { return d.Digest == desc.Digest.String() }) {
			x.Manifests = append(x.Manifests, entry)
			if err := r.writeTag(ctx, subject, x); err != nil {
				return err
			}
		}
		if !pause.For(ctx, settle+rand.N(settle)) {
			return r.problem("gave up waiting", ctx.Err())
		}
		if _, list, err = r.tagIndex(ctx, subject); err != nil {
			return r.problem("cannot read the tag that lists referrers", err)
		}
		if slices.ContainsFunc(list, func(d descriptor) bool { return d.Digest == desc.Digest.String() }) {
			return nil
		}
	}
	e := assay.Errorf(assay.CodeConflict, "other writers replaced tag %s %d times", tagOf(subject), tries)
	e.Hint = "push again; it is not pushed twice"
	return r.problem("cannot list the bundle", e)
}

func (r *repository) writeTag(ctx context.Context, subject assay.Digest, x index) error {
	x.SchemaVersion, x.MediaType = 2, ocispec.MediaTypeImageIndex
	data, err := json.Marshal(x)
	if err == nil && len(data) > MaxIndex {
		err = tooMany("bytes of entries", MaxIndex)
	}
	if err != nil {
		return r.problem("cannot write the tag that lists referrers", err)
	}
	desc := ocispec.Descriptor{MediaType: x.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := r.PushReference(ctx, desc, bytes.NewReader(data), tagOf(subject)); err != nil {
		return r.problem("cannot write the tag that lists referrers", err)
	}
	return nil
}
