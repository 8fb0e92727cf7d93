package server

import (
	"net/http"

	"assay.dev/assay/control"
)

func anomalies(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Anomalies(r.Context(), r.FormValue("service"), limit)
}

func indicators(c *control.Session, r *http.Request) (any, error) {
	return c.Indicators(r.Context(), r.PathValue("service"))
}

func foreseen(c *control.Session, r *http.Request) (any, error) {
	return c.Foreseen(r.Context(), r.PathValue("service"), r.PathValue("objective"))
}
