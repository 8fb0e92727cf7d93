package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
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

// PayloadsOf returns the blobs that an audit fact names. A verdict or a statement may
// also name evidence that never was a blob of ours.
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
			Bundle   assay.Digest   `json:"bundle_digest"`
			Evidence []assay.Digest `json:"evidence"` // of a statement; that of a verdict stands in its fact
		}
		if json.Unmarshal(f.Payload, &said) != nil {
			return nil
		}
		list := []Payload{{said.Bundle, ClassAttestation}}
		if f.Kind == assay.FactStatementSigned {
			for _, d := range said.Evidence {
				list = append(list, Payload{d, ClassEvidence})
			}
		}
		return list
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

const (
	// evidenceBucket holds which namespace uploaded which report; see NoteUpload.
	evidenceBucket = "evidence"
	// uploadBucket holds, in store.SystemNamespace, when a report was last uploaded by anybody.
	uploadBucket = "upload"
)

// upload is the value in uploadBucket.
type upload struct {
	At time.Time `json:"at"`
}

// NoteUpload records that a namespace uploaded a report, which is thereby kept for as
// long as one that a verdict used now. The caller saw that the blob is there and keeps
// Expire away until this is committed.
func NoteUpload(tx store.Tx, namespace string, d assay.Digest, now time.Time) error {
	if err := write(tx, key(store.SystemNamespace, uploadBucket, string(d)), upload{now.UTC()}, store.AnyVersion); err != nil {
		return err
	}
	_, err := tx.Put(key(namespace, evidenceBucket, string(d)), []byte(`{}`), store.AnyVersion)
	return err
}

// uploadedAt is when a report was uploaded last, zero if that was not noted.
func uploadedAt(r store.Reader, d assay.Digest) (time.Time, error) {
	var u upload
	if _, err := read(r, key(store.SystemNamespace, uploadBucket, string(d)), &u); err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return u.At, err
	}
	return u.At, nil
}

// Remover removes blobs. A blob that is not there is no error.
type Remover interface {
	Remove(ctx context.Context, d assay.Digest) error
}

// ExpireConfig says what Expire works on. Every field is needed unless it says otherwise.
type ExpireConfig struct {
	Store  store.Store
	Outbox store.Outbox // of Store
	Blobs  Remover
	Days   int // for which evidence is kept after its upload and the last verdict or statement that used it
	Now    time.Time
	// Runs reports whether an artifact runs: what was said about it is used, whatever
	// its age, because advisories of tomorrow are held against it. nil means nothing runs.
	Runs func(namespace string, d assay.Digest) bool
	// Alone runs fn while no upload is being noted, so that what is looked at is still
	// so when it is removed. nil means that nobody uploads.
	Alone func(fn func() error) error
}

