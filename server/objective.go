package server

import (
	"net/http"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func objectives(c *control.Session, r *http.Request) (any, error) { return c.Objectives(r.Context()) }

// objective takes the rest of the path: "slo" or "slo/index".
func objective(c *control.Session, r *http.Request) (any, error) {
	return c.Objective(r.Context(), r.PathValue("name"))
}

// Identify says who sends a request that carries a bearer token of a role: for
// handlers beside the API that identify senders themselves.
func Identify(p *control.Plane, role api.Role) func(*http.Request) (namespace, name string, err error) {
	return func(r *http.Request) (string, string, error) {
		caller, err := p.Authenticate(r.Context(), bearer(r))
		if err != nil {
			return "", "", err
		}
		if !caller.Has(role) {
			return "", "", assay.Errorf(assay.CodeDenied, "%q has not the role %s, which this needs", caller.Name, role)
		}
		return caller.Namespace, caller.Name, nil
	}
}
