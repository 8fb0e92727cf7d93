package evidence

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// sarifResult is what a finding still needs from other parts of its run.
type sarifResult struct {
	component int // 1-based index of the extension that holds the rule, 0 for the driver
	rule      int // 1-based index of the rule, 0 if the result gives none
	artifact  int // 1-based index of the artifact, 0 if the result gives none
	level     string
	kind      string
	severity  string // the result's own security-severity
	message   sarifMessage
	print     string // the tool's own fingerprints
}

func (s *sarif) result(run *sarifRun) {
	c := s.c
	var f assay.Finding
	var p sarifResult
	var base string
	var prints, partial map[string]string
	located := 0
	for key := range c.object() {
		switch key {
		case "ruleId":
			if id := c.name(); id != "" {
				f.Rule = id
			}
		case "ruleIndex":
			if i := s.index(); i > 0 {
				p.rule = i
			}
		case "rule":
			s.ruleReference(&f, &p)
		case "level":
			p.level = c.name()
		case "kind":
			p.kind = c.name()
		case "message":
			p.message = s.message()
		case "locations":
			located = s.locations(&f, &p)
		case "taxa":
			for range c.array() {
				f.Aliases = s.rep.list(f.Aliases, s.taxon())
			}
		case "fingerprints":
			prints = s.strings()
		case "partialFingerprints":
			partial = s.strings()
		case "suppressions":
			f.Suppressed = s.suppressions()
		case "baselineState":
			base = c.name()
		case "properties":
			p.severity = s.securitySeverity()
		default:
			c.skip()
		}
	}
	p.print = toolPrint(prints, partial)
	f.Known = base == "unchanged"
	if base == "absent" {
		s.absent++
		return
	}
	if located > 1 {
		s.places++
	}
	if c.err == nil {
		s.add(f)
		run.pending = append(run.pending, p)
	}
}

// toolPrint joins the tool's own fingerprints, the full ones if there are any.
func toolPrint(prints, partial map[string]string) string {
	if len(prints) == 0 {
		prints = partial
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(prints)) {
		fmt.Fprintf(&b, "%q=%q ", k, prints[k])
	}
	return b.String()
}

// ruleReference reads the reference that results of extensions' rules use.
func (s *sarif) ruleReference(f *assay.Finding, p *sarifResult) {
	c := s.c
	for key := range c.object() {
		switch key {
		case "id":
			if id := c.name(); f.Rule == "" {
				f.Rule = id
			}
		case "index":
			if i := s.index(); p.rule == 0 {
				p.rule = i
			}
		case "toolComponent":
			for key := range c.object() {
				if key == "index" {
					p.component = s.index()
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
}

// taxon names an entry of a taxonomy: its id, with the taxonomy's name unless the id has it.
func (s *sarif) taxon() string {
	c := s.c
	var id, taxonomy string
	for key := range c.object() {
		switch key {
		case "id":
			id = c.name()
		case "toolComponent":
			for key := range c.object() {
				if key == "name" {
					taxonomy = c.name()
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
	if id == "" || taxonomy == "" || strings.HasPrefix(strings.ToLower(id), strings.ToLower(taxonomy)) {
		return id
	}
	return s.rep.text(taxonomy+"-"+id, MaxName)
}

// locations takes the first place of a result, and returns how many it has.
func (s *sarif) locations(f *assay.Finding, p *sarifResult) (n int) {
	for range s.c.array() {
		if n++; n > 1 {
			s.c.skip()
			continue
		}
		f.Location, p.artifact = s.location()
	}
	return n
}

// location reads the place of a result in a file.
func (s *sarif) location() (at assay.Location, artifact int) {
	c := s.c
	for key := range c.object() {
		if key != "physicalLocation" {
			c.skip()
			continue
		}
		for key := range c.object() {
			switch key {
			case "artifactLocation":
				at.File, artifact = s.artifactLocation()
			case "region":
				for key := range c.object() {
					switch key {
					case "startLine":
						at.Line = c.whole()
					case "startColumn":
						at.Column = c.whole()
					default:
						c.skip()
					}
				}
			default:
				c.skip()
			}
		}
	}
	return at, artifact
}

// strings reads an object of strings, at most MaxList of them.
func (s *sarif) strings() map[string]string {
	c := s.c
	m := map[string]string{}
	for key := range c.object() {
		if v := c.scalar(); len(m) < MaxList {
			m[key] = v
		}
	}
	return m
}

// suppressions returns why a result is suppressed, "" if it is not.
func (s *sarif) suppressions() string {
	c := s.c
	n, accepted := 0, 0
	var why string
	for range c.array() {
		n++
		status, kind, text := "accepted", "external", ""
		for key := range c.object() {
			switch key {
			case "status":
				status = c.name()
			case "kind":
				kind = c.name()
			case "justification":
				text = c.text(MaxMessage)
			default:
				c.skip()
			}
		}
		if status != "accepted" {
			continue
		}
		if text == "" {
			text = "suppressed (" + kind + ") without a justification"
		}
		if accepted++; accepted == 1 {
			why = text
		}
	}
	if accepted < n {
		return ""
	}
	return why
}

// securitySeverity reads the property that security tools use for a CVSS score, as text.
func (s *sarif) securitySeverity() string {
	c := s.c
	var score string
	if c.peek() != '{' {
		c.skip()
		return ""
	}
	for key := range c.object() {
		if k := c.peek(); key == "security-severity" && (k == '"' || k == '0') {
			score = c.scalar()
			continue
		}
		c.skip()
	}
	return score
}

// resolve completes a finding at the end of its run.
func (s *sarif) resolve(run *sarifRun, f *assay.Finding, p sarifResult) {
	rule := run.rule(f.Rule, p)
	if f.Rule == "" {
		f.Rule = rule.id
	}
	if f.Location.File == "" && p.artifact > 0 && p.artifact <= len(run.artifacts) {
		f.Location.File = run.artifacts[p.artifact-1]
	}
	f.Message = p.message.text
	if f.Message == "" && p.message.id != "" {
		f.Message = s.rep.text(fill(rule.messages[p.message.id], p.message.args), MaxMessage)
	}
	if f.Message == "" {
		f.Message = rule.summary
	}
	f.Severity = s.severity(p, rule)
	if p.print != "" {
		f.Fingerprint = s.rep.prints.of(run.tool.Name, f.Rule, fileKey(f.Location.File), "", p.print)
		return
	}
	f.Fingerprint = s.rep.prints.of(run.tool.Name, f.Rule, fileKey(f.Location.File), "", messageKind(f.Message))
}

func (s *sarif) severity(p sarifResult, rule sarifRule) assay.Severity {
	switch p.kind {
	case "", "fail":
	case "pass", "notApplicable", "informational":
		return assay.SeverityNone
	default: // open, review, or a word that later versions add
		return assay.SeverityUnknown
	}
	for _, score := range []string{p.severity, rule.severity} {
		if sev := bandOfText(score); sev != assay.SeverityUnknown {
			return sev
		}
	}
	level := p.level
	if level == "" {
		level = rule.level
	}
	switch level {
	case "error":
		return assay.SeverityHigh
	case "", "warning":
		return assay.SeverityMedium
	case "note":
		return assay.SeverityLow
	case "none":
		return assay.SeverityNone
	}
	s.rep.note("level %q is not a level of SARIF; its findings have unknown severity", level)
	return assay.SeverityUnknown
}

// fill puts arguments into the {0} places of a message.
func fill(text string, args []string) string {
	if len(args) == 0 {
		return text
	}
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", a)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
