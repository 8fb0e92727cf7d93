package client

import (
	"context"
	"net/http"
	"net/url"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// Report tells what a source sees running.
func (c *Client) Report(ctx context.Context, r api.InventoryReport) (out api.InventoryChange, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/inventory", r, &out)
	return out, err
}

// Inventory lists what runs: in one environment or one artifact, if they are named.
func (c *Client) Inventory(ctx context.Context, environment string, digest assay.Digest) (list []api.Running, err error) {
	q := url.Values{}
	if environment != "" {
		q.Set("environment", environment)
	}
	if digest != "" {
		q.Set("digest", string(digest))
	}
	err = c.call(ctx, http.MethodGet, "/v1/inventory?"+q.Encode(), nil, &list)
	return list, err
}

// Coverage says for each environment how much of what runs is attested.
func (c *Client) Coverage(ctx context.Context, environment string) (list []api.Coverage, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/coverage?"+url.Values{"environment": {environment}}.Encode(), nil, &list)
	return list, err
}

// Findings lists the vulnerabilities found in what runs.
func (c *Client) Findings(ctx context.Context, closed bool) (list []api.Finding, err error) {
	path := "/v1/findings"
	if closed {
		path += "?closed=true"
	}
	err = c.call(ctx, http.MethodGet, path, nil, &list)
	return list, err
}

// Scan asks the server to hold what runs against its database of advisories.
func (c *Client) Scan(ctx context.Context) (s api.Scan, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/inventory/scans", nil, &s)
	return s, err
}

// RebuildIndex asks the server to make its index of artifacts again from the facts.
func (c *Client) RebuildIndex(ctx context.Context) (r api.Rebuilt, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/inventory/rebuild", nil, &r)
	return r, err
}

// Verdict returns the full verdict of an attestation.
func (c *Client) Verdict(ctx context.Context, bundle assay.Digest) (v assay.Verdict, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/attestations/"+url.PathEscape(string(bundle))+"/verdict", nil, &v)
	return v, err
}
