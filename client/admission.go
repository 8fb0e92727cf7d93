package client

import (
	"context"
	"net/http"

	"assay.dev/assay/api"
)

// CheckAdmission asks whether images may run.
func (c *Client) CheckAdmission(ctx context.Context, req api.AdmissionCheck) (a api.AdmissionAnswer, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/admission/check", req, &a)
	return a, err
}
