package gate

import (
	"fmt"
	"io"
	"strings"

	"assay.dev/assay"
)

// Markdown writes the report for a pull request (GitHub-flavoured). All text
// that comes from outside stands in code spans: there no HTML, link, image,
// mention or emphasis is possible.
func Markdown(w io.Writer, v assay.Verdict) error {
	r := newReport(v)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	mark := map[assay.Outcome]string{assay.OutcomePass: "✅", assay.OutcomeFail: "❌", assay.OutcomeAbsent: "❔"}[v.Outcome]
	line("## %s %s: gate %s", mark, r.headline, code(v.Gate))
	line("")
	line("%s %s", code(v.Subject.Name), code("sha256:"+v.Subject.Digest.Short()))
	if v.Environment != "" {
		line("for environment %s", code(v.Environment))
	}
	line("")
	line("%s", strings.TrimSpace(r.reason+" "+r.notice))
	markdownReasons(line, r)
	markdownEvidence(line, v)
	markdownActions(line, r)
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownReasons(line func(string, ...any), r report) {
	if len(r.groups) == 0 {
		return
	}
	line("\n### Why\n")
	for _, g := range r.groups {
		word := statusWords[g.status]
		if g.status == observed {
			word += " (" + code(string(g.mode)) + ")"
		}
		if g.exception != "" {
			word += " by exception " + code(g.exception)
		}
		line("- **%s** %s", word, code(g.rule))
		for _, it := range g.items {
			at := ""
			if it.place != "" {
				at = " at " + code(it.place)
			}
			severity := ""
			if it.severity != "" {
				severity = code(it.severity) + " "
			}
			line("  - %s%s%s", severity, code(it.message), at)
		}
		if g.more > 0 {
			line("  - and %d more", g.more)
		}
	}
	if r.moreRule > 0 {
		line("- and %s", count(r.moreRule, "more rule"))
	}
}

func markdownEvidence(line func(string, ...any), v assay.Verdict) {
	line("\n### Evidence\n")
	for _, q := range v.Requirements {
		line("- %s %s: %s", code(string(q.State)), code(q.Name), code(q.Reason))
	}
	for _, e := range v.Evidence {
		words := evidenceLine(e)
		for i := range words {
			words[i] = code(words[i])
		}
		line("- %s", strings.Join(words, " "))
		for _, n := range e.Notes {
			line("  - note: %s", code(n))
		}
	}
	for _, t := range v.Flaky {
		line("- %s", code(flakyLine(t)))
	}
	for _, x := range v.Exceptions {
		line("- exception %s, %s, until %s: %s", code(x.ID), code(givenBy(x)),
			x.ValidUntil.UTC().Format("2006-01-02 15:04 MST"), code(strings.Join(x.Rules, ", ")))
	}
	line("- policy %s %s", code(string(v.Policy.Digest)), code(v.Policy.URI))
	if head := ledgerLine(v); head != "" {
		line("- ledger %s", code(head))
	}
}

func markdownActions(line func(string, ...any), r report) {
	started := false
	for _, g := range r.groups {
		if g.command == "" && len(g.remedies) == 0 || g.status == excused {
			continue
		}
		if !started {
			line("\n### What to do\n")
			started = true
		}
		line("- %s", code(g.rule))
		for _, fix := range g.remedies {
			line("  - fix: %s", code(fix))
		}
		if g.command != "" {
			line("  - or ask for an exception: %s", code(g.command))
		}
	}
}

// code puts outside text into a code span: cleaned to one line, fenced with more
// backticks than it contains in a row.
func code(s string) string {
	s = clean(s)
	if s == "" {
		return "(none)"
	}
	longest, run := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}
