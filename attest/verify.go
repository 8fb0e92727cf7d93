package attest

import (
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
)

// MaxSkew is how far in the future a summary's time may lie: clocks differ a little.
const MaxSkew = 5 * time.Minute

// Kinds of document that Expect.Type may ask for besides predicate types.
const (
	// TypeAny is a statement with any predicate.
	TypeAny = "any"
	// TypeSignature is a plain signature of the artifact, without a statement.
	TypeSignature = "signature"
)

// Expect is what the caller knows about the artifact from elsewhere. Subject is
// mandatory, and for a verification summary ResourceURI: a document about
// something else proves nothing.
type Expect struct {
	Subject string // "algorithm:value" of the artifact, for example an assay.Digest
	// Type is what the document must be: "" a SLSA verification summary, TypeAny,
	// TypeSignature, or a predicate type or alias of one (PredicateTypes). The
	// fields from ResourceURI to AllowUnenforced, without MaxAge, are about summaries alone.
	Type        string
	ResourceURI string // the URI the artifact is known by

	Result          string         // "" means ResultPassed; ResultFailed audits the record of a refusal
	Levels          []string       // all must be granted; a higher level on the same SLSA track counts
	MaxAge          time.Duration  // 0 means any age
	PolicyDigest    assay.Digest   // "" means any policy
	Evidence        []assay.Digest // all must be among the inputs
	AllowUnenforced bool           // accept the PASSED of a gate in mode dry-run or warn

	// Recorded is when somebody other than the signer held the attestation, which
	// the caller has verified (Moment.Recorded). Zero: nobody showed that.
	Recorded time.Time
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
	Steps    []Step    `json:"steps"`
	KeyIDs   []string  `json:"key_ids,omitempty"`  // trusted keys whose signatures hold
	Signer   *Identity `json:"signer,omitempty"`   // who signed, if a certificate did
	SignedAt time.Time `json:"signed_at,omitzero"` // when, if a log or a timestamp authority says so
	// Exceptions are those that the summary says its verdict rests on: they have an end, and
	// may be revoked, which the signature does not know.
	Exceptions []assay.ExceptionUse `json:"exceptions,omitempty"`
	Statement  *Statement           `json:"-"` // read only: a Cache may share it, and Summary
	Summary    *Summary             `json:"-"`
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

// mostSteps is how many Verify itself adds at most.
const mostSteps = 11

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
	policy TrustPolicy
	want   Expect
	now    time.Time
	data   []byte
	hash   uint64    // of data, if there is a cache
	keyIDs []string  // trusted keys that signed
	doc    *document // set once a signature held
}

// Verify checks a Sigstore bundle or a bare DSSE envelope: that somebody trusted
// signed it, that it is about the expected artifact, and that it is what
// want.Type asks for. Of a SLSA verification summary it walks the seven steps of
// the specification in order, then freshness, the gate's mode, and what else want
// asks for. A step that fails ends the verification; the later ones are reported
// as not reached. Damaged input is a failed first step, not an error.
func Verify(data []byte, policy TrustPolicy, want Expect, now time.Time) Report {
	v := &verification{policy: policy, want: want, now: now, data: data}
	r := Report{Steps: make([]Step, 0, mostSteps)}
	r.Add("signature", v.signature)
	r.KeyIDs = v.keyIDs
	if w := v.witness(); r.OK() && w != nil {
		r.SignedAt = w.Time
		if w.Identity != (Identity{}) {
			r.Signer = &w.Identity
		}
	}
	if want.Type == TypeSignature {
		r.Add("subject digest", v.signedDigest)
		r.Add("signer", v.signer)
		r.Add("time", v.signingTime)
		return r
	}
	r.Add("subject digest", v.subject)
	if r.OK() {
		r.Statement = &v.doc.st
	}
	r.Add("predicate type", v.predicate)
	if want.Type != "" && want.Type != assay.VSAPredicateType {
		r.Add("signer", v.signer)
		r.Add("time", v.signingTime)
		return r
	}
	if r.OK() {
		r.Summary = v.doc.summary
		r.Exceptions = r.Summary.Exceptions
	}
	v.addSummarySteps(&r)
	return r
}

// addSummarySteps adds what is checked of a verification summary from step 4 on.
func (v *verification) addSummarySteps(r *Report) {
	r.Add("verifier", v.verifier)
	r.Add("resource URI", v.resource)
	r.Add("result", v.result)
	r.Add("levels", v.levels)
	r.Add("time", v.freshness)
	r.Add("mode", v.mode)
	if v.want.PolicyDigest != "" {
		r.Add("policy digest", v.policyDigest)
	}
	if len(v.want.Evidence) > 0 {
		r.Add("evidence digests", v.evidence)
	}
}
