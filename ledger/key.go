package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"assay.dev/assay"
	"golang.org/x/mod/sumdb/note"
)

const (
	signerPrefix = "PRIVATE+KEY+"
	algEd25519   = 1
	maxKey       = 1024
)

// GenerateKey makes an Ed25519 key for a ledger. The secret skey and the public
// vkey are one line each, in the form of C2SP signed notes; the key's name is the
// ledger's origin. Random is crypto/rand.Reader outside tests.
func GenerateKey(random io.Reader, origin string) (skey, vkey string, err error) {
	if !originForm.MatchString(origin) {
		return "", "", badOrigin(origin)
	}
	skey, vkey, err = note.GenerateKey(random, origin)
	if err != nil {
		return "", "", assay.Errorf(assay.CodeInternal, "cannot make a ledger key: %w", err)
	}
	return skey, vkey, nil
}

// ParseSigner reads a secret key and names it origin, so that one key can sign for
// every epoch of a ledger (the name is part of what a note signature says, not of
// the key). Its errors never contain the key.
func ParseSigner(skey, origin string) (note.Signer, error) {
	if !originForm.MatchString(origin) {
		return nil, badOrigin(origin)
	}
	bad := assay.Errorf(assay.CodeInvalid, "ledger key is not an Ed25519 signer key (PRIVATE+KEY+name+id+data)")
	body, ok := strings.CutPrefix(strings.TrimSpace(skey), signerPrefix)
	parts := strings.Split(body, "+")
	if !ok || len(body) > maxKey || len(parts) < 3 {
		return nil, bad
	}
	// The base64 data may hold plus signs, so it is what follows the second one.
	data, err := exactBase64(strings.Join(parts[2:], "+"))
	if err != nil || len(data) != 1+ed25519.SeedSize || data[0] != algEd25519 {
		return nil, bad
	}
	if _, err := note.NewSigner(strings.TrimSpace(skey)); err != nil {
		return nil, bad
	}
	pub := ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(origin, pub)
	if err != nil {
		return nil, bad
	}
	id := strings.Split(vkey, "+")[1]
	s, err := note.NewSigner(signerPrefix + origin + "+" + id + "+" + base64.StdEncoding.EncodeToString(data))
	if err != nil {
		return nil, bad
	}
	return s, nil
}

// ParseVerifier reads a public key under its own name.
func ParseVerifier(vkey string) (note.Verifier, error) {
	v, _, err := parseVerifier(vkey)
	return v, err
}

// ParseVerifierFor reads a public key and names it origin, for checkpoints of a
// later epoch of the same ledger.
func ParseVerifierFor(vkey, origin string) (note.Verifier, error) {
	if !originForm.MatchString(origin) {
		return nil, badOrigin(origin)
	}
	_, pub, err := parseVerifier(vkey)
	if err != nil {
		return nil, err
	}
	named, err := note.NewEd25519VerifierKey(origin, pub)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "cannot name the ledger key: %w", err)
	}
	return note.NewVerifier(named)
}

func parseVerifier(vkey string) (note.Verifier, ed25519.PublicKey, error) {
	vkey = strings.TrimSpace(vkey)
	bad := assay.Errorf(assay.CodeInvalid, "ledger public key is not name+id+data with an Ed25519 key")
	bad.Hint = "copy the whole line that `assay key create` printed"
	parts := strings.SplitN(vkey, "+", 3)
	if len(vkey) > maxKey || len(parts) != 3 || !originForm.MatchString(parts[0]) {
		return nil, nil, bad
	}
	data, err := exactBase64(parts[2])
	if err != nil || len(data) != 1+ed25519.PublicKeySize || data[0] != algEd25519 {
		return nil, nil, bad
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, nil, bad
	}
	return v, ed25519.PublicKey(data[1:]), nil
}

// EpochOrigin is the origin of epoch n of the ledger base: base itself for 0.
func EpochOrigin(base string, n int) string {
	if n == 0 {
		return base
	}
	return base + "/epoch-" + strconv.Itoa(n)
}

// EpochOf returns which epoch of the ledger base an origin names.
func EpochOf(base, origin string) (n int, ok bool) {
	if origin == base {
		return 0, true
	}
	s, found := strings.CutPrefix(origin, base+"/epoch-")
	n, err := strconv.Atoi(s)
	if !found || err != nil || n < 1 || EpochOrigin(base, n) != origin {
		return 0, false
	}
	return n, true
}

func badOrigin(origin string) *assay.Error {
	e := assay.Errorf(assay.CodeInvalid, "ledger origin %q is not 1 to 256 letters, digits and . _ / : -", clip(origin))
	e.Hint = "an origin looks like " + assay.DefaultOrigin
	return e
}

// clip bounds outside text in messages.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
