package control

import (
	"context"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

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
	return s.p.cfg.Store.Update(ctx, func(tx store.Tx) error {
		return s.appendSystem(tx, assay.FactKeyCreated, createdKey{keyID, ledgerKey})
	})
}
