package attest

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// Envelope is a DSSE v1.0.2 envelope with its base64 undone. Nothing in it is
// believed before Verify.
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []Signature
}

// Signature is one signature of an envelope. KeyID is whatever the signer
// wrote: not signed, possibly empty or false, a hint and nothing more.
type Signature struct {
	KeyID string
	Sig   []byte
}

// envelopeJSON is the wire form.
type envelopeJSON struct {
	Payload     *string         `json:"payload"`
	PayloadType string          `json:"payloadType"`
	Signatures  []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	Sig   string `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// PAE is DSSE's pre-authentication encoding: the bytes that are signed.
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+48)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// ParseEnvelope reads a bare DSSE envelope. Fields it does not know are
// ignored, as DSSE demands; duplicate keys are refused.
func ParseEnvelope(data []byte) (Envelope, error) {
	var w envelopeJSON
	if err := decodeOpen(data, &w); err != nil {
		return Envelope{}, err
	}
	return w.decode("")
}

// decode undoes the base64 and checks the form; at is the path of w in its document.
func (w envelopeJSON) decode(at string) (Envelope, error) {
	if w.Payload == nil || *w.Payload == "" {
		return Envelope{}, fieldError(at+"payload", "is missing: the envelope was stripped of what was signed")
	}
	if len(w.Signatures) == 0 {
		return Envelope{}, fieldError(at+"signatures", "is empty: the envelope was stripped of its signature")
	}
	if len(w.Signatures) > MaxSignatures {
		return Envelope{}, tooLarge(at+"signatures", len(w.Signatures), MaxSignatures)
	}
	payload, err := decodeBase64(*w.Payload)
	if err != nil {
		return Envelope{}, fieldError(at+"payload", "is not base64")
	}
	if len(payload) > MaxStatement {
		return Envelope{}, tooLarge(at+"payload", len(payload), MaxStatement)
	}
	e := Envelope{PayloadType: w.PayloadType, Payload: payload}
	for i, s := range w.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil || len(sig) == 0 {
			return Envelope{}, fieldError(at+"signatures["+strconv.Itoa(i)+"].sig", "is empty or not base64")
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return e, nil
}

func (e Envelope) wire() *envelopeJSON {
	w := &envelopeJSON{PayloadType: e.PayloadType, Payload: new(encodeBase64(e.Payload))}
	for _, s := range e.Signatures {
		w.Signatures = append(w.Signatures, signatureJSON{KeyID: s.KeyID, Sig: encodeBase64(s.Sig)})
	}
	return w
}

// Verify returns the payload if its type is payloadType and at least threshold
// different keys signed it, together with the ids of the keys that did. Every
// key is tried on every signature, whatever key ids the envelope claims. The
// caller decodes the returned bytes and nothing else.
func (e Envelope) Verify(payloadType string, keys []Verifier, threshold int) ([]byte, []string, error) {
	if e.PayloadType != payloadType {
		return nil, nil, assay.Errorf(assay.CodeUnverified, "payload type is %s; expected %q", quote(e.PayloadType), payloadType)
	}
	if threshold < 1 {
		return nil, nil, assay.Errorf(assay.CodeInvalid, "threshold is %d; expected at least 1", threshold)
	}
	message := PAE(e.PayloadType, e.Payload)
	signed, trusted := []string{}, map[string]bool{}
	for _, k := range keys {
		if id := k.KeyID(); !trusted[id] {
			trusted[id] = true
			if e.signedBy(k, message) {
				signed = append(signed, id)
			}
		}
	}
	if len(signed) >= threshold {
		return e.Payload, signed, nil
	}
	if len(signed) > 0 {
		return nil, signed, assay.Errorf(assay.CodeUnverified, "%d trusted key(s) signed; expected at least %d", len(signed), threshold)
	}
	return nil, nil, e.refusal(trusted)
}

func (e Envelope) signedBy(k Verifier, message []byte) bool {
	for _, s := range e.Signatures {
		if k.Verify(message, s.Sig) == nil {
			return true
		}
	}
	return false
}

// refusal uses the key id hints to say what most likely happened. The trusted keys are trusted's keys.
func (e Envelope) refusal(trusted map[string]bool) *assay.Error {
	for _, s := range e.Signatures {
		if _, ok := trusted[s.KeyID]; ok {
			return assay.Errorf(assay.CodeUnverified,
				"the signature claims trusted key %s but does not fit the payload: one of the two was changed after signing", s.KeyID)
		}
	}
	if len(trusted) == 0 {
		return assay.Errorf(assay.CodeUnverified, "no key is trusted; give the public key of whoever signed")
	}
	return assay.Errorf(assay.CodeUnverified, "no signature is by one of the %d trusted key(s); the envelope names key %s",
		len(trusted), quote(e.Signatures[0].KeyID))
}

// decodeBase64 accepts the standard and the URL-safe alphabet, padded or not,
// but no mixture, no white space and no stray bits.
func decodeBase64(s string) ([]byte, error) {
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(s, "\r\n"))
	}
	if strings.HasSuffix(s, "=") {
		if len(s)%4 != 0 {
			return nil, base64.CorruptInputError(len(s))
		}
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	return enc.Strict().DecodeString(s)
}

// decodeOpen decodes a document whose unknown fields must be ignored. Its form
// is checked as strictly as everywhere else: no duplicate keys, exact names.
func decodeOpen(data []byte, v any) error {
	if len(data) > MaxBundle {
		return tooLarge("document", len(data), MaxBundle)
	}
	form, err := strict.Open(data, v)
	if err != nil && !form {
		return assay.Errorf(assay.CodeInvalid, "document has the wrong form: %v", err)
	}
	return err
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func fieldError(field, msg string) *assay.Error {
	return &assay.Error{Code: assay.CodeInvalid, Field: field, Msg: msg}
}

func tooLarge(field string, found, limit int) *assay.Error {
	e := assay.Errorf(assay.CodeTooLarge, "has %d bytes or entries; at most %d are accepted", found, limit)
	e.Field = field
	return e
}

// quote makes outside text safe and short enough to stand in a sentence.
func quote(s string) string {
	if s == "" {
		return "no value"
	}
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strconv.Quote(s)
}

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
