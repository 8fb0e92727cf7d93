package attest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// MaxIdentityPattern is the length of a pattern that an identity must fit, in bytes.
const MaxIdentityPattern = 1024

// MaxTrustedIdentities is the number of identities a TrustPolicy may hold.
const MaxTrustedIdentities = 64

// Authority checks what no plain key can show: that a certificate was issued to
// an identity, that a public log holds the signature, and when that was. Package
// sigstore below is one. It reads no network and no clock, and is safe for
// concurrent use.
type Authority interface {
	// ID identifies what the authority trusts and demands. Two with one ID give
	// the same answers, so that an answer may be remembered under it.
	ID() string
	// Certified verifies a bundle that a certificate signed. artifact is the
	// SHA-256 digest that a plain signature of a file must be over; a statement's
	// subjects are not compared with it. A refusal is assay.CodeUnverified or
	// assay.CodeInvalid and names what did not hold.
	Certified(bundle []byte, artifact assay.Digest) (Witness, error)
	// Logged verifies a bundle that key signed, together with its log entries and timestamps.
	Logged(bundle []byte, key Key, artifact assay.Digest) (Witness, error)
}

// Witness is what an Authority found out about a bundle.
type Witness struct {
	Identity Identity  // who signed; zero if a plain key did
	Time     time.Time // the earliest instant at which somebody else held the signature; zero if none was demanded
	Source   string    // who says so: "transparency log https://…" or "timestamp authority https://…"
	Payload  []byte    // the bytes that were verified; nil for a plain signature of a file
}

// Identity is who a certificate was issued to.
type Identity struct {
	Subject string `json:"subject"` // the certificate's alternative name: an e-mail address, or the URI of a workflow
	Issuer  string `json:"issuer"`  // the OpenID Connect provider that vouched for it
}

func (i Identity) String() string { return quote(i.Subject) + " of " + quote(i.Issuer) }

// Match is one text, or a pattern that a text must fit from end to end. The
// zero Match fits nothing.
type Match struct {
	text    string
	pattern *regexp.Regexp
}

// Exactly fits this text alone.
func Exactly(text string) Match { return Match{text: text} }

// Fitting fits what the regular expression (Go's syntax) matches as a whole: a
// pattern for one repository must not let in an address that only holds it.
func Fitting(expr string) (Match, error) {
	if len(expr) > MaxIdentityPattern {
		return Match{}, tooLarge("pattern", len(expr), MaxIdentityPattern)
	}
	// Alone first: "a)|(?:b" is an expression only between our brackets, and would leave them.
	_, err := regexp.Compile(expr)
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile(`\A(?:` + expr + `)\z`)
	}
	if err != nil {
		return Match{}, assay.Errorf(assay.CodeInvalid, "pattern %s is not a regular expression: %v", quote(expr), err)
	}
	return Match{text: expr, pattern: re}, nil
}

func (m Match) fits(s string) bool {
	switch {
	case s == "":
		return false
	case m.pattern != nil:
		return m.pattern.MatchString(s)
	}
	return m.text == s
}

// String is for people.
func (m Match) String() string {
	if m.pattern != nil {
		return "one that fits " + quote(m.text)
	}
	return quote(m.text)
}

// TrustedIdentity is an identity whose certificates are believed, what it may
// speak for, and when. Issuer and Subject must both fit.
type TrustedIdentity struct {
	Issuer       Match
	Subject      Match
	VerifierIDs  []string // the verifier.id values it may sign; none means it may sign no summary
	Environments []string // the environments it may sign about; none means any
	// NotBefore and NotAfter bound when it signed, as the log or timestamp
	// authority saw it, both inclusive; zero means unbounded.
	NotBefore time.Time
	NotAfter  time.Time
}

func (t TrustedIdentity) fits(i Identity) bool {
	return t.Issuer.fits(i.Issuer) && t.Subject.fits(i.Subject)
}

// identify returns nil if an identity of the policy fits i. The answer says which half did not.
func (p TrustPolicy) identify(i Identity) error {
	if len(p.Identities) == 0 {
		e := assay.Errorf(assay.CodeUnverified, "signed by %s, but no certificate identity is trusted", i)
		e.Hint = "say whose certificates you believe: --certificate-identity and --certificate-oidc-issuer"
		return e
	}
	var issuer *TrustedIdentity
	for _, t := range p.Identities {
		if t.fits(i) {
			return nil
		}
		if issuer == nil && t.Issuer.fits(i.Issuer) {
			issuer = &t
		}
	}
	if issuer != nil {
		return assay.Errorf(assay.CodeUnverified, "signed by identity %s; expected %s", quote(i.Subject), issuer.Subject)
	}
	return assay.Errorf(assay.CodeUnverified, "the identity was vouched for by issuer %s; expected %s", quote(i.Issuer), p.Identities[0].Issuer)
}

// judgeIdentity returns nil if an identity of the policy that fits i stands for a
// summary of this verifier and environment, signed at that time.
func (p TrustPolicy) judgeIdentity(i Identity, verifier, environment string, at time.Time) error {
	var first error
	for _, t := range p.Identities {
		if !t.fits(i) {
			continue
		}
		why := t.stands(verifier, environment, at)
		if why == nil {
			return nil
		}
		if first == nil {
			first = why
		}
	}
	if first == nil {
		first = fmt.Errorf("found verifier %s; the identity is not trusted for any verifier", quote(verifier))
	}
	return first
}

// acceptsIdentity returns nil if an identity of the policy that fits i was trusted at that time.
func (p TrustPolicy) acceptsIdentity(i Identity, at time.Time) error {
	why := fmt.Errorf("the identity is not trusted")
	for _, t := range p.Identities {
		if !t.fits(i) {
			continue
		}
		if why = t.inTime(at); why == nil {
			return nil
		}
	}
	return why
}

func (t TrustedIdentity) stands(verifier, environment string, at time.Time) error {
	switch {
	case len(t.VerifierIDs) == 0:
		return fmt.Errorf("found verifier %s; the identity is not trusted for any verifier", quote(verifier))
	case !slices.Contains(t.VerifierIDs, verifier):
		return fmt.Errorf("found verifier %s; expected %s with this identity", quote(verifier), clip(strings.Join(t.VerifierIDs, " or "), 300))
	case len(t.Environments) > 0 && !slices.Contains(t.Environments, environment):
		return fmt.Errorf("found environment %s; the identity is trusted for %s", quote(environment), clip(strings.Join(t.Environments, " and "), 300))
	}
	return t.inTime(at)
}

func (t TrustedIdentity) inTime(at time.Time) error {
	switch {
	case !t.NotBefore.IsZero() && at.Before(t.NotBefore):
		return fmt.Errorf("signed at %s; the identity is not trusted before %s", stamp(at), stamp(t.NotBefore))
	case !t.NotAfter.IsZero() && at.After(t.NotAfter):
		return fmt.Errorf("signed at %s; the identity is trusted until %s", stamp(at), stamp(t.NotAfter))
	}
	return nil
}
