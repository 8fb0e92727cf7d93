package evidence

import (
	"fmt"
	"strings"

	"assay.dev/assay"
)

const sarifVersion = "2.1.0"

// readSARIF reads the results of all runs.
//
// Severity: a result whose kind says that nothing is wrong (pass,
// notApplicable, informational) is none, and an open or review one unknown.
// Otherwise the security-severity property of the result or its rule decides,
// by CVSS bands; otherwise the result's level, the rule's default level, or
// "warning": error is high, warning medium, note low, none none.
//
// Suppressed: a result with suppressions, all accepted (or without a status).
// One that is under review or rejected suppresses nothing. Known: baselineState
// "unchanged". A result with baselineState "absent" is gone; it is left out and
// counted in the notes.
//
// A result in several places is one finding, at the first. What taxonomies say of
// a result (its CWE, for example) is an alias.
//
// A run without results, whose results lie in another file, or whose
// invocation says that it was not successful gets a critical finding.
func readSARIF(r *report) error {
	s := &sarif{rep: r, c: newCursor(r)}
	c := s.c
	var version string
	for key := range c.document() {
		switch key {
		case "version":
			at := c.next()
			if version = c.name(); c.err == nil && version != sarifVersion {
				c.fail(assay.CodeInvalid, at, fmt.Sprintf("%q is not understood; expected %q", version, sarifVersion))
			}
		case "runs":
			for range c.array() {
				s.run()
			}
		case "inlineExternalProperties":
			r.note("inlineExternalProperties were not read")
			c.skip()
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case version == "":
		return missing("version", `"2.1.0"`)
	case s.runs == 0:
		return missing("runs", "at least one run")
	}
	if s.places > 0 {
		r.note("%s more than one place; the first is shown", plural(s.places, "result has", "results have"))
	}
	if s.overrides {
		r.note("levels that an invocation overrides were not read")
	}
	if s.absent > 0 {
		r.note("%s marked as gone since the baseline and left out", plural(s.absent, "result is", "results are"))
	}
	return nil
}

type sarif struct {
	rep    *report
	c      *cursor
	runs   int
	absent int // results of the baseline that are gone
	places int // results in several places

	overrides bool // an invocation overrides the configuration of rules
}

// sarifRun is what must be kept of a run until its end, because keys come in any order.
type sarifRun struct {
	first     int // index of the run's first finding
	tool      assay.Tool
	rules     [][]sarifRule    // of the driver, then of each extension
	byID      []map[string]int // for each of rules, made when first needed
	pending   []sarifResult    // of the findings from first on
	artifacts []string
	results   bool     // the run has results
	succeeded bool     // an invocation says that it was successful
	external  bool     // its results lie in another file
	failures  []string // why the analysis did not complete
}

func (s *sarif) run() {
	c := s.c
	s.runs++
	run := &sarifRun{first: len(s.rep.ev.Findings), rules: make([][]sarifRule, 1)}
	for key := range c.object() {
		switch key {
		case "tool":
			s.tool(run)
		case "results":
			run.results = c.peek() == '['
			for range c.array() {
				s.result(run)
			}
		case "artifacts":
			s.artifacts(run)
		case "invocations":
			for range c.array() {
				s.invocation(run)
			}
		case "externalPropertyFileReferences":
			for key := range c.object() {
				run.external = run.external || key == "results"
				c.skip()
			}
		default:
			c.skip()
		}
	}
	if c.err == nil && run.tool.Name == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no tool.driver.name")
	}
	if c.err == nil {
		s.finishRun(run)
	}
}

// finishRun completes the run's findings with what its other parts say.
func (s *sarif) finishRun(run *sarifRun) {
	if s.runs == 1 {
		s.rep.ev.Tool = run.tool
	} else if run.tool != s.rep.ev.Tool {
		s.rep.note("also holds a run of %s", strings.TrimSpace(run.tool.Name+" "+run.tool.Version))
	}
	for i, p := range run.pending {
		s.resolve(run, &s.rep.ev.Findings[run.first+i], p)
	}
	switch {
	case run.external:
		run.failures = append(run.failures, "its results lie in another file, which was not read")
	case !run.results && run.succeeded:
		// Staticcheck leaves the list out when there is nothing to list.
		s.rep.note("%s lists no results and says that its execution was successful", run.tool.Name)
	case !run.results:
		run.failures = append(run.failures, "the run has no results, so nothing was analysed")
	}
	for _, why := range run.failures {
		s.add(assay.Finding{
			Rule:        "analysis-did-not-complete",
			Severity:    assay.SeverityCritical,
			Message:     s.rep.text("analysis did not complete: "+why, MaxMessage),
			Fingerprint: s.rep.prints.of(run.tool.Name, "analysis-did-not-complete"),
		})
	}
}

