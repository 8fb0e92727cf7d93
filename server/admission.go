package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func checkAdmission(c *control.Session, r *http.Request) (any, error) {
	var req api.AdmissionCheck
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.CheckAdmission(r.Context(), req)
}
