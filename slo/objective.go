package slo

import (
	"time"
)

// Method is how an objective counts.
type Method string

const (
	// MethodOccurrences counts events.
	MethodOccurrences Method = "Occurrences"
	// MethodTimeslices counts slices of time, good when enough of their events are.
	MethodTimeslices Method = "Timeslices"
)

// Query is one series of numbers, as its source understands it.
type Query struct {
	Type   string `json:"type,omitempty"`   // of the source: "Prometheus" has an adapter
	Source string `json:"source,omitempty"` // name of a DataSource, "" for the default one
	Text   string `json:"text"`             // PromQL if Type is Prometheus
	// Fallback counts the same from another sender: it is read while Text tells nothing.
	Fallback string `json:"fallback,omitempty"`
}

// Indicator is a ratio of counts. Exactly one of Good and Bad is set.
type Indicator struct {
	Name    string `json:"name"`
	Counter bool   `json:"counter"` // the queries give counters that only rise, but for resets
	Good    *Query `json:"good,omitempty"`
	Bad     *Query `json:"bad,omitempty"`
	Total   Query  `json:"total"`
}

// Second is the indicator as its second source counts it; false if it has none.
func (i Indicator) Second() (Indicator, bool) {
	if i.Total.Fallback == "" {
		return i, false
	}
	other := func(q *Query) *Query {
		if q == nil {
			return nil
		}
		return &Query{Type: q.Type, Source: q.Source, Text: q.Fallback}
	}
	i.Good, i.Bad, i.Total = other(i.Good), other(i.Bad), *other(&i.Total)
	return i, true
}

// Objective is one promise: a share of good events within a window.
type Objective struct {
	SLO         string        `json:"slo"`   // metadata.name of the SLO
	Index       int           `json:"index"` // of the objective within the SLO, from 0
	Name        string        `json:"name"`  // displayName of the objective, else of the SLO
	Service     string        `json:"service"`
	Description string        `json:"description,omitempty"`
	Indicator   Indicator     `json:"indicator"`
	Target      Ratio         `json:"target"`
	Window      Window        `json:"window"`
	Method      Method        `json:"method"`
	SliceTarget Ratio         `json:"slice_target,omitempty"` // for MethodTimeslices
	SliceWindow time.Duration `json:"slice_window,omitempty"` // for MethodTimeslices, whole minutes
	Regions     *Regions      `json:"regions,omitempty"`      // nil if the indicator is not compared between regions
}

// Service is somebody's promise-keeper, as OpenSLO names it.
type Service struct {
	Name        string
	DisplayName string
	Description string
}

// DataSource says where the queries that name it are answered. Connection
// details, which may hold credentials, are read and dropped.
type DataSource struct {
	Name string
	Type string
}

// Condition is when a burn rate is too high, from an OpenSLO AlertCondition.
type Condition struct {
	Name      string
	Severity  string
	Op        string // lte, gte, lt or gt, as written
	Threshold Factor
	Lookback  Duration
	After     Duration // zero value if the document has none
}

// AlertPolicy says who hears of a condition. Notification is not wired yet;
// the policy is kept so that a repository lints as a whole.
type AlertPolicy struct {
	Name      string
	Condition string // name of the one condition
	Targets   []string
	Breaching bool
	Resolved  bool
	NoData    bool
}
