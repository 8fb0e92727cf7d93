package signal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// NamespaceLabel is the label that says whose a series is. The intake sets it on
// every sample and the query engine demands it of every selector.
const NamespaceLabel = "namespace"

// exportedNamespace keeps a namespace label that a sample brought along.
const exportedNamespace = "exported_namespace"

// Sample is one value of one series. Exactly one of H, FH and Value counts.
type Sample struct {
	Labels  labels.Labels
	Start   int64 // when a counter began at zero, Unix milliseconds; 0 if unknown
	Time    int64 // event time, Unix milliseconds
	Value   float64
	H       *histogram.Histogram      // native histogram, nil if Value counts
	FH      *histogram.FloatHistogram // native histogram of floats, nil if Value counts
	Counter bool                      // the sender says that the value only rises
}

// rises reports whether the sample belongs to a counter: the sender says so, or
// its name follows the convention of counters.
func (s Sample) rises() bool {
	if s.Counter {
		return true
	}
	name := s.Labels.Get(model.MetricNameLabel)
	return strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_bucket")
}

// stale reports whether the sample is Prometheus's marker of a series' end.
func (s Sample) stale() bool {
	switch {
	case s.H != nil:
		return value.IsStaleNaN(s.H.Sum)
	case s.FH != nil:
		return value.IsStaleNaN(s.FH.Sum)
	}
	return value.IsStaleNaN(s.Value)
}

// bits is a value to compare samples by; a stale marker equals itself.
func (s Sample) bits() uint64 {
	switch {
	case s.H != nil:
		return s.H.Count ^ math.Float64bits(s.H.Sum)
	case s.FH != nil:
		return math.Float64bits(s.FH.Count) ^ math.Float64bits(s.FH.Sum)
	}
	return math.Float64bits(s.Value)
}

// Road is the way a batch came in; a label of metrics, so there are few.
type Road string

// The roads.
const (
	RoadOTLP        Road = "otlp"
	RoadRemoteWrite Road = "remote_write"
	RoadScrape      Road = "scrape"
)

// Origin says who sends a batch. Namespace and Name come from the sender's
// credential, never from the batch.
type Origin struct {
	Namespace string
	Name      string // of the sender, unique within the namespace
	Road      Road
	// Epoch and Sequence number the sender's batches: an epoch is one life of
	// the sender, sequences count from 1 in it. Zero if it does not count.
	Epoch    uint64
	Sequence uint64
}

// Reason says why a sample was refused; a label of metrics, so there are few.
type Reason string

// The reasons. A refused sample never stops the others of its batch.
const (
	RefusedNaN        Reason = "nan"         // not a number, and no stale marker
	RefusedNegative   Reason = "negative"    // a counter or histogram below zero
	RefusedFuture     Reason = "future"      // dated more than MaxAhead after now
	RefusedOld        Reason = "old"         // dated before the out-of-order window
	RefusedLabels     Reason = "labels"      // too many, too long, not valid, or no name
	RefusedSeries     Reason = "series"      // the sender has MaxSeriesPerSource series already
	RefusedConflict   Reason = "conflict"    // another value is stored for this time
	RefusedHistogram  Reason = "histogram"   // buckets contradict each other
	RefusedDelta      Reason = "delta"       // a delta that cannot be added to what is known
	RefusedTranslated Reason = "translation" // has no counterpart in the series model
)

// Result is what became of a batch's samples.
type Result struct {
	Accepted   int            // stored, duplicates included
	Duplicates int            // equal to what was stored already: accepted and without effect
	Refused    map[Reason]int // by reason; nil if none
	First      string         // the first refusal in words, "" if none
}

// Refuse counts n refused samples; detail is kept if it is the first.
func (r *Result) Refuse(why Reason, n int, detail string) {
	if n == 0 {
		return
	}
	if r.Refused == nil {
		r.Refused = map[Reason]int{}
	}
	r.Refused[why] += n
	if r.First == "" {
		r.First = detail
	}
}

// RefusedTotal is the number of refused samples.
func (r Result) RefusedTotal() int {
	n := 0
	for _, c := range r.Refused {
		n += c
	}
	return n
}

// Explain says in one line what was stored, what was refused, and why.
func (r Result) Explain() string {
	var parts []string
	for why, n := range r.Refused {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(parts)
	stored := fmt.Sprintf("%d samples stored", r.Accepted)
	if r.Accepted == 1 {
		stored = "1 sample stored"
	}
	return fmt.Sprintf("%s, %d refused (%s); the first: %s", stored, r.RefusedTotal(), strings.Join(parts, ", "), r.First)
}

// Sink stores samples. signal/tsdb is one.
type Sink interface {
	// Append stores the samples as one batch, received now: all of it becomes
	// visible at once. A sample that cannot be stored (another value stands at
	// its time, or it is too old) is refused by itself and counted in the
	// result. An error means that nothing was stored and that a retry is safe;
	// assay.CodeUnavailable. Safe for concurrent use.
	Append(ctx context.Context, samples []Sample, now time.Time) (Result, error)
}
