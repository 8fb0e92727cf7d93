package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of what may stand beside the signature in a bundle; sigstore-go has the same.
const (
	// MaxLogEntries is the number of transparency log entries.
	MaxLogEntries = 32
	// MaxTimestamps is the number of signed timestamps.
	MaxTimestamps = 32
)

// Bundle is a Sigstore bundle that holds a statement.
type Bundle struct {
	MediaType   string
	Hint        string // names the key, as the signer calls it; a hint only
	Certificate bool   // a certificate signed, which an Authority checks; no key and no hint
	Envelope    Envelope
	// Unchecked counts transparency log entries and timestamps in the bundle. An
	// Authority checks them; for a plain key nobody does.
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
// envelope. Bundles of other kinds are refused with the reason. Nothing is
// verified yet.
func ParseBundle(data []byte) (Bundle, error) {
	f, err := parseBundle(data)
	if err != nil {
		return Bundle{}, err
	}
	if f.file != nil {
		e := fieldError("messageSignature", "signs a file, not a statement; expected dsseEnvelope")
		e.Hint = "to verify a plain signature of a file: assay attestation verify --type " + TypeSignature
		return Bundle{}, e
	}
	return Bundle{MediaType: f.mediaType, Hint: f.hint, Certificate: f.certificate, Envelope: f.envelope, Unchecked: f.unchecked}, nil
}

// form is a signed document taken apart. Nothing in it is verified.
type form struct {
	mediaType   string // "" for a bare envelope
	hint        string
	certificate bool
	unchecked   int
	envelope    Envelope       // zero for a signature of a file
	file        *fileSignature // nil for a statement
}

// fileSignature is a plain signature. Digest is what the signer says it is over: a hint.
type fileSignature struct {
	digest assay.Digest
	sig    []byte
}

func parseBundle(data []byte) (form, error) {
	if err := checkSize(data); err != nil {
		return form{}, err
	}
	var w bundleJSON
	if err := strict.JSON(data, &w); err != nil {
		return form{}, err
	}
	if !slices.Contains(bundleMediaTypes, w.MediaType) {
		return form{}, fieldError("mediaType", "is "+quote(w.MediaType)+"; expected "+assay.BundleMediaType+" (versions 0.1 to 0.3 are read)")
	}
	f := form{mediaType: w.MediaType}
	if err := w.VerificationMaterial.read(&f); err != nil {
		return form{}, err
	}
	if isSet(w.MessageSignature) && w.DSSEEnvelope != nil {
		return form{}, fieldError("messageSignature", "stands beside dsseEnvelope; a Sigstore bundle has exactly one of them")
	}
	if isSet(w.MessageSignature) {
		var err error
		f.file, err = readFileSignature(w.MessageSignature)
		return f, err
	}
	if w.DSSEEnvelope == nil {
		return form{}, fieldError("dsseEnvelope", "is missing: the bundle was stripped of its statement")
	}
	var err error
	if f.envelope, err = w.DSSEEnvelope.decode("dsseEnvelope."); err != nil {
		return form{}, err
	}
	if len(f.envelope.Signatures) != 1 {
		return form{}, fieldError("dsseEnvelope.signatures", "has more than one signature; a Sigstore bundle has exactly one")
	}
	if id := f.envelope.Signatures[0].KeyID; id != "" && f.hint != "" && id != f.hint {
		return form{}, fieldError("dsseEnvelope.signatures[0].keyid", "is "+quote(id)+" but the bundle's key hint is "+quote(f.hint)+"; they must be equal")
	}
	return f, nil
}

// checkSize refuses what is above the limit, and what is compressed: nothing is
// ever unpacked here, so nothing can grow.
func checkSize(data []byte) error {
	if len(data) > MaxBundle {
		return tooLarge("bundle", len(data), MaxBundle)
	}
	return checkPlain(data)
}

// checkPlain refuses gzip data.
func checkPlain(data []byte) error {
	if len(data) > 1 && data[0] == 0x1f && data[1] == 0x8b {
		e := assay.Errorf(assay.CodeInvalid, "document is compressed (gzip); attestations are read as they are signed and never unpacked")
		e.Hint = "unpack it first: gzip -d"
		return e
	}
	return nil
}

func (m *materialJSON) read(f *form) error {
	if m == nil {
		return fieldError("verificationMaterial", "is missing: the bundle was stripped of it")
	}
	timestamps := 0
	if t := m.TimestampVerificationData; t != nil {
		timestamps = len(t.RFC3161Timestamps)
	}
	if n := len(m.TlogEntries); n > MaxLogEntries {
		return tooLarge("verificationMaterial.tlogEntries", n, MaxLogEntries)
	}
	if timestamps > MaxTimestamps {
		return tooLarge("verificationMaterial.timestampVerificationData.rfc3161Timestamps", timestamps, MaxTimestamps)
	}
	f.unchecked = len(m.TlogEntries) + timestamps
	certificate, chain := isSet(m.Certificate), isSet(m.X509CertificateChain)
	switch {
	case certificate && chain, (certificate || chain) && m.PublicKey != nil:
		return fieldError("verificationMaterial", "names more than one signer; expected one of publicKey, certificate and x509CertificateChain")
	case certificate || chain:
		f.certificate = true
	case m.PublicKey == nil:
		return fieldError("verificationMaterial.publicKey", "is missing; expected the hint of the signing key")
	default:
		f.hint = m.PublicKey.Hint
	}
	return nil
}

type fileSignatureJSON struct {
	MessageDigest struct {
		Algorithm string `json:"algorithm"`
		Digest    string `json:"digest"`
	} `json:"messageDigest"`
	Signature string `json:"signature"`
}

func readFileSignature(raw json.RawMessage) (*fileSignature, error) {
	var w fileSignatureJSON
	if err := strict.JSON(raw, &w); err != nil {
		return nil, err
	}
	sig, err := decodeBase64(w.Signature)
	if err != nil || len(sig) == 0 {
		return nil, fieldError("messageSignature.signature", "is empty or not base64")
	}
	sum, err := decodeBase64(w.MessageDigest.Digest)
	if err != nil || len(sum) != 32 || w.MessageDigest.Algorithm != "SHA2_256" {
		return nil, fieldError("messageSignature.messageDigest", "is not a SHA2_256 digest; other algorithms are not read")
	}
	return &fileSignature{digest: assay.DigestOf([32]byte(sum)), sig: sig}, nil
}

// MarshalBundle writes b as compact JSON, always as version 0.3 and without what Unchecked counts.
func MarshalBundle(b Bundle) ([]byte, error) {
	if b.Certificate {
		return nil, assay.Errorf(assay.CodeInvalid, "a bundle with a certificate is kept as its signer wrote it; writing it again would lose its log entries")
	}
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
	f, err := parseForm(data)
	if err == nil && f.file != nil {
		_, err = ParseBundle(data)
	}
	return f.envelope, err
}

func parseForm(data []byte) (form, error) {
	if err := checkSize(data); err != nil {
		return form{}, err
	}
	switch kindOf(data) {
	case "mediaType":
		return parseBundle(data)
	case "payloadType":
		e, err := ParseEnvelope(data)
		return form{envelope: e}, err
	}
	if err := strict.CheckJSON(data); err != nil {
		return form{}, err
	}
	return form{}, assay.Errorf(assay.CodeInvalid, "document is neither a Sigstore bundle (mediaType) nor a DSSE envelope (payloadType)")
}

// kindOf returns the member that tells a bundle from an envelope, "" if there is
// neither or the document is damaged. It reads no further than it must: whoever
// is asked next reads all of it.
func kindOf(data []byte) string {
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return ""
	}
	found := ""
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return ""
		}
		switch name.String() {
		case "mediaType":
			return "mediaType"
		case "payloadType":
			found = "payloadType"
		}
		if err := d.SkipValue(); err != nil {
			return ""
		}
	}
	return found
}
