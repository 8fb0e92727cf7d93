package attest

import (
	"context"
	"encoding/json"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Bundle is a Sigstore bundle that is signed with a plain key.
type Bundle struct {
	MediaType string
	Hint      string // names the key, as the signer calls it; a hint only
	Envelope  Envelope
	// Unchecked counts transparency log entries and timestamps in the bundle.
	// They are kept by whoever wrote it and are not verified here.
	Unchecked int
}

// bundleMediaTypes are the versions that are read; the first is written.
var bundleMediaTypes = []string{
	assay.BundleMediaType,
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.1",
}

// bundleJSON follows the protobuf JSON mapping of dev.sigstore.bundle.v1.Bundle.
type bundleJSON struct {
	MediaType            string          `json:"mediaType"`
	VerificationMaterial *materialJSON   `json:"verificationMaterial"`
	DSSEEnvelope         *envelopeJSON   `json:"dsseEnvelope,omitempty"`
	MessageSignature     json.RawMessage `json:"messageSignature,omitempty"`
}

type materialJSON struct {
	PublicKey                 *publicKeyJSON    `json:"publicKey,omitempty"`
	Certificate               json.RawMessage   `json:"certificate,omitempty"`
	X509CertificateChain      json.RawMessage   `json:"x509CertificateChain,omitempty"`
	TlogEntries               []json.RawMessage `json:"tlogEntries,omitempty"`
	TimestampVerificationData *timestampJSON    `json:"timestampVerificationData,omitempty"`
}

type publicKeyJSON struct {
	Hint string `json:"hint,omitempty"`
}

type timestampJSON struct {
	RFC3161Timestamps []json.RawMessage `json:"rfc3161Timestamps,omitempty"`
}

// ParseBundle reads a Sigstore bundle of version 0.1 to 0.3 that holds a DSSE
// envelope signed with a plain key. Bundles of other kinds are refused with
// the reason. Nothing is verified yet.
func ParseBundle(data []byte) (Bundle, error) {
	if len(data) > MaxBundle {
		return Bundle{}, tooLarge("bundle", len(data), MaxBundle)
	}
	var w bundleJSON
	if err := strict.JSON(data, &w); err != nil {
		return Bundle{}, err
	}
	if !slices.Contains(bundleMediaTypes, w.MediaType) {
		return Bundle{}, fieldError("mediaType", "is "+quote(w.MediaType)+"; expected "+assay.BundleMediaType+" (versions 0.1 to 0.3 are read)")
	}
	hint, err := w.VerificationMaterial.key()
	if err != nil {
		return Bundle{}, err
	}
	if isSet(w.MessageSignature) {
		return Bundle{}, fieldError("messageSignature", "signs a file, not a statement; expected dsseEnvelope")
	}
	if w.DSSEEnvelope == nil {
		return Bundle{}, fieldError("dsseEnvelope", "is missing: the bundle was stripped of its statement")
	}
	env, err := w.DSSEEnvelope.decode("dsseEnvelope.")
	if err != nil {
		return Bundle{}, err
	}
	if len(env.Signatures) != 1 {
		return Bundle{}, fieldError("dsseEnvelope.signatures", "has more than one signature; a Sigstore bundle has exactly one")
	}
	if id := env.Signatures[0].KeyID; id != "" && hint != "" && id != hint {
		return Bundle{}, fieldError("dsseEnvelope.signatures[0].keyid", "is "+quote(id)+" but the bundle's key hint is "+quote(hint)+"; they must be equal")
	}
	b := Bundle{MediaType: w.MediaType, Hint: hint, Envelope: env, Unchecked: len(w.VerificationMaterial.TlogEntries)}
	if t := w.VerificationMaterial.TimestampVerificationData; t != nil {
		b.Unchecked += len(t.RFC3161Timestamps)
	}
	return b, nil
}

func (m *materialJSON) key() (string, error) {
	switch {
	case m == nil:
		return "", fieldError("verificationMaterial", "is missing: the bundle was stripped of it")
	case isSet(m.Certificate) || isSet(m.X509CertificateChain):
		e := fieldError("verificationMaterial", "holds a certificate: keyless bundles are not verified yet")
		e.Hint = "sign with a key, or verify this bundle with cosign"
		return "", e
	case m.PublicKey == nil:
		return "", fieldError("verificationMaterial.publicKey", "is missing; expected the hint of the signing key")
	}
	return m.PublicKey.Hint, nil
}

// MarshalBundle writes b as compact JSON, always as version 0.3 and without what Unchecked counts.
func MarshalBundle(b Bundle) ([]byte, error) {
	if len(b.Envelope.Signatures) != 1 || b.Envelope.Signatures[0].KeyID != b.Hint {
		return nil, assay.Errorf(assay.CodeInvalid, "a bundle needs exactly one signature whose keyid is the key hint")
	}
	data, err := json.Marshal(bundleJSON{
		MediaType:            assay.BundleMediaType,
		VerificationMaterial: &materialJSON{PublicKey: &publicKeyJSON{Hint: b.Hint}},
		DSSEEnvelope:         b.Envelope.wire(),
	})
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "bundle cannot be encoded: %w", err)
	}
	if len(data) > MaxBundle {
		return nil, tooLarge("bundle", len(data), MaxBundle)
	}
	return data, nil
}

// Sign signs an in-toto statement and returns the bundle's bytes. It signs
// nothing it could not read back, and checks the new signature with the
// signer's public key before it hands it out.
func Sign(ctx context.Context, s Signer, statement []byte) ([]byte, error) {
	if _, err := ParseStatement(statement); err != nil {
		return nil, err
	}
	key, err := NewKey(s.Public())
	if err != nil {
		return nil, err
	}
	message := PAE(assay.StatementPayloadType, statement)
	sig, err := s.Sign(ctx, message)
	if err != nil {
		return nil, err
	}
	if err := key.Verify(message, sig); err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "the signer's own public key refuses its signature: %w", err)
	}
	return MarshalBundle(Bundle{Hint: key.KeyID(), Envelope: Envelope{
		PayloadType: assay.StatementPayloadType, Payload: statement,
		Signatures: []Signature{{KeyID: key.KeyID(), Sig: sig}},
	}})
}

// ParseSigned reads the envelope of a Sigstore bundle or a bare DSSE envelope, whichever data is.
func ParseSigned(data []byte) (Envelope, error) {
	var head struct {
		MediaType   *string `json:"mediaType"`
		PayloadType *string `json:"payloadType"`
	}
	if err := decodeOpen(data, &head); err != nil {
		return Envelope{}, err
	}
	switch {
	case head.MediaType != nil:
		b, err := ParseBundle(data)
		return b.Envelope, err
	case head.PayloadType != nil:
		return ParseEnvelope(data)
	}
	return Envelope{}, assay.Errorf(assay.CodeInvalid, "document is neither a Sigstore bundle (mediaType) nor a DSSE envelope (payloadType)")
}
