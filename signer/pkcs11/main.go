// Command assay-signer-pkcs11 signs for assay with a key in a PKCS#11 token.
//
// The key is named by a PKCS#11 URI (RFC 7512), for example
//
//	pkcs11:token=assay;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin
//
// The module may also come from ASSAY_PKCS11_MODULE and the PIN from
// ASSAY_SIGNER_PIN; a PIN in the URI is refused, because others can read it there.
package main

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"assay.dev/assay/signer/protocol"
	"github.com/ThalesGroup/crypto11"
)

func main() {
	if err := protocol.Serve(os.Stdin, os.Stdout, open); err != nil {
		fmt.Fprintln(os.Stderr, "assay-signer-pkcs11:", err)
		os.Exit(1)
	}
}

// token is a key pair in a token.
type token struct{ crypto11.Signer }

// Sign implements protocol.Key.
func (t token) Sign(digest []byte) ([]byte, error) {
	return t.Signer.Sign(rand.Reader, digest, crypto.SHA256)
}

func open(name string) (protocol.Key, error) {
	u, err := parseURI(name)
	if err != nil {
		return nil, err
	}
	pin, err := u.pin()
	if err != nil {
		return nil, err
	}
	ctx, err := crypto11.Configure(&crypto11.Config{
		Path: u.module, TokenLabel: u.token, TokenSerial: u.serial, Pin: pin, PoolWaitTimeout: 10 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", u.module, err)
	}
	pairs, err := ctx.FindKeyPairs(u.id, u.object)
	if err != nil {
		return nil, fmt.Errorf("keys of token %q: %w", u.token, err)
	}
	switch len(pairs) {
	case 1:
		return token{pairs[0]}, nil
	case 0:
		return nil, fmt.Errorf("token %q has no key pair %q", u.token, string(u.object))
	}
	return nil, fmt.Errorf("token %q has %d key pairs that fit; name one with id=", u.token, len(pairs))
}

// uri is a PKCS#11 URI, as far as it names a key.
type uri struct {
	token, serial     string
	object, id        []byte
	module, pinSource string
}

func parseURI(s string) (u uri, err error) {
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok {
		return u, errors.New("the key is not a PKCS#11 URI; expected pkcs11:token=…;object=…")
	}
	path, query, _ := strings.Cut(rest, "?")
	for part := range strings.SplitSeq(path, ";") {
		if err := u.set(part, false); err != nil {
			return u, err
		}
	}
	if query != "" {
		for part := range strings.SplitSeq(query, "&") {
			if err := u.set(part, true); err != nil {
				return u, err
			}
		}
	}
	if u.module == "" {
		u.module = os.Getenv("ASSAY_PKCS11_MODULE")
	}
	switch {
	case (u.token == "") == (u.serial == ""):
		return u, errors.New("the URI names no token; expected either token= or serial=")
	case u.object == nil && u.id == nil:
		return u, errors.New("the URI names no key; expected object= or id=")
	case u.module == "":
		return u, errors.New("no PKCS#11 module is named; expected ?module-path= or ASSAY_PKCS11_MODULE")
	}
	return u, nil
}

func (u *uri) set(part string, query bool) error {
	name, raw, ok := strings.Cut(part, "=")
	value, err := url.PathUnescape(raw)
	if !ok || err != nil || value == "" {
		return fmt.Errorf("the URI has the part %q; expected name=value", part)
	}
	switch {
	case name == "pin-value" || name == "pin":
		return errors.New("the URI holds a PIN, which others can read; use pin-source= or ASSAY_SIGNER_PIN")
	case !query && name == "token":
		u.token = value
	case !query && name == "serial":
		u.serial = value
	case !query && name == "object":
		u.object = []byte(value)
	case !query && name == "id":
		u.id = []byte(value)
	case !query && name == "type" && value == "private":
	case query && name == "module-path":
		u.module = value
	case query && name == "pin-source":
		u.pinSource = strings.TrimPrefix(value, "file:")
	default:
		return fmt.Errorf("the URI has %q, which is not understood here", name)
	}
	return nil
}

// pin reads the PIN from its file, or else from the environment.
func (u uri) pin() (string, error) {
	if u.pinSource == "" {
		if pin := os.Getenv("ASSAY_SIGNER_PIN"); pin != "" {
			return pin, nil
		}
		return "", errors.New("no PIN: set ASSAY_SIGNER_PIN, or name a file with ?pin-source=")
	}
	f, err := os.Open(u.pinSource)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 257))
	pin := strings.TrimRight(string(data), "\r\n")
	if err == nil && (pin == "" || len(data) > 256) {
		err = fmt.Errorf("%s holds no PIN of 1 to 256 bytes", u.pinSource)
	}
	return pin, err
}
