package diverge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// actor stands in the facts of this package.
const actor = "assay.diverge"

// judgedVersion is the version of Judged as a fact's payload.
const judgedVersion = 1

// MaxJudgedBytes bounds the payload of a fact divergence.judged.
const MaxJudgedBytes = 64 << 10

// Judged is one verdict with everything that it was made of, and the payload of the fact
// divergence.judged.
type Judged struct {
	Input     Input     `json:"input"`
	Judgement Judgement `json:"judgement"`
}

// encode writes the canonical form: the same verdict gives the same bytes.
func (j Judged) encode() ([]byte, error) {
	b, err := json.Marshal(j)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "a divergence cannot be written: %w", err)
	}
	return b, nil
}

// fact is the verdict as it is recorded.
func (j Judged) fact(namespace string) (assay.Fact, error) {
	payload, err := j.encode()
	if err != nil {
		return assay.Fact{}, err
	}
	return assay.Fact{
		Kind: assay.FactDivergenceJudged, Version: judgedVersion, Time: j.Input.Time, Namespace: namespace, Service: j.Input.Service,
		Actor: actor, Retention: assay.RetainOperational, Payload: payload,
	}, nil
}

// DecodeJudged reads the payload of a fact divergence.judged; CodeInvalid if it is none,
// CodeTooLarge above MaxJudgedBytes.
func DecodeJudged(payload []byte) (Judged, error) {
	if len(payload) > MaxJudgedBytes {
		return Judged{}, assay.Errorf(assay.CodeTooLarge, "a recorded divergence has %d bytes, at most %d are read", len(payload), MaxJudgedBytes)
	}
	var j Judged
	if err := strict.JSON(payload, &j); err != nil {
		return Judged{}, assay.Errorf(assay.CodeInvalid, "a fact is no divergence: %w", err)
	}
	if j.Input.Region == "" || j.Input.SLO == "" || j.Input.Time.IsZero() || j.Judgement.Verdict == "" {
		return Judged{}, assay.Errorf(assay.CodeInvalid, "a fact is no divergence: it names no region, SLO, time or verdict")
	}
	return j, nil
}

// Replayed is what making a recorded verdict again came to.
type Replayed struct {
	// Identical means that the same bytes came out. It is promised for the build that made
	// the record; elsewhere floating point may differ in the last bits.
	Identical bool `json:"identical"`
	// Same means that the same verdict came out.
	Same   bool   `json:"same_verdict"`
	Engine string `json:"engine"` // the one that made the record
	Again  Judged `json:"again"`
}

// Replay makes a recorded verdict again from its input.
func Replay(payload []byte) (Replayed, error) {
	j, err := DecodeJudged(payload)
	if err != nil {
		return Replayed{}, err
	}
	again := Judged{Input: j.Input, Judgement: Judge(j.Input)}
	data, err := again.encode()
	if err != nil {
		return Replayed{}, assay.Errorf(assay.CodeInvalid, "a recorded divergence cannot be made again: %w", err)
	}
	return Replayed{
		Identical: bytes.Equal(data, payload), Same: again.Judgement.Verdict == j.Judgement.Verdict,
		Engine: j.Judgement.Engine, Again: again,
	}, nil
}

// MaxListed is how many verdicts List returns and how far back it looks for them.
const MaxListed = 10_000

// Recorded is a verdict with its fact, and what making it again came to.
type Recorded struct {
	ID       assay.FactID `json:"id"`
	Recorded time.Time    `json:"recorded"`
	Judged
	// Identical means that Judge makes the same bytes of the recorded input, and Same that
	// it makes the same verdict.
	Identical bool `json:"identical"`
	Same      bool `json:"same_verdict"`
}

// List returns the newest verdicts, newest first: of a service, or of all with "". A limit
// of 0 means 100; at most MaxListed. Each is made again from its input.
func List(ctx context.Context, s store.Store, namespace, service string, limit int) ([]Recorded, error) {
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, MaxListed)
	out := []Recorded{}
	err := s.View(ctx, func(r store.Reader) error {
		q := store.Query{Namespace: namespace, Kinds: []string{assay.FactDivergenceJudged}, Newest: true}
		for looked := 0; looked < MaxListed; {
			rows, err := r.Facts(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			looked += len(rows)
			for _, row := range rows {
				q.After = row.Commit
				if service != "" && row.Fact.Service != service {
					continue
				}
				j, err := DecodeJudged(row.Fact.Payload)
				if err != nil {
					return fmt.Errorf("fact %s: %w", row.Fact.ID, err)
				}
				again, err := Replay(row.Fact.Payload)
				if err != nil {
					return fmt.Errorf("fact %s: %w", row.Fact.ID, err)
				}
				out = append(out, Recorded{ID: row.Fact.ID, Recorded: row.Fact.Recorded, Judged: j, Identical: again.Identical, Same: again.Same})
				if len(out) == limit {
					return nil
				}
			}
		}
		return nil
	})
	return out, err
}
