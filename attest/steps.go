package attest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// witness is what an authority found, nil if none was asked.
func (v *verification) witness() *Witness {
	if v.doc == nil {
		return nil
	}
	return v.doc.witness
}

// summary is what the signed payload says, once step 3 held.
func (v *verification) summary() *Summary { return v.doc.summary }

// moment is when the document was made, as far as it can be told.
func (v *verification) moment(stated time.Time) Moment {
	m := Moment{Stated: stated, Recorded: v.want.Recorded}
	if w := v.witness(); w != nil && !w.Time.IsZero() && (m.Recorded.IsZero() || w.Time.Before(m.Recorded)) {
		m.Recorded = w.Time
	}
	return m
}

// Step 2: the statement is about the expected artifact.
func (v *verification) subject() (string, error) {
	if v.doc.stErr != nil {
		return "", fmt.Errorf("the signed payload is not an in-toto statement: %w", v.doc.stErr)
	}
	about := v.doc.st.Subject
	if v.want.Subject == "" {
		return "", fmt.Errorf("no expected subject digest was given; the attestation is about %s", about[0].digests())
	}
	for _, s := range about {
		if s.Has(v.want.Subject) {
			return "is about " + v.want.Subject, nil
		}
	}
	return "", fmt.Errorf("the attestation is about %s; expected %s", about[0].digests(), v.want.Subject)
}

// signedDigest is step 2 for a plain signature: step 1 verified it over this very digest.
func (v *verification) signedDigest() (string, error) { return "signs " + v.want.Subject, nil }

// Step 3: the predicate is of the expected type, and can be read.
func (v *verification) predicate() (string, error) {
	found := v.doc.st.PredicateType
	switch v.want.Type {
	case "", assay.VSAPredicateType:
	case TypeAny:
		return "is " + quote(found) + "; any is accepted", nil
	default:
		return readPredicate(v.doc.st, v.want.Type)
	}
	if found != assay.VSAPredicateType {
		return "", fmt.Errorf("found predicate type %s; expected %q", quote(found), assay.VSAPredicateType)
	}
	if v.doc.sumErr != nil {
		return "", fmt.Errorf("the summary cannot be read: %w", v.doc.sumErr)
	}
	return "is " + assay.VSAPredicateType, nil
}

// Step 4: who signed may speak for the verifier that the summary names.
func (v *verification) verifier() (string, error) {
	sum := v.summary()
	id, environment := sum.Verifier.ID, ""
	if sum.Gate != nil {
		environment = sum.Gate.Environment
	}
	m := v.moment(sum.TimeVerified)
	if w := v.witness(); w != nil && w.Identity != (Identity{}) {
		if err := v.policy.judgeIdentity(w.Identity, id, environment, m.At()); err != nil {
			return "", err
		}
		return fmt.Sprintf("identity %s may sign for %s", quote(w.Identity.Subject), id), nil
	}
	keys, err := v.enough(func(key string) error {
		_, err := v.policy.Judge([]string{key}, id, environment, m)
		return err
	})
	return fmt.Sprintf("key %s may sign for %s", keys, id), err
}

// enough returns the keys that signed and may, and demands the threshold of them.
func (v *verification) enough(may func(key string) error) (string, error) {
	var good []string
	var first error
	for _, key := range v.keyIDs {
		err := may(key)
		if err == nil {
			good = append(good, key)
		} else if first == nil {
			first = err
		}
	}
	need := max(1, v.policy.Threshold)
	switch {
	case len(good) < need && need > 1:
		return "", fmt.Errorf("only %d of the %d keys needed may: %w", len(good), need, first)
	case len(good) < need:
		return "", first
	}
	return strings.Join(good, " and "), nil
}

// signer is checked of what is no summary: whoever signed was trusted at that time.
func (v *verification) signer() (string, error) {
	m := v.moment(time.Time{})
	if w := v.witness(); w != nil && w.Identity != (Identity{}) {
		if err := v.policy.acceptsIdentity(w.Identity, m.At()); err != nil {
			return "", err
		}
		return "identity " + quote(w.Identity.Subject) + " is trusted", nil
	}
	keys, err := v.enough(func(key string) error { return v.policy.acceptsKey(key, m) })
	return "key " + keys + " is trusted", err
}

