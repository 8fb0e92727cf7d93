package attest

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"go.yaml.in/yaml/v3"
)

// Limits of a trust file.
const (
	// MaxTrust is the largest trust file, in bytes.
	MaxTrust = 1 << 20
	// MaxTrustNames is the number of verifiers, and of environments, that one key may have.
	MaxTrustNames = 64
	// maxTrustText is the longest name, verifier, environment or reason, in bytes.
	maxTrustText = 500
)

// Trust is a trust file: a resource of kind Trust. Who verifies keeps it; it
// holds no secret, but whoever can write it decides what is believed.
type Trust struct {
	Name   string
	Ledger string // the ledger's C2SP verifier line, for proofs; "" if it names none
	Policy TrustPolicy
}

// trustFile is the form that is written: YAML, strict.
type trustFile struct {
	APIVersion string        `json:"apiVersion" yaml:"apiVersion"`
	Kind       string        `json:"kind" yaml:"kind"`
	Metadata   trustMetadata `json:"metadata" yaml:"metadata"`
	Spec       trustSpec     `json:"spec" yaml:"spec"`
}

type trustMetadata struct {
	Name string `json:"name" yaml:"name"`
}

type trustSpec struct {
	Ledger     string          `json:"ledger,omitempty" yaml:"ledger,omitempty"`
	Keys       []trustKey      `json:"keys,omitempty" yaml:"keys,omitempty"`
	Identities []trustIdentity `json:"identities,omitempty" yaml:"identities,omitempty"`
}

type trustKey struct {
	Name         string           `json:"name,omitempty" yaml:"name,omitempty"`
	PublicKey    string           `json:"publicKey" yaml:"publicKey"` // PEM
	Verifiers    []string         `json:"verifiers" yaml:"verifiers"`
	Environments []string         `json:"environments,omitempty" yaml:"environments,omitempty"`
	NotBefore    time.Time        `json:"notBefore,omitzero" yaml:"notBefore,omitempty"`
	NotAfter     time.Time        `json:"notAfter,omitzero" yaml:"notAfter,omitempty"`
	Revoked      *trustRevocation `json:"revoked,omitempty" yaml:"revoked,omitempty"`
}

type trustRevocation struct {
	CompromisedSince time.Time `json:"compromisedSince,omitzero" yaml:"compromisedSince,omitempty"`
	Reason           string    `json:"reason" yaml:"reason"`
}

// ParseTrust reads a trust file, strictly: unknown fields, a key that stands
// twice, a window that ends before it begins and a key without a verifier are
// refused with their place.
func ParseTrust(data []byte) (Trust, error) {
	if len(data) > MaxTrust {
		return Trust{}, tooLarge("trust file", len(data), MaxTrust)
	}
	docs, err := strict.Documents(data)
	if err != nil {
		return Trust{}, err
	}
	if len(docs) != 1 {
		return Trust{}, assay.Errorf(assay.CodeInvalid, "trust file holds %d documents; expected one of kind Trust", len(docs))
	}
	d := docs[0]
	if v := d.String("apiVersion"); v != assay.APIVersion {
		return Trust{}, d.Errorf([]string{"apiVersion"}, "%q is not known here; write %s", v, assay.APIVersion)
	}
	if k := d.String("kind"); k != "Trust" {
		return Trust{}, d.Errorf([]string{"kind"}, "is %q; expected Trust", k)
	}
	var f trustFile
	if err := d.Decode(&f); err != nil {
		return Trust{}, err
	}
	return f.trust(d)
}

