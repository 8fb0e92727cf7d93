package assay

import (
	"math"
	"time"
)

// Bucket is one bound of a cumulative histogram: Count observations were at
// most LE. LE is in the indicator's unit, seconds for a latency. The bucket
// without a bound is not listed: its count is the reading's Total.
type Bucket struct {
	LE    float64 `json:"le"`
	Count uint64  `json:"count"`
}

// MaxBuckets bounds the buckets of one reading, and its classes.
const MaxBuckets = 10_000

// Class is how many bad events were of one kind.
type Class struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Replica is what one replica of a version counted in a reading's interval.
type Replica struct {
	Name    string   `json:"name"`
	Good    uint64   `json:"good"`
	Total   uint64   `json:"total"`
	Buckets []Bucket `json:"buckets,omitempty"`
	Classes []Class  `json:"classes,omitempty"`
}

// MaxReplicas bounds the replicas of one reading; more are put together into as many groups.
const MaxReplicas = 16

// Stratum is how many requests of one part of the traffic each version had.
type Stratum struct {
	Name    string `json:"name"`
	Canary  uint64 `json:"canary"`
	Control uint64 `json:"control"`
}

// Reading is what one indicator counted for one version of a service in the
// interval [Start, End): increments and no totals, so those of adjoining intervals add up.
type Reading struct {
	Service     string `json:"service"`
	Environment string `json:"environment,omitempty"`
	Indicator   string `json:"indicator"` // "errors", "latency"
	Version     string `json:"version"`   // the arm: the version label that the requests were served by
	// Stratum is the part of the traffic that was counted, for example a route, region
	// or tenant; "" is all of it. Parts of one interval add up to the whole.
	Stratum string `json:"stratum,omitempty"`

	Good    uint64   `json:"good"`              // events that met the indicator; at most Total
	Total   uint64   `json:"total"`             // all events
	Buckets []Bucket `json:"buckets,omitempty"` // for a latency: bounds and counts ascend, counts at most Total
	Classes []Class  `json:"classes,omitempty"` // bad events by class; each count at most Total

	// Clusters are distinct traces, users or replica-minutes that had events, and
	// BadClusters those that had a bad one; 0 where the telemetry does not tell.
	Clusters    uint64  `json:"clusters,omitempty"`
	BadClusters uint64  `json:"bad_clusters,omitempty"`
	Count       uint64  `json:"count,omitempty"` // events in an exposure of Total, of which one may have many
	Sum         float64 `json:"sum,omitempty"`   // of a value that each of the Total events has, 0 or more; of a gauge, of what its Total samples are above the declared minimum
	Least       float64 `json:"least,omitempty"` // of a gauge's samples
	Greatest    float64 `json:"greatest,omitempty"`

	// Replicas are what the version's replicas counted side by side, by name, if they were asked for.
	Replicas []Replica `json:"replicas,omitempty"`

	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	EventTime    time.Time `json:"event_time"`   // of the newest event counted
	Ingested     time.Time `json:"ingested"`     // when the newest of it arrived here
	Completeness float64   `json:"completeness"` // share of the expected sources that reported, 0 to 1

	Instead string `json:"instead,omitempty"` // why it was read from the indicator's second source, empty if it was from the first
}

// Bad is the number of events that missed the indicator.
func (r Reading) Bad() uint64 { return r.Total - min(r.Good, r.Total) }

// Of is the reading of one of its replicas.
func (r Reading) Of(p Replica) Reading {
	r.Good, r.Total, r.Buckets, r.Classes = p.Good, p.Total, p.Buckets, p.Classes
	r.Clusters, r.BadClusters, r.Count, r.Sum, r.Least, r.Greatest, r.Replicas = 0, 0, 0, 0, 0, 0, nil
	return r
}

// Age is how far behind now the newest event counted is. Event time counts, not
// arrival: a late batch of old events is old.
func (r Reading) Age(now time.Time) time.Duration { return now.Sub(r.EventTime) }

// Check refuses a reading that cannot be a count of anything; CodeInvalid.
func (r Reading) Check() error {
	switch {
	case r.Indicator == "" || r.Version == "":
		return Errorf(CodeInvalid, "reading of service %q names no indicator or no version", clip(r.Service))
	case r.Good > r.Total:
		return Errorf(CodeInvalid, "reading %s has %d good of %d events", clip(r.Indicator), r.Good, r.Total)
	case !r.Start.Before(r.End):
		return Errorf(CodeInvalid, "reading %s has an interval that does not end after it starts", clip(r.Indicator))
	case !(r.Sum >= 0 && r.Sum <= 1e18):
		return Errorf(CodeInvalid, "reading %s has the sum %v: values are numbers from 0 up", clip(r.Indicator), r.Sum)
	case !(math.Abs(r.Least) <= math.MaxFloat64 && math.Abs(r.Greatest) <= math.MaxFloat64 && r.Least <= r.Greatest):
		return Errorf(CodeInvalid, "reading %s has samples from %v to %v, which are no numbers", clip(r.Indicator), r.Least, r.Greatest)
	case r.Count > 1<<53:
		return Errorf(CodeInvalid, "reading %s has the count %d", clip(r.Indicator), r.Count)
	case r.BadClusters > r.Clusters || r.Clusters > r.Total:
		return Errorf(CodeInvalid, "reading %s has %d bad of %d clusters in %d events", clip(r.Indicator), r.BadClusters, r.Clusters, r.Total)
	case !(r.Completeness >= 0 && r.Completeness <= 1):
		return Errorf(CodeInvalid, "reading %s has completeness %v, want 0 to 1", clip(r.Indicator), r.Completeness)
	}
	if len(r.Buckets) > MaxBuckets || len(r.Classes) > MaxBuckets {
		return Errorf(CodeTooLarge, "reading %s has %d buckets and %d classes, at most %d of each are read", clip(r.Indicator), len(r.Buckets), len(r.Classes), MaxBuckets)
	}
	for _, c := range r.Classes {
		if c.Count > r.Total {
			return Errorf(CodeInvalid, "reading %s has %d events of class %s of %d", clip(r.Indicator), c.Count, clip(c.Name), r.Total)
		}
	}
	for i, b := range r.Buckets {
		if b.LE < 0 && b.Count > 0 {
			return Errorf(CodeInvalid, "reading %s: %d observations are at most %v: a latency is never negative", clip(r.Indicator), b.Count, b.LE)
		}
		if math.IsNaN(b.LE) || math.IsInf(b.LE, 0) || b.Count > r.Total {
			return Errorf(CodeInvalid, "reading %s: bucket %d has bound %v and count %d of %d", clip(r.Indicator), i, b.LE, b.Count, r.Total)
		}
		if i > 0 && (b.LE <= r.Buckets[i-1].LE || b.Count < r.Buckets[i-1].Count) {
			return Errorf(CodeInvalid, "reading %s: bucket %d does not ascend", clip(r.Indicator), i)
		}
	}
	return nil
}

// Signal says what one indicator was worth to a decision. An input that is
// stale, thin or missing is unknown: it is never read as zero.
type Signal struct {
	Indicator    string  `json:"indicator"`
	Known        bool    `json:"known"`
	Reason       string  `json:"reason,omitempty"`  // why it is unknown, one sentence
	Instead      string  `json:"instead,omitempty"` // why its second source was read, empty if the first was
	AgeSeconds   float64 `json:"age_seconds"`       // of the older arm
	Completeness float64 `json:"completeness"`      // of the less complete arm
}
