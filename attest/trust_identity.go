package attest

import (
	"cmp"
	"fmt"
	"time"
)

// trustIdentity is one entry of a trust file's identities: whose certificates are believed.
type trustIdentity struct {
	Issuer         string    `json:"issuer,omitempty" yaml:"issuer,omitempty"`
	IssuerPattern  string    `json:"issuerPattern,omitempty" yaml:"issuerPattern,omitempty"`
	Subject        string    `json:"subject,omitempty" yaml:"subject,omitempty"`
	SubjectPattern string    `json:"subjectPattern,omitempty" yaml:"subjectPattern,omitempty"`
	Verifiers      []string  `json:"verifiers" yaml:"verifiers"`
	Environments   []string  `json:"environments,omitempty" yaml:"environments,omitempty"`
	NotBefore      time.Time `json:"notBefore,omitzero" yaml:"notBefore,omitempty"`
	NotAfter       time.Time `json:"notAfter,omitzero" yaml:"notAfter,omitempty"`
}

// trusted checks one identity; on an error it also says which field is wrong.
func (i trustIdentity) trusted() (t TrustedIdentity, field []string, err error) {
	if t.Issuer, err = matchOf(i.Issuer, i.IssuerPattern); err != nil {
		return t, []string{"issuer"}, err
	}
	if t.Subject, err = matchOf(i.Subject, i.SubjectPattern); err != nil {
		return t, []string{"subject"}, err
	}
	if field, err := checkSpan(i.Verifiers, i.Environments, i.NotBefore, i.NotAfter); err != nil {
		return t, field, err
	}
	t.VerifierIDs, t.Environments, t.NotBefore, t.NotAfter = i.Verifiers, i.Environments, i.NotBefore, i.NotAfter
	return t, nil, nil
}

// matchOf is either a text or a pattern; one of the two must be given.
func matchOf(text, pattern string) (Match, error) {
	switch {
	case (text == "") == (pattern == ""):
		return Match{}, fmt.Errorf("is missing or given twice; write either the text or a pattern")
	case !plainText(cmp.Or(text, pattern)):
		return Match{}, fmt.Errorf("is longer than %d bytes or not one line", maxTrustText)
	case pattern != "":
		return Fitting(pattern)
	}
	return Exactly(text), nil
}

func writtenIdentity(t TrustedIdentity) trustIdentity {
	w := trustIdentity{Verifiers: t.VerifierIDs, Environments: t.Environments, NotBefore: t.NotBefore.UTC(), NotAfter: t.NotAfter.UTC()}
	w.Issuer, w.IssuerPattern = t.Issuer.written()
	w.Subject, w.SubjectPattern = t.Subject.written()
	return w
}

func (m Match) written() (text, pattern string) {
	if m.pattern != nil {
		return "", m.text
	}
	return m.text, ""
}
