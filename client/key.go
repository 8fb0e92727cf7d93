package client

import (
	"context"
	"net/http"

	"assay.dev/assay/api"
)

// Keys lists the attestation keys of the installation.
func (c *Client) Keys(ctx context.Context) (list []api.Key, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/keys", nil, &list)
	return list, err
}

// RotateKey makes a new signing key on the server.
func (c *Client) RotateKey(ctx context.Context, req api.KeyRotation) (k api.KeyRotated, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/keys/rotations", req, &k)
	return k, err
}

// RevokeKey revokes a key, or says what that would do.
func (c *Client) RevokeKey(ctx context.Context, req api.KeyRevocationRequest) (k api.KeyRevoked, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/keys/revocations", req, &k)
	return k, err
}

// Trust returns the installation's trust file.
func (c *Client) Trust(ctx context.Context) ([]byte, error) { return c.bytes(ctx, "/v1/trust") }
