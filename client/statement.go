package client

import (
	"context"
	"net/http"

	"assay.dev/assay/api"
)

// SignStatement asks for a signed statement of what uploaded reports say.
func (c *Client) SignStatement(ctx context.Context, req api.StatementRequest) (s api.SignedStatement, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/statements", req, &s)
	return s, err
}
