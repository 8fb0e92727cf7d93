package client

import (
	"context"
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/report"
)

// Compliance asks for the evidence for a framework's controls.
func (c *Client) Compliance(ctx context.Context, req api.ComplianceRequest) (r report.Report, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/reports/compliance", req, &r)
	return r, err
}

// Verification asks how many checks passed, by environment and period.
func (c *Client) Verification(ctx context.Context, req api.VerificationRequest) (v report.Verification, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/reports/verification", req, &v)
	return v, err
}

// Operations asks what rollouts and strategies did, and what became of it.
func (c *Client) Operations(ctx context.Context, req api.OperationsRequest) (o report.Operations, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/reports/operations", req, &o)
	return o, err
}
