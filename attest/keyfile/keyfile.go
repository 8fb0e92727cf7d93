// Package keyfile keeps signing keys in files that are encrypted with a passphrase.
//
// One name makes up to three files: NAME.key signs attestations, NAME.ledger.key
// signs ledger checkpoints, and NAME.pub is everything an auditor needs: the
// public key and, behind it, the ledger's verifier line. NAME.key and NAME.pub
// have the format of cosign, which can use both. Secrets are read only from
// files that nobody else may read, and appear in no error and no printed value.
package keyfile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// Limits of key files, in bytes.
const (
	// MaxFile is the largest key file that is read.
	MaxFile = 64 << 10
	// MaxPublicKeys is the number of public keys a public file may hold.
	MaxPublicKeys = 16
)

// PEM types of the blocks in key files.
const (
	blockSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	blockCosign   = "ENCRYPTED COSIGN PRIVATE KEY" // what cosign wrote before version 2; read only
	blockLedger   = "ENCRYPTED ASSAY LEDGER KEY"
	blockPublic   = "PUBLIC KEY"
	blockVerifier = "ASSAY LEDGER VERIFIER"
)

// Algorithm is what a new signing key uses.
type Algorithm string

const (
	// ECDSAP256 is the default: every Sigstore tool and key service knows it.
	ECDSAP256 Algorithm = "ecdsa-p256"
	// Ed25519 signs deterministically.
	Ed25519 Algorithm = "ed25519"
)

// Algorithms lists every Algorithm, the default first.
var Algorithms = []Algorithm{ECDSAP256, Ed25519}

// Signer signs with a key that was read from a file. It implements
// attest.Signer and is safe for concurrent use.
type Signer struct {
	private crypto.Signer
	key     attest.Key
}

// Generate makes a new key in memory. It always uses the system's secure
// random source: a key from any other source is not worth having.
func Generate(a Algorithm) (*Signer, error) {
	var private crypto.Signer
	var err error
	switch a {
	case ECDSAP256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, assay.Errorf(assay.CodeInvalid, "key algorithm %s", strict.OneOf(string(a), []string{string(ECDSAP256), string(Ed25519)}))
	}
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "key cannot be made: %w", err)
	}
	return newSigner(private)
}

func newSigner(private crypto.Signer) (*Signer, error) {
	key, err := attest.NewKey(private.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{private: private, key: key}, nil
}

// Sign implements attest.Signer.
func (s *Signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	var sig []byte
	var err error
	switch s.private.(type) {
	case ed25519.PrivateKey:
		sig, err = s.private.Sign(nil, message, crypto.Hash(0))
	default:
		sum := sha256.Sum256(message)
		sig, err = s.private.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "signing failed: %w", err)
	}
	return sig, nil
}

// KeyID implements attest.Signer.
func (s *Signer) KeyID() string { return s.key.KeyID() }

// Public implements attest.Signer.
func (s *Signer) Public() crypto.PublicKey { return s.key.Public() }

// Key returns the public key as a verifier.
func (s *Signer) Key() attest.Key { return s.key }

// String names the public key, so that printing a Signer never shows the private one.
func (s *Signer) String() string { return "key " + s.key.KeyID() }

// GoString does the same for %#v.
func (s *Signer) GoString() string { return s.String() }

// MarshalPrivate encrypts s with the passphrase into the PEM file that cosign reads.
func MarshalPrivate(s *Signer, passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "key cannot be encoded: %w", err)
	}
	return seal(blockSigstore, der, passphrase)
}

// ParsePrivate decrypts a signing key file, ours or cosign's.
func ParsePrivate(data, passphrase []byte) (*Signer, error) {
	der, err := open(data, passphrase, blockSigstore, blockCosign)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The parser's own words could quote key material.
		return nil, assay.Errorf(assay.CodeInvalid, "key file was decrypted but does not hold a PKCS #8 private key")
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, assay.Errorf(assay.CodeInvalid, "key file holds a key that cannot sign")
	}
	return newSigner(private)
}

// MarshalLedger encrypts a ledger's secret key, the line "PRIVATE+KEY+…" of a C2SP signed note.
func MarshalLedger(skey string, passphrase []byte) ([]byte, error) {
	return seal(blockLedger, []byte(skey), passphrase)
}

// ParseLedger decrypts a ledger key file and returns the line that MarshalLedger was given.
func ParseLedger(data, passphrase []byte) (string, error) {
	skey, err := open(data, passphrase, blockLedger)
	if err != nil {
		return "", err
	}
	if err := checkNoteSigner(string(skey)); err != nil {
		return "", err
	}
	return string(skey), nil
}

// seal encrypts with scrypt (N=2^16) and NaCl secretbox.
func seal(block string, secret, passphrase []byte) ([]byte, error) {
	sealed, err := encrypted.Encrypt(secret, passphrase)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "key cannot be encrypted: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: block, Bytes: sealed}), nil
}

// header is the part of an encrypted block that tells how to decrypt it.
type header struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// open finds the one block of the given types and decrypts it.
func open(data, passphrase []byte, types ...string) ([]byte, error) {
	block, err := onlyBlock(data, types)
	if err != nil {
		return nil, err
	}
	// Checked first, so that the only error left is a passphrase that does not fit.
	if err := checkHeader(block.Bytes); err != nil {
		return nil, err
	}
	secret, err := encrypted.Decrypt(block.Bytes, passphrase)
	if err != nil {
		e := assay.Errorf(assay.CodeDenied, "key cannot be decrypted: wrong passphrase, or the file was altered")
		e.Hint = "the passphrase is the one given when the key was created"
		return nil, e
	}
	return secret, nil
}

func checkHeader(sealed []byte) error {
	var h header
	if err := strict.JSON(sealed, &h); err != nil {
		return assay.Errorf(assay.CodeInvalid, "encrypted key has a damaged header")
	}
	p := h.KDF.Params
	known := p.R == 8 && p.P == 1 && (p.N == 1<<15 || p.N == 1<<16 || p.N == 1<<17)
	switch {
	case h.KDF.Name != "scrypt" || h.Cipher.Name != "nacl/secretbox":
		return assay.Errorf(assay.CodeInvalid, "encrypted key does not use scrypt and nacl/secretbox")
	case !known:
		return assay.Errorf(assay.CodeInvalid, "encrypted key asks for scrypt with N=%d r=%d p=%d; expected N=32768, 65536 or 131072, r=8, p=1", p.N, p.R, p.P)
	case len(h.KDF.Salt) != 32 || len(h.Cipher.Nonce) != 24:
		return assay.Errorf(assay.CodeInvalid, "encrypted key has a damaged header")
	}
	return nil
}
