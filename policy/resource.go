package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
)

// DefaultNamespace is the namespace of a resource that names none.
const DefaultNamespace = "default"

// Kinds lists the resource kinds that can be parsed.
var Kinds = []string{"Gate", "Policy", "Rollout", "ExceptionPolicy", "Producer", "Admission", "Strategy", "Calendar"}

// Metadata names a resource.
type Metadata struct {
	// Name is unique among the resources of the same kind and namespace: lower-case letters, digits and dashes, at most 63.
	Name string `json:"name"`
	// Namespace is the tenant that owns the resource; "default" if left out.
	Namespace string `json:"namespace,omitempty"`
	// Labels are for selecting and grouping; they never influence a verdict.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are for people and tools; they never influence a verdict.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Gate is a blocking check of one artifact: which evidence must be there, which
// thresholds it must hold and which policies judge it.
type Gate struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Gate.
	Kind string `json:"kind"`
	// Metadata names the gate.
	Metadata Metadata `json:"metadata"`
	// Spec says what the gate asks for.
	Spec GateSpec `json:"spec"`

	Place Place `json:"-"`
}

// GateSpec says what a gate asks for.
type GateSpec struct {
	// Mode says what the gate does with its answer: off, dry-run, warn or enforce (the default).
	Mode assay.Mode `json:"mode,omitempty"`
	// ResourceURI identifies the kind of artifact in attestations, for example "pkg:generic/assay".
	ResourceURI string `json:"resourceUri,omitempty"`
	// Levels are granted in the attestation when the gate passes: SLSA levels, at most one per track, or own words that do not start with SLSA_.
	Levels []string `json:"levels,omitempty"`
	// Environments limits the gate to these environments; left out, it applies to all.
	Environments []string `json:"environments,omitempty"`
	// Requires lists the evidence that must be there. A gate that requires nothing is refused.
	Requires []Require `json:"requires"`
	// Policies names the Policy resources of the same namespace that judge the evidence.
	Policies []string `json:"policies,omitempty"`
	// VEX says whose word on vulnerabilities counts; left out, no VEX document is applied.
	VEX *VEXTrust `json:"vex,omitempty"`
}

// VEXTrust says whose VEX documents are applied to the findings. It must trust somebody.
type VEXTrust struct {
	// Producers are the identities whose signed VEX documents are applied.
	Producers []string `json:"producers,omitempty"`
	// TrustUnsigned also applies documents that nobody vouches for: whoever presents the evidence can then suppress every finding.
	TrustUnsigned bool `json:"trustUnsigned,omitempty"`
}

// Require is one piece of evidence that a gate cannot do without.
type Require struct {
	// Name of the requirement; violations of its thresholds are called "name/threshold", its absence "absent/name".
	Name string `json:"name"`
	// Kind of evidence: test-results, static-analysis, sbom, vulnerabilities, secrets, manifests, coverage, performance, vex or attestation.
	Kind assay.EvidenceKind `json:"kind"`
	// Format accepts only reports in this format, for example sarif-2.1.0.
	Format string `json:"format,omitempty"`
	// MaxAge accepts only reports that are at most this old, for example 24h or 7d.
	MaxAge Duration `json:"maxAge,omitempty"`
	// Origins accepted: live, recorded; only live if left out.
	Origins []assay.Origin `json:"origins,omitempty"`
	// Tool accepts only reports of the tool with this name.
	Tool string `json:"tool,omitempty"`
	// SubjectBound accepts only reports that name the judged artifact's digest.
	SubjectBound bool `json:"subjectBound,omitempty"`
	// MinTests is how many test cases must have passed or failed; 1 if left out. Skipped and flaky ones do not count. Fewer is absent evidence.
	MinTests *int `json:"minTests,omitempty"`
	// MaxFailed is how many test cases may fail; 0 if left out.
	MaxFailed *int `json:"maxFailed,omitempty"`
	// MinComponents is how many components a bill of materials must list; 1 if left out. Fewer is absent evidence.
	MinComponents *int `json:"minComponents,omitempty"`
	// MaxSeverity blocks every active finding at or above this severity: low, unknown, medium, high or critical.
	MaxSeverity assay.Severity `json:"maxSeverity,omitempty"`
	// Producers accepts only reports that one of these identities signed; left out, reports need no signature.
	Producers []string `json:"producers,omitempty"`
	// PredicateType accepts only attestations with exactly this predicate type.
	PredicateType string `json:"predicateType,omitempty"`
	// Files accepts only reports whose file name matches one of these patterns; * stands for any characters but /, ** for any.
	Files []string `json:"files,omitempty"`
	// Covers names what the accepted reports must be about, each of them: components of a bill of materials or of a scan (name or package URL), or measures. One that no report names is absent evidence.
	Covers []string `json:"covers,omitempty"`
	// MinCoverage is the least ratio, 0 to 1, that each accepted coverage report must have of lines, or of statements if it counts no lines.
	MinCoverage *float64 `json:"minCoverage,omitempty"`
	// Limits are what measures of coverage and performance reports must hold. A measure that no report has is absent evidence.
	Limits []Limit `json:"limits,omitempty"`
	// KnownExploited "deny" blocks every active vulnerability that the catalogue of known exploited ones in the policy directory lists, whatever its severity.
	KnownExploited string `json:"knownExploited,omitempty"`
	// EPSS blocks active vulnerabilities that are likely to be exploited, by the scores in the policy directory.
	EPSS *EPSSLimit `json:"epss,omitempty"`
}

