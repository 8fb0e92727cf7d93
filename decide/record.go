package decide

import (
	"bytes"
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxRecordBytes bounds one recorded decision.
const MaxRecordBytes = 8 << 20

// Record is a decision with everything that it was made of. Its canonical form is
// the JSON of Encode.
type Record struct {
	Plan     Plan            `json:"plan"`
	Before   State           `json:"before"`
	Readings []assay.Reading `json:"readings"`
	Now      time.Time       `json:"now"`
	Decision assay.Decision  `json:"decision"`
	After    State           `json:"after"`
}

// Decide is Next that keeps its inputs.
func Decide(p Plan, s State, readings []assay.Reading, guard Guard, now time.Time) (Record, error) {
	d, after, err := Next(p, s, readings, guard, now)
	return Record{Plan: p, Before: s, Readings: readings, Now: now.UTC(), Decision: d, After: after}, err
}

// Encode writes the canonical form: the same record gives the same bytes.
func (r Record) Encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "decision of plan %q cannot be recorded: %w", r.Plan.Name, err)
	}
	return b, nil
}

// ParseRecord reads what Encode wrote. Errors: CodeTooLarge above MaxRecordBytes,
// CodeInvalid for anything that Encode would not write.
func ParseRecord(data []byte) (Record, error) {
	if len(data) > MaxRecordBytes {
		return Record{}, assay.Errorf(assay.CodeTooLarge, "recorded decision has %d bytes, at most %d are read", len(data), MaxRecordBytes)
	}
	var r Record
	if err := strict.JSON(data, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}

// Replayed is what making a recorded decision again came to.
type Replayed struct {
	// Identical means that the same bytes came out. It is promised for the build
	// that made the record; elsewhere floating point may differ in the last bits.
	Identical bool
	// SameChoice means that the same action was chosen.
	SameChoice bool
	// Engine is the one that made the record.
	Engine string
	// Decision is the one made again, of either kind.
	Decision assay.Decision
	Bytes    []byte // the record's canonical form
}

// Replay makes a recorded decision of a rollout or a mitigation again from its inputs:
// the guards answer what is recorded. It fails when the inputs cannot be read or decided
// upon.
func Replay(data []byte) (Replayed, error) {
	if isMitigation(data) {
		return replayMitigation(data)
	}
	r, err := ParseRecord(data)
	if err != nil {
		return Replayed{}, err
	}
	recorded := func(a assay.Action) (out []assay.GuardVerdict) {
		for _, v := range r.Decision.Guards {
			if v.Action == a.Kind {
				out = append(out, v)
			}
		}
		return out
	}
	again, err := Decide(r.Plan, r.Before, r.Readings, recorded, r.Now)
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Engine: r.Decision.Engine, Decision: again.Decision, SameChoice: again.Decision.Action == r.Decision.Action}
	if out.Bytes, err = again.Encode(); err != nil {
		return Replayed{}, err
	}
	out.Identical = bytes.Equal(out.Bytes, data)
	return out, nil
}
