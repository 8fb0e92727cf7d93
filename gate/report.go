package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"assay.dev/assay"
)

// Limits of the reports for people; the JSON report is complete.
const (
	maxPerRule  = 10 // objections listed under one rule
	maxRules    = 50 // rules listed
	maxRunes    = 400
	maxRemedies = 5 // different ways to fix listed under one rule
)

// exceptionDays is the end that reports propose for an exception.
const exceptionDays = 7

// JSON writes the verdict, complete and indented, with a line feed at the end.
func JSON(w io.Writer, v assay.Verdict) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// status is what an objection means for the outcome, worst first.
type status int

const (
	blocking status = iota
	absent
	excused
	observed // of a policy in warn or dry-run
	advice
)

var statusWords = [...]string{"blocks", "absent", "excused", "does not block", "advice"}

// group is one rule of the report with what it objects to.
type group struct {
	rule      string
	status    status
	mode      assay.Mode
	exception string
	items     []item
	more      int      // items left out
	remedies  []string // distinct, the first few
	command   string   // how to ask for an exception, "" if there is nothing to excuse
}

// item is one objection, already reduced to words.
type item struct{ message, place, severity string }

// report is a verdict in the order in which people read it: verdict, reason,
// evidence, action. Text in it is still raw; each writer escapes for its medium.
type report struct {
	headline string
	reason   string
	notice   string // that the gate does not block although the outcome is not pass
	groups   []group
	moreRule int // rules left out
	verdict  assay.Verdict
}

func newReport(v assay.Verdict) report {
	r := report{verdict: v, headline: "UNKNOWN"}
	if slices.Contains([]assay.Outcome{assay.OutcomePass, assay.OutcomeFail, assay.OutcomeAbsent}, v.Outcome) {
		r.headline = strings.ToUpper(string(v.Outcome))
	}
	var groups []group
	index := map[string]int{}
	add := func(g group, it item, remedy string) {
		key := fmt.Sprint(g.status, "\x00", g.rule, "\x00", g.exception)
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, g)
		}
		if rs := groups[i].remedies; remedy != "" && len(rs) < maxRemedies && !slices.Contains(rs, remedy) {
			groups[i].remedies = append(rs, remedy)
		}
		if len(groups[i].items) == maxPerRule {
			groups[i].more++
			return
		}
		groups[i].items = append(groups[i].items, it)
	}
	for _, x := range v.Violations {
		g := group{rule: x.Rule, status: blocking, mode: x.Mode, exception: x.Exception}
		switch {
		case x.Mode != assay.ModeEnforce:
			g.status = observed
		case x.Exception != "":
			g.status = excused
		default:
			g.command = exceptionCommand(v, x.Rule)
		}
		add(g, item{x.Message, placeOf(x), string(x.Severity)}, x.Remedy)
	}
	for _, q := range v.Requirements {
		if q.State != assay.Missing {
			continue
		}
		g, remedy := missing(v, q)
		add(g, item{message: q.Reason}, remedy)
	}
	for _, x := range v.Warnings {
		add(group{rule: x.Rule, status: advice, mode: x.Mode}, item{x.Message, placeOf(x), string(x.Severity)}, x.Remedy)
	}
	slices.SortStableFunc(groups, func(a, b group) int { return int(a.status) - int(b.status) })
	r.explain(groups)
	if len(groups) > maxRules {
		r.moreRule = len(groups) - maxRules
		groups = groups[:maxRules]
	}
	r.groups = groups
	return r
}

// missing is the group of an absent requirement, and how to mend it.
func missing(v assay.Verdict, q assay.Requirement) (g group, remedy string) {
	g = group{rule: AbsentRule(q.Name), status: absent, mode: assay.ModeEnforce, exception: q.Exception}
	if q.Exception != "" {
		g.status = excused
	}
	// No exception excuses what could not be read, so none is offered.
	if broken := unread(v, q.Kind); len(broken) > 0 {
		return g, fmt.Sprintf("produce %s again: a report that cannot be read may hide what is wrong", joinSome(broken, 3))
	}
	if unknown := unread(v, ""); len(unknown) > 0 {
		return g, fmt.Sprintf("produce %s again, or leave it out if it is not evidence of kind %s", joinSome(unknown, 3), q.Kind)
	}
	if g.status == absent {
		g.command = exceptionCommand(v, g.rule)
	}
	return g, fmt.Sprintf("produce evidence of kind %s and present it", q.Kind)
}

