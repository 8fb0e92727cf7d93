// Package sigstore checks bundles that keyless signers make: the certificate
// that Fulcio issued, its place in the certificate log, the entry in Rekor
// (version 1 and 2), and the timestamps of an RFC 3161 authority.
//
// Everything it believes stands in one file, Sigstore's trusted root, which the
// caller pins. Nothing is fetched: a verification is arithmetic on bytes, and
// gives the same answer on a machine without a network. What Sigstore demands by
// default is demanded by default; Options only takes away what a private
// deployment does not have.
//
// The checks themselves are sigstore-go's. This package hands it one bundle at a
// time, with the digest or key that the bundle must be about, and says in one
// sentence which part of the proof did not hold.
package sigstore

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/internal/strict"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// MaxTrustedRoot is the size of a trusted root file, in bytes.
const MaxTrustedRoot = 4 << 20

// Options take away what is demanded of every bundle. The zero value demands all
// of it: an entry in a transparency log, a signed certificate timestamp, and an
// instant of signing that the log or a timestamp authority vouches for.
type Options struct {
	// IgnoreLog demands no entry in a transparency log. A certificate then needs
	// the timestamp of an authority.
	IgnoreLog bool
	// IgnoreSCT demands no proof that the certificate stands in a certificate log.
	IgnoreSCT bool
	// SignedTimestamps believes timestamp authorities alone about time, and not
	// the log's own word.
	SignedTimestamps bool
}

// Authority implements attest.Authority. It is safe for concurrent use.
type Authority struct {
	id          string
	material    root.TrustedMaterial
	certificate *verify.Verifier // what a certificate's bundle must show
	opts        Options
}

// ParseTrustedRoot reads a trusted root in Sigstore's JSON form, strictly: what
// it says and this version does not know could be a limit on trust.
func ParseTrustedRoot(data []byte, o Options) (*Authority, error) {
	if len(data) > MaxTrustedRoot {
		return nil, assay.Errorf(assay.CodeTooLarge, "trusted root has %d bytes; at most %d are accepted", len(data), MaxTrustedRoot)
	}
	if err := strict.CheckJSON(data); err != nil {
		return nil, err
	}
	material, err := guard(func() (*root.TrustedRoot, error) { return root.NewTrustedRootFromJSON(data) })
	if err != nil {
		e := assay.Errorf(assay.CodeInvalid, "is not a trusted root that can be used: %s", plain(err))
		e.Hint = "get it from Sigstore (gh attestation trusted-root, cosign trusted-root create, or root-signing/targets/trusted_root.json)"
		return nil, e
	}
	a, err := newAuthority(material, o)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(data[:len(data):len(data)], "%+v", o))
	a.id = "sigstore " + hex.EncodeToString(sum[:])
	return a, nil
}

func newAuthority(material root.TrustedMaterial, o Options) (*Authority, error) {
	certificate, err := verify.NewVerifier(material, o.demands(true)...)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "sigstore verifier: %w", err)
	}
	return &Authority{material: material, certificate: certificate, opts: o}, nil
}

// demands translates Options for sigstore-go.
func (o Options) demands(certificate bool) []verify.VerifierOption {
	// The predicate is read from the verified bytes by attest, once.
	list := []verify.VerifierOption{verify.WithoutStatementPredicate()}
	if certificate && !o.IgnoreSCT {
		list = append(list, verify.WithSignedCertificateTimestamps(1))
	}
	if !o.IgnoreLog {
		list = append(list, verify.WithTransparencyLog(1))
	}
	switch {
	case o.SignedTimestamps:
		return append(list, verify.WithSignedTimestamps(1))
	case !certificate && o.IgnoreLog:
		return append(list, verify.WithNoObserverTimestamps())
	}
	return append(list, verify.WithObserverTimestamps(1))
}

// ID identifies the trusted root and the options.
func (a *Authority) ID() string { return a.id }

// Certified verifies a bundle that a certificate signed.
func (a *Authority) Certified(data []byte, artifact assay.Digest) (attest.Witness, error) {
	return a.check(data, a.certificate, artifact, nil)
}

// Logged verifies a bundle that key signed, with its log entries and timestamps.
func (a *Authority) Logged(data []byte, key attest.Key, artifact assay.Digest) (attest.Witness, error) {
	v, err := signature.LoadVerifier(key.Public(), crypto.SHA256)
	if err != nil {
		return attest.Witness{}, assay.Errorf(assay.CodeInvalid, "key %s cannot be used here: %v", key.KeyID(), err)
	}
	expiring := root.NewExpiringKey(v, time.Time{}, time.Time{}) // when it is trusted is for attest to judge
	material := root.TrustedMaterialCollection{a.material, root.NewTrustedPublicKeyMaterial(
		func(string) (root.TimeConstrainedVerifier, error) { return expiring, nil }, // the hint is no reason to believe or skip a key
	)}
	verifier, err := verify.NewVerifier(material, a.opts.demands(false)...)
	if err != nil {
		return attest.Witness{}, assay.Errorf(assay.CodeInternal, "sigstore verifier: %w", err)
	}
	return a.check(data, verifier, artifact, verify.WithKey())
}

