package rollout

import (
	"encoding/json"
	"fmt"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// openRollout is what the index of open rollouts says of one.
type openRollout struct {
	Service string `json:"service,omitempty"` // "" in an index that was written before it was named
}

func (r record) openValue() ([]byte, error) {
	data, err := json.Marshal(openRollout{Service: r.Rollout.Service})
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "rollout %s cannot be listed: %w", r.Rollout.ID, err)
	}
	return data, nil
}

// noneOpen refuses a second rollout of a namespace's service. It reads the index,
// and of the services in question alone their records.
func noneOpen(tx store.Reader, namespace, service string) error {
	for after := namespace + "/"; ; {
		page, err := tx.List(store.Key{Namespace: store.SystemNamespace, Bucket: openBucket, Name: namespace + "/"}, after, store.MaxLimit)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			after = v.Key.Name
			var o openRollout
			if err := strict.JSON(v.Data, &o); err != nil {
				return assay.Errorf(assay.CodeInternal, "index of open rollouts, %q: %w", v.Key.Name, err)
			}
			if o.Service != "" && o.Service != service {
				continue
			}
			_, id, _ := strings.Cut(v.Key.Name, "/")
			got, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: id})
			if err != nil {
				return err
			}
			r, err := parseRecord(got)
			if err != nil {
				return err
			}
			if r.Rollout.Service != service || r.Rollout.Status.Ended() {
				continue
			}
			hint := "end it first: assay rollout abort " + id
			if r.watching() {
				hint = "wait until it is over, or end it: assay rollout promote " + id
			}
			return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("rollout %s of %s is %s", id, service, r.Rollout.Status), Hint: hint}
		}
	}
}
