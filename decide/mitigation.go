package decide

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Mitigation is a mitigation's decision with everything that it was made of. Its
// canonical form is the JSON of Encode.
type Mitigation struct {
	Problem  Problem        `json:"problem"`
	Draws    []float64      `json:"draws,omitempty"`
	Now      time.Time      `json:"now"`
	Decision assay.Decision `json:"decision"`
}

// Mitigate is Weigh that keeps its inputs and writes their digest into the decision.
func Mitigate(p Problem, guard Guard, now time.Time, draws []float64) (Mitigation, error) {
	m := Mitigation{Problem: p, Draws: draws, Now: now.UTC()}
	if err := m.Choose(guard); err != nil {
		return Mitigation{}, err
	}
	return m.Sealed()
}

// Sealed has the digest of its inputs in its decision.
func (m Mitigation) Sealed() (Mitigation, error) {
	if m.Decision.Inputs != "" {
		return m, nil
	}
	b, err := json.Marshal(struct {
		Problem Problem
		Draws   []float64
		Guards  []assay.GuardVerdict
		Now     time.Time
	}{m.Problem, m.Draws, m.Decision.Guards, m.Now})
	if err != nil {
		return Mitigation{}, assay.Errorf(assay.CodeInvalid, "inputs of strategy %q cannot be recorded: %w", m.Problem.Strategy, err)
	}
	m.Decision.Inputs = assay.DigestOf(sha256.Sum256(b))
	return m, nil
}

// Encode writes the canonical form, sealed: the same mitigation gives the same bytes.
func (m Mitigation) Encode() ([]byte, error) {
	m, err := m.Sealed()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "decision of strategy %q cannot be recorded: %w", m.Problem.Strategy, err)
	}
	return b, nil
}

// ParseMitigation reads what Encode wrote. Errors: CodeTooLarge above MaxRecordBytes,
// CodeInvalid for anything that Encode would not write.
func ParseMitigation(data []byte) (Mitigation, error) {
	if len(data) > MaxRecordBytes {
		return Mitigation{}, assay.Errorf(assay.CodeTooLarge, "recorded decision has %d bytes, at most %d are read", len(data), MaxRecordBytes)
	}
	var m Mitigation
	if err := strict.JSON(data, &m); err != nil {
		return Mitigation{}, err
	}
	return m, nil
}

// isMitigation tells the two kinds of record apart by their first field.
func isMitigation(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte(`{"problem":`))
}

// replayMitigation makes a recorded mitigation again: the guards answer what is recorded.
func replayMitigation(data []byte) (Replayed, error) {
	m, err := ParseMitigation(data)
	if err != nil {
		return Replayed{}, err
	}
	recorded := func(a assay.Action) (out []assay.GuardVerdict) {
		for _, v := range m.Decision.Guards {
			if v.Action == a.Kind && v.Target == a.Target() && v.Want == a.Want {
				out = append(out, v)
			}
		}
		return out
	}
	again, err := Mitigate(m.Problem, recorded, m.Now, m.Draws)
	if err != nil {
		return Replayed{}, err
	}
	out := Replayed{Engine: m.Decision.Engine, Decision: again.Decision, SameChoice: again.Decision.Action == m.Decision.Action}
	if out.Bytes, err = again.Encode(); err != nil {
		return Replayed{}, err
	}
	out.Identical = bytes.Equal(out.Bytes, data)
	return out, nil
}