func (a *Authority) check(data []byte, v *verify.Verifier, artifact assay.Digest, key verify.PolicyOption) (attest.Witness, error) {
	b, err := a.parse(data)
	if err != nil {
		return attest.Witness{}, err
	}
	policy, err := policyFor(b, artifact, key)
	if err != nil {
		return attest.Witness{}, err
	}
	result, err := guard(func() (*verify.VerificationResult, error) { return v.Verify(b, policy) })
	if err != nil {
		return attest.Witness{}, a.explain(b, err)
	}
	return witness(b, result)
}

// parse reads a bundle. What sigstore-go would refuse for a reason that leads
// astray is refused here first.
func (a *Authority) parse(data []byte) (*bundle.Bundle, error) {
	var pb protobundle.Bundle
	if err := (protojson.UnmarshalOptions{}).Unmarshal(data, &pb); err != nil {
		return nil, a.explain(nil, err)
	}
	if err := checkMaterial(&pb); err != nil {
		return nil, err
	}
	// A key id is a hint. The DSSE library below skips signatures whose id it did
	// not compute itself, so none is shown to it.
	for _, s := range pb.GetDsseEnvelope().GetSignatures() {
		s.Keyid = ""
	}
	b, err := guard(func() (*bundle.Bundle, error) { return bundle.NewBundle(&pb) })
	if err != nil {
		return nil, a.explain(nil, err)
	}
	return b, nil
}

// checkMaterial refuses a bundle that brings its own trust anchor (the
// specification forbids it, and nobody should think that it was believed), an
// empty chain, and an entry with an impossible place.
func checkMaterial(b *protobundle.Bundle) error {
	for _, e := range b.GetVerificationMaterial().GetTlogEntries() {
		if e.GetLogIndex() < 0 {
			return assay.Errorf(assay.CodeInvalid, "transparency log: the entry's index is negative")
		}
	}
	chain := b.GetVerificationMaterial().GetX509CertificateChain()
	if chain != nil && len(chain.GetCertificates()) == 0 {
		return assay.Errorf(assay.CodeInvalid, "certificate: the chain is empty")
	}
	all := chain.GetCertificates()
	if one := b.GetVerificationMaterial().GetCertificate(); one != nil {
		all = append(all, one)
	}
	for _, raw := range all {
		c, err := x509.ParseCertificate(raw.GetRawBytes())
		if err != nil {
			return assay.Errorf(assay.CodeInvalid, "certificate: %s", plain(err))
		}
		if c.IsCA && bytes.Equal(c.RawIssuer, c.RawSubject) {
			return assay.Errorf(assay.CodeInvalid, "certificate: the bundle brings a root certificate; it may not bring its own trust anchor")
		}
	}
	return nil
}

// policyFor says what sigstore-go compares the bundle with. Identities and a
// statement's subjects are judged by attest, from what was verified.
func policyFor(b *bundle.Bundle, artifact assay.Digest, key verify.PolicyOption) (verify.PolicyBuilder, error) {
	who := key
	if who == nil {
		who = verify.WithoutIdentitiesUnsafe()
	}
	if b.GetDsseEnvelope() != nil {
		return verify.NewPolicy(verify.WithoutArtifactUnsafe(), who), nil
	}
	sum, err := hex.DecodeString(artifact.Hex())
	if err != nil || len(sum) != sha256.Size {
		return verify.PolicyBuilder{}, assay.Errorf(assay.CodeInvalid, "signature of a file: no digest of the file was given to check it with")
	}
	return verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), who), nil
}

// witness collects what was verified.
func witness(b *bundle.Bundle, r *verify.VerificationResult) (attest.Witness, error) {
	w := attest.Witness{Payload: b.GetDsseEnvelope().GetPayload()}
	if c := r.Signature.Certificate; c != nil {
		w.Identity = attest.Identity{Subject: c.SubjectAlternativeName, Issuer: c.Issuer}
		if w.Identity.Subject == "" || w.Identity.Issuer == "" {
			return attest.Witness{}, assay.Errorf(assay.CodeUnverified, "certificate: it names no identity or no issuer of one")
		}
	}
	for _, t := range r.VerifiedTimestamps {
		if w.Time.IsZero() || t.Timestamp.Before(w.Time) {
			w.Time, w.Source = t.Timestamp.UTC(), "transparency log "+t.URI
			if t.Type == "TimestampAuthority" {
				w.Source = "timestamp authority " + t.URI
			}
		}
	}
	return w, nil
}

// errPanic is what a parser of others that gave up becomes.
var errPanic = errors.New("it cannot be read (the parser gave up)")

// guard keeps a panic in the parsers below (ASN.1, PKCS#7, log entries: much
// foreign code for hostile bytes) from ending a process that serves others.
func guard[T any](do func() (T, error)) (out T, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	return do()
}
