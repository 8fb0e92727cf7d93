package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/store"
)

// rotatedKey is the payload of a key.rotated fact, version 1.
type rotatedKey struct {
	KeyID     string    `json:"key_id"` // of the new key
	PublicKey string    `json:"public_key"`
	Replaces  string    `json:"replaces"`          // the old key's id
	OldUntil  time.Time `json:"old_until"`         // end of the old key
	Revoked   bool      `json:"revoked,omitempty"` // the old key was revoked before
	NotBefore time.Time `json:"not_before"`        // beginning of the new key
}

// RotateKey makes a new signing key. The old one goes on being valid for the
// overlap, and what it signed before that end for ever. RotateKey returns when
// the ledger has published the change and the new key signs.
//
// The steps are in an order in which verifiers always know the key that signs: the
// new key is made, recorded and published, handed to verifiers, and then used. When
// one of them fails the old key goes on signing, and the next call goes on
// where this one stopped.
func (s *Session) RotateKey(ctx context.Context, req api.KeyRotation) (api.KeyRotated, error) {
	if err := s.require(api.RoleAdmin); err != nil {
		return api.KeyRotated{}, err
	}
	if err := s.requireHome(); err != nil {
		return api.KeyRotated{}, err
	}
	if req.Overlap < 0 || req.Overlap > api.MaxKeyOverlap {
		return api.KeyRotated{}, &assay.Error{
			Code: assay.CodeInvalid, Field: "overlap_seconds", Msg: fmt.Sprintf("is %d; expected 0 to %d", req.Overlap, api.MaxKeyOverlap),
		}
	}
	p := s.p
	if p.cfg.Keys == nil || p.signer() == nil {
		return api.KeyRotated{}, assay.Errorf(assay.CodeConflict, "this control plane does not hold the signing key, so it cannot replace it")
	}
	p.keyMu.Lock()
	defer p.keyMu.Unlock()
	next, err := p.cfg.Keys.Next(ctx)
	if err != nil {
		return api.KeyRotated{}, err
	}
	out, err := s.recordRotation(ctx, next, time.Duration(req.Overlap)*time.Second)
	if err != nil {
		return out, err
	}
	if err := s.systemPublished(ctx, out.Fact); err != nil {
		return out, assay.Errorf(assay.CodeUnavailable, "the new key is recorded, but the ledger has not published it yet; repeat the command: %w", err)
	}
	if err := p.publishTrust(ctx); err != nil {
		return out, err
	}
	if err := p.cfg.Keys.Turn(ctx, next.KeyID()); err != nil {
		return out, err
	}
	p.current.Store(&next)
	out.Key.Signs = true
	return out, nil
}

// recordRotation writes the new key, the end of the old one and the fact, unless an
// earlier call did.
func (s *Session) recordRotation(ctx context.Context, next attest.Signer, overlap time.Duration) (out api.KeyRotated, err error) {
	key, err := attest.NewKey(next.Public())
	if err != nil {
		return out, err
	}
	fresh, err := describeKey(key)
	if err != nil {
		return out, err
	}
	now := s.p.cfg.Now().UTC().Truncate(time.Second)
	err = s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		list, err := s.p.readKeys(tx)
		if err != nil {
			return err
		}
		old := slices.IndexFunc(list, func(k api.Key) bool { return k.ID == s.p.signsWith() })
		if i := slices.IndexFunc(list, func(k api.Key) bool { return k.ID == fresh.ID }); i >= 0 {
			out = api.KeyRotated{Key: list[i], Resumed: true}
			if old >= 0 {
				out.Old = list[old]
			}
			out.Fact, err = rotationFact(tx, fresh.ID)
			return err
		}
		if old < 0 {
			return assay.Errorf(assay.CodeConflict, "signing key %s is not one of the installation's keys", s.p.signsWith())
		}
		if len(list) >= attest.MaxTrustedKeys {
			return assay.Errorf(assay.CodeConflict, "the installation has %d keys, and verifiers read at most %d", len(list), attest.MaxTrustedKeys)
		}
		if end := now.Add(overlap); list[old].NotAfter.IsZero() || end.Before(list[old].NotAfter) {
			list[old].NotAfter = end
		}
		fresh.Name, fresh.NotBefore = fmt.Sprintf("key-%d", len(list)+1), now
		if err := putKeys(tx, append(list, fresh)); err != nil {
			return err
		}
		out = api.KeyRotated{Key: fresh, Old: list[old]}
		out.Fact, err = s.appendSystem(tx, assay.FactKeyRotated, rotatedKey{
			KeyID: fresh.ID, PublicKey: fresh.PublicKey, Replaces: list[old].ID, OldUntil: list[old].NotAfter,
			Revoked: list[old].Revoked != nil, NotBefore: now,
		})
		return err
	})
	out.Old.Signs = false
	return out, err
}

// rotationFact finds the fact of an interrupted rotation.
func rotationFact(r store.Reader, id string) (assay.FactID, error) {
	rows, err := r.Facts(store.Query{Namespace: systemNamespace, Kinds: []string{assay.FactKeyRotated}, Newest: true, Limit: attest.MaxTrustedKeys})
	for _, row := range rows {
		if p, err := payload[rotatedKey](row.Fact); err == nil && p.KeyID == id {
			return row.Fact.ID, nil
		}
	}
	if err == nil {
		err = assay.Errorf(assay.CodeInternal, "key %s is recorded without its fact", id)
	}
	return "", err
}

// systemPublished waits until the ledger has published a fact of the
// installation, where a sequencer runs.
func (s *Session) systemPublished(ctx context.Context, id assay.FactID) error {
	if !s.p.cfg.Publishes {
		return nil
	}
	s.p.cfg.Poke()
	return s.waitPublishedIn(ctx, systemNamespace, id)
}
