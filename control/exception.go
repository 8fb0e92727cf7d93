package control

import (
	"bytes"
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/policy"
)

// RequestException asks for an exception in the caller's name.
func (s *Session) RequestException(ctx context.Context, req api.ExceptionRequest) (assay.Exception, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Exception{}, err
	}
	terms, err := s.exceptionPolicy(req.Scope.Rules)
	if err != nil {
		return assay.Exception{}, err
	}
	return s.published(ctx)(s.stepped("requested")(exception.Request(ctx, s.p.cfg.Store, exception.Ask{
		Namespace: s.caller.Namespace, Scope: req.Scope, Reason: req.Reason,
		Ticket: req.Ticket, NotBefore: req.NotBefore, NotAfter: req.NotAfter,
		Approvals: terms.Approvals, MaxDuration: terms.MaxDuration.Value(),
	}, s.caller.Name, s.p.cfg.Now())))
}

// BypassException excuses rules at once, for hours, in the caller's name alone. Who
// runs the installation and who approves exceptions may do it.
func (s *Session) BypassException(ctx context.Context, req api.BypassRequest) (assay.Exception, error) {
	if err := s.require(api.RoleOperator, api.RoleApprover); err != nil {
		return assay.Exception{}, err
	}
	terms, err := s.exceptionPolicy(req.Scope.Rules)
	if err != nil {
		return assay.Exception{}, err
	}
	b := terms.Bypass
	return s.published(ctx)(s.stepped("bypassed")(exception.Bypass(ctx, s.p.cfg.Store, exception.Ask{
		Namespace: s.caller.Namespace, Scope: req.Scope, Reason: req.Reason, Ticket: req.Ticket, NotAfter: req.NotAfter,
	}, exception.Terms{Forbidden: b.Forbidden, MaxDuration: b.MaxDuration.Value(), Page: b.Page}, s.caller.Name, s.p.cfg.Now())))
}

// exceptionPolicy says how exceptions for rules are granted in the caller's namespace, and
// refuses rules that its policy does not have. An installation without a policy directory
// has the defaults; one whose policy is wrong grants nothing until it is mended.
func (s *Session) exceptionPolicy(rules []string) (policy.ExceptionPolicySpec, error) {
	pol, err := s.p.cfg.Policy()
	if assay.CodeOf(err) == assay.CodeNotFound {
		return new(policy.Revision).ExceptionPolicy(s.caller.Namespace), nil
	}
	if err != nil {
		return policy.ExceptionPolicySpec{}, err
	}
	return pol.Revision.ExceptionPolicy(s.caller.Namespace), checkRules(pol, s.caller.Namespace, rules)
}

// stepped counts a step in the life of an exception that happened.
func (s *Session) stepped(step string) func(exception.Record, error) (exception.Record, error) {
	return func(r exception.Record, err error) (exception.Record, error) {
		if err == nil {
			s.p.cfg.Metrics.step(step, 1)
		}
		return r, err
	}
}

// ApproveException approves a request of somebody else. A plane that has a signer
// signs a statement of it, which the fact names.
func (s *Session) ApproveException(ctx context.Context, id string) (assay.Exception, error) {
	if err := s.require(api.RoleApprover); err != nil {
		return assay.Exception{}, err
	}
	var sign exception.Sign
	if s.p.signer() != nil {
		sign = s.signException
	}
	e, err := s.published(ctx)(s.stepped("approved")(exception.ApproveSigned(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, s.p.cfg.Now(), sign)))
	return e, hinted(err, listExceptions)
}

// signException signs the statement of an approved exception and keeps its bundle.
func (s *Session) signException(ctx context.Context, e assay.Exception) (assay.Digest, error) {
	statement, err := attest.ExceptionStatement(e)
	if err != nil {
		return "", err
	}
	signer, err := s.signing(ctx)
	if err != nil {
		return "", err
	}
	bundle, err := attest.Sign(ctx, signer, statement)
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
			return assay.Exception{}, hinted(err, listExceptions)
		}
		if !exception.SameIdentity(rec.Requester, s.caller.Name) {
			return assay.Exception{}, assay.Errorf(assay.CodeDenied,
				"exception %s is of %s; only who asked for it or an approver can revoke it", id, rec.Requester)
		}
	}
	rec, err := s.stepped("revoked")(exception.Revoke(ctx, s.p.cfg.Store, s.caller.Namespace, id, s.caller.Name, reason, s.p.cfg.Now()))
	if err != nil {
		return assay.Exception{}, hinted(err, listExceptions)
	}
	// What runs by it loses its entry first: the ledger may take a moment.
	told := s.p.cfg.Rollouts.Withdraw(ctx)
	e, err := s.published(ctx)(rec, nil)
	if err == nil && told != nil {
		err = assay.Errorf(assay.CodeUnavailable, "exception %s is revoked and recorded, but the enforcer goes on letting in what rests on it until it answers: %w", id, told)
	}
	return e, err
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
