package evidence

import (
	"fmt"
	"strings"

	"assay.dev/assay"
)

// bomFinding is a vulnerability that waits for the components to be known.
type bomFinding struct {
	assay.Finding
	refs []string // bom-refs of the affected components
}

func (b *bom) vulnerabilities() {
	for range b.c.array() {
		v := b.vulnerability()
		if b.c.err != nil {
			return
		}
		if len(b.pending) >= MaxFindings {
			b.c.fail(assay.CodeTooLarge, b.c.dec.InputOffset(), fmt.Sprintf("has more than %d findings", MaxFindings))
			return
		}
		b.pending = append(b.pending, v)
	}
}

func (b *bom) vulnerability() bomFinding {
	c := b.c
	v := bomFinding{Finding: assay.Finding{Severity: assay.SeverityUnknown}}
	var detail string
	for key := range c.object() {
		switch key {
		case "id":
			v.Rule = c.name()
		case "description":
			v.Message = c.text(MaxMessage)
		case "detail":
			detail = c.text(MaxMessage)
		case "ratings":
			for range c.array() {
				v.Severity = worst(v.Severity, b.rating())
			}
		case "references":
			for range c.array() {
				for key := range c.object() {
					if key == "id" {
						v.Aliases = b.rep.list(v.Aliases, c.name())
						continue
					}
					c.skip()
				}
			}
		case "analysis":
			v.Suppressed = b.analysis()
		case "affects":
			for range c.array() {
				for key := range c.object() {
					if key == "ref" && len(v.refs) < MaxFindings {
						v.refs = append(v.refs, c.id())
						continue
					}
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
	if v.Message == "" {
		v.Message = detail
	}
	if v.Rule == "" && c.err == nil {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no id")
	}
	return v
}

func (b *bom) rating() assay.Severity {
	c := b.c
	var word, score, method string
	for key := range c.object() {
		switch key {
		case "severity":
			word = c.name()
		case "score":
			score = c.scalar()
		case "method":
			method = c.name()
		default:
			c.skip()
		}
	}
	return ratingOf(word, score, method)
}

// ratingOf prefers the word of a rating to its score, which may be of any method.
func ratingOf(word, score, method string) assay.Severity {
	sev := severityWord(word)
	if sev != assay.SeverityUnknown || !strings.HasPrefix(method, "CVSS") {
		return sev
	}
	return bandOfText(score)
}

// analysis returns why the document's author thinks a vulnerability does no
// harm here, "" if it may.
func (b *bom) analysis() string {
	c := b.c
	var state, why, detail string
	for key := range c.object() {
		switch key {
		case "state":
			state = c.name()
		case "justification":
			why = c.name()
		case "detail":
			detail = c.text(MaxMessage / 2)
		default:
			c.skip()
		}
	}
	return settled(state, why, detail)
}

// settled words an analysis that settles a vulnerability, and is "" for any other.
func settled(state, why, detail string) string {
	switch state {
	case "not_affected", "false_positive", "resolved", "resolved_with_pedigree":
	default: // exploitable, in_triage, or a state that later versions add
		return ""
	}
	for _, s := range []string{why, detail} {
		if s != "" {
			state += ": " + s
		}
	}
	return state
}

// resolve makes one finding for each affected component.
func (b *bom) resolve(p bomFinding) error {
	if len(p.refs) == 0 {
		return b.add(p.Finding, assay.Component{})
	}
	for _, ref := range p.refs {
		comp := assay.Component{Name: b.rep.text(ref, MaxName)}
		if i, ok := b.refs[ref]; ok {
			comp = b.rep.ev.Components[i]
			comp.Licenses = nil
		} else if strings.HasPrefix(ref, "pkg:") {
			comp.PURL = comp.Name
		}
		if err := b.add(p.Finding, comp); err != nil {
			return err
		}
	}
	return nil
}

func (b *bom) add(f assay.Finding, comp assay.Component) error {
	f.Package = comp
	f.Fingerprint = b.rep.prints.of("cyclonedx", f.Rule, packageKey(comp))
	return b.rep.finding(f)
}

// packageKey is what stays equal when a package changes its version.
func packageKey(c assay.Component) string {
	if c.PURL == "" {
		return c.Name
	}
	key, _, _ := strings.Cut(c.PURL, "?")
	if at := strings.LastIndexByte(key, '@'); at > strings.LastIndexByte(key, '/') {
		key = key[:at]
	}
	return key
}
