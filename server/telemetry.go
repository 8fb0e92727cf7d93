package server

import (
	"net/http"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func beginImport(c *control.Session, r *http.Request) (any, error) {
	var req api.ImportRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.BeginImport(r.Context(), req)
}

// importPiece takes samples as the raw request body: a request of remote write in snappy.
func importPiece(c *control.Session, r *http.Request) (any, error) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "%q is not the number of a piece", r.PathValue("n"))
	}
	return c.ImportPiece(r.Context(), r.PathValue("id"), n, r.Body)
}

func completeImport(c *control.Session, r *http.Request) (any, error) {
	var req api.ImportCompletion
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.CompleteImport(r.Context(), r.PathValue("id"), req)
}

func abandonImport(c *control.Session, r *http.Request) (any, error) {
	return struct{}{}, c.AbandonImport(r.Context(), r.PathValue("id"))
}
