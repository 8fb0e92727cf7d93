package artifact

import (
	"context"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/google/go-containerregistry/pkg/name"
)

// bucketReference holds the Meaning of each reference by its canonical name.
const bucketReference = "artifact-reference"

// Meaning is the artifact that a name stood for when it was last judged. A tag can
// be moved in a registry without anybody telling us: a Meaning is what the gate was
// told, never what a registry would answer now.
type Meaning struct {
	Digest assay.Digest `json:"digest"`
	Time   time.Time    `json:"time"` // of the verdict that used the name
	Fact   assay.FactID `json:"fact"` // the gate.verdict fact
}

// later reports whether m was said after o. Two verdicts of one instant are told
// apart by their facts' ids, so that any order of reading gives the same answer.
func (m Meaning) later(o Meaning) bool {
	if !m.Time.Equal(o.Time) {
		return m.Time.After(o.Time)
	}
	return m.Fact > o.Fact
}

// ParseReference reads an image reference as a container runtime does: without a
// host it is Docker Hub's, without a tag it is "latest". A digest in it is returned
// apart, and then name is "".
func ParseReference(ref string) (canonical string, digest assay.Digest, err error) {
	if len(ref) > store.MaxName {
		return "", "", tooLong(ref)
	}
	parsed, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return "", "", assay.Errorf(assay.CodeInvalid, "%q is not an image reference such as registry.example/shop/checkout:1.4: %w", ref, err)
	}
	if d, ok := parsed.(name.Digest); ok {
		digest, err = assay.ParseDigest(d.DigestStr())
		return "", digest, err
	}
	if canonical = parsed.Name(); len(canonical) > store.MaxName { // with its host and its tag
		return "", "", tooLong(canonical)
	}
	return canonical, "", nil
}

func tooLong(ref string) error {
	return assay.Errorf(assay.CodeTooLarge, "the image reference has %d bytes; at most %d are accepted", len(ref), store.MaxName)
}

// referenceOf returns the name under which a judged subject is found again. An image
// is one whose name has a host: a file called "app" must not answer for the image
// "app" of Docker Hub. Any other name stands for itself.
func referenceOf(s assay.Subject) string {
	host, _, path := strings.Cut(s.Name, "/")
	if !path || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return s.Name
	}
	plain, _, _ := strings.Cut(s.Name, "@") // repository:tag@digest means the tag as well
	if canonical, _, err := ParseReference(plain); err == nil {
		return canonical
	}
	return s.Name
}

// refer notes what the name of a judged subject means now.
func refer(tx store.Tx, namespace string, s assay.Subject, m Meaning) error {
	ref := referenceOf(s)
	k := key(namespace, bucketReference, ref)
	if ref == "" || store.CheckKey(k) != nil {
		return nil // an artifact without a usable name is found by its digest
	}
	var old Meaning
	version, err := read(tx, k, &old)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return err
	}
	if version > 0 && !m.later(old) {
		return nil
	}
	return write(tx, k, m, version)
}

// Find returns the artifact that a reference stands for: a digest, an image
// reference, or the name of a file as a gate was told it. One that nothing is known
// of is assay.CodeNotFound.
func Find(ctx context.Context, s store.Store, namespace, ref string) (assay.Digest, error) {
	if d, err := assay.ParseDigest(ref); err == nil {
		return d, nil
	}
	names := []string{ref}
	if canonical, digest, err := ParseReference(ref); err == nil {
		if digest != "" {
			return digest, nil
		}
		names = append(names, canonical)
	}
	var m Meaning
	err := s.View(ctx, func(r store.Reader) error {
		for _, n := range names {
			k := key(namespace, bucketReference, n)
			if store.CheckKey(k) != nil {
				continue
			}
			if _, err := read(r, k, &m); assay.CodeOf(err) != assay.CodeNotFound {
				return err
			}
		}
		return assay.Errorf(assay.CodeNotFound, "no gate has judged anything called %q in namespace %q", ref, namespace)
	})
	return m.Digest, err
}
