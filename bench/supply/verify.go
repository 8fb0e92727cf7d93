package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// The identity that signed the bundle of the conformance suite.
const (
	issuer  = "https://token.actions.githubusercontent.com"
	subject = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)

const verifications = 200 // of a round

// benchVerify measures the offline verification of a bundle of Sigstore's public
// instance, beside sigstore-go alone on the same bundle, and the same with the
// signature in the cache.
func benchVerify(_ context.Context, b *run.Bench) error {
	base, err := b.Data("vectors", "sigstore-conformance")
	if err != nil {
		return err
	}
	read := func(name string) []byte {
		data, readErr := os.ReadFile(filepath.Join(base, name))
		if readErr != nil && err == nil {
			err = readErr
		}
		return data
	}
	trusted, data, file := read("trusted_root.json"), read("test/assets/bundle-verify/happy-path-intoto-in-dsse-v3/bundle.sigstore.json"), read("test/assets/bundle-verify/a.txt")
	if err != nil {
		return err
	}
	authority, err := sigstore.ParseTrustedRoot(trusted, sigstore.Options{})
	if err != nil {
		return err
	}
	policy := attest.TrustPolicy{
		Authority:  authority,
		Identities: []attest.TrustedIdentity{{Issuer: attest.Exactly(issuer), Subject: attest.Exactly(subject)}},
	}
	cached := policy
	cached.Cache = attest.NewCache(1 << 20)
	want := attest.Expect{Subject: string(assay.DigestOf(sha256.Sum256(file))), Type: attest.TypeAny}
	ours := func(p attest.TrustPolicy) func() error {
		return func() error { return attest.Verify(data, p, want, time.Now()).Err() }
	}
	peer, err := bare(trusted, data, file)
	if err != nil {
		return err
	}
	var full, alone, warm []float64
	for n := range b.Rounds {
		for _, m := range []struct {
			into *[]float64
			unit time.Duration
			fn   func() error
		}{{&full, time.Millisecond, ours(policy)}, {&alone, time.Millisecond, peer}, {&warm, time.Microsecond, ours(cached)}} {
			each, err := typical(m.fn)
			if err != nil {
				return err
			}
			*m.into = append(*m.into, float64(each)/float64(m.unit))
		}
		b.Say("verify %d/%d: %.2f ms, sigstore-go alone %.2f ms, cached %.1f µs", n+1, b.Rounds, full[n], alone[n], warm[n])
	}
	b.Rows = append(b.Rows,
		result.New("bundle of the public instance, offline, in full", "ms", full).Against("sigstore-go alone", full, alone).Want("<", 5),
		result.New("the same, signature cached", "µs", warm).Want("<", 20),
	)
	return nil
}

// typical is the median time of fn.
func typical(fn func() error) (time.Duration, error) {
	times := make([]float64, verifications)
	for i := range times {
		began := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		times[i] = float64(time.Since(began))
	}
	return time.Duration(result.Median(times)), nil
}

// bare verifies with sigstore-go and its own defaults.
func bare(trusted, data, file []byte) (func() error, error) {
	material, err := root.NewTrustedRootFromJSON(trusted)
	if err != nil {
		return nil, err
	}
	v, err := verify.NewVerifier(material, verify.WithTransparencyLog(1), verify.WithSignedCertificateTimestamps(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return nil, err
	}
	identity, err := verify.NewShortCertificateIdentity(issuer, "", subject, "")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(file)
	p := verify.NewPolicy(verify.WithArtifactDigest("sha256", sum[:]), verify.WithCertificateIdentity(identity))
	return func() error {
		var parsed bundle.Bundle
		if err := parsed.UnmarshalJSON(data); err != nil {
			return err
		}
		if _, err := v.Verify(&parsed, p); err != nil {
			return fmt.Errorf("sigstore-go: %w", err)
		}
		return nil
	}, nil
}
