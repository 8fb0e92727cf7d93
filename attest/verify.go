package attest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// MaxSkew is how far in the future a summary's time may lie: clocks differ a little.
const MaxSkew = 5 * time.Minute

// TrustedKey is a key and what it may speak for.
type TrustedKey struct {
	Key         Key
	VerifierIDs []string // the verifier.id values this key may sign; none means it may sign nothing
	// NotBefore and NotAfter bound the time a summary may state for this key;
	// zero means unbounded. The signer states that time itself, so a stolen key
	// can date back: drop a stolen key from the policy, or demand a ledger proof.
	NotBefore time.Time
	NotAfter  time.Time
}

// TrustPolicy says whose summaries are believed.
type TrustPolicy struct {
	Keys []TrustedKey // at most MaxTrustedKeys
}

// Expect is what the caller knows about the artifact from elsewhere. The
// first two fields are mandatory: a summary about something else proves nothing.
type Expect struct {
	Subject     string // "algorithm:value" of the artifact, for example an assay.Digest
	ResourceURI string // the URI the artifact is known by

	Result          string         // "" means ResultPassed; ResultFailed audits the record of a refusal
	Levels          []string       // all must be granted; a higher level on the same SLSA track counts
	MaxAge          time.Duration  // 0 means any age
	PolicyDigest    assay.Digest   // "" means any policy
	Evidence        []assay.Digest // all must be among the inputs
	AllowUnenforced bool           // accept the PASSED of a gate in mode dry-run or warn
}

// Step is one check of a verification, in order.
type Step struct {
	N       int    `json:"n"` // 1 to 7 are SLSA's; higher numbers are additional checks
	Name    string `json:"name"`
	Reached bool   `json:"reached"` // false if an earlier step failed
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"` // one sentence: what was found, and what was expected if it failed
}

// Report is the result of Verify. Statement and Summary are set as far as the
// verification got: Statement only if a trusted key signed it.
type Report struct {
	Steps     []Step     `json:"steps"`
	KeyIDs    []string   `json:"key_ids,omitempty"` // trusted keys whose signatures hold
	Statement *Statement `json:"-"`
	Summary   *Summary   `json:"-"`
}

// OK reports whether every step was reached and held.
func (r Report) OK() bool {
	return len(r.Steps) > 0 && !slices.ContainsFunc(r.Steps, func(s Step) bool { return !s.OK })
}

// Err returns nil if r is OK, and otherwise an assay.CodeUnverified error that names the first failed step.
func (r Report) Err() error {
	for _, s := range r.Steps {
		if !s.OK {
			return assay.Errorf(assay.CodeUnverified, "step %d (%s): %s", s.N, s.Name, s.Detail)
		}
	}
	if len(r.Steps) == 0 {
		return assay.Errorf(assay.CodeUnverified, "nothing was verified")
	}
	return nil
}

// Add appends a check that a caller made beyond Verify, for example of a ledger
// proof. If an earlier step failed it is marked as not reached and do is not called.
func (r *Report) Add(name string, do func() (string, error)) {
	s := Step{N: len(r.Steps) + 1, Name: name, Detail: "not reached"}
	if len(r.Steps) == 0 || r.OK() {
		s.Reached = true
		detail, err := do()
		s.OK, s.Detail = err == nil, detail
		if err != nil {
			s.Detail = err.Error()
		}
		s.Detail = strings.Map(noControl, s.Detail)
	}
	r.Steps = append(r.Steps, s)
}

// verification is what the steps share. A step may rely on what earlier ones set.
type verification struct {
	policy  TrustPolicy
	want    Expect
	now     time.Time
	data    []byte
	keyIDs  []string
	payload []byte
	st      Statement
	sum     Summary
}

