package peer

import "time"

// BurnRule is one static rule of multi-window, multi-burn-rate alerting: it fires
// while both windows burn the error budget faster than Factor.
type BurnRule struct {
	Severity    string // "page" or "ticket"
	Long, Short time.Duration
	Factor      float64
}

// BurnRules are the rules that the Site Reliability Workbook recommends for a 30-day
// objective (chapter 5, table 5-8), the fastest first.
func BurnRules() []BurnRule {
	return []BurnRule{
		{"page", time.Hour, 5 * time.Minute, 14.4},
		{"page", 6 * time.Hour, 30 * time.Minute, 6},
		{"ticket", 72 * time.Hour, 6 * time.Hour, 1},
	}
}

// Fires reports whether the rule fires. bad and total count a window's events;
// objective is the good share that was promised, 0.999. A window without events
// burns nothing, because 0/0 is greater than nothing: that is the recorded rule's
// behaviour.
func (r BurnRule) Fires(objective float64, count func(window time.Duration) (bad, total float64)) bool {
	for _, window := range []time.Duration{r.Long, r.Short} {
		bad, total := count(window)
		if !(bad/total > r.Factor*(1-objective)) {
			return false
		}
	}
	return true
}
