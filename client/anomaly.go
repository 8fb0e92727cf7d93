package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"assay.dev/assay/api"
)

// Anomalies lists the newest alarms, newest first: of a service, or of all with "".
func (c *Client) Anomalies(ctx context.Context, service string, limit int) (list []api.Anomaly, err error) {
	q := url.Values{"service": {service}, "limit": {strconv.Itoa(limit)}}
	err = c.call(ctx, http.MethodGet, "/v1/anomalies?"+q.Encode(), nil, &list)
	return list, err
}

// Indicators returns what is measured of a service, with bands and forecasts.
func (c *Client) Indicators(ctx context.Context, service string) (w api.Indicators, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/indicators/"+url.PathEscape(service), nil, &w)
	return w, err
}

// Foreseen returns the load of an objective, "slo/index", with its forecast and how good
// such forecasts were.
func (c *Client) Foreseen(ctx context.Context, service, objective string) (f api.Foreseen, err error) {
	slo, index, _ := strings.Cut(objective, "/")
	err = c.call(ctx, http.MethodGet, "/v1/forecasts/"+url.PathEscape(service)+"/"+url.PathEscape(slo)+"/"+url.PathEscape(index), nil, &f)
	return f, err
}