func (f trustFile) trust(d strict.Document) (Trust, error) {
	t := Trust{Name: f.Metadata.Name, Ledger: f.Spec.Ledger}
	if !plainText(t.Name) {
		return Trust{}, d.Errorf([]string{"metadata", "name"}, "is missing or longer than %d bytes", maxTrustText)
	}
	if len(f.Spec.Keys)+len(f.Spec.Identities) == 0 {
		return Trust{}, d.Errorf([]string{"spec", "keys"}, "is empty: nobody would be believed")
	}
	for _, l := range []struct {
		field    string
		n, limit int
	}{{"keys", len(f.Spec.Keys), MaxTrustedKeys}, {"identities", len(f.Spec.Identities), MaxTrustedIdentities}} {
		if l.n > l.limit {
			e := d.Errorf([]string{"spec", l.field}, "has %d entries; at most %d are accepted", l.n, l.limit)
			e.Code = assay.CodeTooLarge
			return Trust{}, e
		}
	}
	names := map[string]int{}
	for i, k := range f.Spec.Keys {
		at := []string{"spec", "keys", strconv.Itoa(i)}
		trusted, field, err := k.trusted()
		if err != nil {
			return Trust{}, d.Errorf(append(at, field...), "%v", err)
		}
		id := trusted.Key.KeyID()
		if first, twice := names[id]; twice {
			return Trust{}, d.Errorf(append(at, "publicKey"), "is key %s, which spec.keys[%d] holds already", id, first)
		}
		names[id] = i
		t.Policy.Keys = append(t.Policy.Keys, trusted)
	}
	for i, id := range f.Spec.Identities {
		trusted, field, err := id.trusted()
		if err != nil {
			return Trust{}, d.Errorf(append([]string{"spec", "identities", strconv.Itoa(i)}, field...), "%v", err)
		}
		t.Policy.Identities = append(t.Policy.Identities, trusted)
	}
	return t, nil
}

// trusted checks one key; on an error it also says which field is wrong.
func (k trustKey) trusted() (TrustedKey, []string, error) {
	key, err := ParsePublicKey([]byte(k.PublicKey))
	if err != nil {
		return TrustedKey{}, []string{"publicKey"}, fmt.Errorf("cannot be used: %w", err)
	}
	t := TrustedKey{
		Name: k.Name, Key: key, VerifierIDs: k.Verifiers, Environments: k.Environments,
		NotBefore: k.NotBefore, NotAfter: k.NotAfter,
	}
	if k.Name != "" && !plainText(k.Name) {
		return t, []string{"name"}, fmt.Errorf("is longer than %d bytes", maxTrustText)
	}
	if field, err := checkSpan(k.Verifiers, k.Environments, k.NotBefore, k.NotAfter); err != nil {
		return t, field, err
	}
	if k.Revoked != nil {
		if !plainText(k.Revoked.Reason) {
			return t, []string{"revoked", "reason"}, fmt.Errorf("is missing or longer than %d bytes; say why the key is revoked", maxTrustText)
		}
		t.Revoked = &Revocation{CompromisedSince: k.Revoked.CompromisedSince, Reason: k.Revoked.Reason}
	}
	return t, nil, nil
}

// checkSpan checks for what and when somebody is trusted; on an error it also says which field is wrong.
func checkSpan(verifiers, environments []string, begin, end time.Time) (field []string, err error) {
	if len(verifiers) == 0 {
		return []string{"verifiers"}, fmt.Errorf("is empty; name the verifier.id values that may be signed, for example %s", assay.DefaultVerifierID)
	}
	for _, l := range []struct {
		field string
		list  []string
	}{{"verifiers", verifiers}, {"environments", environments}} {
		if len(l.list) > MaxTrustNames {
			return []string{l.field}, fmt.Errorf("has %d entries; at most %d are accepted", len(l.list), MaxTrustNames)
		}
		for i, s := range l.list {
			if !plainText(s) {
				return []string{l.field, strconv.Itoa(i)}, fmt.Errorf("is empty or longer than %d bytes", maxTrustText)
			}
		}
	}
	if !begin.IsZero() && !end.IsZero() && end.Before(begin) {
		return []string{"notAfter"}, fmt.Errorf("%s lies before notBefore, %s: it would never be valid", stamp(end), stamp(begin))
	}
	return nil, nil
}

