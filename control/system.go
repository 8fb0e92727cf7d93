package control

import (
	"context"
	"encoding/json"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

// System is what happened to the installation itself and belongs to no namespace:
// keys created, tokens made and revoked, a ledger that stopped. Operators and
// admins read it. Of a fact about a namespace, such as a token, they see only those
// of their own.
type System struct{ s *Session }

// System returns the installation's own facts as the caller may see them.
func (s *Session) System() *System { return &System{s} }

// within checks the caller's role and returns the caller's session inside the
// installation's namespace. It must not leave this file: it may write there.
func (y *System) within() (*Session, error) {
	if err := y.s.require(api.RoleOperator, api.RoleAdmin); err != nil {
		return nil, err
	}
	in := *y.s
	in.caller.Namespace = systemNamespace
	return &in, nil
}

// visible reports whether the caller may see a fact of the installation.
func (y *System) visible(f assay.Fact) bool {
	var about struct {
		Namespace string `json:"namespace"`
	}
	if err := json.Unmarshal(f.Payload, &about); err != nil {
		return false // its namespace cannot be told
	}
	return about.Namespace == "" || about.Namespace == y.s.caller.Namespace
}

// Facts lists the newest facts of the given kinds that the caller may see.
func (y *System) Facts(ctx context.Context, kinds []string, subject assay.Digest, limit int) ([]assay.Fact, error) {
	in, err := y.within()
	if err != nil {
		return nil, err
	}
	if _, err := assay.ParseDigest(string(subject)); subject != "" && err != nil {
		return nil, fieldError("subject", err)
	}
	if err := checkKinds(kinds); err != nil {
		return nil, err
	}
	limit, err = store.CheckLimit(limit)
	if err != nil {
		return nil, err
	}
	list := []assay.Fact{}
	err = in.p.cfg.Store.View(ctx, func(r store.Reader) error {
		q := store.Query{Namespace: systemNamespace, Kinds: kinds, Subject: subject, Newest: true, Limit: store.DefaultLimit}
		for {
			rows, err := r.Facts(q)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if q.After = row.Commit; y.visible(row.Fact) {
					list = append(list, row.Fact)
				}
				if len(list) == limit {
					return nil
				}
			}
			if len(rows) < store.DefaultLimit {
				return nil
			}
		}
	})
	return list, err
}

// Publication says how far an audit fact has come on its way into the ledger.
func (y *System) Publication(ctx context.Context, id assay.FactID) (api.Publication, error) {
	in, err := y.one(ctx, id)
	if err != nil {
		return api.Publication{}, err
	}
	return in.Publication(ctx, id)
}

// Proof waits until the fact is published and returns its portable proof.
func (y *System) Proof(ctx context.Context, id assay.FactID) ([]byte, error) {
	in, err := y.one(ctx, id)
	if err != nil {
		return nil, err
	}
	return in.Proof(ctx, id)
}

// one checks that the caller may see one fact. One that is not visible is not found.
func (y *System) one(ctx context.Context, id assay.FactID) (*Session, error) {
	in, err := y.within()
	if err != nil {
		return nil, err
	}
	return in, in.p.cfg.Store.View(ctx, func(r store.Reader) error {
		row, err := r.Fact(systemNamespace, id)
		if err == nil && !y.visible(row.Fact) {
			err = assay.Errorf(assay.CodeNotFound, "there is no fact %q in this namespace", id)
		}
		return err
	})
}

// Head returns the newest signed checkpoint, as Session.Head does.
func (y *System) Head(ctx context.Context) (api.Head, error) { return y.s.Head(ctx) }
