package attest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// TrustPolicy says whose summaries are believed: those of Threshold keys
// together, or of one identity.
type TrustPolicy struct {
	Keys      []TrustedKey // at most MaxTrustedKeys
	Threshold int          // different keys that must have signed; 0 means 1

	Identities []TrustedIdentity // whose certificates are believed; at most MaxTrustedIdentities
	Authority  Authority         // checks certificates, logs and timestamps; nil refuses certificates
	LoggedKeys bool              // what a key signed must satisfy Authority as well

	Cache *Cache // remembers what was verified; nil remembers nothing
}

// TrustedKey is a key, what it may speak for, and when.
type TrustedKey struct {
	Name         string // for people, "" if it has none
	Key          Key
	VerifierIDs  []string // the verifier.id values this key may sign; none means it may sign nothing
	Environments []string // the environments it may sign about; none means any
	// NotBefore and NotAfter bound the Moment of an attestation, both inclusive;
	// zero means unbounded. They end a key that was retired in good order: what it
	// signed before its end goes on being valid.
	NotBefore time.Time
	NotAfter  time.Time
	// Revoked is set once somebody else may have the key.
	Revoked *Revocation
}

// Revocation says since when a key is not its owner's alone. The signer's own
// word about time is worth nothing then, so only what was recorded before is
// still believed.
type Revocation struct {
	CompromisedSince time.Time // zero means that it never could be trusted
	Reason           string
}

// Moment is when an attestation was made, as far as it can be told.
type Moment struct {
	// Stated is the signer's own word, under its signature. Zero: it says nothing.
	Stated time.Time
	// Recorded is an instant at which somebody else held the attestation: the
	// ledger whose signed head covers it, or a timestamp authority. Zero: nobody
	// showed that.
	Recorded time.Time
}

// At is the instant that windows of validity are about: the recorded one where
// there is one, because a signer can lie about the other.
func (m Moment) At() time.Time {
	if !m.Recorded.IsZero() {
		return m.Recorded
	}
	return m.Stated
}

// Accepts reports why k does not stand for an attestation of moment m, nil if it
// does. It is about time alone, and reads no clock: the same key and moment give
// the same answer for ever.
//
// A revoked key stands only for what was recorded strictly before it was
// compromised; a window is about Moment.At. An attestation that states no time
// and has none recorded fits no window.
func (k TrustedKey) Accepts(m Moment) error {
	if k.Revoked != nil {
		if err := k.Revoked.accepts(m, k.title()); err != nil {
			return err
		}
	}
	if k.NotBefore.IsZero() && k.NotAfter.IsZero() {
		return nil
	}
	switch at := m.At(); {
	case at.IsZero():
		return fmt.Errorf("the summary states no time; %s is trusted for a period only", k.title())
	case !k.NotBefore.IsZero() && at.Before(k.NotBefore):
		return fmt.Errorf("the summary is of %s; %s is not trusted yet: it is trusted %s", stamp(at), k.title(), period(k))
	case !k.NotAfter.IsZero() && at.After(k.NotAfter):
		return fmt.Errorf("the summary is of %s; %s is expired: it is trusted %s", stamp(at), k.title(), period(k))
	}
	return nil
}

func (r Revocation) accepts(m Moment, key string) error {
	switch {
	case r.CompromisedSince.IsZero():
		return fmt.Errorf("%s is revoked for all time: %s", key, r.reason())
	case m.Recorded.IsZero():
		return fmt.Errorf("%s is revoked, compromised since %s: %s; only what the ledger recorded before is still good, and this comes without a proof of that",
			key, stamp(r.CompromisedSince), r.reason())
	case !m.Recorded.Before(r.CompromisedSince):
		return fmt.Errorf("%s is revoked, compromised since %s: %s; this was recorded at %s",
			key, stamp(r.CompromisedSince), r.reason(), stamp(m.Recorded))
	}
	return nil
}

func (r Revocation) reason() string {
	if r.Reason == "" {
		return "no reason is given"
	}
	return quote(r.Reason)
}

// speaksFor reports why k may not sign a summary of this verifier and environment, nil if it may.
func (k TrustedKey) speaksFor(verifier, environment string) error {
	switch {
	case len(k.VerifierIDs) == 0:
		return fmt.Errorf("found verifier %s; %s is not trusted for any verifier", quote(verifier), k.title())
	case !slices.Contains(k.VerifierIDs, verifier):
		return fmt.Errorf("found verifier %s; expected %s with %s", quote(verifier), clip(strings.Join(k.VerifierIDs, " or "), 300), k.title())
	case len(k.Environments) > 0 && !slices.Contains(k.Environments, environment):
		return fmt.Errorf("found environment %s; %s is trusted for %s", quote(environment), k.title(), clip(strings.Join(k.Environments, " and "), 300))
	}
	return nil
}

// title names the key for people.
func (k TrustedKey) title() string {
	if k.Name == "" {
		return "key " + k.Key.KeyID()
	}
	return "key " + quote(k.Name) + " (" + k.Key.KeyID() + ")"
}

// Judge returns the key that stands for a summary of this verifier, environment
// and moment, or why none does. The ids are those of the keys whose signatures
// were verified.
func (p TrustPolicy) Judge(ids []string, verifier, environment string, m Moment) (TrustedKey, error) {
	var first error
	for _, k := range p.Keys {
		if !slices.Contains(ids, k.Key.KeyID()) {
			continue
		}
		why := p.revoked(k.Key.KeyID(), m)
		if why == nil {
			why = k.speaksFor(verifier, environment)
		}
		if why == nil {
			why = k.Accepts(m)
		}
		if why == nil {
			return k, nil
		}
		if first == nil {
			first = why
		}
	}
	if first == nil {
		first = fmt.Errorf("found verifier %s; the key is not trusted for any verifier", quote(verifier))
	}
	return TrustedKey{}, first
}

// revoked applies every revocation of a key: one that stands in the policy twice
// is revoked by either entry.
func (p TrustPolicy) revoked(id string, m Moment) error {
	for _, k := range p.Keys {
		if k.Revoked != nil && k.Key.KeyID() == id {
			if err := k.Revoked.accepts(m, k.title()); err != nil {
				return err
			}
		}
	}
	return nil
}

func period(k TrustedKey) string {
	switch {
	case k.NotBefore.IsZero():
		return "until " + stamp(k.NotAfter)
	case k.NotAfter.IsZero():
		return "from " + stamp(k.NotBefore)
	}
	return "from " + stamp(k.NotBefore) + " until " + stamp(k.NotAfter)
}
