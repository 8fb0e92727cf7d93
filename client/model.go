package client

import (
	"context"
	"net/http"
	"net/url"

	"assay.dev/assay/api"
)

// Models lists the models that decisions rest on.
func (c *Client) Models(ctx context.Context) (list []api.Model, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/models", nil, &list)
	return list, err
}

// Model returns one model with its versions.
func (c *Client) Model(ctx context.Context, name string) (m api.Model, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/models/"+url.PathEscape(name), nil, &m)
	return m, err
}

// RollbackModel lets an earlier version of a model, or the rules, decide.
func (c *Client) RollbackModel(ctx context.Context, o api.ModelOrder) (m api.Model, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/models/rollbacks", o, &m)
	return m, err
}

// RefitModel fits a new version of a model and lets it run beside.
func (c *Client) RefitModel(ctx context.Context, o api.ModelOrder) (m api.Model, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/models/refits", o, &m)
	return m, err
}
