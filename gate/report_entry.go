package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// writers are the forms of a report that Write knows, by the names that people use.
var writers = map[string]func(io.Writer, assay.Verdict) error{
	"text":     func(w io.Writer, v assay.Verdict) error { return Text(w, v, nil) },
	"markdown": Markdown,
	"json":     JSON,
	"sarif":    SARIF,
	"junit":    JUnit,
	"gitlab":   GitLab,
	"github":   Annotations,
}

// Formats lists the forms of a report: text, markdown and json, SARIF 2.1.0, JUnit,
// GitLab's code quality report, and GitHub's workflow annotations.
var Formats = []string{"text", "markdown", "json", "sarif", "junit", "gitlab", "github"}

// Write writes the report in one of Formats; another name is assay.CodeInvalid.
func Write(w io.Writer, format string, v assay.Verdict) error {
	write, ok := writers[format]
	if !ok {
		return assay.Errorf(assay.CodeInvalid, "report format %s", strict.OneOf(format, Formats))
	}
	return write(w, v)
}

// entry is one objection, complete: what programs get, where people get a report.
type entry struct {
	status      status
	rule        string
	severity    assay.Severity
	message     string
	location    assay.Location // file is "" if the objection is not about a file
	pack        assay.Component
	remedy      string
	command     string // how to ask for an exception, "" if there is nothing to excuse
	exception   string // that excuses it
	fingerprint string
	mode        assay.Mode
}

// entries lists everything that a verdict objects to, what blocks first.
func entries(v assay.Verdict) []entry {
	var out []entry
	of := func(x assay.Violation, s status) entry {
		return entry{status: s, rule: x.Rule, severity: x.Severity, message: x.Message, location: x.Location, pack: x.Package,
			remedy: x.Remedy, exception: x.Exception, fingerprint: x.Fingerprint, mode: x.Mode}
	}
	for _, x := range v.Violations {
		e := of(x, blocking)
		switch {
		case x.Mode != assay.ModeEnforce:
			e.status = observed
		case x.Exception != "":
			e.status = excused
		default:
			e.command = exceptionCommand(v, x.Rule)
		}
		out = append(out, e)
	}
	for _, q := range v.Requirements {
		if q.State != assay.Missing {
			continue
		}
		g, remedy := missing(v, q)
		e := entry{status: g.status, rule: g.rule, severity: assay.SeverityHigh, message: q.Reason, remedy: remedy,
			command: g.command, exception: q.Exception, mode: assay.ModeEnforce}
		if i := slices.IndexFunc(v.Refused, func(f assay.Refusal) bool { return f.Kind == q.Kind }); i >= 0 {
			e.location = v.Refused[i].Location
		}
		out = append(out, e)
	}
	for _, x := range v.Warnings {
		out = append(out, of(x, advice))
	}
	slices.SortStableFunc(out, func(a, b entry) int { return int(a.status) - int(b.status) })
	return out
}

// explain is everything a person needs about an entry, in one line for each.
func (e entry) explain(v assay.Verdict) []string {
	lines := []string{clean(e.message)}
	if place := e.place(); place != "" {
		lines = append(lines, "at "+clean(place))
	}
	switch e.status {
	case excused:
		lines = append(lines, "excused by exception "+clean(e.exception))
	case observed:
		lines = append(lines, "does not block: the policy is in mode "+string(e.mode))
	case blocking, absent:
		if !v.Blocks() {
			lines = append(lines, fmt.Sprintf("does not block: the gate is in mode %s", v.Mode))
		}
	}
	if e.remedy != "" && e.status != excused {
		lines = append(lines, "fix: "+clean(e.remedy))
	}
	if e.command != "" {
		lines = append(lines, "or: "+e.command)
	}
	return lines
}

func (e entry) place() string {
	return placeOf(assay.Violation{Package: e.pack, Location: e.location})
}

// stops reports whether an entry is why the caller must stop.
func (e entry) stops(v assay.Verdict) bool {
	return (e.status == blocking || e.status == absent) && v.Blocks()
}

// file is where tools that want a file for everything are shown an entry: its own
// place, or the report that it stands in, or the artifact.
func (e entry) file(v assay.Verdict, kind assay.EvidenceKind) assay.Location {
	if e.location.File != "" {
		return e.location
	}
	for _, ev := range v.Evidence {
		if ev.Kind == kind && !ev.Baseline {
			return assay.Location{File: ev.Source}
		}
	}
	return assay.Location{File: v.Subject.Name}
}

// id names an entry across runs: 64 hexadecimal digits.
func (e entry) id(v assay.Verdict) string {
	what := e.fingerprint
	if what == "" {
		what = strings.Join([]string{e.message, e.location.File, e.pack.Name, e.pack.Version}, "\x00")
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{v.Gate, v.Environment, e.rule, what}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// kindOf finds the kind of evidence that each rule is about.
func kindOf(v assay.Verdict) func(entry) assay.EvidenceKind {
	kinds := map[string]assay.EvidenceKind{}
	for _, list := range [][]assay.Violation{v.Violations, v.Warnings} {
		for _, x := range list {
			kinds[x.Rule] = x.Kind
		}
	}
	for _, q := range v.Requirements {
		kinds[AbsentRule(q.Name)] = q.Kind
	}
	return func(e entry) assay.EvidenceKind { return kinds[e.rule] }
}

// ledgerLine says which head of the ledger a report pins, "" without a ledger.
func ledgerLine(v assay.Verdict) string {
	if v.Ledger == nil {
		return ""
	}
	return fmt.Sprintf("%s size %d root %s", clean(v.Ledger.Origin), v.Ledger.Size, clean(v.Ledger.RootHash))
}

// flakyLine describes a flaky test: what, how likely, whose.
func flakyLine(t assay.FlakyTest) string {
	owners := "nobody owns it"
	if len(t.Owners) > 0 {
		owners = "owned by " + strings.Join(t.Owners, " ")
	}
	return fmt.Sprintf("%s: flaky in %d of %s, probability %.1f %% (%.1f–%.1f %%), %s",
		t.Test, t.Flaked, count(t.Runs, "run"), 100*t.Probability, 100*t.Low, 100*t.High, owners)
}
