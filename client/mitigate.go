package client

import (
	"context"
	"net/http"
	"net/url"

	"assay.dev/assay/api"
)

// Strategies lists the declared strategies as they stand.
func (c *Client) Strategies(ctx context.Context) (list []api.StrategyStatus, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/strategies", nil, &list)
	return list, err
}

// Strategy returns one strategy as it stands.
func (c *Client) Strategy(ctx context.Context, name string) (s api.StrategyStatus, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/strategies/"+url.PathEscape(name), nil, &s)
	return s, err
}

// TellStrategy answers a strategy's question, pauses it, or allows it something.
func (c *Client) TellStrategy(ctx context.Context, name string, a api.StrategyAnswer) (s api.StrategyStatus, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/strategies/"+url.PathEscape(name)+"/answers", a, &s)
	return s, err
}

// Halts lists the kill switches that hold something of the caller's namespace.
func (c *Client) Halts(ctx context.Context) (list []api.Halt, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/halts", nil, &list)
	return list, err
}