// signingTime refuses what a log or timestamp authority saw in the future, or too long ago.
func (v *verification) signingTime() (string, error) {
	at := v.moment(time.Time{}).Recorded
	if at.IsZero() {
		if v.want.MaxAge > 0 {
			return "", fmt.Errorf("nobody but the signer says when it was signed; expected it at most %s ago", v.want.MaxAge)
		}
		return "nobody says when it was signed; no age was asked for", nil
	}
	return v.age("signed", at)
}

// Step 5: the summary is about the resource the caller means.
func (v *verification) resource() (string, error) {
	if v.want.ResourceURI == "" {
		return "", fmt.Errorf("no expected resource URI was given; the summary is for %s", quote(v.summary().ResourceURI))
	}
	if v.summary().ResourceURI != v.want.ResourceURI {
		return "", fmt.Errorf("found %s; expected %q", quote(v.summary().ResourceURI), v.want.ResourceURI)
	}
	return "is " + v.summary().ResourceURI, nil
}

// Step 6: the verifier says that the artifact passed, or what else the caller expects.
func (v *verification) result() (string, error) {
	found, want := v.summary().VerificationResult, cmp.Or(v.want.Result, ResultPassed)
	if g := v.summary().Gate; g != nil && g.Outcome == assay.OutcomeAbsent && found == ResultFailed {
		found += " because required evidence is absent"
	}
	if v.summary().VerificationResult != want {
		return "", fmt.Errorf("found %s; expected %s", found, want)
	}
	return "is " + found, nil
}

// Step 7: the summary grants every level the caller asks for.
func (v *verification) levels() (string, error) {
	found := clip(strings.Join(v.summary().VerifiedLevels, ", "), 200)
	if found == "" {
		found = "no level"
	}
	for _, want := range v.want.Levels {
		if !grants(v.summary().VerifiedLevels, want) {
			return "", fmt.Errorf("found %s; expected %s", found, want)
		}
	}
	if len(v.want.Levels) == 0 {
		return "grants " + found + "; none was asked for", nil
	}
	return "grants " + found, nil
}

// freshness refuses a time in the future always, and an old one if asked to.
func (v *verification) freshness() (string, error) {
	if w := v.witness(); w != nil && w.Time.Sub(v.now) > MaxSkew {
		return v.age("signed", w.Time)
	}
	at := v.summary().TimeVerified
	if at.IsZero() {
		if v.want.MaxAge > 0 {
			return "", fmt.Errorf("the summary states no time; expected one at most %s old", v.want.MaxAge)
		}
		return "the summary states no time; none was asked for", nil
	}
	return v.age("verified", at)
}

// age judges an instant at which something was done.
func (v *verification) age(done string, at time.Time) (string, error) {
	age := v.now.Sub(at).Round(time.Second)
	if age < -MaxSkew {
		return "", fmt.Errorf("%s at %s, which is %s in the future; expected a time before now", done, stamp(at), -age)
	}
	if v.want.MaxAge > 0 && age > v.want.MaxAge {
		return "", fmt.Errorf("%s at %s, %s ago; expected at most %s", done, stamp(at), age, v.want.MaxAge)
	}
	return fmt.Sprintf("%s at %s, %s ago", done, stamp(at), max(age, 0)), nil
}

// mode keeps the summary of a gate that only watches from passing for one that enforces.
func (v *verification) mode() (string, error) {
	switch g := v.summary().Gate; {
	case g == nil:
		return "the summary does not state a gate mode; its verifier is not an Assay gate", nil
	case g.Mode != assay.ModeEnforce && !v.want.AllowUnenforced:
		return "", fmt.Errorf("found the verdict of a gate in mode %s; expected enforce", quote(string(g.Mode)))
	default:
		return fmt.Sprintf("gate %s was in mode %s", quote(g.Gate), g.Mode), nil
	}
}

func (v *verification) policyDigest() (string, error) {
	if !v.summary().Policy.Has(string(v.want.PolicyDigest)) {
		return "", fmt.Errorf("the verdict used policy %s; expected %s", v.summary().Policy.digests(), v.want.PolicyDigest)
	}
	return "used policy " + string(v.want.PolicyDigest), nil
}

func (v *verification) evidence() (string, error) {
	for _, d := range v.want.Evidence {
		if !slices.ContainsFunc(v.summary().InputAttestations, func(in Descriptor) bool { return in.Has(string(d)) }) {
			return "", fmt.Errorf("evidence %s is not among the %d inputs of the verdict", d, len(v.summary().InputAttestations))
		}
	}
	return fmt.Sprintf("all %d pieces of evidence are among the inputs", len(v.want.Evidence)), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
