package policy

import (
	"strconv"

	"assay.dev/assay/internal/strict"
)

// RolloutRollback says how a service goes back to an older version.
type RolloutRollback struct {
	// Steps are shares of traffic in percent that the older version gets, ascending, the last one 100. Each is held against the version that is left, as in a rollout.
	Steps []int `json:"steps"`
}

const maxBackSteps = 100 // as of a plan

func (b *RolloutRollback) check(d strict.Document) error {
	if b == nil {
		return nil
	}
	at := []string{"spec", "rollback", "steps"}
	n := len(b.Steps)
	if n == 0 || n > maxBackSteps || b.Steps[n-1] != 100 {
		return d.Errorf(at, "%v do not lead to 100 percent in 1 to %d steps", b.Steps, maxBackSteps)
	}
	for i, share := range b.Steps {
		if share < 1 || i > 0 && share <= b.Steps[i-1] {
			return d.Errorf(append(at, strconv.Itoa(i)), "is %d; expected shares from 1 to 100 percent in ascending order", share)
		}
	}
	return nil
}
