package policy

import (
	"time"

	"assay.dev/assay/internal/strict"
)

// RolloutRisk says what is known of a service when the risk of a change is scored.
type RolloutRisk struct {
	// Blast is the share of users, 0 to 100 percent, that a failure of the service reaches at once; 100 if left out.
	Blast *float64 `json:"blast,omitempty"`
	// History is how far back rollouts of the service count, up to 8760h; 720h if left out.
	History Duration `json:"history,omitempty"`
}

const (
	defaultRiskHistory Duration = "720h"
	maxRiskHistory              = 8760 * time.Hour
)

// defaults are the worst there can be, so that what is left out lowers no score.
func (k *RolloutRisk) defaults() {
	if k.Blast == nil {
		k.Blast = new(100.0)
	}
	if k.History == "" {
		k.History = defaultRiskHistory
	}
}

func (k *RolloutRisk) check(d strict.Document) error {
	if k == nil {
		return nil
	}
	if k.Blast != nil && !(*k.Blast >= 0 && *k.Blast <= 100) {
		return d.Errorf([]string{"spec", "risk", "blast"}, "%v is not a share from 0 to 100 percent", *k.Blast)
	}
	if v, err := parseDuration(string(k.History)); err != nil {
		return d.Errorf([]string{"spec", "risk", "history"}, "%v", err)
	} else if v > maxRiskHistory {
		return d.Errorf([]string{"spec", "risk", "history"}, "%q is above 8760h", k.History)
	}
	return nil
}
