package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
)

// Check runs a gate over an artifact and returns its verdict. Nothing is recorded.
func (s *Session) Check(ctx context.Context, req api.CheckRequest) (assay.Verdict, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Verdict{}, err
	}
	return s.judge(ctx, req)
}

// Attest runs a gate, signs its verdict as a SLSA verification summary, and
// records both. It returns when they are recorded; publication in the ledger
// follows (see Publication and Proof).
func (s *Session) Attest(ctx context.Context, req api.CheckRequest) (api.Attested, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return api.Attested{}, err
	}
	if s.p.cfg.Signer == nil {
		return api.Attested{}, assay.Errorf(assay.CodeUnavailable, "this control plane has no signing key; create one with: assay key create")
	}
	v, err := s.judge(ctx, req)
	if err != nil {
		return api.Attested{}, err
	}
	statement, err := attest.VSA(v, attest.VSAOptions{VerifierID: s.p.cfg.VerifierID, VerifierVersion: s.p.cfg.Version})
	if err != nil {
		return api.Attested{}, err
	}
	bundle, err := attest.Sign(ctx, s.p.cfg.Signer, statement)
	if err != nil {
		return api.Attested{}, err
	}
	rec, err := artifact.Record(ctx, s.p.cfg.Store, s.p.cfg.Blobs, artifact.Entry{
		Namespace: s.caller.Namespace, Actor: s.caller.Name, Verdict: v, Bundle: bundle,
	})
	if err != nil {
		return api.Attested{}, err
	}
	s.p.cfg.Poke()
	return api.Attested{Verdict: v, BundleDigest: rec.Bundle, Bundle: bundle, Fact: rec.AttestedFact}, nil
}

// judge reads the evidence and asks the gate.
func (s *Session) judge(ctx context.Context, req api.CheckRequest) (assay.Verdict, error) {
	if err := checkRequest(req); err != nil {
		return assay.Verdict{}, err
	}
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return assay.Verdict{}, err
	}
	g, err := choose("Gate", "--gate", s.caller.Namespace, req.Gate, pol.Revision.Gates(), func(g policy.Gate) policy.Metadata { return g.Metadata })
	if err != nil {
		return assay.Verdict{}, err
	}
	policies, err := pol.Revision.PoliciesOf(g)
	if err != nil {
		return assay.Verdict{}, err
	}
	now := s.p.cfg.Now().UTC()
	in := gate.Inputs{
		Gate: g, Policies: policies, Revision: pol.Revision.Ref(pol.URI), Subject: req.Subject,
		Environment: req.Environment, Now: now,
	}
	if in.Subject.URI == "" {
		in.Subject.URI = g.Spec.ResourceURI
	}
	for _, r := range req.Reports {
		ev, refused, err := s.readReport(ctx, r)
		switch {
		case err != nil:
			return assay.Verdict{}, err
		case refused != nil:
			in.Refused = append(in.Refused, *refused)
		default:
			in.Evidence = append(in.Evidence, ev)
		}
	}
	if in.Exceptions, err = exception.Active(ctx, s.p.cfg.Store, s.caller.Namespace, now); err != nil {
		return assay.Verdict{}, err
	}
	return gate.Check(ctx, in, pol.Engine)
}

func checkRequest(req api.CheckRequest) error {
	if _, err := assay.ParseDigest(string(req.Subject.Digest)); err != nil {
		return fieldError("subject.digest", err)
	}
	if err := checkName("subject.name", req.Subject.Name); err != nil {
		return err
	}
	for _, t := range []struct{ field, text string }{
		{"gate", req.Gate},
		{"environment", req.Environment},
		{"subject.uri", req.Subject.URI},
		{"subject.commit", req.Subject.Commit},
	} {
		if err := checkText(t.field, t.text); t.text != "" && err != nil {
			return err
		}
	}
	if len(req.Reports) > api.MaxReports {
		return assay.Errorf(assay.CodeTooLarge, "the request names %d reports; the limit is %d", len(req.Reports), api.MaxReports)
	}
	for i, r := range req.Reports {
		field := fmt.Sprintf("reports[%d]", i)
		if _, err := assay.ParseDigest(string(r.Digest)); err != nil {
			return fieldError(field+".digest", err)
		}
		if err := checkText(field+".source", r.Source); err != nil {
			return err
		}
		if r.Origin != "" && r.Origin != assay.OriginLive && r.Origin != assay.OriginRecorded {
			return &assay.Error{
				Code: assay.CodeInvalid, Field: field + ".origin",
				Msg: fmt.Sprintf("%q is not one of live, recorded", r.Origin),
			}
		}
	}
	return nil
}

func fieldError(field string, err error) error {
	if e, ok := errors.AsType[*assay.Error](err); ok {
		c := *e
		c.Field = field
		return &c
	}
	return err
}

// Schema returns the JSON Schema of a resource kind, for editors.
func Schema(kind string) ([]byte, error) {
	for _, k := range policy.Kinds {
		if strings.EqualFold(k, kind) {
			return policy.Schema(k)
		}
	}
	return policy.Schema(kind) // its error lists the kinds
}
