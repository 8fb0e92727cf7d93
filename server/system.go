package server

import (
	"context"
	"net/http"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

// factReads is what can be asked about facts.
type factReads interface {
	Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) ([]assay.Fact, error)
	Publication(ctx context.Context, id assay.FactID) (api.Publication, error)
	Proof(ctx context.Context, id assay.FactID) ([]byte, error)
}

// readsOf are the facts of the caller's namespace, or, with the query system=true,
// those of the installation.
func readsOf(c *control.Session, r *http.Request) (factReads, error) {
	switch r.FormValue("system") {
	case "", "false":
		return c, nil
	case "true":
		return c.System(), nil
	}
	return nil, &assay.Error{Code: assay.CodeInvalid, Field: "system", Msg: "is not true or false"}
}
