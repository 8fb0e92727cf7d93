package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/store"
)

// Class says how long a payload is kept.
type Class string

// The classes of payloads, and what is in them.
const (
	// ClassEvidence payloads are the reports that were uploaded; they expire when told to.
	ClassEvidence Class = "evidence"
	// ClassAttestation payloads are bundles, signed statements and verdicts; they never expire.
	ClassAttestation Class = "attestation"
)

// Payload is a blob that a fact names.
type Payload struct {
	Digest assay.Digest `json:"digest"`
	Class  Class        `json:"class"`
}

// PayloadsOf returns the blobs that an audit fact names. A verdict may also name
// evidence that never was a blob of ours.
func PayloadsOf(f assay.Fact) []Payload {
	switch f.Kind {
	case assay.FactVerdict:
		var said struct {
			Evidence []assay.Digest `json:"evidence"`
			Document assay.Digest   `json:"document"`
		}
		if json.Unmarshal(f.Payload, &said) != nil {
			return nil // the audit of the leaf says what is wrong with it
		}
		list := []Payload{{said.Document, ClassAttestation}}
		for _, d := range said.Evidence {
			list = append(list, Payload{d, ClassEvidence})
		}
		return list
	case assay.FactAttested, assay.FactStatementSigned:
		var said struct {
			Bundle assay.Digest `json:"bundle_digest"`
		}
		if json.Unmarshal(f.Payload, &said) == nil {
			return []Payload{{said.Bundle, ClassAttestation}}
		}
	case assay.FactExceptionApproved:
		var said struct {
			Statement assay.Digest `json:"statement"`
		}
		if json.Unmarshal(f.Payload, &said) == nil && said.Statement != "" {
			return []Payload{{said.Statement, ClassAttestation}}
		}
	}
	return nil
}

// ExpiredPayload is the payload of a payload.expired fact, version 1. It is recorded
// before the blobs are removed, so that what is missing without one was lost.
type ExpiredPayload struct {
	Class   Class          `json:"class"`
	Days    int            `json:"days"` // for which the class is kept
	Digests []assay.Digest `json:"digests"`
}

// maxExpired is the largest number of digests in one fact.
const maxExpired = 1000

// evidenceBucket holds which namespace uploaded which report; see control.PutEvidence.
const evidenceBucket = "evidence"

// Remover removes blobs. A blob that is not there is no error.
type Remover interface {
	Remove(ctx context.Context, d assay.Digest) error
}

// ExpireConfig says what Expire works on. Every field is needed.
type ExpireConfig struct {
	Store  store.Store
	Outbox store.Outbox // of Store
	Blobs  Remover
	Days   int // for which evidence is kept after the last verdict that used it
	Now    time.Time
}

// Expire removes the evidence whose last verdict is older than its retention, and
// returns how many blobs. Facts, leaves and proofs stay: only what they name goes. It
// records what it removes before it does, so a crash in between is made good by the
// next call.
func Expire(ctx context.Context, cfg ExpireConfig) (int, error) {
	last, err := lastUses(ctx, cfg)
	if err != nil {
		return 0, err
	}
	gone, err := expiredPayloads(ctx, cfg.Store)
	if err != nil {
		return 0, err
	}
	cutoff := cfg.Now.AddDate(0, 0, -cfg.Days)
	var list, again []assay.Digest
	for d, used := range last {
		switch at, already := gone[d]; {
		case !used.Before(cutoff):
		case already && !at.Before(used):
			again = append(again, d)
		default:
			list = append(list, d)
		}
	}
	for _, d := range again { // recorded before, and perhaps not removed
		if err := cfg.Blobs.Remove(ctx, d); err != nil {
			return 0, err
		}
	}
	for from := 0; from < len(list); from += maxExpired {
		part := list[from:min(from+maxExpired, len(list))]
		if err := expire(ctx, cfg, part); err != nil {
			return from, err
		}
	}
	return len(list), nil
}

