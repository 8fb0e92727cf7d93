// Package replay is a signal.Source of readings that are known beforehand:
// recorded from a real run, or drawn from a seed.
//
// The mental model is a tape. Readings lie on it in order of time; asking for
// an interval adds up those that lie inside it. The same tape, or the same
// seed, gives the same readings for ever, so a decision made from it can be
// made again.
package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/signal"
)

const (
	// MaxTape is the size of a recorded tape, bytes.
	MaxTape = 64 << 20
	// MaxReadings is how many readings a tape may hold.
	MaxReadings = 200_000
)

// Tape holds readings of one namespace. Safe for concurrent use: it never changes.
type Tape struct {
	namespace string
	readings  []assay.Reading // by start
}

var _ signal.Source = (*Tape)(nil)

// New returns a tape of the readings. CodeInvalid for one that counts nothing possible.
func New(namespace string, readings []assay.Reading) (*Tape, error) {
	t := &Tape{namespace, slices.Clone(readings)}
	for _, r := range t.readings {
		if err := r.Check(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(t.readings, func(a, b assay.Reading) int { return a.Start.Compare(b.Start) })
	return t, nil
}

// Read reads a tape that Write wrote: one JSON reading a line.
func Read(r io.Reader, namespace string) (*Tape, error) {
	data, err := strict.Bounded(r, MaxTape, "the tape")
	if err != nil {
		return nil, err
	}
	var readings []assay.Reading
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(readings) == MaxReadings {
			return nil, assay.Errorf(assay.CodeTooLarge, "the tape holds more than %d readings", MaxReadings)
		}
		var one assay.Reading
		err := strict.JSON(line, &one)
		if err == nil {
			err = one.Check()
		}
		if err != nil {
			return nil, &assay.Error{Code: assay.CodeInvalid, Line: n, Column: 1, Field: "reading", Msg: err.Error(), Err: err}
		}
		readings = append(readings, one)
	}
	return New(namespace, readings)
}

// Write records readings so that Read gives them back.
func Write(w io.Writer, readings []assay.Reading) error {
	enc := json.NewEncoder(w)
	for _, r := range readings {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Len is the number of readings on the tape.
func (t *Tape) Len() int { return len(t.readings) }

// Read adds up, per version, the readings of the indicator that lie in the
// interval as a whole. One that sticks out at either end is not counted: it
// cannot be split. What was not yet ingested at the interval's end is counted
// all the same; a tape knows the whole truth.
func (t *Tape) Read(_ context.Context, q signal.Query) ([]assay.Reading, error) {
	if q.Namespace == "" || !q.Start.Before(q.End) {
		return nil, q.Check()
	}
	sums := map[string]assay.Reading{}
	if q.Namespace != t.namespace {
		return nil, nil
	}
	from, _ := slices.BinarySearchFunc(t.readings, q.Start, func(r assay.Reading, at time.Time) int { return r.Start.Compare(at) })
	for i := range t.readings[from:] { // readings are large: those that do not count are not copied
		r := &t.readings[from+i]
		if !r.Start.Before(q.End) {
			break
		}
		if r.End.After(q.End) || !concerns(q.Indicator, r) {
			continue
		}
		one := *r
		if q.Indicator.ReplicaLabel == "" {
			one.Replicas = nil // nobody asked
		}
		sum, err := Add(sums[r.Version], one)
		if err != nil {
			return nil, err
		}
		sums[r.Version] = sum
	}
	var out []assay.Reading
	for _, r := range sums {
		r.Start, r.End = q.Start.UTC(), q.End.UTC()
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b assay.Reading) int { return strings.Compare(a.Version, b.Version) })
	return out, nil
}

func concerns(ind signal.Indicator, r *assay.Reading) bool {
	return r.Indicator == ind.Name && (ind.Service == "" || r.Service == ind.Service) && (ind.Environment == "" || r.Environment == ind.Environment)
}

// Add joins two readings of one indicator and version. The times are of the
// newer, the completeness of the worse. CodeInvalid for histograms with
// different bounds. A zero reading adds nothing.
func Add(a, b assay.Reading) (assay.Reading, error) {
	if a.Indicator == "" {
		b.Buckets = slices.Clone(b.Buckets)
		return b, nil
	}
	if len(a.Buckets) != len(b.Buckets) {
		return a, assay.Errorf(assay.CodeInvalid, "readings of %s have %d and %d buckets and cannot be added", a.Indicator, len(a.Buckets), len(b.Buckets))
	}
	sum := a
	sum.Good, sum.Total = a.Good+b.Good, a.Total+b.Total
	sum.Count, sum.Sum = a.Count+b.Count, a.Sum+b.Sum
	if b.Total > 0 && (a.Total == 0 || b.Least < a.Least) {
		sum.Least = b.Least
	}
	if b.Total > 0 && (a.Total == 0 || b.Greatest > a.Greatest) {
		sum.Greatest = b.Greatest
	}
	sum.Buckets = slices.Clone(a.Buckets)
	for i := range sum.Buckets {
		if a.Buckets[i].LE != b.Buckets[i].LE {
			return a, assay.Errorf(assay.CodeInvalid, "readings of %s have the bounds %v and %v and cannot be added", a.Indicator, a.Buckets[i].LE, b.Buckets[i].LE)
		}
		sum.Buckets[i].Count += b.Buckets[i].Count
	}
	if b.Start.Before(a.Start) {
		sum.Start = b.Start
	}
	if b.End.After(a.End) {
		sum.End = b.End
	}
	if b.EventTime.After(a.EventTime) {
		sum.EventTime = b.EventTime
	}
	if b.Ingested.After(a.Ingested) {
		sum.Ingested = b.Ingested
	}
	sum.Completeness = min(a.Completeness, b.Completeness)
	var err error
	if sum.Replicas, err = addReplicas(a, b); err != nil {
		return a, err
	}
	return sum, nil
}

// addReplicas joins the replicas of two readings by name.
func addReplicas(a, b assay.Reading) ([]assay.Replica, error) {
	if len(b.Replicas) == 0 {
		return a.Replicas, nil
	}
	sums := map[string]assay.Reading{}
	for _, r := range []assay.Reading{a, b} {
		for _, p := range r.Replicas {
			sum, err := Add(sums[p.Name], r.Of(p))
			if err != nil {
				return nil, err
			}
			sums[p.Name] = sum
		}
	}
	var out []assay.Replica
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		r := sums[name]
		out = append(out, assay.Replica{Name: name, Good: r.Good, Total: r.Total, Buckets: r.Buckets, Classes: r.Classes})
	}
	return out, nil
}
