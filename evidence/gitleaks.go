package evidence

import (
	"assay.dev/assay"
)

// readGitleaks reads the list that gitleaks writes. Gitleaks rates nothing;
// every secret it found is high. The secret itself and the text around it are
// never read. Its own fingerprint names the line, so ours does not use it.
func readGitleaks(r *report) error {
	r.ev.Tool = assay.Tool{Name: "gitleaks"} // the report does not say which version
	c := newCursor(r)
	n := 0
	for range c.list() {
		n++
		readLeak(c)
	}
	if c.err == nil && n == 0 {
		r.note("the list is empty: gitleaks found nothing, or looked at nothing")
	}
	return c.err
}

func readLeak(c *cursor) {
	f := assay.Finding{Severity: assay.SeverityHigh}
	var commit string
	for key := range c.object() {
		switch key {
		case "RuleID":
			f.Rule = c.name()
		case "Description":
			f.Message = c.text(MaxMessage - 100)
		case "File":
			f.Location.File = c.name()
		case "StartLine":
			f.Location.Line = c.whole()
		case "StartColumn":
			f.Location.Column = c.whole()
		case "Commit":
			commit = c.name()
		default: // among them Secret, Match and Line
			c.skip()
		}
	}
	if c.err == nil && f.Rule == "" {
		c.fail(assay.CodeInvalid, c.dec.InputOffset(), "has no RuleID")
	}
	if f.Message == "" {
		f.Message = f.Rule
	}
	if commit != "" {
		f.Message += " (in commit " + clean(commit, 40).s + ")"
	}
	f.Fingerprint = c.rep.prints.of("gitleaks", f.Rule, fileKey(f.Location.File), commit)
	c.add(f)
}
