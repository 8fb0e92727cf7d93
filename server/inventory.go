package server

import (
	"net/http"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

func pushInventory(c *control.Session, r *http.Request) (any, error) {
	var req api.InventoryReport
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Report(r.Context(), req)
}

func inventory(c *control.Session, r *http.Request) (any, error) {
	return c.Inventory(r.Context(), r.FormValue("environment"), assay.Digest(r.FormValue("digest")))
}

func coverage(c *control.Session, r *http.Request) (any, error) {
	return c.Coverage(r.Context(), r.FormValue("environment"))
}

func findings(c *control.Session, r *http.Request) (any, error) {
	return c.Findings(r.Context(), r.FormValue("closed") == "true")
}

func scan(c *control.Session, r *http.Request) (any, error) { return c.Scan(r.Context()) }

func rebuildIndex(c *control.Session, r *http.Request) (any, error) {
	return c.RebuildIndex(r.Context())
}

func verdict(c *control.Session, r *http.Request) (any, error) {
	d, err := assay.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	return c.Verdict(r.Context(), d)
}