// Limit is what one measure must hold, in every accepted report that has it.
type Limit struct {
	// Measure is its name in the report, for example lines or BenchmarkParse/large.
	Measure string `json:"measure"`
	// Unit is the measure's unit, needed where a report has several of one name, for example ns/op.
	Unit string `json:"unit,omitempty"`
	// Min is the least value, in the measure's unit.
	Min *float64 `json:"min,omitempty"`
	// Max is the greatest value, in the measure's unit.
	Max *float64 `json:"max,omitempty"`
	// MaxRegression is the share by which the measure may be worse than in the baseline report, for example 0.05. Without a baseline that has the measure it is absent evidence.
	MaxRegression *float64 `json:"maxRegression,omitempty"`
}

// EPSSLimit bounds the probability of exploitation that EPSS predicts.
type EPSSLimit struct {
	// Max is the greatest score, 0 to 1, that does not block.
	Max float64 `json:"max"`
}

// DenyExploited is the one value of Require.KnownExploited besides "".
const DenyExploited = "deny"

// Policy binds a Rego package to a mode, so that a rule can be tried before it blocks.
type Policy struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Policy.
	Kind string `json:"kind"`
	// Metadata names the policy; violations are called "name/rule".
	Metadata Metadata `json:"metadata"`
	// Spec says which Rego package it is and what it may do.
	Spec PolicySpec `json:"spec"`

	Place Place `json:"-"`
}

// PolicySpec says which Rego package a policy is and what it may do.
type PolicySpec struct {
	// Package is the Rego package without "data.", for example release or team.release.
	Package string `json:"package"`
	// Mode says what the policy's denials do: off, dry-run, warn or enforce (the default).
	Mode assay.Mode `json:"mode,omitempty"`
	// Description says in a sentence what the policy is for.
	Description string `json:"description,omitempty"`
	// Remedy says how to fix what the policy objects to, where a rule does not say it itself.
	Remedy string `json:"remedy,omitempty"`
}

// Place is where a resource was written.
type Place struct {
	File string
	Line int
}

// Duration is a length of time as written in a resource: "90m", "24h", "7d". The zero value is "no limit".
type Duration string

// Value returns the duration, 0 for the zero value and for text that Parse would have refused.
func (d Duration) Value() time.Duration {
	v, err := parseDuration(string(d))
	if err != nil {
		return 0
	}
	return v
}

const maxDuration = 10 * 365 * 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	var v time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n > uint64(maxDuration/(24*time.Hour)) {
			return 0, assay.Errorf(assay.CodeInvalid, "%q is not a number of days up to 3650; write for example 7d", s)
		}
		v = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if v, err = time.ParseDuration(s); err != nil {
			return 0, assay.Errorf(assay.CodeInvalid, "%q is not a duration; write for example 90m, 24h or 7d", s)
		}
	}
	if v <= 0 || v > maxDuration {
		return 0, assay.Errorf(assay.CodeInvalid, "%q is not between 1ns and 3650d", s)
	}
	return v, nil
}

// Accepts returns the origins that r accepts: what it lists, or live alone.
func (r Require) Accepts() []assay.Origin {
	if len(r.Origins) == 0 {
		return []assay.Origin{assay.OriginLive}
	}
	return r.Origins
}

// Applies reports whether the gate covers an environment.
func (g Gate) Applies(environment string) bool {
	if len(g.Spec.Environments) == 0 {
		return true
	}
	return slices.Contains(g.Spec.Environments, environment)
}
