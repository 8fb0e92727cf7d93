package control

import (
	"context"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/anomaly"
	"assay.dev/assay/api"
)

// Watched knows what is measured of services, for one namespace.
type Watched interface {
	Namespace() string
	Service(name string) (anomaly.Indicators, error)
	Foreseen(service, objective string, now time.Time) (anomaly.Foreseen, error)
}

// Anomalies lists the newest alarms, newest first: of a service, or of all with "".
// A limit of 0 is 100; at most api.MaxAnomalies.
func (s *Session) Anomalies(ctx context.Context, service string, limit int) ([]api.Anomaly, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	list, err := anomaly.List(ctx, s.p.cfg.Store, s.caller.Namespace, service, min(limit, api.MaxAnomalies))
	if err != nil {
		return nil, err
	}
	return append([]api.Anomaly{}, list...), nil
}

// Indicators returns what is measured of a service, with the bands it is expected in
// and the forecast of its load; CodeNotFound if it is not watched.
func (s *Session) Indicators(_ context.Context, service string) (api.Indicators, error) {
	if err := s.read(); err != nil {
		return api.Indicators{}, err
	}
	w, err := s.watched(service)
	if err != nil {
		return api.Indicators{}, err
	}
	return w.Service(service)
}

// Foreseen returns the load of an objective, "slo/index", of a service: its past, its
// forecast, and how well forecasts described what came; CodeNotFound if it is not watched.
func (s *Session) Foreseen(_ context.Context, service, objective string) (api.Foreseen, error) {
	if err := s.read(); err != nil {
		return api.Foreseen{}, err
	}
	w, err := s.watched(service)
	if err != nil {
		return api.Foreseen{}, err
	}
	return w.Foreseen(service, objective, s.p.cfg.Now())
}

// watched is who watches the caller's services.
func (s *Session) watched(service string) (Watched, error) {
	if w := s.p.cfg.Watched; w != nil && w.Namespace() == s.caller.Namespace {
		return w, nil
	}
	e := assay.Errorf(assay.CodeNotFound, "service %q is not watched for namespace %q", service, s.caller.Namespace)
	e.Hint = "assay serve watches, for the namespace that it was started with"
	return nil, e
}