func (s *sarif) add(f assay.Finding) {
	if err := s.rep.finding(f); err != nil {
		s.c.fail(assay.CodeTooLarge, s.c.dec.InputOffset(), asError(err).Msg)
	}
}

func (s *sarif) artifacts(run *sarifRun) {
	c := s.c
	for range c.array() {
		if len(run.artifacts) >= MaxArtifacts {
			c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d artifacts", MaxArtifacts))
			return
		}
		var file string
		for key := range c.object() {
			if key == "location" {
				file, _ = s.artifactLocation()
				continue
			}
			c.skip()
		}
		run.artifacts = append(run.artifacts, file)
	}
}

// artifactLocation returns the file name, and the 1-based index into the run's artifacts, 0 if there is none.
func (s *sarif) artifactLocation() (file string, artifact int) {
	c := s.c
	for key := range c.object() {
		switch key {
		case "uri":
			file = fileName(c.name())
		case "index":
			artifact = s.index()
		default:
			c.skip()
		}
	}
	return file, artifact
}

// index reads an index whose -1 means none, and returns it 1-based.
func (s *sarif) index() int {
	if n := s.c.scalar(); n != "" && n[0] != '-' {
		var i int
		if _, err := fmt.Sscanf(n, "%d", &i); err == nil && i < 1<<30 {
			return i + 1
		}
	}
	return 0
}

// invocation reads whether the analysis worked, and when it ran.
func (s *sarif) invocation(run *sarifRun) {
	c := s.c
	ok, why, errs := true, "", 0
	var start, end string
	for key := range c.object() {
		switch key {
		case "executionSuccessful":
			ok = c.boolean(true)
			run.succeeded = run.succeeded || ok
		case "exitCodeDescription", "exitSignalName", "processStartFailureMessage":
			why = c.name()
		case "startTimeUtc":
			start = c.name()
		case "endTimeUtc":
			end = c.name()
		case "ruleConfigurationOverrides":
			for range c.array() {
				s.overrides = true
				c.skip()
			}
		case "toolExecutionNotifications", "toolConfigurationNotifications":
			for range c.array() {
				level, text := s.notification()
				if level != "error" {
					continue
				}
				if errs++; why == "" {
					why = text
				}
			}
		default:
			c.skip()
		}
	}
	if end == "" {
		end = start
	}
	s.rep.timestamp("invocations.endTimeUtc", end)
	if !ok {
		if why == "" {
			why = "the tool says that its execution was not successful"
		}
		run.failures = s.rep.list(run.failures, why)
	} else if errs > 0 {
		s.rep.note("the tool reports %s, the first: %s", plural(errs, "error of its own", "errors of its own"), why)
	}
}

func (s *sarif) notification() (level, text string) {
	c := s.c
	level = "warning"
	for key := range c.object() {
		switch key {
		case "level":
			level = c.name()
		case "message":
			text = s.message().text
		default:
			c.skip()
		}
	}
	return level, text
}

// sarifMessage is a message object: a text, or the id of a rule's text and its arguments.
type sarifMessage struct {
	text, id string
	args     []string
}

func (s *sarif) message() sarifMessage {
	c := s.c
	var m sarifMessage
	var markdown string
	for key := range c.object() {
		switch key {
		case "text":
			m.text = c.text(MaxMessage)
		case "markdown":
			markdown = c.text(MaxMessage)
		case "id":
			m.id = c.name()
		case "arguments":
			m.args = c.names()
		default:
			c.skip()
		}
	}
	if m.text == "" && m.id == "" {
		m.text = markdown
	}
	return m
}