func expire(ctx context.Context, cfg ExpireConfig, list []assay.Digest) error {
	payload, err := json.Marshal(ExpiredPayload{Class: ClassEvidence, Days: cfg.Days, Digests: list})
	if err != nil {
		return err
	}
	err = cfg.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Append(assay.Fact{
			Kind: assay.FactPayloadExpired, Version: 1, Namespace: store.SystemNamespace, Actor: "retention",
			Retention: assay.RetainAudit, Payload: payload,
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := cfg.Blobs.Remove(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// lastUses returns when each piece of uploaded evidence was last used by a verdict.
func lastUses(ctx context.Context, cfg ExpireConfig) (map[assay.Digest]time.Time, error) {
	last, kept := map[assay.Digest]time.Time{}, map[assay.Digest]bool{}
	for from := uint64(0); ; {
		entries, err := cfg.Outbox.Entries(ctx, from, store.DefaultLimit)
		if err != nil || len(entries) == 0 {
			// What is signed may be evidence of another gate, or be uploaded by another
			// namespace: it is one blob, and stays.
			maps.DeleteFunc(last, func(d assay.Digest, _ time.Time) bool { return kept[d] })
			return last, err
		}
		err = cfg.Store.View(ctx, func(r store.Reader) error {
			for _, e := range entries {
				from = e.Seq + 1
				for _, p := range PayloadsOf(e.Fact) {
					if p.Class == ClassAttestation {
						kept[p.Digest] = true
					}
					if p.Class != ClassEvidence || !e.Fact.Time.After(last[p.Digest]) || !uploaded(r, e.Fact.Namespace, p.Digest) {
						continue
					}
					last[p.Digest] = e.Fact.Time
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
}

// uploaded reports whether a namespace uploaded a report: evidence from elsewhere is
// no blob of ours.
func uploaded(r store.Reader, namespace string, d assay.Digest) bool {
	_, err := r.Get(store.Key{Namespace: namespace, Bucket: evidenceBucket, Name: string(d)})
	return err == nil
}

// expiredPayloads returns when each blob that is on record as expired did.
func expiredPayloads(ctx context.Context, s store.Store) (map[assay.Digest]time.Time, error) {
	gone := map[assay.Digest]time.Time{}
	err := s.View(ctx, func(r store.Reader) error {
		q := store.Query{Namespace: store.SystemNamespace, Kinds: []string{assay.FactPayloadExpired}}
		for {
			rows, err := r.Facts(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, row := range rows {
				q.After = row.Commit
				var said ExpiredPayload
				if err := json.Unmarshal(row.Fact.Payload, &said); err != nil {
					return assay.Errorf(assay.CodeInternal, "fact %s cannot be read: %w", row.Fact.ID, err)
				}
				for _, d := range said.Digests {
					gone[d] = row.Fact.Time
				}
			}
		}
	})
	return gone, err
}

// Payloads says what became of the blobs that facts name; a ledger.Payloads. It
// knows what was expired when it was made.
type Payloads struct {
	store store.Store
	blobs store.Blobs
	gone  map[assay.Digest]time.Time
}

// OpenPayloads reads what is on record as expired.
func OpenPayloads(ctx context.Context, s store.Store, blobs store.Blobs) (*Payloads, error) {
	gone, err := expiredPayloads(ctx, s)
	return &Payloads{s, blobs, gone}, err
}

// Named implements ledger.Payloads.
func (p *Payloads) Named(f assay.Fact) []assay.Digest {
	var list []assay.Digest
	_ = p.store.View(context.Background(), func(r store.Reader) error { // a store that fails is found by its other readers
		for _, n := range PayloadsOf(f) {
			if n.Class != ClassEvidence || uploaded(r, f.Namespace, n.Digest) {
				list = append(list, n.Digest)
			}
		}
		return nil
	})
	return list
}

// Expired returns when a blob expired.
func (p *Payloads) Expired(d assay.Digest) (at time.Time, ok bool) {
	at, ok = p.gone[d]
	return at, ok
}

// State implements ledger.Payloads.
func (p *Payloads) State(ctx context.Context, d assay.Digest) (ledger.PayloadState, error) {
	r, err := p.blobs.Open(ctx, d)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	switch _, expired := p.gone[d]; {
	case err == nil:
		return ledger.PayloadKept, nil
	case assay.CodeOf(err) == assay.CodeUnverified:
		return ledger.PayloadAltered, nil
	case assay.CodeOf(err) != assay.CodeNotFound:
		return "", err
	case expired:
		return ledger.PayloadExpired, nil
	}
	return ledger.PayloadLost, nil
}
