// Package artifact is what is known about each artifact: which gates judged it,
// what they concluded, and the signed attestations that say so.
//
// Record is the one place where a verdict becomes history. Its facts, its
// attestation's fact, the facts of the exceptions it used and the artifact's
// state are one transaction; large parts (the bundle, the full verdict) go into
// blobs first, under their digests. Everything here can be rebuilt from the
// facts. Prove and VerifyProof tie an attestation to the ledger: the fact names
// the bundle by digest, and the ledger's leaf names the fact.
package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/store"
)

const (
	bucketArtifact    = "artifact"    // Summary by digest
	bucketAttestation = "attestation" // Attestation by "digest/fact id", so that an artifact's are in order of time
	bucketBundle      = "bundle"      // name in bucketAttestation by bundle digest, to record each bundle once
)

const (
	// MaxGates is the number of gate and environment pairs that a summary keeps.
	MaxGates = 256
	// MaxOpenGates is how many of them may be of environments that the policy does not
	// name: anybody may judge for an environment of any name, and must not be able to
	// take the places of those that doors ask for.
	MaxOpenGates = 128
)

// Summary is the state of one artifact.
type Summary struct {
	Subject      assay.Subject `json:"subject"` // as the newest verdict describes it
	First        time.Time     `json:"first"`   // time of the oldest verdict
	Last         time.Time     `json:"last"`    // time of the newest verdict
	Attestations int           `json:"attestations"`
	Judgements   []Attestation `json:"judgements"` // the newest of each gate and environment, by name
}

// Attestation is one signed verdict about an artifact.
type Attestation struct {
	Gate          string         `json:"gate"`
	Environment   string         `json:"environment,omitempty"`
	Mode          assay.Mode     `json:"mode"`
	Outcome       assay.Outcome  `json:"outcome"`
	Time          time.Time      `json:"time"`           // of the verdict
	Policy        assay.Digest   `json:"policy"`         // that the verdict used
	Bundle        assay.Digest   `json:"bundle"`         // of the signed bundle, which is a blob
	Document      assay.Digest   `json:"document"`       // of the full verdict as JSON, which is a blob
	PredicateType string         `json:"predicate_type"` // of the statement in the bundle
	KeyID         string         `json:"key_id"`         // that signed
	Actor         string         `json:"actor"`
	VerdictFact   assay.FactID   `json:"verdict_fact"`
	AttestedFact  assay.FactID   `json:"attested_fact"`
	UseFacts      []assay.FactID `json:"use_facts,omitempty"` // one for each exception the verdict used
}

// Get returns an artifact's summary, or assay.CodeNotFound.
func Get(ctx context.Context, s store.Store, namespace string, digest assay.Digest) (Summary, error) {
	var sum Summary
	err := s.View(ctx, func(r store.Reader) error {
		_, err := read(r, key(namespace, bucketArtifact, string(digest)), &sum)
		return err
	})
	if assay.CodeOf(err) == assay.CodeNotFound {
		return Summary{}, assay.Errorf(assay.CodeNotFound, "nothing is known about artifact %q in namespace %q", digest, namespace)
	}
	return sum, err
}

// List returns up to limit summaries in order of digest, behind the digest after. A limit of 0 means store.DefaultLimit.
func List(ctx context.Context, s store.Store, namespace string, after assay.Digest, limit int) ([]Summary, error) {
	return list[Summary](ctx, s, key(namespace, bucketArtifact, ""), string(after), limit)
}

// Attestations returns up to limit attestations of an artifact, in the order
// they were recorded, behind the one whose AttestedFact is after.
func Attestations(ctx context.Context, s store.Store, namespace string, digest assay.Digest, after assay.FactID, limit int) ([]Attestation, error) {
	prefix := string(digest) + "/"
	return list[Attestation](ctx, s, key(namespace, bucketAttestation, prefix), prefix+string(after), limit)
}

// FindBundle returns the attestation whose bundle has this digest, or assay.CodeNotFound.
func FindBundle(ctx context.Context, s store.Store, namespace string, bundle assay.Digest) (Attestation, error) {
	var a Attestation
	err := s.View(ctx, func(r store.Reader) error {
		var err error
		a, err = findBundle(r, namespace, bundle)
		return err
	})
	return a, err
}

