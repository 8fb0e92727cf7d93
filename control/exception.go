package control

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/exception"
)

// RequestException asks for an exception in the caller's name.
func (s *Session) RequestException(ctx context.Context, req api.ExceptionRequest) (assay.Exception, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Exception{}, err
	}
	return s.poked(exception.Request(ctx, s.p.cfg.Store, exception.Ask{
		Namespace: s.caller.Namespace, Scope: req.Scope, Reason: req.Reason,
		Ticket: req.Ticket, NotBefore: req.NotBefore, NotAfter: req.NotAfter,
	}, s.caller.Name, s.p.cfg.Now()))
}

// ApproveException approves a request of somebody else.
func (s *Session) ApproveException(ctx context.Context, id string) (assay.Exception, error) {
	if err := s.require(api.RoleApprover); err != nil {
		return assay.Exception{}, err
	}
	return s.poked(exception.Approve(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, s.p.cfg.Now()))
}

// RevokeException ends an exception at once. Whoever asked for it may, and every approver.
func (s *Session) RevokeException(ctx context.Context, id, reason string) (assay.Exception, error) {
	if err := s.require(api.RoleApprover, api.RoleDeveloper); err != nil {
		return assay.Exception{}, err
	}
	return s.poked(exception.Revoke(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, reason, s.p.cfg.Now()))
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

func (s *Session) poked(r exception.Record, err error) (assay.Exception, error) {
	if err == nil {
		s.p.cfg.Poke()
	}
	return r.Exception, err
}
