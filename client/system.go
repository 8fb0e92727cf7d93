package client

import (
	"context"
	"net/http"
	"net/url"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// System is what happened to the installation itself and belongs to no namespace,
// as operators and admins may see it.
type System struct{ c *Client }

// System returns the installation's own facts.
func (c *Client) System() *System { return &System{c} }

// Facts lists the newest facts of the given kinds, about subject if it is set.
func (y *System) Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) (list []assay.Fact, err error) {
	q := factQuery(kinds, subject, limit)
	q.Set("system", "true")
	err = y.c.call(ctx, http.MethodGet, "/v1/facts?"+q.Encode(), nil, &list)
	return list, err
}

// Publication says how far a fact has come on its way into the ledger.
func (y *System) Publication(ctx context.Context, id assay.FactID) (p api.Publication, err error) {
	err = y.c.call(ctx, http.MethodGet, "/v1/facts/"+url.PathEscape(string(id))+"/publication?system=true", nil, &p)
	return p, err
}

// Proof waits until the fact is published and returns its portable proof.
func (y *System) Proof(ctx context.Context, id assay.FactID) ([]byte, error) {
	return y.c.bytes(ctx, "/v1/facts/"+url.PathEscape(string(id))+"/proof?system=true")
}

// Head returns the ledger's newest signed checkpoint.
func (y *System) Head(ctx context.Context) (api.Head, error) { return y.c.Head(ctx) }
