package artifact

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// factProofJSON is the wire form of a fact's proof: a proof file without a bundle.
type factProofJSON struct {
	MediaType string          `json:"mediaType"`
	Bundle    json.RawMessage `json:"bundle,omitempty"` // present in the proof of an attestation
	Fact      []byte          `json:"fact"`
	Leaf      []byte          `json:"leaf"`
	TlogProof string          `json:"tlogProof"`
}

// ProvenFact is a fact that a ledger verifiably holds.
type ProvenFact struct {
	ID          assay.FactID    `json:"id"`
	Kind        string          `json:"kind"`
	Namespace   string          `json:"namespace"`
	Actor       string          `json:"actor"`
	Time        time.Time       `json:"time"`
	Environment string          `json:"environment,omitempty"`
	Subject     assay.Digest    `json:"subject,omitempty"`
	Index       uint64          `json:"index"`               // of the leaf
	Seq         uint64          `json:"seq"`                 // the store's sequence number
	Origin      string          `json:"origin"`              // of the ledger
	SignedBy    []string        `json:"signed_by,omitempty"` // ids of the given keys that signed the statement of an approval
	Payload     json.RawMessage `json:"payload"`
	Head        string          `json:"head"` // the signed head that covers it, with its cosignatures
}

// ProveException makes the portable proof of an exception.approved fact that names
// a signed statement: the statement's bundle, and the fact's proof. The ledger must
// have published the fact.
func ProveException(ctx context.Context, outbox store.Outbox, blobs store.Blobs, p Prover, namespace string, id assay.FactID) ([]byte, error) {
	entry, err := outbox.Entry(ctx, namespace, id)
	if err != nil {
		return nil, err
	}
	var said assay.Exception
	if err := json.Unmarshal(entry.Fact.Payload, &said); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "approval %s cannot be read: %w", id, err)
	}
	bundle, err := ReadBundle(ctx, blobs, said.Statement)
	if err != nil {
		return nil, err
	}
	inclusion, err := p.Prove(ctx, namespace, id)
	if err != nil {
		return nil, err
	}
	proof := attest.Proof{
		Bundle: bundle, Fact: ledger.CanonicalFact(entry.Fact),
		Leaf: inclusion.Leaf, TlogProof: string(inclusion.Marshal()),
	}
	// What is handed out must hold together, whatever the store says.
	if _, err := checkApproval(proof, nil); err != nil {
		return nil, err
	}
	return attest.MarshalProof(proof)
}

// checkApproval checks that an approval's fact names the bundle of the proof, that
// the statement in it is of the very exception in the fact, and, if keys are given,
// that one of them signed it. It returns the ids of those that did.
func checkApproval(p attest.Proof, keys []attest.Key) (signed []string, err error) {
	var f canonicalFact
	if err := strict.JSON(p.Fact, &f); err != nil {
		return nil, unverified("the fact cannot be read: %w", err)
	}
	var said assay.Exception
	if err := strict.JSON(f.Payload, &said); err != nil {
		return nil, unverified("the fact's payload cannot be read: %w", err)
	}
	if d := p.BundleDigest(); said.Statement != d {
		return nil, unverified("the approval names statement %q; the proof holds %s", said.Statement, d)
	}
	b, err := attest.ParseBundle(p.Bundle)
	if err != nil {
		return nil, unverified("the signed statement cannot be read: %w", err)
	}
	stated, err := attest.ParseException(b.Envelope.Payload)
	if err != nil {
		return nil, unverified("the signed statement cannot be read: %w", err)
	}
	if stated.Digest() != said.Digest() {
		return nil, unverified("the signed statement is of another exception (%s) than the approval (%s)", stated.Digest(), said.Digest())
	}
	if len(keys) == 0 {
		return nil, nil
	}
	verifiers := make([]attest.Verifier, len(keys))
	for i, k := range keys {
		verifiers[i] = k
	}
	_, signed, err = b.Envelope.Verify(assay.StatementPayloadType, verifiers, 1)
	return signed, err
}

// checkStatement checks the signed statement of an approval's proof. Who gives keys
// asks who signed, so a proof that was stripped of what the approval names as signed
// is refused then. Without keys it says that the approval is in the ledger, no more.
func checkStatement(p attest.Proof, f canonicalFact, keys []attest.Key) (signed []string, err error) {
	if len(p.Bundle) > 0 {
		return checkApproval(p, keys)
	}
	var said assay.Exception
	if err := strict.JSON(f.Payload, &said); err != nil {
		return nil, unverified("the fact's payload cannot be read: %w", err)
	}
	if said.Statement != "" && len(keys) > 0 {
		return nil, unverified("the approval names the signed statement %s, and the proof does not hold it; ask for the proof again", said.Statement)
	}
	return nil, nil
}

