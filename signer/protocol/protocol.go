// Package protocol is the signer's side of the conversation between assay and a
// program that holds a key: lines of JSON, one request and one answer at a time.
//
// The first request names a key and is answered with its public half; the
// others ask for signatures by it. The program ends with its input. Nothing here
// logs what it is asked to sign, and nothing secret crosses the line: a PIN or
// token reaches the program by its environment or a file.
package protocol

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxRequest is the longest request, in bytes: room for the largest statement in base64.
const MaxRequest = 16 << 20

// Key is an opened key.
type Key interface {
	// Public returns the *ecdsa.PublicKey on P-256 or the ed25519.PublicKey.
	Public() crypto.PublicKey
	// Sign signs input: a SHA-256 digest for ECDSA, answered in ASN.1 DER, and the
	// message itself for Ed25519.
	Sign(input []byte) ([]byte, error)
}

// Temporary marks an error after which the same request may succeed.
type Temporary struct{ Err error }

func (t Temporary) Error() string { return t.Err.Error() }

// Unwrap returns the cause.
func (t Temporary) Unwrap() error { return t.Err }

type request struct {
	ID      uint64 `json:"id"`
	Op      string `json:"op"`
	Key     string `json:"key"`
	Digest  []byte `json:"digest"`
	Message []byte `json:"message"`
}

type answer struct {
	ID        uint64 `json:"id"`
	PublicKey []byte `json:"public_key,omitempty"` // SubjectPublicKeyInfo, DER
	Signature []byte `json:"signature,omitempty"`
	Error     string `json:"error,omitempty"`
	Retry     bool   `json:"retry,omitempty"`
}

// Serve answers requests until in ends. open opens the key that the first request names.
func Serve(in io.Reader, out io.Writer, open func(name string) (Key, error)) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	var key Key
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var q request
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&q); err != nil {
			return fmt.Errorf("request is not understood: %w", err) // without an id there is nothing to answer to
		}
		a := answer{ID: q.ID}
		if err := a.fill(q, &key, open); err != nil {
			a = answer{ID: q.ID, Error: oneLine(err.Error())}
			_, a.Retry = errors.AsType[Temporary](err)
		}
		data, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := out.Write(append(data, '\n')); err != nil {
			return err
		}
	}
}

func (a *answer) fill(q request, key *Key, open func(string) (Key, error)) (err error) {
	switch q.Op {
	case "describe":
		if *key != nil {
			return errors.New("a key is open already")
		}
		opened, err := open(q.Key)
		if err != nil {
			return err
		}
		if err := supported(opened.Public()); err != nil {
			return err
		}
		if a.PublicKey, err = x509.MarshalPKIXPublicKey(opened.Public()); err != nil {
			return err
		}
		*key = opened
		return nil
	case "sign":
		if *key == nil {
			return errors.New("no key is open: describe comes first")
		}
		input, err := q.input((*key).Public())
		if err != nil {
			return err
		}
		a.Signature, err = (*key).Sign(input)
		return err
	}
	return fmt.Errorf("operation %q is not known; expected describe or sign", q.Op)
}

func (q request) input(pub crypto.PublicKey) ([]byte, error) {
	if _, whole := pub.(ed25519.PublicKey); whole {
		if q.Message == nil || q.Digest != nil {
			return nil, errors.New("Ed25519 signs a message, not a digest")
		}
		return q.Message, nil
	}
	if len(q.Digest) != sha256.Size || q.Message != nil {
		return nil, errors.New("ECDSA signs a SHA-256 digest, not a message")
	}
	return q.Digest, nil
}

func supported(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
		return fmt.Errorf("the key is ECDSA %s; expected P-256", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("the key is a %T; expected ECDSA P-256 or Ed25519", pub)
}

// readLine returns the next line, without keeping more than MaxRequest bytes of it.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxRequest {
			return nil, fmt.Errorf("request is longer than %d bytes", MaxRequest)
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return nil, errors.New("request has no end")
		}
		return line, err
	}
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	return s[:min(len(s), 1000)]
}
