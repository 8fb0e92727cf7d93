package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/store"
)

// StatementPayload is the payload of a statement.signed fact, version 1. The
// ledger's leaf commits to it, and through BundleDigest to the statement.
type StatementPayload struct {
	BundleDigest  assay.Digest   `json:"bundle_digest"`
	BundleSize    int            `json:"bundle_size"` // in bytes
	PredicateType string         `json:"predicate_type"`
	Subject       assay.Digest   `json:"subject"`
	KeyID         string         `json:"key_id"`
	Evidence      []assay.Digest `json:"evidence"` // the reports it was made from
}

// SignStatement signs what reports say about an artifact, as an in-toto statement
// that other tools read, and records that. A report that cannot be read is an
// error: a statement is made of all reports or of none.
func (s *Session) SignStatement(ctx context.Context, req api.StatementRequest) (api.SignedStatement, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return api.SignedStatement{}, err
	}
	signer, err := s.signing(ctx)
	if err != nil {
		return api.SignedStatement{}, err
	}
	if err := checkRequest(api.CheckRequest{Subject: req.Subject, Reports: req.Reports}); err != nil {
		return api.SignedStatement{}, err
	}
	var reports []assay.Evidence
	for _, r := range req.Reports {
		ev, refused, err := s.readReport(ctx, r)
		if err != nil {
			return api.SignedStatement{}, err
		}
		if refused != nil {
			l := refused.Location
			return api.SignedStatement{}, &assay.Error{Code: assay.CodeInvalid, File: l.File, Line: l.Line, Column: l.Column, Msg: "could not be read: " + refused.Reason}
		}
		reports = append(reports, ev)
	}
	statement, says, err := stated(req, reports)
	if err != nil {
		return api.SignedStatement{}, err
	}
	bundle, err := attest.Sign(ctx, signer, statement)
	if err != nil {
		return api.SignedStatement{}, err
	}
	out := api.SignedStatement{Says: says, Bundle: bundle, BundleDigest: assay.DigestOf(sha256.Sum256(bundle))}
	out.PredicateType = assay.TestResultPredicateType
	if req.Type == api.StatementVulns {
		out.PredicateType = assay.VulnsPredicateType
	}
	out.Fact, err = s.recordStatement(ctx, req, out, signer.KeyID(), reports)
	return out, err
}

// stated makes the statement, and the line that says what is in it.
func stated(req api.StatementRequest, reports []assay.Evidence) (statement []byte, says string, err error) {
	switch req.Type {
	case api.StatementTestResult:
		if statement, err = attest.TestResultStatement(req.Subject, reports); err != nil {
			return nil, "", err
		}
	case api.StatementVulns:
		if len(reports) != 1 {
			return nil, "", assay.Errorf(assay.CodeInvalid, "%d scans were given; a vulns statement is made of one", len(reports))
		}
		if statement, err = attest.VulnsStatement(req.Subject, reports[0]); err != nil {
			return nil, "", err
		}
	default:
		return nil, "", &assay.Error{Code: assay.CodeInvalid, Field: "type", Msg: "is not known; expected " + api.StatementTestResult + " or " + api.StatementVulns}
	}
	says, err = attest.Describe(statement)
	return statement, says, err
}

func (s *Session) recordStatement(ctx context.Context, req api.StatementRequest, st api.SignedStatement, keyID string, reports []assay.Evidence) (assay.FactID, error) {
	if _, err := s.p.cfg.Blobs.Put(ctx, bytes.NewReader(st.Bundle), attest.MaxBundle); err != nil {
		return "", err
	}
	said := StatementPayload{
		BundleDigest: st.BundleDigest, BundleSize: len(st.Bundle), PredicateType: st.PredicateType,
		Subject: req.Subject.Digest, KeyID: keyID, Evidence: []assay.Digest{},
	}
	for _, r := range reports {
		said.Evidence = append(said.Evidence, r.Digest)
	}
	payload, err := json.Marshal(said)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "%s cannot be encoded: %w", assay.FactStatementSigned, err)
	}
	var id assay.FactID
	err = s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		id, err = tx.Append(assay.Fact{
			Kind: assay.FactStatementSigned, Version: 1, Time: s.p.cfg.Now().UTC(), Namespace: s.caller.Namespace,
			Subject: req.Subject.Digest, Actor: s.caller.Name, Retention: assay.RetainAudit, Payload: payload,
		})
		return err
	})
	if err == nil {
		s.p.cfg.Poke()
	}
	return id, err
}
