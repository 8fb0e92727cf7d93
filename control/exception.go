package control

import (
	"bytes"
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
)

// RequestException asks for an exception in the caller's name.
func (s *Session) RequestException(ctx context.Context, req api.ExceptionRequest) (assay.Exception, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Exception{}, err
	}
	return s.published(ctx)(exception.Request(ctx, s.p.cfg.Store, exception.Ask{
		Namespace: s.caller.Namespace, Scope: req.Scope, Reason: req.Reason,
		Ticket: req.Ticket, NotBefore: req.NotBefore, NotAfter: req.NotAfter,
	}, s.caller.Name, s.p.cfg.Now()))
}

// ApproveException approves a request of somebody else. A plane that has a signer
// signs a statement of it, which the fact names.
func (s *Session) ApproveException(ctx context.Context, id string) (assay.Exception, error) {
	if err := s.require(api.RoleApprover); err != nil {
		return assay.Exception{}, err
	}
	var sign exception.Sign
	if s.p.cfg.Signer != nil {
		sign = s.signException
	}
	return s.published(ctx)(exception.ApproveSigned(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, s.p.cfg.Now(), sign))
}

// signException signs the statement of an approved exception and keeps its bundle.
func (s *Session) signException(ctx context.Context, e assay.Exception) (assay.Digest, error) {
	statement, err := attest.ExceptionStatement(e)
	if err != nil {
		return "", err
	}
	bundle, err := attest.Sign(ctx, s.p.cfg.Signer, statement)
	if err != nil {
		return "", err
	}
	return s.p.cfg.Blobs.Put(ctx, bytes.NewReader(bundle), attest.MaxBundle)
}

// RevokeException ends an exception at once. Whoever asked for it may, and every approver.
func (s *Session) RevokeException(ctx context.Context, id, reason string) (assay.Exception, error) {
	if err := s.require(api.RoleApprover, api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Exception{}, err
	}
	if s.require(api.RoleApprover) != nil {
		rec, err := exception.Get(ctx, s.p.cfg.Store, s.caller.Namespace, id)
		if err != nil {
			return assay.Exception{}, err
		}
		if !exception.SameIdentity(rec.Requester, s.caller.Name) {
			return assay.Exception{}, assay.Errorf(assay.CodeDenied,
				"exception %s is of %s; only who asked for it or an approver can revoke it", id, rec.Requester)
		}
	}
	return s.published(ctx)(exception.Revoke(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, reason, s.p.cfg.Now()))
}

// Exceptions lists the exceptions of the caller's namespace, oldest first.
func (s *Session) Exceptions(ctx context.Context) ([]assay.Exception, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	list := []assay.Exception{}
	for after := ""; ; {
		page, err := exception.List(ctx, s.p.cfg.Store, s.caller.Namespace, after, 0)
		if err != nil || len(page) == 0 {
			return list, err
		}
		for _, r := range page {
			list = append(list, r.Exception)
		}
		after = page[len(page)-1].ID
	}
}

// published waits until the ledger has published what changed an exception: who
// is told that it holds must be able to prove it. Without a running sequencer the
// change is recorded, and published when one runs.
func (s *Session) published(ctx context.Context) func(exception.Record, error) (assay.Exception, error) {
	return func(r exception.Record, err error) (assay.Exception, error) {
		if err != nil || !s.p.cfg.Publishes {
			return r.Exception, err
		}
		s.p.cfg.Poke()
		if err := s.waitPublished(ctx, r.Last()); err != nil {
			return r.Exception, assay.Errorf(assay.CodeUnavailable, "exception %s is %s and recorded, but the ledger has not published it yet: %w", r.ID, r.State, err)
		}
		return r.Exception, nil
	}
}
