package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"assay.dev/assay/api"
)

// Divergences lists the newest verdicts about regions, newest first: of a service, or of
// all with "".
func (c *Client) Divergences(ctx context.Context, service string, limit int) (list []api.Divergence, err error) {
	q := url.Values{"service": {service}, "limit": {strconv.Itoa(limit)}}
	err = c.call(ctx, http.MethodGet, "/v1/divergences?"+q.Encode(), nil, &list)
	return list, err
}

// ComparedRegions returns how the regions of a service compare now, or of all with "".
func (c *Client) ComparedRegions(ctx context.Context, service string) (list []api.ComparedRegions, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/regions?"+url.Values{"service": {service}}.Encode(), nil, &list)
	return list, err
}
