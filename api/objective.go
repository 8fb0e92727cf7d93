package api

import (
	"fmt"
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

	// Instead is why the newest minutes rest on the indicator's second source, empty if they
	// rest on the first, and Second how many of the window's minutes (slices, if it is judged
	// by those) rest on it: SecondSpans are the newest of them, in the answer about one objective.
	Instead     string     `json:"instead,omitempty"`
	Second      int        `json:"second,omitempty"`
	SecondSpans []slo.Span `json:"second_spans,omitempty"`

	Burns   []Burn   `json:"burns"`
	Minutes []Minute `json:"minutes,omitempty"` // the newest two hours, oldest first; only in the answer about one objective
}

// SecondWords say what of the books rests on the indicator's second source, "" if nothing does.
func (o Objective) SecondWords() string {
	if o.Second == 0 && o.Instead == "" {
		return ""
	}
	unit := "minutes"
	if o.Objective.Method == slo.MethodTimeslices {
		unit = "slices"
	}
	words := fmt.Sprintf("%d of the window's %s rest on its second source", o.Second, unit)
	if o.Instead != "" {
		words += ", the newest too: " + o.Instead
	}
	return words
}

// Burn is one row of the burn-rate table.
type Burn struct {
	Alert slo.Alert `json:"alert"`
	Long  float64   `json:"long"` // burn rate over the long span: 1 spends exactly the budget
	Short float64   `json:"short"`
	State slo.State `json:"state"`
	// LongSecond and ShortSecond are how many minutes (slices) of the spans rest on the
	// indicator's second source.
	LongSecond  int `json:"long_second,omitempty"`
	ShortSecond int `json:"short_second,omitempty"`
}

// Minute is what one minute counted.
type Minute struct {
	Time   time.Time `json:"time"`
	Known  bool      `json:"known"`
	Second bool      `json:"second,omitempty"` // it rests on the indicator's second source
	Good   uint64    `json:"good"`
	Total  uint64    `json:"total"`
}
