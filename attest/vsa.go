package attest

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	jsonv2 "github.com/go-json-experiment/json"
)

// Results of a summary.
const (
	ResultPassed = "PASSED"
	ResultFailed = "FAILED"
	// LevelFailed is the one entry of verifiedLevels when the result is FAILED.
	LevelFailed = "FAILED"
	// SLSAVersion is the specification that our summaries follow.
	SLSAVersion = "1.2"
)

// VSAOptions is what a verdict does not know about who speaks.
type VSAOptions struct {
	VerifierID      string            // verifier.id; "" means assay.DefaultVerifierID
	VerifierVersion map[string]string // verifier.version: component to version
	ResourceURI     string            // "" means the verdict's Subject.URI; one of the two must be set
}

// Summary is the predicate of a SLSA verification summary, v1.2 of the
// specification. The last three fields are our extensions: nil where the
// summary was written by someone else.
type Summary struct {
	Verifier           VerifierInfo   `json:"verifier"`
	TimeVerified       time.Time      `json:"timeVerified,omitzero"`
	ResourceURI        string         `json:"resourceUri"`
	Policy             Descriptor     `json:"policy"`
	InputAttestations  []Descriptor   `json:"inputAttestations,omitempty"`
	VerificationResult string         `json:"verificationResult"`
	VerifiedLevels     []string       `json:"verifiedLevels"`
	DependencyLevels   map[string]int `json:"dependencyLevels,omitempty"`
	SLSAVersion        string         `json:"slsaVersion,omitempty"`

	Gate       *GateExtension       `json:"-"` // assay.ExtensionRequirements
	Violations *ViolationsExtension `json:"-"` // assay.ExtensionViolations
	Exceptions []assay.ExceptionUse `json:"-"` // assay.ExtensionExceptions
}

// VerifierInfo names who made a summary.
type VerifierInfo struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// GateExtension says which gate spoke, in which mode, and what became of each
// required piece of evidence. It tells a FAILED that lacks evidence
// (Outcome absent) from one where the evidence speaks against the artifact.
type GateExtension struct {
	Gate         string              `json:"gate"`
	Mode         assay.Mode          `json:"mode"`
	Environment  string              `json:"environment,omitempty"`
	Outcome      assay.Outcome       `json:"outcome"`
	Commit       string              `json:"commit,omitempty"`
	Requirements []assay.Requirement `json:"requirements"`
}

// ViolationsExtension lists what rules objected to, excused objections
// included: the first MaxListed, those that nothing excuses first. Total counts all.
type ViolationsExtension struct {
	Total      int               `json:"total"`
	Warnings   int               `json:"warnings"` // objections that only warn; counted, not listed
	Violations []assay.Violation `json:"violations"`
}

// inputAnnotations describe a piece of evidence among inputAttestations.
type inputAnnotations struct {
	Kind   assay.EvidenceKind `json:"kind,omitempty"`
	Format string             `json:"format,omitempty"`
	Origin assay.Origin       `json:"origin,omitempty"`
}

