package server

import (
	"net/http"

	"assay.dev/assay/control"
)

func divergences(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Divergences(r.Context(), r.FormValue("service"), limit)
}

func comparedRegions(c *control.Session, r *http.Request) (any, error) {
	return c.ComparedRegions(r.Context(), r.FormValue("service"))
}
