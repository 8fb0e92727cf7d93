package enforce

import (
	"time"

	"assay.dev/assay"
)

// Status is what an enforcer says about itself: the control API answers it, and
// an actuator reads back from it.
type Status struct {
	Revision   assay.Digest  `json:"revision"`
	Generation uint64        `json:"generation"` // of the configuration
	Started    time.Time     `json:"started"`
	Time       time.Time     `json:"time"`
	Routes     []RouteStatus `json:"routes"`
	Refused    []RefusalSeen `json:"refused,omitempty"`
	Export     ExportStatus  `json:"export"`
}

// RouteStatus is one route as it is enforced now.
type RouteStatus struct {
	Name       string          `json:"name"`
	Service    string          `json:"service"`
	Mode       assay.Mode      `json:"mode"` // of entry: enforce, or dry-run, which records refusals and lets pass
	Generation uint64          `json:"generation"`
	Versions   []VersionStatus `json:"versions"`
	// Levers are where they stand, those at rest too; Scope AnyScope speaks for all
	// tenants and sources that are not named.
	Levers []LeverStatus `json:"levers,omitempty"`
	// LeverGeneration is of the last owner that moved one.
	LeverGeneration uint64 `json:"lever_generation,omitempty"`
	// Limited counts the requests that levers held, by reason, since Started.
	Limited map[string]uint64 `json:"limited,omitempty"`
}

// LeverStatus is one lever as it is enforced now.
type LeverStatus struct {
	Lever assay.Lever `json:"lever"`
	Scope string      `json:"scope,omitempty"`
	Value float64     `json:"value"`
	Key   string      `json:"key,omitempty"`  // of the change that moved it; "" at rest
	Since time.Time   `json:"since,omitzero"` // of that change
	// Evidence is what is kept of a source that is cut off.
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Evidence is what an enforcer saw of a source.
type Evidence struct {
	First   time.Time         `json:"first"` // time of its first request that is remembered
	Last    time.Time         `json:"last"`
	Results map[string]uint64 `json:"results"` // its requests by result: 2xx, 4xx, refused and so on
	// Samples are some of its newest requests.
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is one request of a source, without its body.
type Sample struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"` // without the query, cut at MaxScope bytes
	Result string    `json:"result"`
}

// VersionStatus is one version as it is enforced now. Counts are since Started.
type VersionStatus struct {
	Name     string       `json:"name"`
	Digest   assay.Digest `json:"digest"`
	Backend  string       `json:"backend,omitempty"`
	Places   []Place      `json:"places,omitempty"`
	Percent  int          `json:"percent"`
	Refusal  *Refusal     `json:"refusal,omitempty"` // nil: it may be entered
	Requests uint64       `json:"requests"`
	Errors   uint64       `json:"errors"`
	InFlight int64        `json:"in_flight"`
	// Matches are the rules that send requests to it whatever its share is.
	Matches []Match `json:"matches,omitempty"`
	// Mirror is the rule by which it gets copies; nil if it gets none.
	Mirror *Mirror `json:"mirror,omitempty"`
}

// RefusalSeen counts refused requests of one version for one reason.
type RefusalSeen struct {
	Route   string    `json:"route"`
	Version string    `json:"version"`
	Refusal Refusal   `json:"refusal"`
	Count   uint64    `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// ExportStatus tells whether metrics reached their collector.
type ExportStatus struct {
	Sequence uint64 `json:"sequence"` // of the last batch made
	Sent     uint64 `json:"sent"`
	Queued   int    `json:"queued"`
	Dropped  uint64 `json:"dropped"` // batches given up
	Error    string `json:"error,omitempty"`
}

// Problem is the body of every refusal (RFC 9457, application/problem+json).
type Problem struct {
	Title   string     `json:"title"`
	Status  int        `json:"status"`
	Code    assay.Code `json:"code"`
	Detail  string     `json:"detail"`
	Refusal *Refusal   `json:"refusal,omitempty"` // set when a version was refused entry
	// Owner is the generation that acted last; set when an older one was refused.
	Owner uint64 `json:"owner,omitempty"`
}

// Answer is what a change of the control API returns.
type Answer struct {
	Receipt  Receipt `json:"receipt"`
	Replayed bool    `json:"replayed"` // the key had been answered before; nothing was done now
}
