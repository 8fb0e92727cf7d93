package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/policy"
)

// require finds the evidence that a requirement accepts and holds it to the
// requirement's thresholds.
func (c *check) require(r policy.Require) {
	req := assay.Requirement{Name: r.Name, Kind: r.Kind, State: assay.Satisfied}
	var accepted []assay.Evidence
	var rejected []string
	for i, e := range c.in.Evidence {
		if e.Kind != r.Kind {
			continue
		}
		req.Evidence = append(req.Evidence, e.Digest)
		if why := c.reject(r, e); why != "" {
			rejected = append(rejected, fmt.Sprintf("%s %s", e.Source, why))
			continue
		}
		c.accepted[i] = append(c.accepted[i], r.Name)
		accepted = append(accepted, e)
	}
	known, unknown := c.refusals(r.Kind)
	unread := len(known) > 0
	switch {
	case unread:
		// What could not be read may hold what is wrong, whatever else was presented.
		req.State, req.Reason = assay.Missing, joinSome(known, 3)
	case len(accepted) == 0:
		req.State, req.Reason = assay.Missing, nothing(r, rejected)
	default:
		if why := c.tooLittle(r, accepted); why != "" {
			req.State, req.Reason = assay.Missing, why
			break
		}
		req.Reason = c.thresholds(r, accepted)
		if len(rejected) > 0 {
			req.Reason += "; not accepted: " + joinSome(rejected, 3)
		}
	}
	if req.State == assay.Missing && !unread && len(unknown) > 0 {
		// Any of them may be what is missing.
		unread = true
		req.Reason += "; " + joinSome(unknown, 3)
	}
	c.requirements, c.unread = append(c.requirements, req), append(c.unread, unread)
}

// refusals says of the reports that could not be read, one by one, what is wrong:
// of those of a kind, and of those of which nobody can tell what they are.
func (c *check) refusals(kind assay.EvidenceKind) (known, unknown []string) {
	for _, f := range c.in.Refused {
		line := fmt.Sprintf("%s could not be read: %s", at(f.Location), f.Reason)
		switch f.Kind {
		case kind:
			known = append(known, line)
		case "":
			unknown = append(unknown, line)
		}
	}
	return known, unknown
}

// useless returns an error about the first refused report that is not the evidence
// of any requirement: of a kind that none requires, or of an unknown one when
// nothing is missing.
func (c *check) useless() error {
	for _, f := range c.in.Refused {
		needed := slices.ContainsFunc(c.requirements, func(r assay.Requirement) bool {
			return r.State == assay.Missing && (f.Kind == "" || f.Kind == r.Kind)
		})
		if needed {
			continue
		}
		return &assay.Error{
			Code: assay.CodeInvalid, File: f.Location.File, Line: f.Location.Line, Column: f.Location.Column, Msg: f.Reason,
			Hint: "the gate needs no evidence from it: make it again, or leave it out",
		}
	}
	return nil
}

// nothing explains why a requirement accepted nothing.
func nothing(r policy.Require, rejected []string) string {
	if len(rejected) > 0 {
		return "nothing that was presented is accepted: " + joinSome(rejected, 3)
	}
	return fmt.Sprintf("no evidence of kind %s was presented", r.Kind)
}

