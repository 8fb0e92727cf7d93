package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Limits of the parts of a proof file, in bytes.
const (
	// MaxProof is the largest proof file.
	MaxProof = MaxBundle + 4<<20
	// MaxProofFact is the largest fact in a proof; it matches what a store accepts as payload, with its frame.
	MaxProofFact = 1<<20 + 64<<10
	// MaxProofLeaf is the largest ledger leaf in a proof; tlog-tiles bounds entries to it.
	MaxProofLeaf = 1<<16 - 1
	// MaxTlogProof is the largest inclusion proof text, cosignatures included.
	MaxTlogProof = 64 << 10
)

// Proof is all that a stranger needs, besides a public key, to check offline
// that an attestation was signed and that a ledger holds the record of it. The
// bundle's digest stands in Fact, Leaf commits to Fact, TlogProof to Leaf.
type Proof struct {
	Bundle    []byte // the bundle, as compact JSON
	Fact      []byte // canonical JSON of the attest.signed fact
	Leaf      []byte // the ledger entry
	TlogProof string // c2sp.org/tlog-proof@v1: index, hashes and signed checkpoint
}

// proofJSON is the wire form. The bundle stands in it as JSON, so that jq shows
// it and other tools can cut it out; its digest is that of its compact form.
type proofJSON struct {
	MediaType string          `json:"mediaType"`
	Bundle    json.RawMessage `json:"bundle"`
	Fact      string          `json:"fact"`
	Leaf      string          `json:"leaf"`
	TlogProof string          `json:"tlogProof"`
}

// BundleDigest is the digest that the fact must name.
func (p Proof) BundleDigest() assay.Digest { return assay.DigestOf(sha256.Sum256(p.Bundle)) }

// MarshalProof writes p as JSON with one line per field. The bundle must be compact JSON, as Sign makes it.
func MarshalProof(p Proof) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	bundle, err := compact(p.Bundle)
	if err != nil || !bytes.Equal(bundle, p.Bundle) {
		return nil, fieldError("bundle", "is not compact JSON; a proof would change its digest")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	w := proofJSON{
		MediaType: assay.ProofMediaType, Bundle: p.Bundle,
		Fact: encodeBase64(p.Fact), Leaf: encodeBase64(p.Leaf), TlogProof: p.TlogProof,
	}
	if err := enc.Encode(w); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "proof cannot be encoded: %w", err)
	}
	return out.Bytes(), nil
}

// ParseProof reads a proof file, strictly. Nothing is verified yet.
func ParseProof(data []byte) (Proof, error) {
	if len(data) > MaxProof {
		return Proof{}, tooLarge("proof", len(data), MaxProof)
	}
	var w proofJSON
	if err := strict.JSON(data, &w); err != nil {
		return Proof{}, err
	}
	if w.MediaType != assay.ProofMediaType {
		return Proof{}, fieldError("mediaType", "is "+quote(w.MediaType)+"; expected "+assay.ProofMediaType)
	}
	if !isSet(w.Bundle) {
		return Proof{}, fieldError("bundle", "is missing: the proof was stripped of it")
	}
	p := Proof{TlogProof: w.TlogProof}
	var err error
	if p.Bundle, err = compact(w.Bundle); err != nil {
		return Proof{}, fieldError("bundle", "is not JSON")
	}
	if p.Fact, err = decodeBase64(w.Fact); err != nil {
		return Proof{}, fieldError("fact", "is not base64")
	}
	if p.Leaf, err = decodeBase64(w.Leaf); err != nil {
		return Proof{}, fieldError("leaf", "is not base64")
	}
	return p, p.check()
}

func (p Proof) check() error {
	for _, part := range []struct {
		name        string
		size, limit int
	}{
		{"bundle", len(p.Bundle), MaxBundle},
		{"fact", len(p.Fact), MaxProofFact},
		{"leaf", len(p.Leaf), MaxProofLeaf},
		{"tlogProof", len(p.TlogProof), MaxTlogProof},
	} {
		if part.size == 0 {
			return fieldError(part.name, "is missing: the proof was stripped of it")
		}
		if part.size > part.limit {
			return tooLarge(part.name, part.size, part.limit)
		}
	}
	if strings.ContainsRune(p.TlogProof, '\r') {
		return fieldError("tlogProof", "contains a carriage return; expected lines that end in a line feed")
	}
	return nil
}

func compact(data []byte) ([]byte, error) {
	var b bytes.Buffer
	err := json.Compact(&b, data)
	return b.Bytes(), err
}
