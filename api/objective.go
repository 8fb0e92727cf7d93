package api

import (
	"time"

	"assay.dev/assay/slo"
)

// Objective is a service-level objective as its books stand.
type Objective struct {
	Objective slo.Objective `json:"objective"`
	Time      time.Time     `json:"time"` // as of
	// Known says whether the window is complete enough to judge; without it the
	// numbers below speak of the known minutes only.
	Known        bool      `json:"known"`
	Reason       string    `json:"reason,omitempty"` // why it is not known, one sentence
	Newest       time.Time `json:"newest,omitzero"`  // event time of the newest data
	Completeness float64   `json:"completeness"`     // share of the window's minutes with data, 0 to 1

	Good      uint64  `json:"good"`
	Total     uint64  `json:"total"`
	Allowed   uint64  `json:"allowed"`   // bad events that the window allows
	Remaining int64   `json:"remaining"` // bad events that are left; below zero it is overdrawn
	Spent     float64 `json:"spent"`     // share of the budget that is gone, 1 is all of it

	Burns   []Burn   `json:"burns"`
	Minutes []Minute `json:"minutes,omitempty"` // the newest two hours, oldest first; only in the answer about one objective
}

// Burn is one row of the burn-rate table.
type Burn struct {
	Alert slo.Alert `json:"alert"`
	Long  float64   `json:"long"` // burn rate over the long span: 1 spends exactly the budget
	Short float64   `json:"short"`
	State slo.State `json:"state"`
}

// Minute is what one minute counted.
type Minute struct {
	Time  time.Time `json:"time"`
	Known bool      `json:"known"`
	Good  uint64    `json:"good"`
	Total uint64    `json:"total"`
}