// Verify checks a Sigstore bundle or a bare DSSE envelope that should hold a
// SLSA verification summary: the seven steps of the specification in order,
// then freshness, the gate's mode, and what else want asks for. A step that
// fails ends the verification; the later ones are reported as not reached.
// Damaged input is a failed first step, not an error.
func Verify(data []byte, policy TrustPolicy, want Expect, now time.Time) Report {
	v := &verification{policy: policy, want: want, now: now, data: data}
	var r Report
	r.Add("signature", v.signature)
	r.KeyIDs = v.keyIDs
	r.Add("subject digest", v.subject)
	if r.OK() {
		r.Statement = &v.st
	}
	r.Add("predicate type", v.predicate)
	if r.OK() {
		r.Summary = &v.sum
	}
	r.Add("verifier", v.verifier)
	r.Add("resource URI", v.resource)
	r.Add("result", v.result)
	r.Add("levels", v.levels)
	r.Add("time", v.freshness)
	r.Add("mode", v.mode)
	if want.PolicyDigest != "" {
		r.Add("policy digest", v.policyDigest)
	}
	if len(want.Evidence) > 0 {
		r.Add("evidence digests", v.evidence)
	}
	return r
}

// Step 1: a trusted key signed the payload.
func (v *verification) signature() (string, error) {
	if len(v.policy.Keys) > MaxTrustedKeys {
		return "", tooLarge("trust policy", len(v.policy.Keys), MaxTrustedKeys)
	}
	if len(v.data) == 0 {
		return "", fmt.Errorf("cannot be read: there is no attestation")
	}
	env, err := ParseSigned(v.data)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	keys := make([]Verifier, 0, len(v.policy.Keys))
	for _, k := range v.policy.Keys {
		keys = append(keys, k.Key)
	}
	v.payload, v.keyIDs, err = env.Verify(assay.StatementPayloadType, keys, 1)
	if err != nil {
		return "", err
	}
	return "signed by trusted key " + strings.Join(v.keyIDs, " and "), nil
}

// Step 2: the statement is about the expected artifact.
func (v *verification) subject() (string, error) {
	var err error
	if v.st, err = ParseStatement(v.payload); err != nil {
		return "", fmt.Errorf("the signed payload is not an in-toto statement: %w", err)
	}
	if v.want.Subject == "" {
		return "", fmt.Errorf("no expected subject digest was given; the attestation is about %s", v.st.Subject[0].digests())
	}
	for _, s := range v.st.Subject {
		if s.Has(v.want.Subject) {
			return "is about " + v.want.Subject, nil
		}
	}
	return "", fmt.Errorf("the attestation is about %s; expected %s", v.st.Subject[0].digests(), v.want.Subject)
}

// Step 3: the predicate is a verification summary, and can be read.
func (v *verification) predicate() (string, error) {
	if v.st.PredicateType != assay.VSAPredicateType {
		return "", fmt.Errorf("found predicate type %s; expected %q", quote(v.st.PredicateType), assay.VSAPredicateType)
	}
	var err error
	if v.sum, err = ParseSummary(v.st.Predicate); err != nil {
		return "", fmt.Errorf("the summary cannot be read: %w", err)
	}
	return "is " + assay.VSAPredicateType, nil
}

// Step 4: the key that signed may speak for the verifier that the summary names.
func (v *verification) verifier() (string, error) {
	id, at := v.sum.Verifier.ID, v.sum.TimeVerified
	var allowed []string
	for _, k := range v.policy.Keys {
		if !slices.Contains(v.keyIDs, k.Key.KeyID()) {
			continue
		}
		if !slices.Contains(k.VerifierIDs, id) {
			allowed = append(allowed, k.VerifierIDs...)
			continue
		}
		if bounded := !k.NotBefore.IsZero() || !k.NotAfter.IsZero(); bounded && at.IsZero() {
			return "", fmt.Errorf("the summary states no time; key %s is trusted for a period only", k.Key.KeyID())
		}
		if !k.NotBefore.IsZero() && at.Before(k.NotBefore) || !k.NotAfter.IsZero() && at.After(k.NotAfter) {
			return "", fmt.Errorf("the summary is of %s; key %s is trusted %s", stamp(at), k.Key.KeyID(), period(k))
		}
		return fmt.Sprintf("key %s may sign for %s", k.Key.KeyID(), id), nil
	}
	if len(allowed) == 0 {
		return "", fmt.Errorf("found verifier %s; the key is not trusted for any verifier", quote(id))
	}
	return "", fmt.Errorf("found verifier %s; expected %s with this key", quote(id), strings.Join(allowed, " or "))
}

