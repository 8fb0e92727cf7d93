package api

import (
	"time"

	"assay.dev/assay"
)

// Key is a public key that signs, or signed, attestations of the installation.
type Key struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Algorithm string         `json:"algorithm"`
	PublicKey string         `json:"public_key"`          // PEM
	Signs     bool           `json:"signs,omitempty"`     // it is the one that signs now
	NotBefore time.Time      `json:"not_before,omitzero"` // first instant it is valid for; zero: since ever
	NotAfter  time.Time      `json:"not_after,omitzero"`  // last instant it is valid for; zero: no end is set
	Revoked   *KeyRevocation `json:"revoked,omitempty"`
}

// State is what may be done with the key at an instant, in one word: signs,
// valid, not yet valid, expired or revoked.
func (k Key) State(now time.Time) string {
	switch {
	case k.Revoked != nil:
		return "revoked"
	case !k.NotBefore.IsZero() && now.Before(k.NotBefore):
		return "not yet valid"
	case !k.NotAfter.IsZero() && now.After(k.NotAfter):
		return "expired"
	case k.Signs:
		return "signs"
	}
	return "valid"
}

// KeyRevocation says that a key is no longer its owner's alone.
type KeyRevocation struct {
	Time             time.Time    `json:"time"` // when it was revoked
	CompromisedSince time.Time    `json:"compromised_since"`
	Reason           string       `json:"reason"`
	Actor            string       `json:"actor"`
	Fact             assay.FactID `json:"fact"` // the key.revoked fact
}

// KeyRotation asks for a new signing key.
type KeyRotation struct {
	// Overlap is how long the old key goes on being valid, in seconds: for
	// whoever still signs with it. What it signed before its end stays valid.
	Overlap int64 `json:"overlap_seconds"`
}

// MaxKeyOverlap is the longest overlap of two keys, in seconds: 366 days.
const MaxKeyOverlap = 366 * 24 * 3600

// KeyRotated is the answer to a rotation.
type KeyRotated struct {
	Key     Key          `json:"key"` // the new one
	Old     Key          `json:"old"` // with its end
	Fact    assay.FactID `json:"fact"`
	Resumed bool         `json:"resumed,omitempty"` // an earlier rotation that had been interrupted was completed
}

// KeyRevocationRequest asks to revoke a key, or with DryRun what that would do.
type KeyRevocationRequest struct {
	Key              string    `json:"key"` // its id, or the beginning of it
	CompromisedSince time.Time `json:"compromised_since"`
	Reason           string    `json:"reason"`
	DryRun           bool      `json:"dry_run,omitempty"`
}

// KeyRevoked is what a revocation does: who is refused from now on.
type KeyRevoked struct {
	Key  Key          `json:"key"`
	Fact assay.FactID `json:"fact,omitempty"` // "" of a dry run
	// Affected are attestations of the caller's namespace that are no longer
	// good, oldest first, at most MaxAffected; Total counts all, and Good those by
	// this key that stay good.
	Affected []AffectedAttestation `json:"affected"`
	Total    int                   `json:"total"`
	Good     int                   `json:"good"`
	// Running are the affected artifacts that run now, as far as the inventory and
	// the enforcer know.
	Running []RunningArtifact `json:"running"`
}

// MaxAffected is how many affected attestations one answer lists.
const MaxAffected = 10000

// AffectedAttestation is an attestation whose key was revoked.
type AffectedAttestation struct {
	Subject assay.Digest `json:"subject,omitempty"` // "" of an exception's statement
	Name    string       `json:"name,omitempty"`    // the artifact's, or the exception's id
	Gate    string       `json:"gate,omitempty"`
	Bundle  assay.Digest `json:"bundle"`
	Time    time.Time    `json:"time"` // as the ledger has it
	Fact    assay.FactID `json:"fact"`
}

// RunningArtifact says where an artifact runs.
type RunningArtifact struct {
	Digest assay.Digest `json:"digest"`
	Where  string       `json:"where"`
}
