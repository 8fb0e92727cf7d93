package gate

import (
	"fmt"
	"io"
	"strings"

	"assay.dev/assay"
	"github.com/charmbracelet/lipgloss"
)

// Text writes the report for a terminal. With a nil renderer it is plain text;
// otherwise the renderer decides which colours its output can show.
func Text(w io.Writer, v assay.Verdict, renderer *lipgloss.Renderer) error {
	r := newReport(v)
	p := textPrinter{renderer: renderer}
	p.verdict(r)
	p.reasons(r)
	p.evidence(v)
	p.actions(r)
	_, err := io.WriteString(w, p.b.String())
	return err
}

type textPrinter struct {
	b        strings.Builder
	renderer *lipgloss.Renderer
}

// style returns s in a colour, bold if asked; plain without a renderer.
func (p *textPrinter) style(s string, bold bool, colour string) string {
	if p.renderer == nil {
		return s
	}
	st := p.renderer.NewStyle().Bold(bold)
	if colour != "" {
		st = st.Foreground(lipgloss.Color(colour))
	}
	return st.Render(s)
}

// ANSI colours, so that the terminal's own theme decides how they look.
const (
	red    = "1"
	green  = "2"
	yellow = "3"
	grey   = "8"
)

var statusColours = [...]string{red, yellow, green, grey, grey}

func (p *textPrinter) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *textPrinter) verdict(r report) {
	v := r.verdict
	colour := map[assay.Outcome]string{assay.OutcomePass: green, assay.OutcomeFail: red, assay.OutcomeAbsent: yellow}[v.Outcome]
	where := ""
	if v.Environment != "" {
		where = " for " + clean(v.Environment)
	}
	p.line("%s  gate %s%s: %s (sha256:%s)", p.style(r.headline, true, colour), clean(v.Gate), where, clean(v.Subject.Name), v.Subject.Digest.Short())
	p.line("%s", r.reason)
	if r.notice != "" {
		p.line("%s", r.notice)
	}
}

func (p *textPrinter) reasons(r report) {
	if len(r.groups) == 0 {
		return
	}
	p.line("\n%s", p.style("Why", true, ""))
	for _, g := range r.groups {
		word := statusWords[g.status]
		if g.status == observed {
			word += " (" + string(g.mode) + ")"
		}
		p.line("  %s  %s", p.style(clean(g.rule), true, statusColours[g.status]), p.style(word, false, grey))
		for _, it := range g.items {
			p.line("    %s%s", prefix(it.severity), clean(it.message))
			if it.place != "" {
				p.line("      at %s", clean(it.place))
			}
		}
		if g.more > 0 {
			p.line("    and %d more", g.more)
		}
		if g.exception != "" {
			p.line("    excused by exception %s", clean(g.exception))
		}
	}
	if r.moreRule > 0 {
		p.line("  and %s", count(r.moreRule, "more rule"))
	}
}

func prefix(severity string) string {
	if severity == "" {
		return ""
	}
	return clean(severity) + ": "
}

func (p *textPrinter) evidence(v assay.Verdict) {
	p.line("\n%s", p.style("Evidence", true, ""))
	for _, q := range v.Requirements {
		colour := map[assay.RequirementState]string{assay.Satisfied: green, assay.Violated: red, assay.Missing: yellow}[q.State]
		p.line("  %s  %s  %s", clean(q.Name), p.style(string(q.State), false, colour), clean(q.Reason))
	}
	for _, e := range v.Evidence {
		p.line("  - %s", clean(strings.Join(evidenceLine(e), ", ")))
		for _, n := range e.Notes {
			p.line("      note: %s", clean(n))
		}
	}
	for _, t := range v.Flaky {
		p.line("  - %s", clean(flakyLine(t)))
	}
	for _, x := range v.Exceptions {
		p.line("  - exception %s, %s, until %s: %s", clean(x.ID), givenBy(x),
			x.ValidUntil.UTC().Format("2006-01-02 15:04 MST"), clean(strings.Join(x.Rules, ", ")))
	}
	p.line("  policy %s %s", clean(string(v.Policy.Digest)), clean(v.Policy.URI))
	if line := ledgerLine(v); line != "" {
		p.line("  ledger %s", line)
	}
}

func (p *textPrinter) actions(r report) {
	started := false
	for _, g := range r.groups {
		if g.command == "" && len(g.remedies) == 0 || g.status == excused {
			continue
		}
		if !started {
			p.line("\n%s", p.style("What to do", true, ""))
			started = true
		}
		p.line("  %s", p.style(clean(g.rule), true, ""))
		for _, fix := range g.remedies {
			p.line("    fix: %s", clean(fix))
		}
		if g.command != "" {
			p.line("    or:  %s", g.command)
		}
	}
}
