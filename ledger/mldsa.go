package ledger

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"

	"assay.dev/assay"
	"filippo.io/mldsa"
)

const (
	algMLDSA = 6 // C2SP signed-note: ML-DSA-44 cosignature
	// mldsaLabel begins what such a cosignature signs: a subtree, here the whole tree.
	mldsaLabel = "subtree/v1\n\x00"
	// maxShortString is the longest name or origin that it can sign: lengths are one byte.
	maxShortString = 255
)

// mldsaKey cosigns with ML-DSA-44. The name of the witness is part of what is signed.
type mldsaKey struct {
	name   string
	secret *mldsa.PrivateKey
}

// generateMLDSA makes a secret key from 32 bytes of random.
func generateMLDSA(random io.Reader, name string) (string, error) {
	if !originForm.MatchString(name) {
		return "", badOrigin(name)
	}
	seed := make([]byte, mldsa.PrivateKeySize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return "", assay.Errorf(assay.CodeInternal, "cannot make a witness key: %w", err)
	}
	key, err := readMLDSA(name, seed)
	if err != nil {
		return "", assay.Errorf(assay.CodeInvalid, "cannot make a witness key: %w", err)
	}
	data := base64.StdEncoding.EncodeToString(append([]byte{algMLDSA}, seed...))
	return signerPrefix + name + "+" + keyHex(key.verifier(name).hash) + "+" + data, nil
}

// readMLDSA reads the seed of a key.
func readMLDSA(name string, seed []byte) (cosigningKey, error) {
	if len(name) > maxShortString {
		return nil, errors.New("the name of the witness is longer than 255 bytes")
	}
	secret, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		return nil, err
	}
	return mldsaKey{name, secret}, nil
}

func (k mldsaKey) sign(t uint64, text []byte) ([]byte, error) {
	m, err := mldsaMessage(k.name, t, text)
	if err != nil {
		return nil, err
	}
	return k.secret.Sign(nil, m, nil)
}

func (k mldsaKey) verifier(name string) cosignatureVerifier {
	return ofMLDSA(name, k.secret.PublicKey())
}

// mldsaVerifier reads a public key.
func mldsaVerifier(name string, public []byte) (cosignatureVerifier, error) {
	key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
	if err != nil {
		return cosignatureVerifier{}, err
	}
	return ofMLDSA(name, key), nil
}

func ofMLDSA(name string, key *mldsa.PublicKey) cosignatureVerifier {
	return newVerifier(name, algMLDSA, key.Bytes(), func(t uint64, text, sig []byte) bool {
		m, err := mldsaMessage(name, t, text)
		return err == nil && len(sig) == mldsa.MLDSA44SignatureSize && mldsa.Verify(key, m, sig, nil) == nil
	})
}

// mldsaMessage is what an ML-DSA cosignature of a head signs: C2SP tlog-cosignature's
// cosigned_message with the whole tree as the subtree. Lines after the root are not in it.
func mldsaMessage(name string, t uint64, text []byte) ([]byte, error) {
	head, err := ParseHead(text)
	if err != nil {
		return nil, err
	}
	if len(head.Origin) > maxShortString || len(name) > maxShortString {
		return nil, assay.Errorf(assay.CodeInvalid, "an origin or name of more than %d bytes cannot be cosigned with %s", maxShortString, MLDSA44)
	}
	m := append([]byte(mldsaLabel), byte(len(name)))
	m = binary.BigEndian.AppendUint64(append(m, name...), t)
	m = append(append(m, byte(len(head.Origin))), head.Origin...)
	m = binary.BigEndian.AppendUint64(m, 0) // start
	m = binary.BigEndian.AppendUint64(m, head.Size)
	return append(m, head.Root[:]...), nil
}