// reject says why a requirement does not accept a report of its kind, "" if it does.
func (c *check) reject(r policy.Require, e assay.Evidence) string {
	age := e.Age(c.in.Now)
	switch {
	case r.Format != "" && e.Format != r.Format:
		return fmt.Sprintf("is %s, not %s", e.Format, r.Format)
	case r.PredicateType != "" && e.Predicate != r.PredicateType:
		return fmt.Sprintf("attests %q, not %s", e.Predicate, r.PredicateType)
	case len(r.Files) > 0 && !slices.ContainsFunc(r.Files, func(p string) bool { return glob(p, e.Source) }):
		return fmt.Sprintf("is not one of the files %s", strings.Join(r.Files, ", "))
	case len(r.Producers) > 0 && e.Producer == "":
		return fmt.Sprintf("is signed by nobody that is known here; accepted: %s", strings.Join(r.Producers, ", "))
	case len(r.Producers) > 0 && !slices.Contains(r.Producers, e.Producer):
		return fmt.Sprintf("is signed by %s; accepted: %s", e.Producer, strings.Join(r.Producers, ", "))
	case r.Tool != "" && e.Tool.Name != r.Tool:
		return fmt.Sprintf("was made by %q, not by %q", e.Tool.Name, r.Tool)
	case !slices.Contains(r.Accepts(), e.Origin):
		return fmt.Sprintf("is %s, and only %s evidence is accepted", e.Origin, joinOrigins(r.Accepts()))
	case e.Subject != "" && e.Subject != c.in.Subject.Digest:
		return fmt.Sprintf("is about another artifact (%s)", e.Subject.Short())
	case r.SubjectBound && e.Subject == "":
		return "does not say which artifact it is about"
	case age < -MaxClockSkew:
		return fmt.Sprintf("is dated %s in the future", span(-age))
	case r.MaxAge != "" && age > r.MaxAge.Value():
		return fmt.Sprintf("is %s old, and at most %s is accepted", span(age), r.MaxAge)
	}
	return ""
}

// tooLittle says what accepted evidence lacks to count as evidence at all.
func (c *check) tooLittle(r policy.Require, accepted []assay.Evidence) string {
	switch r.Kind {
	case assay.KindTests:
		n := 0
		for _, e := range accepted {
			if e.Tests != nil {
				n += e.Tests.Passed + e.Tests.Failed
			}
		}
		if least := orElse(r.MinTests, 1); n < least {
			return fmt.Sprintf("%d tests passed or failed (skipped and flaky ones do not count); at least %d are required", n, least)
		}
	case assay.KindSBOM:
		n := 0
		for _, e := range accepted {
			n += len(e.Components)
		}
		if least := orElse(r.MinComponents, 1); n < least {
			return fmt.Sprintf("%d components are listed; at least %d are required", n, least)
		}
	}
	if why := uncovered(r, accepted); why != "" {
		return why
	}
	return c.unmeasured(r, accepted)
}

// thresholds records violations of r by accepted evidence and sums the evidence up.
func (c *check) thresholds(r policy.Require, accepted []assay.Evidence) string {
	var sums []string
	passed, failed, flaky, suppressed := 0, 0, 0, 0
	for _, e := range accepted {
		sums = append(sums, evidence.Summary(e))
		if r.Kind == assay.KindTests && e.Tests != nil {
			passed += e.Tests.Passed
			failed += e.Tests.Failed
			flaky += e.Tests.Flaky
		}
		for _, f := range e.Findings {
			suppressed += c.hold(r, f)
		}
	}
	if most := orElse(r.MaxFailed, 0); failed > most {
		c.violations = append(c.violations, failedViolation(r, accepted, failed, most))
	} else if least := orElse(r.MinTests, 1); r.Kind == assay.KindTests && passed < least {
		c.violations = append(c.violations, assay.Violation{
			Rule: r.Name + "/passed", Severity: assay.SeverityHigh, Kind: r.Kind, Mode: assay.ModeEnforce,
			Message: fmt.Sprintf("%s passed; at least %d must", count(passed, "test"), least), Remedy: "fix the failing tests and run them again",
		})
	}
	c.measures(r, accepted)
	if flaky > 0 {
		c.warnings = append(c.warnings, assay.Violation{
			Rule: r.Name + "/flaky", Severity: assay.SeverityLow, Kind: r.Kind, Mode: assay.ModeWarn,
			Message: fmt.Sprintf("%s failed and then passed: neither counted as passed nor as failed", count(flaky, "test")),
			Remedy:  "find out why the result changes; a flaky test proves nothing",
		})
	}
	if suppressed > 0 {
		c.warnings = append(c.warnings, assay.Violation{
			Rule: r.Name + "/suppressed", Severity: assay.SeverityLow, Kind: r.Kind, Mode: assay.ModeWarn,
			Message: fmt.Sprintf("%s at or above %s suppressed in the tool itself and not held against the artifact", count(suppressed, "finding"), r.MaxSeverity),
			Remedy:  "prefer an exception: it has an end, an approver and a place in the ledger",
		})
	}
	return joinSome(sums, 5)
}