// VSA makes the statement of a verdict, unsigned.
//
// The result is PASSED for outcome pass and FAILED for fail and for absent:
// a gate that could not know has not verified anything. The outcome itself
// stands in the extension. Only a gate in mode enforce grants levels. In the
// modes dry-run and warn a pass is PASSED without any level, so that every
// consumer that asks for a level refuses it, and Verify refuses it by the mode
// unless it is told otherwise. A gate that is off has nothing to attest.
func VSA(v assay.Verdict, o VSAOptions) ([]byte, error) {
	s := Summary{
		Verifier:       VerifierInfo{ID: o.VerifierID, Version: o.VerifierVersion},
		TimeVerified:   v.Time.UTC(),
		ResourceURI:    o.ResourceURI,
		Policy:         Descriptor{URI: v.Policy.URI, Digest: digestSet(v.Policy.Digest)},
		VerifiedLevels: []string{},
		SLSAVersion:    SLSAVersion,
	}
	if s.Verifier.ID == "" {
		s.Verifier.ID = assay.DefaultVerifierID
	}
	if s.ResourceURI == "" {
		s.ResourceURI = v.Subject.URI
	}
	if err := attestable(v, s); err != nil {
		return nil, err
	}
	switch {
	case v.Outcome != assay.OutcomePass:
		s.VerificationResult, s.VerifiedLevels = ResultFailed, []string{LevelFailed}
	case v.Mode == assay.ModeEnforce:
		s.VerificationResult, s.VerifiedLevels = ResultPassed, append(s.VerifiedLevels, v.Levels...)
	default:
		s.VerificationResult = ResultPassed
	}
	if err := checkLevels(s); err != nil {
		return nil, err
	}
	s.InputAttestations = inputs(v)
	subject := Descriptor{Name: v.Subject.Name, Digest: digestSet(v.Subject.Digest)}
	data, err := marshalStatement([]Descriptor{subject}, assay.VSAPredicateType, s,
		member{assay.ExtensionRequirements, GateExtension{
			Gate: v.Gate, Mode: v.Mode, Environment: v.Environment, Outcome: v.Outcome,
			Commit: v.Subject.Commit, Requirements: emptyNotNull(v.Requirements),
		}},
		member{assay.ExtensionViolations, violations(v)},
		member{assay.ExtensionExceptions, emptyNotNull(v.Exceptions)},
	)
	if err != nil {
		return nil, err
	}
	st, err := ParseStatement(data)
	if err == nil {
		_, err = ParseSummary(st.Predicate)
	}
	if err != nil {
		return nil, assay.Errorf(assay.CodeInternal, "the summary just written cannot be read back: %w", err)
	}
	return data, nil
}

// attestable refuses a verdict that lacks what a summary must state.
func attestable(v assay.Verdict, s Summary) error {
	if _, err := assay.ParseDigest(string(v.Subject.Digest)); err != nil {
		return fieldError("subject.digest", "is "+quote(string(v.Subject.Digest))+"; a verdict is attested only for an artifact with a digest")
	}
	if _, err := assay.ParseDigest(string(v.Policy.Digest)); err != nil {
		return fieldError("policy.digest", "is "+quote(string(v.Policy.Digest))+"; expected the digest of the policy that was used")
	}
	switch {
	case v.Policy.URI == "":
		return fieldError("policy.uri", "is missing; SLSA demands it")
	case s.ResourceURI == "":
		e := fieldError("resourceUri", "is missing; SLSA demands the URI that consumers know the artifact by")
		e.Hint = "set the subject's uri, for example pkg:generic/assay"
		return e
	case v.Time.IsZero():
		return fieldError("time", "is missing; a verdict is about an instant")
	case !slices.Contains([]assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent}, v.Outcome):
		return fieldError("outcome", "is "+quote(string(v.Outcome))+"; expected pass, fail or absent")
	case v.Mode == assay.ModeOff || !slices.Contains(assay.Modes, v.Mode):
		return fieldError("mode", "is "+quote(string(v.Mode))+"; only a gate in mode dry-run, warn or enforce has a verdict to attest")
	}
	for _, e := range v.Evidence {
		if _, err := assay.ParseDigest(string(e.Digest)); err != nil {
			return fieldError("evidence", "from "+quote(e.Source)+" has no digest; a summary must list all evidence by digest")
		}
	}
	return nil
}

// inputs lists everything the verdict used: SLSA wants all of it or nothing.
func inputs(v assay.Verdict) []Descriptor {
	var all []Descriptor
	for _, e := range v.Evidence {
		a, _ := json.Marshal(inputAnnotations{Kind: e.Kind, Format: e.Format, Origin: e.Origin})
		all = append(all, Descriptor{Name: e.Source, URI: sourceURI(e.Source), Digest: digestSet(e.Digest), Annotations: a})
	}
	for _, x := range v.Exceptions {
		all = append(all, Descriptor{Name: "exception", URI: "urn:uuid:" + x.ID, Digest: digestSet(x.Digest)})
	}
	return all
}

// sourceURI turns the file name of a piece of evidence into a URI reference; a URI stays what it is.
func sourceURI(source string) string {
	if strings.Contains(source, "://") {
		return source
	}
	return "file:" + (&url.URL{Path: filepath.ToSlash(source)}).EscapedPath()
}