// ProveFact makes the portable proof of any audit fact, as a file. The ledger
// must have published it.
func ProveFact(ctx context.Context, outbox store.Outbox, p Prover, namespace string, id assay.FactID) ([]byte, error) {
	entry, err := outbox.Entry(ctx, namespace, id)
	if err != nil {
		return nil, err
	}
	inclusion, err := p.Prove(ctx, namespace, id)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err = enc.Encode(factProofJSON{
		MediaType: assay.ProofOfFactMediaType, Fact: ledger.CanonicalFact(entry.Fact),
		Leaf: inclusion.Leaf, TlogProof: string(inclusion.Marshal()),
	})
	return out.Bytes(), err
}

// VerifyFactProof checks, offline, that a ledger holds the fact in a proof file:
// that the leaf commits to the fact and a signed head of the ledger covers the
// leaf. It takes the proof of any fact and that of an attestation, whose bundle
// it does not look at. The proof of an exception's approval may hold a signed
// statement, which must be of this exception, and signed by one of the keys if any
// are given. ledgerKey is the ledger's verifier line. Every failure is
// assay.CodeUnverified.
func VerifyFactProof(data []byte, ledgerKey string, keys ...attest.Key) (ProvenFact, error) {
	p, err := parseFactProof(data)
	if err != nil {
		return ProvenFact{}, assay.Errorf(assay.CodeUnverified, "the proof file cannot be read: %w", err)
	}
	var f canonicalFact
	if err := strict.JSON(p.Fact, &f); err != nil {
		return ProvenFact{}, assay.Errorf(assay.CodeUnverified, "the fact cannot be read: %w", err)
	}
	if _, err := checkLeaf(p, f); err != nil {
		return ProvenFact{}, assay.Errorf(assay.CodeUnverified, "%w", err)
	}
	if _, err := checkInclusion(p, ledgerKey); err != nil {
		return ProvenFact{}, assay.Errorf(assay.CodeUnverified, "%w", err)
	}
	var signed []string
	if f.Kind == assay.FactExceptionApproved {
		if signed, err = checkStatement(p, f, keys); err != nil {
			return ProvenFact{}, assay.Errorf(assay.CodeUnverified, "%w", err)
		}
	}
	leaf, err := ledger.ParseLeaf(p.Leaf)
	if err != nil {
		return ProvenFact{}, err
	}
	inclusion, err := ledger.ParseProof([]byte(p.TlogProof))
	if err != nil {
		return ProvenFact{}, err
	}
	origin, err := ledger.ProofOrigin([]byte(p.TlogProof))
	return ProvenFact{
		Head: string(inclusion.Checkpoint),
		ID:   f.ID, Kind: f.Kind, Namespace: f.Namespace, Actor: f.Actor,
		Time: time.Unix(0, leaf.Time).UTC(), Environment: f.Env, Subject: f.Subject, Index: inclusion.Index,
		Seq: leaf.Seq, Origin: origin, SignedBy: signed, Payload: f.Payload,
	}, err
}

// TlogProofFile turns the proof of any fact into a C2SP .tlog-proof file: the leaf and
// its inclusion, without the fact. It verifies nothing.
func TlogProofFile(data []byte) ([]byte, error) {
	p, err := parseFactProof(data)
	if err != nil {
		return nil, err
	}
	inclusion, err := ledger.ParseProof([]byte(p.TlogProof))
	if err != nil {
		return nil, err
	}
	inclusion.Leaf = p.Leaf
	return inclusion.MarshalFile(), nil
}

func parseFactProof(data []byte) (attest.Proof, error) {
	if len(data) > attest.MaxProof {
		return attest.Proof{}, assay.Errorf(assay.CodeTooLarge, "has %d bytes; the limit is %d", len(data), attest.MaxProof)
	}
	var w factProofJSON
	if err := strict.JSON(data, &w); err != nil {
		return attest.Proof{}, err
	}
	switch w.MediaType {
	case assay.ProofMediaType:
		return attest.ParseProof(data)
	case assay.ProofOfFactMediaType:
	default:
		return attest.Proof{}, &assay.Error{
			Code: assay.CodeInvalid, Field: "mediaType",
			Msg: "is not " + assay.ProofOfFactMediaType + " or " + assay.ProofMediaType,
		}
	}
	if len(w.Bundle) > 0 {
		return attest.Proof{}, &assay.Error{Code: assay.CodeInvalid, Field: "bundle", Msg: "does not belong into the proof of a fact"}
	}
	// Two different files are never the same proof: the encoding must be the one we write.
	for field, b := range map[string][]byte{"fact": w.Fact, "leaf": w.Leaf} {
		if !bytes.Contains(data, []byte(`"`+base64.StdEncoding.EncodeToString(b)+`"`)) {
			return attest.Proof{}, &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: "is not plain base64"}
		}
	}
	return attest.Proof{Fact: w.Fact, Leaf: w.Leaf, TlogProof: w.TlogProof}, nil
}
