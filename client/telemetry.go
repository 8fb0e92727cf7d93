package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"assay.dev/assay/api"
)

const imports = "/v1/telemetry/imports"

// BeginImport begins an import of history.
func (c *Client) BeginImport(ctx context.Context, req api.ImportRequest) (b api.ImportBegun, err error) {
	err = c.call(ctx, http.MethodPost, imports, req, &b)
	return b, err
}

// ImportPiece sends piece number n, from 1 on, of an import. It may be repeated.
func (c *Client) ImportPiece(ctx context.Context, id string, n int, body io.Reader) (t api.ImportTaken, err error) {
	err = c.do(ctx, http.MethodPost, imports+"/"+url.PathEscape(id)+"/pieces/"+strconv.Itoa(n), "application/x-protobuf", body, &t)
	return t, err
}

// CompleteImport makes what was imported readable, and records it.
func (c *Client) CompleteImport(ctx context.Context, id string, req api.ImportCompletion) (i api.Import, err error) {
	err = c.call(ctx, http.MethodPost, imports+"/"+url.PathEscape(id)+"/completion", req, &i)
	return i, err
}

// AbandonImport drops an import.
func (c *Client) AbandonImport(ctx context.Context, id string) error {
	var nothing struct{}
	return c.call(ctx, http.MethodDelete, imports+"/"+url.PathEscape(id), nil, &nothing)
}
