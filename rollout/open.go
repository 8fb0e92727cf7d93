package rollout

import (
	"encoding/json"
	"fmt"

	"assay.dev/assay"
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

// noneOpen refuses a second rollout of a namespace's service.
func noneOpen(tx store.Reader, namespace, service string) error {
	return eachOpen(tx, namespace, service, func(r record) error {
		id := r.Rollout.ID
		hint := "end it first: assay rollout abort " + id
		if r.watching() {
			hint = "wait until it is over, or end it: assay rollout promote " + id
		}
		return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("rollout %s of %s is %s", id, service, r.Rollout.Status), Hint: hint}
	})
}
