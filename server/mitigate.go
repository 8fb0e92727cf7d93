package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func strategies(c *control.Session, r *http.Request) (any, error) { return c.Strategies(r.Context()) }

func oneStrategy(c *control.Session, r *http.Request) (any, error) {
	return c.Strategy(r.Context(), r.PathValue("name"))
}

func tellStrategy(c *control.Session, r *http.Request) (any, error) {
	var a api.StrategyAnswer
	if err := body(r, &a); err != nil {
		return nil, err
	}
	return c.TellStrategy(r.Context(), r.PathValue("name"), a)
}

func halts(c *control.Session, r *http.Request) (any, error) { return c.Halts(r.Context()) }
