package control

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/diverge"
)

// Compared knows how the regions of services compare, for one namespace.
type Compared interface {
	Namespace() string
	Service(name string) ([]diverge.Compared, error)
}

// Divergences lists the newest verdicts about regions, newest first: of a service, or of
// all with "". A limit of 0 is 100; at most api.MaxDivergences.
func (s *Session) Divergences(ctx context.Context, service string, limit int) ([]api.Divergence, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	return diverge.List(ctx, s.p.cfg.Store, s.caller.Namespace, service, min(limit, api.MaxDivergences))
}

// ComparedRegions returns how the regions of a service compare now, or of all with "";
// CodeNotFound if those of the service that is named are not compared.
func (s *Session) ComparedRegions(_ context.Context, service string) ([]api.ComparedRegions, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	if c := s.p.cfg.Compared; c != nil && c.Namespace() == s.caller.Namespace {
		return c.Service(service)
	}
	e := assay.Errorf(assay.CodeNotFound, "no regions are compared for namespace %q", s.caller.Namespace)
	e.Hint = "assay serve compares, for the namespace that it was started with"
	return nil, e
}
