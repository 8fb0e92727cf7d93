package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func signStatement(c *control.Session, r *http.Request) (any, error) {
	var req api.StatementRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.SignStatement(r.Context(), req)
}
