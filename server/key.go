package server

import (
	"net/http"

	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func keys(c *control.Session, r *http.Request) (any, error) { return c.Keys(r.Context()) }

func rotateKey(c *control.Session, r *http.Request) (any, error) {
	var req api.KeyRotation
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.RotateKey(r.Context(), req)
}

func revokeKey(c *control.Session, r *http.Request) (any, error) {
	var req api.KeyRevocationRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.RevokeKey(r.Context(), req)
}

// trust answers with the trust file, for verifiers that fetch it.
func trust(c *control.Session, r *http.Request) (any, error) {
	b, err := c.Trust(r.Context())
	return raw{"application/yaml", b}, err
}
