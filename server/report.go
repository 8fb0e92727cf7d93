package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func compliance(c *control.Session, r *http.Request) (any, error) {
	var req api.ComplianceRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Compliance(r.Context(), req)
}

func verification(c *control.Session, r *http.Request) (any, error) {
	var req api.VerificationRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Verification(r.Context(), req)
}

func operations(c *control.Session, r *http.Request) (any, error) {
	var req api.OperationsRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Operations(r.Context(), req)
}
