package gate

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/internal/codeowners"
	"assay.dev/assay/policy"
)

// Engine evaluates the packages of one policy revision.
type Engine interface {
	// Evaluate answers, for every package asked, what it objects to in the input.
	// It must depend on its arguments alone and answer nothing if it cannot answer
	// everything: the error ends the check without a verdict. It is called at most
	// once per check.
	Evaluate(ctx context.Context, in policy.Input, packages []string) (map[string][]policy.Objection, error)
}

// MaxClockSkew is how far in the future evidence may be dated.
const MaxClockSkew = 5 * time.Minute

// Inputs is everything that a verdict depends on.
type Inputs struct {
	Gate        policy.Gate       `json:"gate"`
	Policies    []policy.Policy   `json:"policies"` // what Revision.PoliciesOf gives for Gate
	Revision    assay.PolicyRef   `json:"revision"` // the revision that Gate and Policies are of
	Subject     assay.Subject     `json:"subject"`
	Environment string            `json:"environment,omitempty"`
	Evidence    []assay.Evidence  `json:"evidence"`          // in any order
	Refused     []assay.Refusal   `json:"refused,omitempty"` // reports that could not be read, in any order
	Exceptions  []assay.Exception `json:"exceptions"`        // in any order; those that do not apply are ignored

	Lists    policy.Lists       `json:"-"`                  // of the revision, whose digest names them
	Baseline []assay.Evidence   `json:"baseline,omitempty"` // reports that measures are compared with, in any order
	History  []evidence.History `json:"history,omitempty"`  // what is known of tests from earlier runs, in any order
	Suite    evidence.History   `json:"suite,omitzero"`     // the same of all tests together
	Owners   codeowners.Rules   `json:"owners,omitempty"`   // of flaky tests
	Ledger   *assay.LedgerHead  `json:"ledger,omitempty"`   // the newest checkpoint, nil without a ledger
	Now      time.Time          `json:"now"`                // the instant the verdict is about
}

// Digest names the inputs: the SHA-256 of their JSON form, in the order Check
// brings them into. Equal digests, under the same engine, mean equal verdicts.
func (in Inputs) Digest() (assay.Digest, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(normal(in)); err != nil {
		return "", assay.Errorf(assay.CodeInvalid, "gate inputs cannot be written as JSON: %w", err)
	}
	return assay.DigestOf([32]byte(h.Sum(nil))), nil
}

// Check judges the subject. An error means that there is no verdict: the gate is
// off (CodeConflict), does not cover the environment, the inputs are unusable
// (CodeInvalid), or the engine failed. A refused report that cannot have been
// evidence which the gate still lacks makes the inputs unusable: passing over it
// would hide a mistake, and there is no requirement that it could be held against.
// The engine may be nil if the gate names no policy that is on.
func Check(ctx context.Context, in Inputs, engine Engine) (assay.Verdict, error) {
	if err := usable(in); err != nil {
		return assay.Verdict{}, err
	}
	in = normal(in)
	c := check{in: in, accepted: make([][]string, len(in.Evidence))}
	c.applyVEX()
	for _, r := range in.Gate.Spec.Requires {
		c.require(r)
	}
	if err := c.useless(); err != nil {
		return assay.Verdict{}, err
	}
	if err := c.ask(ctx, engine); err != nil {
		return assay.Verdict{}, err
	}
	uses := c.excuse()
	return c.verdict(uses), nil
}

func usable(in Inputs) error {
	name := in.Gate.Metadata.Name
	if in.Gate.Spec.Mode == assay.ModeOff {
		return assay.Errorf(assay.CodeConflict, "gate %q is off: nothing is evaluated and there is no verdict", name)
	}
	if !slices.Contains(assay.Modes, in.Gate.Spec.Mode) {
		return assay.Errorf(assay.CodeInvalid, "gate %q has the mode %q", name, in.Gate.Spec.Mode)
	}
	if !in.Gate.Applies(in.Environment) {
		e := assay.Errorf(assay.CodeInvalid, "gate %q does not cover environment %q", name, in.Environment)
		e.Hint = fmt.Sprintf("it covers %v", in.Gate.Spec.Environments)
		return e
	}
	if _, err := assay.ParseDigest(string(in.Subject.Digest)); err != nil {
		return assay.Errorf(assay.CodeInvalid, "subject %q: %w", in.Subject.Name, err)
	}
	if _, err := assay.ParseDigest(string(in.Revision.Digest)); err != nil {
		return assay.Errorf(assay.CodeInvalid, "policy revision: %w", err)
	}
	if in.Now.IsZero() {
		return assay.Errorf(assay.CodeInvalid, "the instant that the verdict is about is missing")
	}
	if len(in.Gate.Spec.Requires) == 0 {
		return assay.Errorf(assay.CodeInvalid, "gate %q requires nothing", name)
	}
	if len(in.Policies) != len(in.Gate.Spec.Policies) {
		return assay.Errorf(assay.CodeInvalid, "gate %q names %d policies, but %d were given", name, len(in.Gate.Spec.Policies), len(in.Policies))
	}
	for i, p := range in.Policies {
		if p.Metadata.Name != in.Gate.Spec.Policies[i] || p.Metadata.Namespace != in.Gate.Metadata.Namespace {
			return assay.Errorf(assay.CodeInvalid, "gate %q names policy %q, but %q was given", name, in.Gate.Spec.Policies[i], p.Metadata.Name)
		}
	}
	return nil
}

// check is the state of one Check.
type check struct {
	in           Inputs
	accepted     [][]string // per evidence: the requirements that accepted it
	unread       []bool     // per requirement: a refused report may be what it lacks
	requirements []assay.Requirement
	violations   []assay.Violation
	warnings     []assay.Violation
}

