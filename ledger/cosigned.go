package ledger

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// cosignedName is the file in an epoch's directory with its newest cosigned head.
const cosignedName = "cosigned"

// CosignedPath is the file of an epoch's directory that keeps the newest head that
// witnesses cosigned. The published checkpoint beside it may be newer.
func CosignedPath(dir string) string { return filepath.Join(dir, cosignedName) }

// ReadCosigned returns the newest head that witnesses cosigned. It wraps
// fs.ErrNotExist if there is none.
func (d *Dir) ReadCosigned(context.Context) ([]byte, error) {
	return d.read(cosignedName, MaxCheckpoint)
}

// Witnessed is the newest head that witnesses cosigned, and what the policy says of it.
type Witnessed struct {
	Checkpoint Checkpoint
	Quorum     Quorum
}

// Witnessed returns the newest cosigned head of the newest epoch. CodeNotFound means
// that no witness cosigned one yet, or that this ledger has no policy. A head whose
// cosignatures do not hold is CodeUnverified.
func (l *Ledger) Witnessed(ctx context.Context, now time.Time) (Witnessed, error) {
	return l.current().witnessed(ctx, now)
}

// HasWitnesses reports whether somebody is asked to cosign this ledger.
func (l *Ledger) HasWitnesses() bool { return l.current().Witnesses != nil }

func (e *epoch) witnessed(ctx context.Context, now time.Time) (Witnessed, error) {
	c, err := e.readCosigned(ctx)
	if err != nil {
		return Witnessed{}, err
	}
	if e.Witnesses == nil {
		return Witnessed{Checkpoint: c}, nil
	}
	q, err := e.Witnesses.Check(c.Raw, now)
	return Witnessed{c, q}, err
}

// readCosigned reads the newest cosigned head and verifies our own signature on it.
func (e *epoch) readCosigned(ctx context.Context) (Checkpoint, error) {
	none := assay.Errorf(assay.CodeNotFound, "no witness cosigned a head of %s yet", e.Origin)
	if e.Cosigned == nil {
		return Checkpoint{}, none
	}
	raw, err := e.Cosigned(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, none
	}
	if err != nil {
		return Checkpoint{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cosigned.Raw != nil && bytes.Equal(e.cosigned.Raw, raw) {
		return e.cosigned, nil // verified already
	}
	c, err := ParseCheckpoint(raw, e.Origin, e.Verifier)
	if err == nil {
		e.cosigned = c
	}
	return c, err
}

// WaitWitnessed waits until a head with a quorum of cosignatures covers the fact. It
// ends with ctx: witnesses are other people's machines.
func (l *Ledger) WaitWitnessed(ctx context.Context, namespace string, id assay.FactID, now func() time.Time) error {
	t := time.NewTicker(l.poll)
	defer t.Stop()
	for {
		s, err := l.State(ctx, namespace, id)
		if err != nil {
			return err
		}
		if s.State == StatePublished {
			w, err := l.epochs[min(s.Epoch, len(l.epochs)-1)].witnessed(ctx, now())
			if err == nil && w.Quorum.Met && s.Index < w.Checkpoint.Size {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return assay.Errorf(assay.CodeUnavailable, "fact %s has no quorum of cosignatures yet: %w", id, ctx.Err())
		case <-t.C:
		}
	}
}

// PayloadState says whether a blob that a fact names is there.
type PayloadState string

// The states of a payload.
const (
	PayloadKept    PayloadState = "kept"
	PayloadExpired PayloadState = "expired" // removed under its retention, on record
	PayloadLost    PayloadState = "lost"
	PayloadAltered PayloadState = "altered"
)

// Payloads says what became of the blobs that facts name.
type Payloads interface {
	// Named returns the digests of the blobs that a fact is about.
	Named(f assay.Fact) []assay.Digest
	// State reads a blob to its end and says what it found.
	State(ctx context.Context, d assay.Digest) (PayloadState, error)
}

// payloads checks the blobs of one fact, each once.
func (a *auditor) payloads(ctx context.Context, e store.Entry) error {
	if a.options.Payloads == nil {
		return nil
	}
	for _, d := range a.options.Payloads.Named(e.Fact) {
		if a.blobs[d] {
			continue
		}
		a.blobs[d] = true
		state, err := a.options.Payloads.State(ctx, d)
		if err != nil {
			return err
		}
		switch state {
		case PayloadKept:
			a.report.Payloads.Kept++
		case PayloadExpired:
			a.report.Payloads.Expired++
		case PayloadAltered:
			a.report.Payloads.Altered++
			a.problem("payload %s of fact number %d (%s) was altered: its bytes have another digest", d, e.Seq, e.Fact.ID)
		default:
			a.report.Payloads.Lost++
			a.problem("payload %s of fact number %d (%s) is lost: it is not there, and no retention removed it", d, e.Seq, e.Fact.ID)
		}
	}
	return nil
}

// cosignedHead checks the head that witnesses cosigned: it must be of this tree, and
// have its quorum.
func (a *auditor) cosignedHead(ctx context.Context, e *epoch) (Checkpoint, bool) {
	w, err := e.witnessed(ctx, a.options.Now())
	switch {
	case assay.CodeOf(err) == assay.CodeNotFound && !a.options.Quorum:
		return Checkpoint{}, false
	case err != nil:
		a.problem("the cosigned head of %s cannot be believed: %v", e.Origin, err)
		return Checkpoint{}, false
	case a.options.Quorum && !w.Quorum.Met:
		a.problem("the newest cosigned head of %s (%d leaves) does not have the quorum of the witness policy", e.Origin, w.Checkpoint.Size)
	}
	return w.Checkpoint, true
}
