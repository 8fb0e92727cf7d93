package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/exception"
	"assay.dev/assay/gate"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
)

// Check runs a gate over an artifact and returns its verdict. Nothing is recorded.
func (s *Session) Check(ctx context.Context, req api.CheckRequest) (assay.Verdict, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return assay.Verdict{}, err
	}
	v, _, err := s.counted(ctx, req)
	return v, err
}

// counted judges, and counts what came of it; cases is how many test cases ran.
func (s *Session) counted(ctx context.Context, req api.CheckRequest) (v assay.Verdict, runs map[assay.Digest]testRun, err error) {
	in, engine, err := s.inputs(ctx, req)
	if err == nil {
		v, err = gate.Check(ctx, in, engine)
	}
	s.p.cfg.Metrics.verdict(v, err)
	return v, testRuns(in.Evidence), err
}

// Attest runs a gate, signs its verdict as a SLSA verification summary, and
// records both. It returns when they are recorded; publication in the ledger
// follows (see Publication and Proof).
func (s *Session) Attest(ctx context.Context, req api.CheckRequest) (api.Attested, error) {
	if err := s.require(api.RoleDeveloper, api.RoleOperator); err != nil {
		return api.Attested{}, err
	}
	signer, err := s.signing(ctx)
	if err != nil {
		return api.Attested{}, err
	}
	v, runs, err := s.counted(ctx, req)
	if err != nil {
		return api.Attested{}, err
	}
	statement, err := attest.VSA(v, attest.VSAOptions{VerifierID: s.p.cfg.VerifierID, VerifierVersion: s.p.cfg.Version})
	if err != nil {
		return api.Attested{}, err
	}
	bundle, err := attest.Sign(ctx, signer, statement)
	if err != nil {
		return api.Attested{}, err
	}
	rec, err := artifact.Record(ctx, s.p.cfg.Store, s.p.cfg.Blobs, artifact.Entry{
		Namespace: s.caller.Namespace, Actor: s.caller.Name, Verdict: v, Bundle: bundle, Named: s.named(v.Environment),
	})
	if err != nil {
		return api.Attested{}, err
	}
	if !rec.Known {
		if err := s.observeTests(ctx, v, runs, rec.VerdictFact); err != nil {
			return api.Attested{}, err
		}
		s.p.cfg.Metrics.used(len(v.Exceptions))
		s.p.cfg.Metrics.checked(v)
	}
	s.p.cfg.Poke()
	return api.Attested{Verdict: v, BundleDigest: rec.Bundle, Bundle: bundle, Fact: rec.AttestedFact}, nil
}

// named reports whether a door of the caller's namespace asks for verdicts about an
// environment. Every door takes one about none where there is no other.
func (s *Session) named(environment string) bool {
	pol, err := s.p.cfg.Policy()
	return environment == "" || err == nil && slices.ContainsFunc(pol.Revision.Admissions(), func(a policy.Admission) bool {
		return a.Metadata.Namespace == s.caller.Namespace && a.Spec.Environment == environment
	})
}

// inputs reads the evidence, and everything else that the gate's verdict depends on.
func (s *Session) inputs(ctx context.Context, req api.CheckRequest) (gate.Inputs, gate.Engine, error) {
	none := gate.Inputs{}
	if err := checkRequest(req); err != nil {
		return none, nil, err
	}
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return none, nil, err
	}
	g, err := choose("Gate", "--gate", s.caller.Namespace, req.Gate, pol.Revision.Gates(), func(g policy.Gate) policy.Metadata { return g.Metadata })
	if err != nil {
		return none, nil, err
	}
	policies, err := pol.Revision.PoliciesOf(g)
	if err != nil {
		return none, nil, err
	}
	now := s.p.cfg.Now().UTC()
	in := gate.Inputs{
		Gate: g, Policies: policies, Revision: pol.Revision.Ref(pol.URI), Subject: req.Subject,
		Environment: req.Environment, Now: now, Lists: pol.Revision.Lists(),
	}
	switch uri := g.Spec.ResourceURI; {
	case in.Subject.URI == "":
		in.Subject.URI = uri
	case uri != "" && in.Subject.URI != uri:
		return none, nil, &assay.Error{Code: assay.CodeDenied, Field: "subject.uri", Msg: fmt.Sprintf("is %q; gate %s speaks for %s", in.Subject.URI, g.Metadata.Name, uri)}
	}
	for _, r := range req.Reports {
		ev, refused, err := s.readReport(ctx, r)
		if err == nil && refused == nil {
			ev.Producer, err = s.producerOf(ctx, ev, pol.Revision.Producers(s.caller.Namespace))
		}
		switch {
		case err != nil:
			return none, nil, err
		case refused != nil:
			in.Refused = append(in.Refused, *refused)
		case r.Baseline:
			in.Baseline = append(in.Baseline, ev)
		default:
			in.Evidence = append(in.Evidence, ev)
		}
	}
	if in.Exceptions, err = exception.Considered(ctx, s.p.cfg.Store, s.caller.Namespace, now); err != nil {
		return none, nil, err
	}
	if err := s.addHistory(ctx, &in, req.Owners); err != nil {
		return none, nil, err
	}
	if in.Ledger, err = s.ledgerHead(ctx); err != nil {
		return none, nil, err
	}
	return in, pol.Engine, nil
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
	if len(req.Owners) > api.MaxOwners {
		return assay.Errorf(assay.CodeTooLarge, "the file of owners has %d bytes; the limit is %d", len(req.Owners), api.MaxOwners)
	}
	for i, r := range req.Reports {
		field := fmt.Sprintf("reports[%d]", i)
		if _, err := assay.ParseDigest(string(r.Digest)); err != nil {
			return fieldError(field+".digest", err)
		}
		if err := checkText(field+".source", r.Source); err != nil {
			return err
		}
		if r.Kind != "" && !slices.Contains(assay.EvidenceKinds, r.Kind) {
			return &assay.Error{Code: assay.CodeInvalid, Field: field + ".kind", Msg: strict.OneOf(string(r.Kind), words(assay.EvidenceKinds))}
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