// Step 5: the summary is about the resource the caller means.
func (v *verification) resource() (string, error) {
	if v.want.ResourceURI == "" {
		return "", fmt.Errorf("no expected resource URI was given; the summary is for %s", quote(v.sum.ResourceURI))
	}
	if v.sum.ResourceURI != v.want.ResourceURI {
		return "", fmt.Errorf("found %s; expected %q", quote(v.sum.ResourceURI), v.want.ResourceURI)
	}
	return "is " + v.sum.ResourceURI, nil
}

// Step 6: the verifier says that the artifact passed, or what else the caller expects.
func (v *verification) result() (string, error) {
	found, want := v.sum.VerificationResult, cmp.Or(v.want.Result, ResultPassed)
	if g := v.sum.Gate; g != nil && g.Outcome == assay.OutcomeAbsent && found == ResultFailed {
		found += " because required evidence is absent"
	}
	if v.sum.VerificationResult != want {
		return "", fmt.Errorf("found %s; expected %s", found, want)
	}
	return "is " + found, nil
}

// Step 7: the summary grants every level the caller asks for.
func (v *verification) levels() (string, error) {
	found := clip(strings.Join(v.sum.VerifiedLevels, ", "), 200)
	if found == "" {
		found = "no level"
	}
	for _, want := range v.want.Levels {
		if !grants(v.sum.VerifiedLevels, want) {
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
	at := v.sum.TimeVerified
	if at.IsZero() {
		if v.want.MaxAge > 0 {
			return "", fmt.Errorf("the summary states no time; expected one at most %s old", v.want.MaxAge)
		}
		return "the summary states no time; none was asked for", nil
	}
	age := v.now.Sub(at).Round(time.Second)
	if age < -MaxSkew {
		return "", fmt.Errorf("verified at %s, which is %s in the future; expected a time before now", stamp(at), -age)
	}
	if v.want.MaxAge > 0 && age > v.want.MaxAge {
		return "", fmt.Errorf("verified at %s, %s ago; expected at most %s", stamp(at), age, v.want.MaxAge)
	}
	return fmt.Sprintf("verified at %s, %s ago", stamp(at), max(age, 0)), nil
}

// mode keeps the summary of a gate that only watches from passing for one that enforces.
func (v *verification) mode() (string, error) {
	switch g := v.sum.Gate; {
	case g == nil:
		return "the summary does not state a gate mode; its verifier is not an Assay gate", nil
	case g.Mode != assay.ModeEnforce && !v.want.AllowUnenforced:
		return "", fmt.Errorf("found the verdict of a gate in mode %s; expected enforce", quote(string(g.Mode)))
	default:
		return fmt.Sprintf("gate %s was in mode %s", quote(g.Gate), g.Mode), nil
	}
}

func (v *verification) policyDigest() (string, error) {
	if !v.sum.Policy.Has(string(v.want.PolicyDigest)) {
		return "", fmt.Errorf("the verdict used policy %s; expected %s", v.sum.Policy.digests(), v.want.PolicyDigest)
	}
	return "used policy " + string(v.want.PolicyDigest), nil
}

func (v *verification) evidence() (string, error) {
	for _, d := range v.want.Evidence {
		if !slices.ContainsFunc(v.sum.InputAttestations, func(in Descriptor) bool { return in.Has(string(d)) }) {
			return "", fmt.Errorf("evidence %s is not among the %d inputs of the verdict", d, len(v.sum.InputAttestations))
		}
	}
	return fmt.Sprintf("all %d pieces of evidence are among the inputs", len(v.want.Evidence)), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func period(k TrustedKey) string {
	switch {
	case k.NotBefore.IsZero():
		return "until " + stamp(k.NotAfter)
	case k.NotAfter.IsZero():
		return "from " + stamp(k.NotBefore)
	}
	return "from " + stamp(k.NotBefore) + " until " + stamp(k.NotAfter)
}
