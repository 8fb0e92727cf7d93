package attest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/big"

	"assay.dev/assay"
)

// Signer signs with a key that never leaves it.
type Signer interface {
	// Sign signs message itself, not a digest of it. ECDSA P-256 signers hash
	// with SHA-256 and answer in ASN.1 DER; Ed25519 signers sign it as it is.
	// It may be called concurrently. A key service that cannot be reached is
	// assay.CodeUnavailable and may be asked again.
	Sign(ctx context.Context, message []byte) ([]byte, error)
	// KeyID returns Key.KeyID of the public key.
	KeyID() string
	// Public returns the *ecdsa.PublicKey on P-256 or the ed25519.PublicKey.
	Public() crypto.PublicKey
}

// Verifier checks signatures of one key.
type Verifier interface {
	// Verify returns nil if sig is the key's signature over message, and an
	// error with assay.CodeUnverified otherwise.
	Verify(message, sig []byte) error
	// KeyID identifies the key; two Verifiers with one id count as one key.
	KeyID() string
}

// Key is a public key: ECDSA P-256 or Ed25519. It is a Verifier. The zero value verifies nothing.
type Key struct {
	pub crypto.PublicKey
	id  string
}

// NewKey accepts an *ecdsa.PublicKey on P-256 or an ed25519.PublicKey.
func NewKey(pub crypto.PublicKey) (Key, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return Key{}, assay.Errorf(assay.CodeInvalid, "public key is ECDSA on another curve; expected P-256")
		}
		point, err := k.Bytes()
		if err != nil {
			return Key{}, assay.Errorf(assay.CodeInvalid, "public key is not a point on P-256: %w", err)
		}
		return Key{pub: pub, id: keyID([]byte("ecdsa-sha2-nistp256"), []byte("nistp256"), point)}, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return Key{}, assay.Errorf(assay.CodeInvalid, "Ed25519 public key has %d bytes; expected %d", len(k), ed25519.PublicKeySize)
		}
		return Key{pub: pub, id: keyID([]byte("ssh-ed25519"), k)}, nil
	}
	return Key{}, assay.Errorf(assay.CodeInvalid, "public key is a %T; expected ECDSA P-256 or Ed25519", pub)
}

// keyID is the key's OpenSSH fingerprint: "SHA256:" and the unpadded base64 of
// the SHA-256 of its SSH wire form, as "ssh-keygen -l" prints it.
//
// It is this and not a digest of the SPKI because the DSSE reference library,
// and so cosign and sigstore-go, skip a signature whose keyid is set to anything
// else, while the Sigstore bundle demands a keyid that equals its key hint. Only
// this form satisfies both.
func keyID(fields ...[]byte) string {
	var wire []byte
	for _, f := range fields {
		wire = binary.BigEndian.AppendUint32(wire, uint32(len(f)))
		wire = append(wire, f...)
	}
	sum := sha256.Sum256(wire)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// KeyID returns the key's OpenSSH fingerprint, "SHA256:" and 43 characters.
func (k Key) KeyID() string { return k.id }

// Public returns the key itself.
func (k Key) Public() crypto.PublicKey { return k.pub }

// Algorithm names the key's algorithm, for people.
func (k Key) Algorithm() string {
	switch k.pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA P-256"
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "none"
}

// Verify checks sig over message. An ECDSA signature may be ASN.1 DER, as
// Sigstore writes it, or the 64 bytes r||s, as the DSSE vectors and Google's
// summaries have it.
func (k Key) Verify(message, sig []byte) error {
	ok := false
	switch pub := k.pub.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		ok = ecdsa.VerifyASN1(pub, sum[:], sig)
		if der, isRaw := derOfRaw(sig); !ok && isRaw {
			ok = ecdsa.VerifyASN1(pub, sum[:], der)
		}
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, message, sig)
	}
	if !ok {
		return assay.Errorf(assay.CodeUnverified, "signature is not by key %s over this payload", k.id)
	}
	return nil
}

// VerifyDigest checks a signature of a file by the file's SHA-256 digest. Ed25519
// signs whole messages: such a signature cannot be checked by a digest.
func (k Key) VerifyDigest(digest assay.Digest, sig []byte) error {
	pub, ok := k.pub.(*ecdsa.PublicKey)
	if !ok {
		return assay.Errorf(assay.CodeUnverified, "a signature of a file by an %s key cannot be checked with the file's digest", k.Algorithm())
	}
	sum, err := hex.DecodeString(digest.Hex())
	if err != nil || !ecdsa.VerifyASN1(pub, sum, sig) {
		return assay.Errorf(assay.CodeUnverified, "signature is not by key %s over this file", k.id)
	}
	return nil
}

// derOfRaw encodes a 64-byte r||s signature as ASN.1.
func derOfRaw(sig []byte) ([]byte, bool) {
	if len(sig) != 64 {
		return nil, false
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]),
	})
	return der, err == nil
}
