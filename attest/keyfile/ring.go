package keyfile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/durable"
)

// RingOptions say where the files of a Ring lie.
type RingOptions struct {
	KeyFile    string                 // of the key that signs, "….key"
	PublicFile string                 // for auditors
	TrustFile  string                 // for enforcers and whoever verifies by period
	Algorithm  Algorithm              // of new keys; "" means ECDSAP256
	Passphrase func() ([]byte, error) // asked for when a private key is written or read
}

// Ring replaces the signing key of an installation. Its files change one at a
// time and as a whole, in an order that leaves a key that signs and is known to
// verifiers wherever it is interrupted. One process uses a Ring at a time.
type Ring struct {
	o RingOptions
}

// NewRing returns the Ring of these files.
func NewRing(o RingOptions) *Ring { return &Ring{o} }

// nextFile holds the key of a rotation that is under way.
func (r *Ring) nextFile() string { return strings.TrimSuffix(r.o.KeyFile, ".key") + ".next.key" }

// retiredFile is where a key is put aside.
func (r *Ring) retiredFile(id string) string {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(id, "SHA256:"))
	if err != nil || len(raw) < 4 {
		raw = []byte(id)
	}
	return strings.TrimSuffix(r.o.KeyFile, ".key") + ".retired-" + hex.EncodeToString(raw[:4]) + ".key"
}

// Next makes the next signing key and keeps it beside the present one, or
// returns the one that an interrupted rotation made.
func (r *Ring) Next(context.Context) (attest.Signer, error) {
	pass, err := r.o.Passphrase()
	if err != nil {
		return nil, err
	}
	found, err := Load(r.nextFile(), pass)
	if err == nil {
		return found, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(pass) == 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "passphrase is empty; the key would lie in the file as good as plain")
	}
	if r.o.Algorithm == "" {
		r.o.Algorithm = ECDSAP256
	}
	fresh, err := Generate(r.o.Algorithm)
	if err != nil {
		return nil, err
	}
	private, err := MarshalPrivate(fresh, pass)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(r.o.KeyFile)
	if err := writeAll(dir, []newFile{{r.nextFile(), private, 0o600}}); err != nil {
		return nil, err
	}
	return fresh, nil
}

// Turn makes the key that Next returned the one that signs. The old file stays,
// under a name of its own.
func (r *Ring) Turn(_ context.Context, id string) error {
	pass, err := r.o.Passphrase()
	if err != nil {
		return err
	}
	present, err := Load(r.o.KeyFile, pass)
	if err != nil {
		return err
	}
	if present.KeyID() == id {
		return nil
	}
	next, err := Load(r.nextFile(), pass)
	if err != nil {
		return err
	}
	if next.KeyID() != id {
		return assay.Errorf(assay.CodeConflict, "holds key %s; expected %s", next.KeyID(), id).In(r.nextFile())
	}
	// A second name for the old key first: there is a key file at every moment.
	if err := os.Link(r.o.KeyFile, r.retiredFile(present.KeyID())); err != nil && !errors.Is(err, fs.ErrExist) {
		return ioError("key file cannot be put aside", err)
	}
	if err := os.Rename(r.nextFile(), r.o.KeyFile); err != nil {
		return ioError("key file cannot be replaced", err)
	}
	if err := durable.SyncDir(filepath.Dir(r.o.KeyFile)); err != nil {
		return ioError("key folder cannot be synced", err)
	}
	return nil
}

// Publish writes the trust file, and the public file with the keys that are not
// revoked, the newest first. Files that say the same already are left alone.
func (r *Ring) Publish(_ context.Context, t attest.Trust) error {
	trust, err := attest.MarshalTrust(t)
	if err != nil {
		return err
	}
	p := Public{Ledger: t.Ledger}
	for _, k := range slices.Backward(t.Policy.Keys) {
		if k.Revoked == nil && len(p.Keys) < MaxPublicKeys {
			p.Keys = append(p.Keys, k.Key)
		}
	}
	public, err := MarshalPublic(p)
	if err != nil {
		return err
	}
	for _, f := range []newFile{{r.o.TrustFile, trust, 0o644}, {r.o.PublicFile, public, 0o644}} {
		if old, err := os.ReadFile(f.path); err == nil && bytes.Equal(old, f.data) {
			continue
		}
		if err := durable.WriteFile(f.path, f.data, f.mode); err != nil {
			return ioError("public key material cannot be written", err)
		}
	}
	return nil
}
