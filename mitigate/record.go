package mitigate

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
)

// Record is a decision with everything that the law and the choice were made of. Its
// canonical form is the JSON of Encode.
type Record struct {
	Engine     string               `json:"engine"`
	Strategy   Strategy             `json:"strategy"`
	Before     State                `json:"before"`
	Inputs     Inputs               `json:"inputs"`
	Outer      []assay.GuardVerdict `json:"outer,omitempty"` // what the caller's guard said
	Now        time.Time            `json:"now"`
	Mitigation decide.Mitigation    `json:"mitigation"` // what was weighed, and the choice
	Notes      []string             `json:"notes,omitempty"`
	After      State                `json:"after"`
}

// Decision is the choice, with what the law has to say about it.
func (r *Record) Decision() assay.Decision {
	d := r.Mitigation.Decision
	d.Reasons = slices.Concat(d.Reasons, r.Notes)
	return d
}

// Decide is Next that keeps its inputs.
func Decide(s Strategy, st State, in Inputs, guard decide.Guard, now time.Time) (Record, error) {
	r, err := decided(s, st, in, guard, now)
	return *r, err
}

// decided is Decide without a copy of the record, which is large.
func decided(s Strategy, st State, in Inputs, guard decide.Guard, now time.Time) (*Record, error) {
	r := &Record{Engine: Engine, Strategy: s, Before: st, Inputs: in, Now: now.UTC()}
	outer := decide.Guard(func(a assay.Action) []assay.GuardVerdict {
		if guard == nil {
			return nil
		}
		// Asked twice about one action it answers once: the record has one answer to replay.
		if known := about(r.Outer, a); len(known) > 0 {
			return known
		}
		said := guard(a)
		for i := range said {
			said[i].Action, said[i].Target, said[i].Want = a.Kind, a.Target(), a.Want
		}
		r.Outer = append(r.Outer, said...)
		return said
	})
	if err := r.decide(outer); err != nil {
		return &Record{After: st}, err
	}
	return r, nil
}

// Sealed has the digest of what was weighed in its decision. It is what is recorded and
// shown; a decision that nobody keeps needs none.
func (r Record) Sealed() (Record, error) {
	var err error
	r.Mitigation, err = r.Mitigation.Sealed()
	return r, err
}

// Encode writes the canonical form, sealed: the same record gives the same bytes.
func (r Record) Encode() ([]byte, error) {
	r, err := r.Sealed()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "decision of strategy %q cannot be recorded: %w", r.Strategy.Name, err)
	}
	return b, nil
}

// ParseRecord reads what Encode wrote. Errors: CodeTooLarge above
// decide.MaxRecordBytes, CodeInvalid for anything that Encode would not write.
func ParseRecord(data []byte) (Record, error) {
	if len(data) > decide.MaxRecordBytes {
		return Record{}, assay.Errorf(assay.CodeTooLarge, "recorded decision has %d bytes, at most %d are read", len(data), decide.MaxRecordBytes)
	}
	var r Record
	if err := strict.JSON(data, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}

// about are the verdicts on an action.
func about(list []assay.GuardVerdict, a assay.Action) (out []assay.GuardVerdict) {
	for _, v := range list {
		if v.Action == a.Kind && v.Target == a.Target() && v.Want == a.Want {
			out = append(out, v)
		}
	}
	return out
}

// Replay makes a recorded decision again, law and choice, and reports whether the
// same bytes came out. The caller's guard answers what is recorded.
func Replay(data []byte) (again Record, identical bool, err error) {
	r, err := ParseRecord(data)
	if err != nil {
		return Record{}, false, err
	}
	recorded := func(a assay.Action) []assay.GuardVerdict { return about(r.Outer, a) }
	if again, err = Decide(r.Strategy, r.Before, r.Inputs, recorded, r.Now); err != nil {
		return Record{}, false, err
	}
	b, err := again.Encode()
	return again, bytes.Equal(b, data), err
}
