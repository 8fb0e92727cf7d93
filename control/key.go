package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/attest"
	"assay.dev/assay/store"
)

// KeyRing is where the attestation keys of an installation lie. Private keys stay there.
type KeyRing interface {
	// Next makes the next signing key durable and returns its signer, without
	// using it. Until Turn was called every call returns the same key.
	Next(ctx context.Context) (attest.Signer, error)
	// Turn makes the key with this id, which Next returned, the one that signs
	// after a restart, and puts the old one aside. A repeated call changes nothing.
	Turn(ctx context.Context, id string) error
	// Publish replaces what verifiers are handed. It is durable when it returns.
	Publish(ctx context.Context, t attest.Trust) error
}

// keyBucket holds one api.Key by key id, in the installation's namespace.
const keyBucket = "key"

// trustName is the name of the trust file that an installation publishes.
const trustName = "installation"

// createdKey is the payload of a key.created fact, version 1.
type createdKey struct {
	KeyID  string `json:"key_id"` // of the attestation key
	Ledger string `json:"ledger"` // the ledger's C2SP vkey
}

// RecordKey records that the installation got new keys.
func (s *Session) RecordKey(ctx context.Context, keyID, ledgerKey string) error {
	if err := s.require(api.RoleOperator); err != nil {
		return err
	}
	err := s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		_, err := s.appendSystem(tx, assay.FactKeyCreated, createdKey{keyID, ledgerKey})
		return err
	})
	if err != nil {
		return err
	}
	return s.p.publishTrust(ctx)
}

// Keys lists the attestation keys of the installation, the oldest first.
func (s *Session) Keys(ctx context.Context) ([]api.Key, error) {
	if err := s.require(api.Roles...); err != nil {
		return nil, err
	}
	return s.p.keys(ctx)
}

// Trust returns the installation's trust file: its keys with their periods of
// validity and revocations, for whoever verifies.
func (s *Session) Trust(ctx context.Context) ([]byte, error) {
	if err := s.require(api.Roles...); err != nil {
		return nil, err
	}
	t, err := s.p.Trust(ctx)
	if err != nil {
		return nil, err
	}
	return attest.MarshalTrust(t)
}

// Trust is whom the installation believes: its own keys, as rotation and revocation left them.
func (p *Plane) Trust(ctx context.Context) (attest.Trust, error) {
	list, err := p.keys(ctx)
	if err != nil {
		return attest.Trust{}, err
	}
	t := attest.Trust{Name: trustName, Ledger: p.cfg.LedgerKey}
	for _, k := range list {
		key, err := attest.ParsePublicKey([]byte(k.PublicKey))
		if err != nil {
			return attest.Trust{}, assay.Errorf(assay.CodeInternal, "key %s cannot be read from the store: %w", k.ID, err)
		}
		trusted := attest.TrustedKey{
			Name: k.Name, Key: key, VerifierIDs: []string{p.cfg.VerifierID}, NotBefore: k.NotBefore, NotAfter: k.NotAfter,
		}
		if k.Revoked != nil {
			trusted.Revoked = &attest.Revocation{CompromisedSince: k.Revoked.CompromisedSince, Reason: k.Revoked.Reason}
		}
		t.Policy.Keys = append(t.Policy.Keys, trusted)
	}
	if len(t.Policy.Keys) == 0 {
		return attest.Trust{}, assay.Errorf(assay.CodeNotFound, "this control plane has no keys; create them with: assay key create")
	}
	return t, nil
}

// publishTrust hands the present trust to verifiers, if there is a ring to do it with.
func (p *Plane) publishTrust(ctx context.Context) error {
	if p.cfg.Keys == nil {
		return nil
	}
	t, err := p.Trust(ctx)
	if err != nil {
		return err
	}
	return p.cfg.Keys.Publish(ctx, t)
}

// SyncTrust hands verifiers the present trust again, if keys were ever changed: a
// process that ended between a change and its publication leaves them behind.
func (p *Plane) SyncTrust(ctx context.Context) error {
	var changed bool
	err := p.cfg.Store.View(ctx, func(r store.Reader) error {
		page, err := r.List(store.Key{Namespace: systemNamespace, Bucket: keyBucket}, "", 1)
		changed = len(page) > 0
		return err
	})
	if err != nil || !changed {
		return err
	}
	return p.publishTrust(ctx)
}