func violations(v assay.Verdict) ViolationsExtension {
	x := ViolationsExtension{Total: len(v.Violations), Warnings: len(v.Warnings), Violations: []assay.Violation{}}
	for _, excused := range []bool{false, true} {
		for _, w := range v.Violations {
			if len(x.Violations) < MaxListed && (w.Exception != "") == excused {
				w.Message, w.Remedy = clip(w.Message, 1000), clip(w.Remedy, 1000)
				x.Violations = append(x.Violations, w)
			}
		}
	}
	return x
}

func emptyNotNull[T any](s []T) []T { return append([]T{}, s...) }

// ParseSummary reads the predicate of a verification summary. Fields it does
// not know are ignored, as SLSA demands; the contents of our own extension
// fields are read strictly.
func ParseSummary(predicate []byte) (Summary, error) {
	var s Summary
	if err := decodeOpen(predicate, &s); err != nil {
		return Summary{}, err
	}
	for _, required := range []struct{ field, value string }{
		{"verifier.id", s.Verifier.ID}, {"resourceUri", s.ResourceURI}, {"policy.uri", s.Policy.URI}, {"verificationResult", s.VerificationResult},
	} {
		if required.value == "" {
			return Summary{}, fieldError(required.field, "is missing; SLSA demands it")
		}
	}
	if s.VerifiedLevels == nil {
		return Summary{}, fieldError("verifiedLevels", "is missing; SLSA demands it, if only as an empty list")
	}
	if s.VerificationResult != ResultPassed && s.VerificationResult != ResultFailed {
		return Summary{}, fieldError("verificationResult", "is "+quote(s.VerificationResult)+"; expected PASSED or FAILED")
	}
	if err := checkLevels(s); err != nil {
		return Summary{}, err
	}
	if err := readExtensions(predicate, &s); err != nil {
		return Summary{}, err
	}
	return s, nil
}

func readExtensions(predicate []byte, s *Summary) error {
	var all map[string]json.RawMessage
	if err := jsonv2.Unmarshal(predicate, &all); err != nil {
		return assay.Errorf(assay.CodeInvalid, "predicate has the wrong form: %v", err)
	}
	for _, x := range []struct {
		name string
		into any
	}{
		{assay.ExtensionRequirements, &s.Gate},
		{assay.ExtensionViolations, &s.Violations},
		{assay.ExtensionExceptions, &s.Exceptions},
	} {
		raw, ok := all[x.name]
		if !ok {
			continue
		}
		if err := strict.JSON(raw, x.into); err != nil {
			e := assay.Errorf(assay.CodeInvalid, "is not what this version writes: %w", err)
			e.Field = x.name
			return e
		}
	}
	return nil
}

// checkLevels refuses level lists that contradict the result or themselves.
func checkLevels(s Summary) error {
	tracks := map[string]string{}
	for _, l := range s.VerifiedLevels {
		if l == "" || l == LevelFailed && s.VerificationResult == ResultPassed {
			return fieldError("verifiedLevels", "holds "+quote(l)+" although the result is "+s.VerificationResult)
		}
		track, _, ok := slsaLevel(l)
		if other, twice := tracks[track]; ok && twice {
			return fieldError("verifiedLevels", "holds "+quote(other)+" and "+quote(l)+"; at most one level per track is allowed")
		} else if ok {
			tracks[track] = l
		}
	}
	return nil
}

// slsaLevel splits "SLSA_BUILD_LEVEL_3" into track "BUILD" and level 3.
func slsaLevel(s string) (track string, level int, ok bool) {
	rest, found := strings.CutPrefix(s, "SLSA_")
	track, digits, cut := strings.Cut(rest, "_LEVEL_")
	if !found || !cut || track == "" || len(digits) != 1 || digits[0] < '0' || digits[0] > '9' {
		return "", 0, false
	}
	return track, int(digits[0] - '0'), true
}

// grants reports whether the levels of a summary satisfy wanted: literally, or
// with a higher level on the same SLSA track.
func grants(levels []string, wanted string) bool {
	if slices.Contains(levels, wanted) {
		return true
	}
	track, want, ok := slsaLevel(wanted)
	return ok && slices.ContainsFunc(levels, func(l string) bool {
		t, have, ok := slsaLevel(l)
		return ok && t == track && have >= want
	})
}
