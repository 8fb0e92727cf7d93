package control_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/keyfile"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/exception"
)

// approved asks for an exception and has it approved, and returns it with the
// proof of the approval.
func approved(t *testing.T, in *controltest.Installation, plane *control.Plane) (assay.Exception, []byte) {
	t.Helper()
	ctx := t.Context()
	as := func(name string, role api.Role) *control.Session {
		return plane.As(control.Caller{Name: name, Namespace: "default", Roles: []api.Role{role}})
	}
	asked, err := as("alice", api.RoleDeveloper).RequestException(ctx, api.ExceptionRequest{
		Scope: assay.ExceptionScope{Rules: []string{controltest.Rule}}, Reason: "long enough a reason", NotAfter: in.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := as("bob", api.RoleApprover).ApproveException(ctx, asked.ID)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := exception.Get(ctx, in.Store, "default", e.ID)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := as("bob", api.RoleApprover).Proof(ctx, rec.ApprovedFact)
	if err != nil {
		t.Fatal(err)
	}
	return e, proof
}

func TestAnApprovalIsSignedAndProvedWithItsStatement(t *testing.T) {
	in := controltest.New(t)
	e, proof := approved(t, in, in.Plane)
	f, err := artifact.VerifyFactProof(proof, in.VKey, in.Signer.Key())
	if err != nil || f.Kind != assay.FactExceptionApproved || f.Actor != "bob" || len(f.SignedBy) != 1 || f.SignedBy[0] != in.Signer.KeyID() {
		t.Fatalf("%+v, %v", f, err)
	}
	var said assay.Exception
	if err := json.Unmarshal(f.Payload, &said); err != nil || said.Statement != e.Statement || e.Statement == "" || said.Digest() != e.Digest() {
		t.Errorf("the fact says %+v, %v; the exception is %+v", said, err, e)
	}
	p, err := attest.ParseProof(proof)
	if err != nil || p.BundleDigest() != e.Statement {
		t.Fatalf("the proof holds %s, %v; want %s", p.BundleDigest(), err, e.Statement)
	}
	list, err := in.As("viewer", "default", api.RoleViewer).Exceptions(t.Context())
	if err != nil || len(list) != 1 || list[0].Statement != e.Statement {
		t.Errorf("listed %+v, %v", list, err)
	}

	stranger, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	_, err = artifact.VerifyFactProof(proof, in.VKey, stranger.Key())
	wantCode(t, "another key", err, assay.CodeUnverified)
	for i := range proof {
		bad := bytes.Clone(proof)
		bad[i] ^= 1 << (i % 8)
		if _, err := artifact.VerifyFactProof(bad, in.VKey, in.Signer.Key()); assay.CodeOf(err) != assay.CodeUnverified {
			t.Fatalf("byte %d flipped: %v, want unverified: %q", i, err, proof[max(0, i-30):min(len(proof), i+30)])
		}
	}
	// The statement of one exception does not stand in for that of another.
	_, other := approved(t, in, in.Plane)
	q, err := attest.ParseProof(other)
	if err != nil {
		t.Fatal(err)
	}
	p.Bundle = q.Bundle
	swapped, err := attest.MarshalProof(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = artifact.VerifyFactProof(swapped, in.VKey, in.Signer.Key())
	if assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "the approval names statement") {
		t.Errorf("with another's statement: %v", err)
	}
	// Who gives keys asks who signed: a proof without the statement does not answer that.
	stripped, err := json.Marshal(struct {
		MediaType string `json:"mediaType"`
		Fact      []byte `json:"fact"`
		Leaf      []byte `json:"leaf"`
		TlogProof string `json:"tlogProof"`
	}{assay.ProofOfFactMediaType, p.Fact, p.Leaf, p.TlogProof})
	if err != nil {
		t.Fatal(err)
	}
	_, err = artifact.VerifyFactProof(stripped, in.VKey, in.Signer.Key())
	if assay.CodeOf(err) != assay.CodeUnverified || !strings.Contains(err.Error(), "does not hold it") {
		t.Errorf("without its statement: %v", err)
	}
	if f, err := artifact.VerifyFactProof(stripped, in.VKey); err != nil || f.Kind != assay.FactExceptionApproved {
		t.Errorf("that the ledger holds the approval, without keys: %+v, %v", f, err)
	}
	// It is no verification summary, and does not pass for one.
	trust := attest.TrustPolicy{Keys: []attest.TrustedKey{{Key: in.Signer.Key(), VerifierIDs: []string{assay.DefaultVerifierID}}}}
	want := attest.Expect{Subject: string(e.Digest()), ResourceURI: "pkg:generic/app"}
	if r := artifact.VerifyProof(proof, trust, want, in.VKey, in.Now()); r.OK() || !strings.Contains(r.Err().Error(), "predicate type") {
		t.Errorf("as a verdict: %v", r.Err())
	}
}

func TestAPlaneWithoutAKeyApprovesWithoutAStatement(t *testing.T) {
	in := controltest.New(t)
	cfg := in.Config
	cfg.Signer = nil
	e, proof := approved(t, in, control.New(cfg))
	f, err := artifact.VerifyFactProof(proof, in.VKey, in.Signer.Key())
	if err != nil || f.Kind != assay.FactExceptionApproved || len(f.SignedBy) != 0 || e.Statement != "" {
		t.Errorf("%+v, %+v, %v", e, f, err)
	}
}
