package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/store"
)

// MaxVerdict is the largest full verdict, as JSON, in bytes.
const MaxVerdict = 16 << 20

// Entry is a verdict with its signed attestation.
type Entry struct {
	Namespace string
	Service   string // "" if the artifact belongs to none
	TraceID   string // of the request that asked for the verdict, "" if none
	Actor     string // who or what ran the gate
	Verdict   assay.Verdict
	Bundle    []byte // as attest.Sign made it
	Named     bool   // the policy names the verdict's environment, so places are kept for it; see MaxOpenGates
}

// Recorded says where a verdict stands in history. Once the ledger published
// AttestedFact, Prove makes a proof of it.
type Recorded struct {
	Attestation
	Known bool // the bundle was recorded before; nothing was written now
}

// VerdictPayload is the payload of a gate.verdict fact, version 1: everything
// but the findings, which are in the document.
type VerdictPayload struct {
	Gate         string              `json:"gate"`
	Mode         assay.Mode          `json:"mode"`
	Outcome      assay.Outcome       `json:"outcome"`
	Subject      assay.Subject       `json:"subject"`
	Policy       assay.PolicyRef     `json:"policy"`
	Levels       []string            `json:"levels,omitempty"`
	Requirements []assay.Requirement `json:"requirements"`
	Evidence     []assay.Digest      `json:"evidence"`
	Exceptions   []string            `json:"exceptions,omitempty"` // ids
	Violations   int                 `json:"violations"`
	Warnings     int                 `json:"warnings"`
	Document     assay.Digest        `json:"document"` // of the full verdict as JSON
}

// AttestedPayload is the payload of an attest.signed fact, version 1. The
// ledger's leaf commits to it, and through BundleDigest to the attestation.
type AttestedPayload struct {
	BundleDigest  assay.Digest  `json:"bundle_digest"`
	BundleSize    int           `json:"bundle_size"` // in bytes
	PredicateType string        `json:"predicate_type"`
	Subject       assay.Digest  `json:"subject"`
	ResourceURI   string        `json:"resource_uri"`
	KeyID         string        `json:"key_id"`
	Gate          string        `json:"gate"`
	Outcome       assay.Outcome `json:"outcome"`
}

// Record writes a verdict and its attestation into history: blobs first, then
// the facts gate.verdict, attest.signed (cause: the verdict) and one
// exception.used per exception, with the artifact's state, in one transaction.
//
// A bundle is recorded once: a repeated call, also after an answer of
// assay.CodeUnavailable, returns what the first one wrote. A bundle that is not
// of this verdict is assay.CodeInvalid; an exception the store cannot explain is
// refused as exception.RecordUse says. Record trusts the caller's signature; it
// does not verify it.
func Record(ctx context.Context, s store.Store, blobs store.Blobs, e Entry) (Recorded, error) {
	a, attested, err := describe(e)
	if err != nil {
		return Recorded{}, err
	}
	document, err := json.Marshal(e.Verdict)
	if err != nil {
		return Recorded{}, assay.Errorf(assay.CodeInvalid, "verdict cannot be encoded: %w", err)
	}
	if a.Document, err = blobs.Put(ctx, bytes.NewReader(document), MaxVerdict); err != nil {
		return Recorded{}, err
	}
	if _, err := blobs.Put(ctx, bytes.NewReader(e.Bundle), attest.MaxBundle); err != nil {
		return Recorded{}, err
	}
	var rec Recorded
	err = s.Update(ctx, func(tx store.Tx) error {
		known, err := findBundle(tx, e.Namespace, a.Bundle)
		if err == nil {
			rec = Recorded{Attestation: known, Known: true}
			return nil
		}
		if assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
		if err := appendFacts(tx, e, &a, attested); err != nil {
			return err
		}
		rec = Recorded{Attestation: a}
		return index(tx, e, a)
	})
	if err != nil {
		return Recorded{}, err
	}
	return rec, nil
}

// describe reads the bundle and checks that it is of the verdict.
func describe(e Entry) (Attestation, AttestedPayload, error) {
	sum, said, err := readBundle(e.Bundle)
	if err != nil {
		return Attestation{}, said, err
	}
	v, g := e.Verdict, sum.Gate
	if said.Subject != v.Subject.Digest {
		return Attestation{}, said, assay.Errorf(assay.CodeInvalid, "bundle is about artifact %s; expected %s", said.Subject, v.Subject.Digest)
	}
	if g.Gate != v.Gate || g.Environment != v.Environment || g.Mode != v.Mode || g.Outcome != v.Outcome ||
		!sum.TimeVerified.Equal(v.Time) || !sum.Policy.Has(string(v.Policy.Digest)) {
		return Attestation{}, said, assay.Errorf(assay.CodeInvalid, "bundle attests another verdict than the one of gate %q at %s", v.Gate, v.Time)
	}
	return Attestation{
		Gate: v.Gate, Environment: v.Environment, Mode: v.Mode, Outcome: v.Outcome, Time: v.Time.UTC(), Policy: v.Policy.Digest,
		Bundle: said.BundleDigest, PredicateType: said.PredicateType, KeyID: said.KeyID, Actor: e.Actor,
	}, said, nil
}