func plainText(s string) bool {
	return s != "" && len(s) <= maxTrustText && strings.TrimSpace(s) == s && !strict.HasControl(s) && !strings.Contains(s, "\n")
}

// MarshalTrust writes a trust file. What it writes, ParseTrust reads as the same.
func MarshalTrust(t Trust) ([]byte, error) {
	f := trustFile{APIVersion: assay.APIVersion, Kind: "Trust", Metadata: trustMetadata{t.Name}, Spec: trustSpec{Ledger: t.Ledger}}
	for _, k := range t.Policy.Keys {
		block, err := MarshalPublicKey(k.Key)
		if err != nil {
			return nil, err
		}
		entry := trustKey{
			Name: k.Name, PublicKey: string(block), Verifiers: k.VerifierIDs, Environments: k.Environments,
			NotBefore: k.NotBefore.UTC(), NotAfter: k.NotAfter.UTC(),
		}
		if k.Revoked != nil {
			entry.Revoked = &trustRevocation{k.Revoked.CompromisedSince.UTC(), k.Revoked.Reason}
		}
		f.Spec.Keys = append(f.Spec.Keys, entry)
	}
	for _, id := range t.Policy.Identities {
		f.Spec.Identities = append(f.Spec.Identities, writtenIdentity(id))
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(f); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "trust file cannot be encoded: %w", err)
	}
	if _, err := ParseTrust(out.Bytes()); err != nil {
		return nil, assay.Errorf(cmp.Or(assay.CodeOf(err), assay.CodeInvalid), "the trust file would be refused: %w", err)
	}
	return out.Bytes(), nil
}

// MarshalPublicKey writes a key as the PEM block that openssl and cosign read.
func MarshalPublicKey(k Key) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "public key cannot be encoded: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublicKey reads one public key in PEM. Every kind of key that is not
// accepted has its own answer.
func ParsePublicKey(data []byte) (Key, error) {
	if len(data) > MaxTrust {
		return Key{}, tooLarge("public key", len(data), MaxTrust)
	}
	block, rest := pem.Decode(bytes.TrimSpace(data))
	switch {
	case block == nil:
		return Key{}, assay.Errorf(assay.CodeInvalid, "public key is not PEM; expected a block PUBLIC KEY")
	case strings.Contains(block.Type, "PRIVATE KEY"):
		e := assay.Errorf(assay.CodeInvalid, "holds a private key where a public one is expected")
		e.Hint = "give the public half, and keep this one to yourself"
		return Key{}, e
	case block.Type != "PUBLIC KEY" || len(block.Headers) > 0:
		return Key{}, assay.Errorf(assay.CodeInvalid, "is a PEM block %s; expected PUBLIC KEY without headers", quote(block.Type))
	case len(bytes.TrimSpace(rest)) > 0:
		return Key{}, assay.Errorf(assay.CodeInvalid, "has something behind the PEM block; expected one key")
	}
	return ParsePublicDER(block.Bytes)
}

// ParsePublicDER reads one public key as DER, an X.509 SubjectPublicKeyInfo.
func ParsePublicDER(der []byte) (Key, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, assay.Errorf(assay.CodeInvalid, "public key is damaged or of an unknown type: %w", err)
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return Key{}, assay.Errorf(assay.CodeInvalid, "public key is RSA with %d bits, which is weak; expected ECDSA P-256 or Ed25519", n)
		}
		return Key{}, assay.Errorf(assay.CodeInvalid, "public key is RSA with %d bits; expected ECDSA P-256 or Ed25519", k.N.BitLen())
	case *ecdsa.PublicKey:
		if name := k.Curve.Params().Name; name != "P-256" {
			return Key{}, assay.Errorf(assay.CodeInvalid, "public key is ECDSA %s; expected ECDSA P-256 or Ed25519", name)
		}
	}
	return NewKey(pub)
}
