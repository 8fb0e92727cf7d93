package client

import (
	"context"
	"net/http"
	"net/url"

	"assay.dev/assay/api"
)

// Objectives lists objectives, the one that has spent most of its budget first.
func (c *Client) Objectives(ctx context.Context) (list []api.Objective, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/objectives", nil, &list)
	return list, err
}

// Objective returns one objective, by the name of its SLO or "slo/index".
func (c *Client) Objective(ctx context.Context, name string) (o api.Objective, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/objectives/"+url.PathEscape(name), nil, &o)
	return o, err
}
