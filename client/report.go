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