// readBundle reads a bundle with the summary of one artifact by an Assay gate,
// and what the fact about it says. It verifies no signature.
func readBundle(bundle []byte) (attest.Summary, AttestedPayload, error) {
	b, err := attest.ParseBundle(bundle)
	if err != nil {
		return attest.Summary{}, AttestedPayload{}, err
	}
	st, err := attest.ParseStatement(b.Envelope.Payload)
	if err != nil {
		return attest.Summary{}, AttestedPayload{}, err
	}
	if st.PredicateType != assay.VSAPredicateType || len(st.Subject) != 1 {
		return attest.Summary{}, AttestedPayload{}, assay.Errorf(assay.CodeInvalid, "bundle is not a verification summary of one artifact")
	}
	sum, err := attest.ParseSummary(st.Predicate)
	if err != nil {
		return attest.Summary{}, AttestedPayload{}, err
	}
	if sum.Gate == nil {
		return attest.Summary{}, AttestedPayload{}, assay.Errorf(assay.CodeInvalid, "bundle holds a summary that no Assay gate made")
	}
	subject, err := assay.ParseDigest("sha256:" + st.Subject[0].Digest["sha256"])
	if err != nil {
		return attest.Summary{}, AttestedPayload{}, err
	}
	return sum, AttestedPayload{
		BundleDigest: assay.DigestOf(sha256.Sum256(bundle)), BundleSize: len(bundle), PredicateType: st.PredicateType,
		Subject: subject, ResourceURI: sum.ResourceURI, KeyID: b.Hint, Gate: sum.Gate.Gate, Outcome: sum.Gate.Outcome,
	}, nil
}

// appendFacts writes the facts of e and their ids into a.
func appendFacts(tx store.Tx, e Entry, a *Attestation, attested AttestedPayload) error {
	v := e.Verdict
	payload := VerdictPayload{
		Gate: v.Gate, Mode: v.Mode, Outcome: v.Outcome, Subject: v.Subject, Policy: v.Policy, Levels: v.Levels,
		Requirements: append([]assay.Requirement{}, v.Requirements...), Evidence: []assay.Digest{},
		Violations: len(v.Violations), Warnings: len(v.Warnings), Document: a.Document,
	}
	for _, ev := range v.Evidence {
		payload.Evidence = append(payload.Evidence, ev.Digest)
	}
	for _, x := range v.Exceptions {
		payload.Exceptions = append(payload.Exceptions, x.ID)
	}
	var err error
	if a.VerdictFact, err = appendFact(tx, e, assay.FactVerdict, payload, nil); err != nil {
		return err
	}
	if a.AttestedFact, err = appendFact(tx, e, assay.FactAttested, attested, []assay.FactID{a.VerdictFact}); err != nil {
		return err
	}
	for _, x := range v.Exceptions {
		id, err := exception.RecordUse(tx, e.Namespace, v, x, a.VerdictFact, e.Actor)
		if err != nil {
			return err
		}
		a.UseFacts = append(a.UseFacts, id)
	}
	return nil
}

func appendFact(tx store.Tx, e Entry, kind string, payload any, causes []assay.FactID) (assay.FactID, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", kind, err)
	}
	return tx.Append(assay.Fact{
		Kind: kind, Version: 1, Time: e.Verdict.Time, Namespace: e.Namespace, Service: e.Service,
		Environment: e.Verdict.Environment, Subject: e.Verdict.Subject.Digest, TraceID: e.TraceID,
		PolicyRevision: e.Verdict.Policy.Digest, Actor: e.Actor, Causes: causes,
		Retention: assay.RetainAudit, Payload: data,
	})
}

// index brings the artifact's state up to date.
func index(tx store.Tx, e Entry, a Attestation) error {
	digest := string(e.Verdict.Subject.Digest)
	k := key(e.Namespace, bucketArtifact, digest)
	var sum Summary
	version, err := read(tx, k, &sum)
	if err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return err
	}
	if sum, err = sum.with(e.Verdict.Subject, a, e.Named); err != nil {
		return err
	}
	if err := write(tx, k, sum, version); err != nil {
		return err
	}
	if err := refer(tx, e.Namespace, e.Verdict.Subject, Meaning{Digest: e.Verdict.Subject.Digest, Time: a.Time, Fact: a.VerdictFact}); err != nil {
		return err
	}
	name := digest + "/" + string(a.AttestedFact)
	if err := write(tx, key(e.Namespace, bucketAttestation, name), a, 0); err != nil {
		return err
	}
	return write(tx, key(e.Namespace, bucketBundle, string(a.Bundle)), name, 0)
}
