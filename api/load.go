package api

import (
	"fmt"
	"strconv"
	"time"
)

// Load is how many requests a second the versions had, over slots of time. What a version
// does under more than it had, nobody has seen. A greatest load is one of two slots in a row,
// the lesser of them: counts that arrive late make one great slot, and never had such a load.
type Load struct {
	Slot    time.Duration `json:"slot"`             // nanoseconds
	Canary  float64       `json:"canary"`           // the greatest of the new version since the rollout began
	Now     float64       `json:"now,omitempty"`    // of the new version in the newest slot
	Control float64       `json:"control"`          // the greatest of the old version since Since
	Recent  float64       `json:"recent,omitempty"` // of it, in the past that a watch is held against
	Since   time.Time     `json:"since"`
}

// MuchMore is how many times as many requests are more than were seen, and not about as many.
const MuchMore = 1.25

// LoadWords say in a sentence how much load the new version had of what the old one had;
// "" if nothing is known of it.
func (r Rollout) LoadWords() string {
	l := r.Load
	if l == nil || l.Canary == 0 || l.Control == 0 {
		return ""
	}
	words := fmt.Sprintf("%s had up to %s requests/s, and %s up to %s since %s UTC", r.Plan.Canary, perSecond(l.Canary), r.Plan.Control, perSecond(l.Control), l.Since.UTC().Format(time.DateTime))
	switch {
	case l.Canary*MuchMore < l.Control:
		return words + ": how it bears more than it had was not seen."
	case l.Canary > MuchMore*l.Control:
		return words + ": whether the old version would have borne as much is not known."
	}
	return words + "."
}

func perSecond(v float64) string {
	if v >= 10 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}
