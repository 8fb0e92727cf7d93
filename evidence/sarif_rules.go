package evidence

import (
	"fmt"
	"strings"

	"assay.dev/assay"
)

// sarifRule is what results take from their rule.
type sarifRule struct {
	id       string
	level    string // the default level, "" if the rule gives none
	severity string // the security-severity property
	summary  string
	messages map[string]string
}

// tool reads the driver and its extensions, which both define rules.
func (s *sarif) tool(run *sarifRun) {
	c := s.c
	for key := range c.object() {
		switch key {
		case "driver":
			run.tool, run.rules[0] = s.component()
		case "extensions":
			for range c.array() {
				_, rules := s.component()
				if run.rules = append(run.rules, rules); len(run.rules) > MaxRules {
					c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d extensions", MaxRules))
				}
			}
		default:
			c.skip()
		}
	}
}

func (s *sarif) component() (assay.Tool, []sarifRule) {
	c := s.c
	var t assay.Tool
	var semantic string
	var rules []sarifRule
	for key := range c.object() {
		switch key {
		case "name":
			t.Name = c.name()
		case "version":
			t.Version = c.name()
		case "semanticVersion":
			semantic = c.name()
		case "rules":
			for range c.array() {
				if len(rules) >= MaxRules {
					c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d rules", MaxRules))
					break
				}
				rules = append(rules, s.rule())
			}
		default:
			c.skip()
		}
	}
	if t.Version == "" {
		t.Version = semantic
	}
	return t, rules
}

func (s *sarif) rule() sarifRule {
	c := s.c
	var r sarifRule
	for key := range c.object() {
		switch key {
		case "id":
			r.id = c.name()
		case "shortDescription":
			r.summary = s.message().text
		case "defaultConfiguration":
			for key := range c.object() {
				if key == "level" {
					r.level = c.name()
					continue
				}
				c.skip()
			}
		case "properties":
			r.severity = s.securitySeverity()
		case "messageStrings":
			for key := range c.object() {
				m := s.message()
				if r.messages == nil {
					r.messages = map[string]string{}
				}
				if len(r.messages) < MaxList {
					r.messages[key] = m.text
				}
			}
		default:
			c.skip()
		}
	}
	return r
}

// rule finds the rule of a result: by its index, by its id among the rules of
// the component it names, or, since an id may end in a more specific part
// ("CA1000/1"), by the parts before that.
func (run *sarifRun) rule(id string, p sarifResult) sarifRule {
	if p.component >= len(run.rules) {
		return sarifRule{}
	}
	rules := run.rules[p.component]
	if p.rule > 0 && p.rule <= len(rules) {
		if r := rules[p.rule-1]; id == "" || r.id == id || strings.HasPrefix(id, r.id+"/") {
			return r
		}
	}
	for id != "" {
		if i, ok := run.ids(p.component)[id]; ok {
			return rules[i]
		}
		id = id[:max(strings.LastIndexByte(id, '/'), 0)]
	}
	return sarifRule{}
}

// ids indexes the rules of one component by id, once.
func (run *sarifRun) ids(component int) map[string]int {
	if run.byID == nil {
		run.byID = make([]map[string]int, len(run.rules))
	}
	if run.byID[component] == nil {
		m := make(map[string]int, len(run.rules[component]))
		for i, r := range run.rules[component] {
			m[r.id] = i
		}
		run.byID[component] = m
	}
	return run.byID[component]
}
