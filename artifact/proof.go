package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// Prover proves that a fact is in the ledger; *ledger.Ledger does.
type Prover interface {
	// Prove returns the proof of a fact. One that no signed head covers yet is
	// assay.CodeUnavailable and may be asked for later.
	Prove(ctx context.Context, namespace string, id assay.FactID) (ledger.Proof, error)
}

// Prove makes the portable proof of a recorded attestation. The ledger must
// have published its AttestedFact. The outbox gives the fact as it was written,
// which is what the ledger committed to.
func Prove(ctx context.Context, outbox store.Outbox, blobs store.Blobs, p Prover, namespace string, a Attestation) (attest.Proof, error) {
	entry, err := outbox.Entry(ctx, namespace, a.AttestedFact)
	if err != nil {
		return attest.Proof{}, err
	}
	bundle, err := ReadBundle(ctx, blobs, a.Bundle)
	if err != nil {
		return attest.Proof{}, err
	}
	inclusion, err := p.Prove(ctx, namespace, a.AttestedFact)
	if err != nil {
		return attest.Proof{}, err
	}
	proof := attest.Proof{
		Bundle: bundle, Fact: ledger.CanonicalFact(entry.Fact),
		Leaf: inclusion.Leaf, TlogProof: string(inclusion.Marshal()),
	}
	// What is handed out must hold together, whatever the store or the tree says.
	f, err := checkFact(proof)
	if err != nil {
		return attest.Proof{}, err
	}
	if _, err := checkLeaf(proof, f); err != nil {
		return attest.Proof{}, err
	}
	return proof, nil
}

// VerifyProof checks a proof file with nothing but public keys, offline: the
// steps of attest.Verify on its bundle, then that the fact names the bundle,
// that the ledger's leaf commits to the fact, and that a signed head of the
// ledger covers the leaf. ledgerKey is the ledger's verifier line, whose name is
// the ledger's origin; later epochs of it are accepted. A damaged file is a
// failed step.
func VerifyProof(data []byte, policy attest.TrustPolicy, want attest.Expect, ledgerKey string, now time.Time) attest.Report {
	p, err := attest.ParseProof(data)
	if err != nil {
		var r attest.Report
		r.Add("proof file", func() (string, error) { return "", fmt.Errorf("cannot be read: %w", err) })
		return r
	}
	want.Recorded = recordedAt(p, ledgerKey)
	r := attest.Verify(p.Bundle, policy, want, now)
	var f canonicalFact
	r.Add("fact", func() (string, error) {
		var err error
		f, err = checkFact(p)
		return fmt.Sprintf("fact %s names this bundle", f.ID), err
	})
	r.Add("ledger leaf", func() (string, error) { return checkLeaf(p, f) })
	r.Add("ledger inclusion", func() (string, error) { return checkInclusion(p, ledgerKey) })
	return r
}

// recordedAt is the time in the ledger leaf of a proof, zero unless the proof holds
// together. The installation's clock wrote it, not the signer, and the ledger's key
// covers it: whoever has only a stolen attestation key cannot make one.
func recordedAt(p attest.Proof, ledgerKey string) time.Time {
	f, err := checkFact(p)
	if err != nil {
		return time.Time{}
	}
	if _, err := checkLeaf(p, f); err != nil {
		return time.Time{}
	}
	if _, err := checkInclusion(p, ledgerKey); err != nil {
		return time.Time{}
	}
	leaf, err := ledger.ParseLeaf(p.Leaf)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, leaf.Time).UTC()
}

// canonicalFact reads what ledger.CanonicalFact writes.
type canonicalFact struct {
	ID         assay.FactID    `json:"id"`
	Kind       string          `json:"kind"`
	Version    int             `json:"version"`
	Time       string          `json:"time"` // nanoseconds since 1970
	Namespace  string          `json:"namespace"`
	Service    string          `json:"service"`
	Env        string          `json:"environment"`
	Subject    assay.Digest    `json:"subject"`
	Trace      string          `json:"trace_id"`
	Deployment string          `json:"deployment_id"`
	Policy     assay.Digest    `json:"policy_revision"`
	Actor      string          `json:"actor"`
	Causes     []assay.FactID  `json:"causes"`
	Retention  assay.Retention `json:"retention"`
	Payload    json.RawMessage `json:"payload"`
}

// checkFact reads the fact of a proof and checks that it names the bundle, and
// says of it what it says itself.
func checkFact(p attest.Proof) (canonicalFact, error) {
	var f canonicalFact
	var said AttestedPayload
	if err := strict.JSON(p.Fact, &f); err != nil {
		return f, fmt.Errorf("the fact cannot be read: %w", err)
	}
	if f.Kind != assay.FactAttested || f.Version != 1 {
		return f, unverified("the fact is a %q of version %d; expected %s of version 1", f.Kind, f.Version, assay.FactAttested)
	}
	if err := strict.JSON(f.Payload, &said); err != nil {
		return f, fmt.Errorf("the fact's payload cannot be read: %w", err)
	}
	if d := p.BundleDigest(); said.BundleDigest != d {
		return f, unverified("the fact names bundle %q; expected %s", said.BundleDigest, d)
	}
	_, found, err := readBundle(p.Bundle)
	if err != nil {
		return f, fmt.Errorf("the bundle cannot be read: %w", err)
	}
	if found != said || f.Subject != said.Subject {
		return f, unverified("the fact says of the bundle what the bundle does not say: %+v, expected %+v", said, found)
	}
	return f, nil
}

// checkLeaf checks that the ledger entry commits to the fact.
func checkLeaf(p attest.Proof, f canonicalFact) (string, error) {
	leaf, err := ledger.ParseLeaf(p.Leaf)
	if err != nil {
		return "", fmt.Errorf("the ledger leaf cannot be read: %w", err)
	}
	if d := assay.DigestOf(sha256.Sum256(p.Fact)); leaf.Digest != d {
		return "", unverified("the leaf commits to fact digest %s; expected %s", leaf.Digest, d)
	}
	if leaf.Fact != f.ID || leaf.Version != f.Version || fmt.Sprint(leaf.Time) != f.Time || leaf.Subject != f.Subject || leaf.Policy != f.Policy {
		return "", unverified("the leaf describes fact %q otherwise than the fact itself", f.ID)
	}
	return fmt.Sprintf("leaf with sequence number %d commits to the fact", leaf.Seq), nil
}

// checkInclusion checks that the ledger holds the leaf.
func checkInclusion(p attest.Proof, ledgerKey string) (string, error) {
	if ledgerKey == "" {
		return "", unverified("no ledger key was given; expected the verifier line of the ledger")
	}
	base, err := ledger.ParseVerifier(ledgerKey)
	if err != nil {
		return "", err
	}
	origin, err := ledger.ProofOrigin([]byte(p.TlogProof))
	if err != nil {
		return "", err
	}
	if _, ok := ledger.EpochOf(base.Name(), origin); !ok {
		return "", unverified("the proof is of ledger %q; expected %q", origin, base.Name())
	}
	v, err := ledger.ParseVerifierFor(ledgerKey, origin)
	if err != nil {
		return "", err
	}
	if err := ledger.VerifyProof(p.Leaf, []byte(p.TlogProof), v, origin); err != nil {
		return "", err
	}
	return "a signed head of ledger " + origin + " covers the leaf", nil
}

func unverified(format string, args ...any) error {
	return assay.Errorf(assay.CodeUnverified, format, args...)
}
