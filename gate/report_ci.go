package gate

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"assay.dev/assay"
)

// Annotations writes the verdict as GitHub workflow commands, one line each: they
// show at the place in the changed files. Text from outside is escaped by GitHub's
// rules, so that none can become a command of its own.
func Annotations(w io.Writer, v assay.Verdict) error {
	var b strings.Builder
	kind := kindOf(v)
	list := entries(v)
	for i, e := range list {
		if i == maxAnnotations {
			fmt.Fprintf(&b, "::notice title=%s::%s\n", commandProperty("assay"), commandData(fmt.Sprintf("and %d more; the report has all", len(list)-i)))
			break
		}
		word := "warning"
		switch {
		case e.stops(v):
			word = "error"
		case e.status == excused || e.status == advice:
			word = "notice"
		}
		at := e.file(v, kind(e))
		properties := "file=" + commandProperty(filepath.ToSlash(clean(at.File)))
		if at.Line > 0 {
			properties += fmt.Sprintf(",line=%d", at.Line)
			if at.Column > 0 {
				properties += fmt.Sprintf(",col=%d", at.Column)
			}
		}
		fmt.Fprintf(&b, "::%s %s,title=%s::%s\n", word, properties, commandProperty(clean(e.rule)), commandData(strings.Join(e.explain(v), "\n")))
	}
	word := map[bool]string{true: "error", false: "notice"}[v.Blocks()]
	summary := newReport(v)
	text := summary.headline + ": " + summary.reason
	if line := ledgerLine(v); line != "" {
		text += "\nledger " + line
	}
	fmt.Fprintf(&b, "::%s title=%s::%s\n", word, commandProperty("gate "+clean(v.Gate)), commandData(text))
	_, err := io.WriteString(w, b.String())
	return err
}

// maxAnnotations bounds what is sent: GitHub shows ten of each level for a step.
const maxAnnotations = 100

func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func commandProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// codeQuality is one entry of GitLab's code quality report.
type codeQuality struct {
	Description string              `json:"description"`
	Check       string              `json:"check_name"`
	Fingerprint string              `json:"fingerprint"`
	Severity    string              `json:"severity"`
	Location    codeQualityLocation `json:"location"`
}

type codeQualityLocation struct {
	Path  string           `json:"path"`
	Lines codeQualityLines `json:"lines"`
}

type codeQualityLines struct {
	Begin int `json:"begin"`
}

// GitLab writes what the verdict objects to as GitLab's code quality report. What
// an exception excuses is there as information.
func GitLab(w io.Writer, v assay.Verdict) error {
	kind := kindOf(v)
	out := []codeQuality{}
	seen := map[string]bool{}
	for _, e := range entries(v) {
		if id := e.id(v); !seen[id] {
			seen[id] = true
			at := e.file(v, kind(e))
			out = append(out, codeQuality{
				Description: strings.Join(e.explain(v), " | "), Check: clean(e.rule), Fingerprint: id, Severity: gitLabSeverity(e, v),
				Location: codeQualityLocation{filepath.ToSlash(clean(at.File)), codeQualityLines{max(1, at.Line)}},
			})
		}
	}
	if line := ledgerLine(v); line != "" {
		e := entry{rule: "assay/ledger", message: line}
		out = append(out, codeQuality{
			Description: "The ledger's head when this was judged: " + line, Check: e.rule, Fingerprint: e.id(v), Severity: "info",
			Location: codeQualityLocation{clean(v.Subject.Name), codeQualityLines{1}},
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

func gitLabSeverity(e entry, v assay.Verdict) string {
	switch {
	case e.stops(v) && e.severity == assay.SeverityCritical:
		return "blocker"
	case e.stops(v):
		return "critical"
	case e.status == excused || e.status == advice:
		return "info"
	}
	return "minor"
}

// The parts of JUnit XML that a report has.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		File    string       `xml:"file,attr,omitempty"`
		Line    int          `xml:"line,attr,omitempty"`
		Failure *junitReason `xml:"failure"`
		Error   *junitReason `xml:"error"`
		Skipped *junitReason `xml:"skipped"`
		Out     string       `xml:"system-out,omitempty"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the verdict as JUnit XML, for whatever shows test results: each
// required piece of evidence is a case, and each objection. Objections that block
// are failures, absent evidence is an error, what an exception excuses is skipped.
func JUnit(w io.Writer, v assay.Verdict) error {
	s := junitSuite{Name: "gate " + clean(v.Gate), Time: v.Time.UTC().Format("2006-01-02T15:04:05")}
	property := func(name, value string) {
		if value != "" {
			s.Properties = append(s.Properties, junitProperty{name, clean(value)})
		}
	}
	property("outcome", string(v.Outcome))
	property("subject", v.Subject.Name+" "+string(v.Subject.Digest))
	property("environment", v.Environment)
	property("policy", string(v.Policy.Digest)+" "+v.Policy.URI)
	property("ledger", ledgerLine(v))
	for _, q := range v.Requirements {
		if q.State == assay.Satisfied {
			s.Cases = append(s.Cases, junitCase{Class: "requirement", Name: clean(q.Name), Out: clean(q.Reason)})
		}
	}
	for _, e := range entries(v) {
		s.Cases = append(s.Cases, junitEntry(v, e))
	}
	s.Tests = len(s.Cases)
	for _, c := range s.Cases {
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{s}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitEntry(v assay.Verdict, e entry) junitCase {
	lines := e.explain(v)
	c := junitCase{Class: clean(e.rule), Name: lines[0], File: clean(e.location.File), Line: e.location.Line}
	reason := &junitReason{Message: lines[0], Type: string(e.severity), Text: strings.Join(lines, "\n")}
	switch {
	case e.stops(v) && e.status == absent:
		c.Error = reason
	case e.stops(v):
		c.Failure = reason
	case e.status == excused:
		c.Skipped = &junitReason{Message: justification(v, e.exception)}
	default:
		c.Out = reason.Text
	}
	return c
}