// Expire removes the evidence whose upload and last use, by a verdict or a statement,
// are older than its retention, and that is about nothing that runs, and returns how
// many blobs. What was uploaded and never used goes too. Facts,
// leaves and proofs stay: only what they name goes. It records what it removes before
// it does, so a crash in between is made good by the next call.
func Expire(ctx context.Context, cfg ExpireConfig) (int, error) {
	if cfg.Runs == nil {
		cfg.Runs = func(string, assay.Digest) bool { return false }
	}
	if cfg.Alone == nil {
		cfg.Alone = func(fn func() error) error { return fn() }
	}
	u := &usage{cfg: cfg, last: map[assay.Digest]time.Time{}, kept: map[assay.Digest]bool{}}
	if err := u.read(ctx); err != nil {
		return 0, err
	}
	gone, err := expiredPayloads(ctx, cfg.Store)
	if err != nil {
		return 0, err
	}
	cutoff := cfg.Now.AddDate(0, 0, -cfg.Days)
	if err := u.uploads(ctx, cutoff); err != nil {
		return 0, err
	}
	all := slices.Collect(maps.Keys(u.last))
	total := 0
	for part := range slices.Chunk(all, maxExpired) {
		if part, err = u.unused(ctx, part, cutoff); err != nil {
			return total, err // most are in use: found without keeping anybody away
		}
		if len(part) == 0 {
			continue
		}
		err = cfg.Alone(func() error {
			if err := u.read(ctx); err != nil {
				return err
			}
			if part, err = u.unused(ctx, part, cutoff); err != nil {
				return err
			}
			n, err := expire(ctx, cfg, u, part, gone)
			total += n
			return err
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// expire records those that are not on record yet, and removes all.
func expire(ctx context.Context, cfg ExpireConfig, u *usage, part []assay.Digest, gone map[assay.Digest]time.Time) (int, error) {
	fresh := slices.DeleteFunc(slices.Clone(part), func(d assay.Digest) bool {
		at, already := gone[d] // and perhaps not removed
		return already && !at.Before(u.last[d])
	})
	if len(fresh) > 0 {
		payload, err := json.Marshal(ExpiredPayload{Class: ClassEvidence, Days: cfg.Days, Digests: fresh})
		if err != nil {
			return 0, err
		}
		err = cfg.Store.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Append(assay.Fact{
				Kind: assay.FactPayloadExpired, Version: 1, Namespace: store.SystemNamespace, Actor: "retention",
				Retention: assay.RetainAudit, Payload: payload,
			})
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	for _, d := range part {
		if err := cfg.Blobs.Remove(ctx, d); err != nil {
			return 0, err
		}
	}
	return len(fresh), nil
}

// usage is when evidence was last used by a verdict or a statement, as far as the outbox
// was read; zero if it never was.
type usage struct {
	cfg  ExpireConfig
	from uint64
	last map[assay.Digest]time.Time
	// kept is what is signed: it may be evidence of another gate, or be uploaded by
	// another namespace, and is one blob that stays.
	kept map[assay.Digest]bool
}

// read goes on where it ended the last time.
func (u *usage) read(ctx context.Context) error {
	for {
		entries, err := u.cfg.Outbox.Entries(ctx, u.from, store.DefaultLimit)
		if err != nil || len(entries) == 0 {
			return err
		}
		err = u.cfg.Store.View(ctx, func(r store.Reader) error {
			for _, e := range entries {
				u.from = e.Seq + 1
				u.note(r, e.Fact)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// uploads adds what was uploaded before the cutoff and is not named yet: a report of a
// check that was given up, or of one that recorded nothing.
func (u *usage) uploads(ctx context.Context, cutoff time.Time) error {
	return u.cfg.Store.View(ctx, func(r store.Reader) error {
		for after := ""; ; {
			page, err := r.List(key(store.SystemNamespace, uploadBucket, ""), after, store.MaxLimit)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, v := range page {
				var up upload
				if err := json.Unmarshal(v.Data, &up); err != nil {
					return assay.Errorf(assay.CodeInternal, "when %s was uploaded cannot be read: %w", v.Key.Name, err)
				}
				after = v.Key.Name
				d := assay.Digest(v.Key.Name)
				if _, named := u.last[d]; !named && up.At.Before(cutoff) {
					u.last[d] = time.Time{}
				}
			}
		}
	})
}

func (u *usage) note(r store.Reader, f assay.Fact) {
	for _, p := range PayloadsOf(f) {
		if p.Class == ClassAttestation {
			u.kept[p.Digest] = true
		}
		used := f.Time
		if p.Class == ClassEvidence && u.cfg.Runs(f.Namespace, f.Subject) {
			used = u.cfg.Now
		}
		if p.Class == ClassEvidence && used.After(u.last[p.Digest]) && uploaded(r, f.Namespace, p.Digest) {
			u.last[p.Digest] = used
		}
	}
}

// unused returns those of some that nothing used or brought since the cutoff.
func (u *usage) unused(ctx context.Context, some []assay.Digest, cutoff time.Time) (list []assay.Digest, err error) {
	err = u.cfg.Store.View(ctx, func(r store.Reader) error {
		for _, d := range some {
			at, err := uploadedAt(r, d)
			if err != nil {
				return err
			}
			if at.After(u.last[d]) {
				u.last[d] = at
			}
			if u.last[d].Before(cutoff) && !u.kept[d] {
				list = append(list, d)
			}
		}
		return nil
	})
	return list, err
}

// uploaded reports whether a namespace uploaded a report: evidence from elsewhere is
// no blob of ours.
func uploaded(r store.Reader, namespace string, d assay.Digest) bool {
	_, err := r.Get(key(namespace, evidenceBucket, string(d)))
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