// hold holds one finding to the thresholds of r. It returns 1 if the severity alone
// would have blocked and the tool itself suppressed it, else 0.
func (c *check) hold(r policy.Require, f assay.Finding) int {
	severe := r.MaxSeverity != "" && f.Severity.Rank() >= r.MaxSeverity.Rank()
	if f.Suppressed != "" {
		if severe && !strings.HasPrefix(f.Suppressed, vexPrefix) { // what a VEX document says is told one by one
			return 1
		}
		return 0
	}
	if severe {
		c.violations = append(c.violations, severityViolation(r, f))
	}
	c.likely(r, f)
	return 0
}

// failedViolation is about all failed tests at once: the threshold is their
// number. It names the first few; readers rank failed cases high and flaky ones below.
func failedViolation(r policy.Require, accepted []assay.Evidence, failed, most int) assay.Violation {
	v := assay.Violation{
		Rule: r.Name + "/failed", Severity: assay.SeverityHigh, Kind: r.Kind, Mode: assay.ModeEnforce,
		Message: fmt.Sprintf("%s failed; at most %d may", count(failed, "test"), most),
		Remedy:  "fix the failing tests and run them again",
	}
	var names []string
	for _, e := range accepted {
		for _, f := range e.Findings {
			if f.Severity.Rank() < assay.SeverityHigh.Rank() {
				continue
			}
			if v.Location == (assay.Location{}) {
				v.Location = f.Location
			}
			names = append(names, f.Rule)
		}
	}
	if len(names) > 0 {
		v.Message += ": " + joinSome(names, 5)
	}
	return v
}

func severityViolation(r policy.Require, f assay.Finding) assay.Violation {
	return findingViolation(r, "severity", f)
}

// findingViolation is the violation of a threshold by one finding.
func findingViolation(r policy.Require, threshold string, f assay.Finding) assay.Violation {
	v := assay.Violation{
		Rule: r.Name + "/" + threshold, Severity: f.Severity, Kind: r.Kind, Mode: assay.ModeEnforce,
		Location: f.Location, Package: f.Package, Fingerprint: f.Fingerprint, Message: f.Rule,
	}
	if f.Message != "" {
		v.Message = f.Rule + ": " + f.Message
	}
	if len(f.FixedIn) > 0 && f.Package.Name != "" {
		v.Remedy = fmt.Sprintf("update %s to %s", f.Package.Name, strings.Join(f.FixedIn, " or "))
	} else if f.Package.Name != "" {
		v.Remedy = fmt.Sprintf("the report names no version of %s that fixes it: take it out, replace it, or ask its supplier for a signed VEX document", f.Package.Name)
	} else {
		v.Remedy = "change what the tool found, at its place"
	}
	return v
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func orElse(v *int, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return *v
}

func joinOrigins(list []assay.Origin) string {
	words := make([]string, len(list))
	for i, o := range list {
		words[i] = string(o)
	}
	return strings.Join(words, " or ")
}

// joinSome joins the first n texts and counts the rest.
func joinSome(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(list[:n], "; "), len(list)-n)
}

// span writes a duration for people: its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = d.Round(time.Second)
	for _, u := range []struct {
		unit, next       time.Duration
		letter, nextWord string
	}{{day, time.Hour, "d", "h"}, {time.Hour, time.Minute, "h", "m"}, {time.Minute, time.Second, "m", "s"}} {
		if d < u.unit {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.unit, u.letter)
		if rest := d % u.unit / u.next; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, u.nextWord)
		}
		return text
	}
	return d.String()
}
