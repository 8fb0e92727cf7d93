package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func models(c *control.Session, r *http.Request) (any, error) { return c.Models(r.Context()) }

func oneModel(c *control.Session, r *http.Request) (any, error) {
	return c.Model(r.Context(), r.PathValue("name"))
}

func rollbackModel(c *control.Session, r *http.Request) (any, error) {
	var o api.ModelOrder
	if err := body(r, &o); err != nil {
		return nil, err
	}
	return c.RollbackModel(r.Context(), o)
}

func refitModel(c *control.Session, r *http.Request) (any, error) {
	var o api.ModelOrder
	if err := body(r, &o); err != nil {
		return nil, err
	}
	return c.RefitModel(r.Context(), o)
}