func (p *Plane) keys(ctx context.Context) (list []api.Key, err error) {
	err = p.cfg.Store.View(ctx, func(r store.Reader) error {
		list, err = p.readKeys(r)
		return err
	})
	return list, err
}

// readKeys lists the keys that are recorded, and those that the installation was
// started with and nobody changed yet.
func (p *Plane) readKeys(r store.Reader) ([]api.Key, error) {
	var list []api.Key
	page, err := r.List(store.Key{Namespace: systemNamespace, Bucket: keyBucket}, "", 4*attest.MaxTrustedKeys)
	if err != nil {
		return nil, err
	}
	for _, v := range page {
		var k api.Key
		if err := json.Unmarshal(v.Data, &k); err != nil {
			return nil, assay.Errorf(assay.CodeInternal, "key %s cannot be read from the store: %w", v.Key.Name, err)
		}
		list = append(list, k)
	}
	for _, k := range p.given(len(list) > 0) {
		described, err := describeKey(k)
		if err != nil {
			return nil, err
		}
		list = append(list, described)
	}
	slices.SortStableFunc(list, func(a, b api.Key) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), strings.Compare(a.Name, b.Name))
	})
	signs := p.signsWith()
	for i := range list {
		list[i].Name = cmp.Or(list[i].Name, fmt.Sprintf("key-%d", i+1))
		list[i].Signs = list[i].ID == signs
	}
	return list, nil
}

// given are the keys that the installation was started with, the oldest first.
// Once keys are recorded only the records count: a key that a configuration
// brings in later is not believed for that.
func (p *Plane) given(recorded bool) []attest.Key {
	if recorded {
		return nil
	}
	list := slices.Clone(p.cfg.PublicKeys)
	slices.Reverse(list)
	signer := p.signer()
	if signer == nil || slices.ContainsFunc(list, func(k attest.Key) bool { return k.KeyID() == signer.KeyID() }) {
		return list
	}
	if k, err := attest.NewKey(signer.Public()); err == nil {
		list = append(list, k)
	}
	return list
}

// signsWith is the id of the key that signs now, "" if the plane does not sign.
func (p *Plane) signsWith() string {
	if s := p.signer(); s != nil {
		return s.KeyID()
	}
	return ""
}

func describeKey(k attest.Key) (api.Key, error) {
	block, err := attest.MarshalPublicKey(k)
	if err != nil {
		return api.Key{}, err
	}
	return api.Key{ID: k.KeyID(), Algorithm: k.Algorithm(), PublicKey: string(block)}, nil
}

// putKeys records keys as they are now.
func putKeys(tx store.Tx, list []api.Key) error {
	for _, k := range list {
		k.Signs = false // of the process, not of the key
		data, err := json.Marshal(k)
		if err != nil {
			return err
		}
		at := store.Key{Namespace: systemNamespace, Bucket: keyBucket, Name: k.ID}
		if _, err := tx.Put(at, data, store.AnyVersion); err != nil {
			return err
		}
	}
	return nil
}

// signing returns the signer, if its key may sign now. A revoked key never does,
// whoever still holds it: what it signs would be believed by nobody.
func (s *Session) signing(ctx context.Context) (attest.Signer, error) {
	signer := s.p.signer()
	if signer == nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "this control plane has no signing key; create one with: assay key create")
	}
	list, err := s.p.keys(ctx)
	if err != nil {
		return nil, err
	}
	now := s.p.cfg.Now()
	for _, k := range list {
		if k.ID != signer.KeyID() {
			continue
		}
		e := assay.Errorf(assay.CodeConflict, "signing key %s is %s and signs nothing", k.ID, k.State(now))
		e.Hint = "replace it with: assay key rotate"
		switch {
		case k.Revoked != nil:
			e.Msg += ": " + k.Revoked.Reason
			return nil, e
		case !k.NotAfter.IsZero() && now.After(k.NotAfter):
			e.Msg += " since " + k.NotAfter.UTC().Format(time.RFC3339)
			return nil, e
		}
		return signer, nil
	}
	e := assay.Errorf(assay.CodeConflict, "signing key %s is not one of the installation's keys, so nobody would believe it", signer.KeyID())
	e.Hint = "bring it in with: assay key rotate --to KEY"
	return nil, e
}