// unread names the reports of a kind that could not be read; "" is an unknown kind.
func unread(v assay.Verdict, kind assay.EvidenceKind) []string {
	var names []string
	for _, f := range v.Refused {
		if f.Kind == kind {
			names = append(names, f.Location.File)
		}
	}
	return names
}

// explain writes the one sentence that says why.
func (r *report) explain(groups []group) {
	n := map[status]int{}
	for _, g := range groups {
		n[g.status]++
	}
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{n[blocking], "rule objects", "rules object"},
		{n[absent], "required piece of evidence is absent", "required pieces of evidence are absent"},
		{n[excused], "rule is excused by an exception", "rules are excused by exceptions"},
		{n[observed], "rule objects without blocking", "rules object without blocking"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	if len(parts) == 0 {
		parts = []string{fmt.Sprintf("all %s required are present and nothing objects", count(len(r.verdict.Requirements), "piece")+" of evidence")}
	}
	r.reason = strings.Join(parts, "; ") + "."
	if r.verdict.Outcome != assay.OutcomePass && !r.verdict.Blocks() {
		r.notice = fmt.Sprintf("The gate is in mode %s: it records this and does not block.", r.verdict.Mode)
	}
}

// placeOf says where a violation is: in a package, in a file, or both.
func placeOf(v assay.Violation) string {
	var parts []string
	switch p := v.Package; {
	case p.Name != "" && p.Version != "":
		parts = append(parts, p.Name+" "+p.Version)
	case p.Name != "":
		parts = append(parts, p.Name)
	case p.PURL != "":
		parts = append(parts, p.PURL)
	}
	if v.Location.File != "" {
		parts = append(parts, at(v.Location))
	}
	return strings.Join(parts, ", ")
}

// at writes "file:line:column", as far as they are known.
func at(l assay.Location) string {
	switch {
	case l.Line > 0 && l.Column > 0:
		return fmt.Sprintf("%s:%d:%d", l.File, l.Line, l.Column)
	case l.Line > 0:
		return fmt.Sprintf("%s:%d", l.File, l.Line)
	}
	return l.File
}

func exceptionCommand(v assay.Verdict, rule string) string {
	return fmt.Sprintf(`assay exception request --rule %s --subject %s --reason "why this may ship" --until %s`,
		quote(rule), quote(string(v.Subject.Digest)), v.Time.AddDate(0, 0, exceptionDays).UTC().Format(time.DateOnly))
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._:/-]+$`)

// quote makes a shell word of outside text.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(clean(s), "'", `'\''`) + "'"
}

// clean makes one harmless line of outside text: no control characters, nothing
// invisible or that turns the direction of writing, and not endless.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs) || r == 0x115f || r == 0x1160 || r == 0x3164:
			continue
		case unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp):
			r = ' '
		}
		if n++; n > maxRunes {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// evidenceLine describes one report: what it is, from whom, how old, which bytes.
func evidenceLine(e assay.EvidenceRef) []string {
	tool := e.Tool.Name
	if e.Tool.Version != "" {
		tool += " " + e.Tool.Version
	}
	words := []string{e.Source, e.Format}
	if tool != "" {
		words = append(words, "by "+tool)
	}
	words = append(words, span(time.Duration(e.AgeSeconds)*time.Second)+" old", "sha256:"+e.Digest.Short())
	if e.Producer != "" {
		words = append(words, "signed by "+e.Producer)
	}
	if e.Baseline {
		words = append(words, "BASELINE")
	}
	if e.Origin != assay.OriginLive {
		words = append(words, strings.ToUpper(string(e.Origin)))
	}
	return append(words, e.Summary)
}
