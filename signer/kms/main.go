// Command assay-signer-kms signs for assay with a key in a key management service,
// through Sigstore's KMS interface.
//
// The key is named as Sigstore names it: hashivault://NAME for the transit engine of
// Vault, openbao://NAME for OpenBao's. Address and credentials are the service's own
// variables: VAULT_ADDR, VAULT_TOKEN, TRANSIT_SECRET_ENGINE_PATH.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"assay.dev/assay/signer/protocol"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault" // hashivault:// and openbao://
	"github.com/sigstore/sigstore/pkg/signature/options"
)

func main() {
	if err := protocol.Serve(os.Stdin, os.Stdout, open); err != nil {
		fmt.Fprintln(os.Stderr, "assay-signer-kms:", err)
		os.Exit(1)
	}
}

// requestTime is how long the service may take for one answer.
const requestTime = 10 * time.Second

// service is a key of a key management service.
type service struct {
	kms.SignerVerifier
	public crypto.PublicKey
}

func open(name string) (protocol.Key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	sv, err := kms.Get(ctx, name, crypto.SHA256)
	if _, unknown := errors.AsType[*kms.ProviderNotFoundError](err); unknown {
		return nil, fmt.Errorf("key %q is of no service that is built in; known: hashivault://NAME, openbao://NAME", name)
	}
	if err != nil {
		return nil, err
	}
	public, err := sv.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, protocol.Temporary{Err: err}
	}
	if _, whole := public.(ed25519.PublicKey); whole {
		if sv, err = kms.Get(ctx, name, crypto.Hash(0)); err != nil {
			return nil, err
		}
	}
	return service{sv, public}, nil
}

// Public implements protocol.Key with the key that was there at the start: a key
// that the service rotated later is another key, and its signatures are refused.
func (s service) Public() crypto.PublicKey { return s.public }

// Sign implements protocol.Key.
func (s service) Sign(input []byte) (sig []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	if _, whole := s.public.(ed25519.PublicKey); whole {
		sig, err = s.SignMessage(bytes.NewReader(input), options.WithContext(ctx))
	} else {
		sig, err = s.SignMessage(nil, options.WithContext(ctx), options.WithDigest(input))
	}
	if err != nil {
		return nil, protocol.Temporary{Err: err}
	}
	return sig, nil
}