// ask has the policies judge all evidence.
func (c *check) ask(ctx context.Context, engine Engine) error {
	var packages []string
	for _, p := range c.in.Policies {
		if p.Spec.Mode != assay.ModeOff && !slices.Contains(packages, p.Spec.Package) {
			packages = append(packages, p.Spec.Package)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	if engine == nil {
		return assay.Errorf(assay.CodeInvalid, "gate %q names policies, but there is no engine to evaluate them", c.in.Gate.Metadata.Name)
	}
	answers, err := engine.Evaluate(ctx, c.document(), packages)
	if err != nil {
		return err
	}
	for _, p := range c.in.Policies {
		if p.Spec.Mode == assay.ModeOff {
			continue
		}
		objections, ok := answers[p.Spec.Package]
		if !ok {
			return assay.Errorf(assay.CodeInternal, "the engine gave no answer for package %q", p.Spec.Package)
		}
		for _, o := range objections {
			c.object(p, o)
		}
	}
	return nil
}

func (c *check) object(p policy.Policy, o policy.Objection) {
	v := assay.Violation{
		Rule: p.Metadata.Name + "/" + o.Rule, Severity: o.Severity, Message: o.Message, Remedy: o.Remedy, Kind: o.Kind,
		Location: o.Location, Package: o.Component, Fingerprint: o.Fingerprint, Mode: p.Spec.Mode,
	}
	if v.Remedy == "" {
		v.Remedy = p.Spec.Remedy
	}
	if o.Advice {
		v.Mode = weaker(v.Mode, assay.ModeWarn)
		c.warnings = append(c.warnings, v)
		return
	}
	c.violations = append(c.violations, v)
}

// weaker returns the weaker mode.
func weaker(a, b assay.Mode) assay.Mode {
	if slices.Index(assay.Modes, a) < slices.Index(assay.Modes, b) {
		return a
	}
	return b
}

// document is what Rego sees.
func (c *check) document() policy.Input {
	in := policy.Input{
		Subject: c.in.Subject, Environment: c.in.Environment, Time: c.in.Now,
		Gate: policy.InputGate{
			Name: c.in.Gate.Metadata.Name, Namespace: c.in.Gate.Metadata.Namespace, Mode: c.in.Gate.Spec.Mode,
		},
		Evidence: make([]policy.InputEvidence, len(c.in.Evidence)),
	}
	for i, e := range c.in.Evidence {
		in.Evidence[i] = policy.InputEvidence{
			Kind: e.Kind, Format: e.Format, Tool: e.Tool, Origin: e.Origin, Digest: e.Digest, Subject: e.Subject,
			AgeSeconds: int64(e.Age(c.in.Now) / time.Second), Requirements: c.accepted[i],
			Tests: e.Tests, Components: e.Components, Findings: e.Findings,
			Measures: e.Measures, Predicate: e.Predicate, Producer: e.Producer,
		}
	}
	return in
}

// blocks reports whether a violation decides.
func blocks(v assay.Violation) bool { return v.Mode == assay.ModeEnforce && v.Exception == "" }

func (c *check) verdict(uses []assay.ExceptionUse) assay.Verdict {
	spec := c.in.Gate.Spec
	v := assay.Verdict{
		Gate: c.in.Gate.Metadata.Name, Mode: spec.Mode, Environment: c.in.Environment, Subject: c.in.Subject,
		Outcome: assay.OutcomePass, Time: c.in.Now, Policy: c.in.Revision,
		Requirements: c.states(), Violations: ordered(c.violations), Warnings: ordered(c.warnings),
		Exceptions: uses, Flaky: c.flaky(), Ledger: c.in.Ledger, Refused: c.in.Refused,
	}
	if v.Subject.URI == "" {
		v.Subject.URI = spec.ResourceURI
	}
	v.Evidence = []assay.EvidenceRef{}
	for i, list := range [][]assay.Evidence{c.in.Evidence, c.in.Baseline} {
		for _, e := range list {
			v.Evidence = append(v.Evidence, assay.EvidenceRef{
				Kind: e.Kind, Format: e.Format, Source: e.Source, Digest: e.Digest, Tool: e.Tool, Origin: e.Origin, Producer: e.Producer,
				Summary: evidence.Summary(e), AgeSeconds: int64(e.Age(c.in.Now) / time.Second), Notes: e.Notes, Baseline: i == 1,
			})
		}
	}
	for _, r := range v.Requirements {
		if r.State == assay.Missing && r.Exception == "" {
			v.Outcome = assay.OutcomeAbsent
		}
	}
	if slices.ContainsFunc(v.Violations, blocks) {
		v.Outcome = assay.OutcomeFail
	}
	if v.Outcome == assay.OutcomePass {
		v.Levels = slices.Clone(spec.Levels)
	}
	return v
}

// states finishes the requirements: one that is present is violated if anything
// that blocks is about its kind of evidence.
func (c *check) states() []assay.Requirement {
	byKind := map[assay.EvidenceKind][]string{}
	for _, v := range c.violations {
		if blocks(v) && v.Kind != "" && !slices.Contains(byKind[v.Kind], v.Rule) {
			byKind[v.Kind] = append(byKind[v.Kind], v.Rule)
		}
	}
	for i := range c.requirements {
		r := &c.requirements[i]
		rules := byKind[r.Kind]
		if r.State != assay.Satisfied || len(rules) == 0 {
			continue
		}
		slices.Sort(rules)
		r.State = assay.Violated
		r.Reason += "; objected to by " + joinSome(rules, 5)
	}
	return c.requirements
}
