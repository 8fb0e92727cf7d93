package sigstore

import (
	"encoding/hex"
	"errors"
	"strings"
	"unicode"

	"assay.dev/assay"
	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// finding is one way in which a check of sigstore-go's ends: words of its error,
// and what they mean.
type finding struct{ holds, says string }

// parts name the part of a proof by how sigstore-go's errors begin. The words are
// those of the version that go.mod pins; the conformance test holds every one.
var parts = []struct {
	begins, part string
	findings     []finding
}{
	{"failed to verify log inclusion: ", "transparency log: ", []finding{
		{"transparency log signature does not match", "the entry is of another signature"},
		{"transparency log certificate does not match", "the entry is of another certificate or key"},
		{"does not match envelope payload hash", "the entry is of another statement"},
		{"does not match artifact", "the entry is of another file"},
		{"integrated time outside certificate validity", "the certificate was not valid when the log took the entry"},
		{"verifying inclusion: calculated root", "the log does not hold this signature: its inclusion proof leads to another root than the checkpoint signs"},
		{"calculated root", "the inclusion proof leads to another root than the bundle states"},
		{"proof root hash does not match", "the checkpoint is of another tree than the inclusion proof"},
		{"signature on checkpoint did not verify", "the checkpoint is not signed by the log"},
		{"malformed note", "the checkpoint is malformed"},
		{"invalid signature for key", "the checkpoint was changed after the log signed it"},
		{"no verifiable signatures", "the checkpoint is not signed by the log"},
		{"duplicate tlog entries", "the same entry stands in the bundle twice"},
	}},
	{"failed to verify timestamps: ", "timestamp: ", []finding{
		{"error: %!w(<nil>)", "there is none, and the log entry states no time; a certificate needs one"},
		{"after the validity period end", "it was made after the end of the authority's term in the trusted root"},
		{"before the validity period start", "it was made before the authority's term in the trusted root"},
		{"outside of certificate validity", "it was made when the authority's own certificate was not valid"},
		{"hashed messages don't match", "it is over another signature"},
		{"certificate embedded in the TSR does not match", "it is by an authority that the trusted root does not name"},
		{"No certificate for signer", "it is by an authority that the trusted root does not name"},
		{"unable to verify signed timestamps", "none holds"},
	}},
	{"failed to verify leaf certificate: ", "certificate: ", []finding{
		{"leaf certificate verification failed", "it was not valid at the time of signing, or no authority of the trusted root issued it"},
	}},
	{"failed to verify signed certificate timestamp: ", "certificate log: ", []finding{
		{"only able to verify 0 SCT", "no certificate log of the trusted root signed for the certificate"},
	}},
	{"failed to verify signature: ", "signature: ", []finding{
		{"could not verify envelope", "it does not fit the statement and the signer's key"},
		{"could not verify message", "it does not fit the file and the signer's key"},
	}},
	{"failed to get signature verifier: ", "signature: ", nil},
	{"failed to summarize certificate: ", "certificate: ", nil},
	{"failed to fetch verification content: ", "certificate: ", nil},
	{"failed to fetch envelope statement: ", "statement: ", nil},
	{"validation error: inclusion proof missing", "transparency log: ", []finding{
		{"missing required checkpoint", "the inclusion proof has no checkpoint, so no signed root that it could lead to"},
	}},
	{"inclusion proof missing in bundle", "transparency log: ", []finding{{"", "the entry has no inclusion proof"}}},
	{"inclusion promises missing", "transparency log: ", []finding{{"", "the entry has no signed time (inclusion promise), which a bundle of version 0.1 needs"}}},
	{"validation error: entry body is not a recognizable", "transparency log: ", []finding{
		{"verifying signature: invalid signature", "the entry contradicts itself: its signature is not by its key"},
		{"could not verify envelope", "the entry contradicts itself: the envelope it states does not verify"},
		{"", "the entry cannot be read"},
	}},
	{"validation error: ", "bundle: ", nil},
	{"proto: ", "bundle: ", []finding{{"invalid value for bytes field", "a field is not plain base64"}}},
}

// explain turns a refusal of sigstore-go into one sentence that begins with the
// part that did not hold.
func (a *Authority) explain(b *bundle.Bundle, err error) *assay.Error {
	text := plain(err)
	if strings.Contains(text, "not enough verified log entries") {
		return a.explainLog(b)
	}
	for _, p := range parts {
		rest, ok := strings.CutPrefix(text, p.begins)
		if !ok {
			continue
		}
		for _, f := range p.findings {
			if strings.Contains(text, f.holds) {
				return assay.Errorf(assay.CodeUnverified, "%s%s", p.part, f.says)
			}
		}
		return assay.Errorf(assay.CodeUnverified, "%s%s", p.part, rest)
	}
	return assay.Errorf(assay.CodeUnverified, "bundle: %s", text)
}

// explainLog tells the ways apart in which no entry of a log counts, which
// sigstore-go does not.
func (a *Authority) explainLog(b *bundle.Bundle) *assay.Error {
	entries := b.GetVerificationMaterial().GetTlogEntries()
	if len(entries) == 0 {
		e := assay.Errorf(assay.CodeUnverified, "transparency log: the bundle has no log entry; one is needed")
		e.Hint = "if this deployment has no log: --insecure-ignore-tlog"
		return e
	}
	for _, e := range entries {
		if _, ok := a.material.RekorLogs()[hex.EncodeToString(e.GetLogId().GetKeyId())]; ok {
			return assay.Errorf(assay.CodeUnverified, "transparency log: the log's signature over the entry's time does not hold")
		}
	}
	e := assay.Errorf(assay.CodeUnverified, "transparency log: no entry is by a log that the trusted root names")
	e.Hint = "is it the trusted root of the Sigstore instance that was signed with?"
	return e
}

// plain makes the text of an error of others safe and short.
func plain(err error) string {
	if errors.Is(err, errPanic) {
		return errPanic.Error()
	}
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, err.Error())
	// The library doubles this prefix.
	text = strings.Replace(text, "validation error: validation error: ", "validation error: ", 1)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}
