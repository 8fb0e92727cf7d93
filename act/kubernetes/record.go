package kubernetes

import (
	"encoding/json"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/strict"
)

// annotation is where an object says who moved it last and which keys were done.
const annotation = "assay.dev/lever"

// held marks a Job that was suspended with the CronJob that it names.
const held = "assay.dev/held-by"

// Bounds of a record, so that annotations stay far below what a cluster stores (256 KiB).
const (
	// MaxDone is how many keys an object remembers; a forgotten one does no harm while the
	// belief of an action is compared.
	MaxDone = 64
	// MaxKey is the longest key of an action, in bytes.
	MaxKey = 512
	// MaxRecord is the largest record that is read, in bytes.
	MaxRecord = 128 << 10
)

// Record is what the annotation of an object holds, in JSON.
type Record struct {
	Fence uint64 `json:"fence"` // generation of the owner that acted last
	Done  []Done `json:"done"`  // the newest keys, oldest first
}

// Done is an action that was carried out.
type Done struct {
	Key     string    `json:"key"`
	Now     float64   `json:"now"`  // where it was believed to stand
	Want    float64   `json:"want"` // where it was moved
	Changed bool      `json:"changed"`
	Time    time.Time `json:"time"`
}

// ParseRecord reads an annotation; "" is an object that nobody has moved. CodeConflict for
// what is no record: somebody else wrote it, and nothing is moved on top of that.
func ParseRecord(text string) (Record, error) {
	var r Record
	if text == "" {
		return r, nil
	}
	if len(text) > MaxRecord {
		return r, assay.Errorf(assay.CodeConflict, "the annotation %s has %d bytes; at most %d are read", annotation, len(text), MaxRecord)
	}
	if err := strict.JSON([]byte(text), &r); err != nil {
		e := assay.Errorf(assay.CodeConflict, "the annotation %s is no record of ours: %w", annotation, err)
		e.Hint = "when no other control plane moves the object, delete the annotation: what was done is forgotten then"
		return Record{}, e
	}
	return r, nil
}

// with is the record after another action.
func (r Record) with(d Done, fence uint64) Record {
	done := append(slices.Clone(r.Done), d)
	return Record{Fence: max(r.Fence, fence), Done: done[max(0, len(done)-MaxDone):]}
}

// text is the record as an annotation.
func (r Record) text() (string, error) {
	data, err := json.Marshal(r)
	return string(data), err
}

// answered is the receipt of an action whose key was done before. CodeConflict if the key was
// for another one.
func (r Record) answered(m Move, a assay.Action) (receipt act.Receipt, last, found bool, err error) {
	i := slices.IndexFunc(r.Done, func(d Done) bool { return d.Key == a.Key })
	if i < 0 {
		return act.Receipt{}, false, false, nil
	}
	d := r.Done[i]
	if d.Now != a.Now || d.Want != a.Want {
		return act.Receipt{}, false, true, assay.Errorf(assay.CodeConflict, "the key was used to move %s from %v to %v", m.object(), d.Now, d.Want)
	}
	return m.receipt(d), i == len(r.Done)-1, true, nil
}