// ReadBundle returns the bytes of a bundle from the blobs, verified against the digest.
func ReadBundle(ctx context.Context, blobs store.Blobs, bundle assay.Digest) ([]byte, error) {
	r, err := blobs.Open(ctx, bundle)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	if s, ok := r.(interface{ Size() int64 }); ok && s.Size() <= attest.MaxBundle {
		b.Grow(int(s.Size()) + bytes.MinRead) // what it is read into is then the right size at once
	}
	if _, err := b.ReadFrom(io.LimitReader(r, attest.MaxBundle+1)); err != nil {
		return nil, err
	}
	if b.Len() > attest.MaxBundle {
		return nil, assay.Errorf(assay.CodeTooLarge, "bundle %s has more than %d bytes", bundle, attest.MaxBundle)
	}
	return b.Bytes(), nil
}

// with returns s after the attestation a about subject.
// A pair of an environment that the policy names (named) finds a place longer.
func (s Summary) with(subject assay.Subject, a Attestation, named bool) (Summary, error) {
	limit := MaxOpenGates
	if named {
		limit = MaxGates
	}
	if s.Attestations == 0 || a.Time.Before(s.First) {
		s.First = a.Time
	}
	if s.Attestations == 0 || !a.Time.Before(s.Last) {
		s.Last, s.Subject = a.Time, subject
	}
	s.Attestations++
	i, found := slices.BinarySearchFunc(s.Judgements, a, func(x, y Attestation) int {
		if c := strings.Compare(x.Gate, y.Gate); c != 0 {
			return c
		}
		return strings.Compare(x.Environment, y.Environment)
	})
	switch {
	case found && !a.Time.Before(s.Judgements[i].Time):
		s.Judgements[i] = a
	case !found && len(s.Judgements) >= limit:
		e := assay.Errorf(assay.CodeTooLarge, "artifact %s was judged by %d gates and environments already", subject.Digest, len(s.Judgements))
		if !named {
			e.Hint = "the places that are left are for environments that an Admission resource of the policy names"
		}
		return s, e
	case !found:
		s.Judgements = slices.Insert(s.Judgements, i, a)
	}
	return s, nil
}

func findBundle(r store.Reader, namespace string, bundle assay.Digest) (Attestation, error) {
	var name string
	var a Attestation
	if _, err := read(r, key(namespace, bucketBundle, string(bundle)), &name); assay.CodeOf(err) == assay.CodeNotFound {
		return a, assay.Errorf(assay.CodeNotFound, "bundle %q is not recorded in namespace %q", bundle, namespace)
	} else if err != nil {
		return a, err
	}
	_, err := read(r, key(namespace, bucketAttestation, name), &a)
	return a, err
}

func key(namespace, bucket, name string) store.Key {
	return store.Key{Namespace: namespace, Bucket: bucket, Name: name}
}

// read decodes the value at k into v and returns its version.
func read(r store.Reader, k store.Key, v any) (int64, error) {
	value, err := r.Get(k)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(value.Data, v); err != nil {
		return 0, assay.Errorf(assay.CodeInternal, "%s %s cannot be read from the store: %w", k.Bucket, k.Name, err)
	}
	return value.Version, nil
}

func write(tx store.Tx, k store.Key, v any, ifVersion int64) error {
	data, err := json.Marshal(v)
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "%s %s cannot be encoded: %w", k.Bucket, k.Name, err)
	}
	_, err = tx.Put(k, data, ifVersion)
	return err
}

func list[T any](ctx context.Context, s store.Store, k store.Key, after string, limit int) ([]T, error) {
	var all []T
	err := s.View(ctx, func(r store.Reader) error {
		values, err := r.List(k, after, limit)
		if err != nil {
			return err
		}
		for _, value := range values {
			var v T
			if err := json.Unmarshal(value.Data, &v); err != nil {
				return assay.Errorf(assay.CodeInternal, "%s %s cannot be read from the store: %w", k.Bucket, value.Key.Name, err)
			}
			all = append(all, v)
		}
		return nil
	})
	return all, err
}
