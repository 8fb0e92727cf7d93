// Package codeowners reads who owns which files: the CODEOWNERS files that GitHub
// and others keep in a repository.
//
// The mental model: a file is a list of rules, each a pattern and owners; of the
// rules that match a path the last one counts, and a rule without owners says that
// nobody owns it. The syntax is GitHub's. Lines that GitHub silently skips are
// errors here with their place, because an owner who is not named is not asked.
package codeowners

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"assay.dev/assay"
)

// Bounds of a file.
const (
	// MaxBytes is the largest file.
	MaxBytes = 256 << 10
	// MaxOwners is the number of owners of one rule.
	MaxOwners = 50
)

// maxPattern is the longest pattern, in bytes.
const maxPattern = 1000

// Rule is one line of a file.
type Rule struct {
	Pattern string   `json:"pattern"`
	Owners  []string `json:"owners,omitempty"` // "@user", "@organisation/team" or an e-mail address
	Line    int      `json:"line"`             // 1-based

	match *regexp.Regexp
}

// Rules are the lines of a file, in order.
type Rules []Rule

// Parse reads a file. The name is used in errors only.
func Parse(name string, data []byte) (Rules, error) {
	if len(data) > MaxBytes {
		return nil, assay.Errorf(assay.CodeTooLarge, "is %d bytes; a file of owners has at most %d", len(data), MaxBytes).In(name)
	}
	var rules Rules
	n := 0
	for line := range bytes.Lines(data) {
		n++
		r, err := parseLine(string(line))
		if err != nil {
			err.File, err.Line = name, n
			return nil, err
		}
		if r.Pattern != "" {
			r.Line = n
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func parseLine(text string) (Rule, *assay.Error) {
	text = strings.TrimRight(text, "\r\n")
	if strings.ContainsRune(text, '\uFFFD') || !validText(text) {
		return Rule{}, assay.Errorf(assay.CodeInvalid, "holds a control character or is not UTF-8")
	}
	words := fields(text)
	if len(words) == 0 {
		return Rule{}, nil
	}
	r := Rule{Pattern: words[0], Owners: words[1:]}
	if len(r.Owners) > MaxOwners {
		return r, assay.Errorf(assay.CodeTooLarge, "names %d owners; at most %d are accepted", len(r.Owners), MaxOwners)
	}
	for _, o := range r.Owners {
		if !owner.MatchString(o) {
			e := assay.Errorf(assay.CodeInvalid, "%.100q is not an owner", o)
			e.Hint = "write @user, @organisation/team or an e-mail address; a blank in a pattern is written \\ "
			return r, e
		}
	}
	return r, r.compile()
}

var owner = regexp.MustCompile(`^(@[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_./-]*)?|[^@\s]+@[^@\s]+\.[^@\s]+)$`)

func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) })
}

// fields splits a line at white space up to a comment; a backslash keeps a blank.
func fields(text string) (out []string) {
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			out = append(out, word.String())
			word.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] == ' ':
			word.WriteByte(' ')
			i++
		case c == ' ' || c == '\t':
			flush()
		case c == '#' && word.Len() == 0:
			return out
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return out
}

// compile makes the expression that a pattern stands for.
func (r *Rule) compile() *assay.Error {
	p := r.Pattern
	switch {
	case len(p) > maxPattern:
		return assay.Errorf(assay.CodeTooLarge, "has a pattern of %d bytes; at most %d are accepted", len(p), maxPattern)
	case strings.HasPrefix(p, "!"):
		return assay.Errorf(assay.CodeInvalid, "starts with !, which CODEOWNERS does not have; a later line without owners takes files out")
	case strings.ContainsAny(p, "[]"):
		return assay.Errorf(assay.CodeInvalid, "has a character range, which CODEOWNERS does not have")
	case strings.Contains(p, "***"):
		return assay.Errorf(assay.CodeInvalid, "has three stars in a row; ** stands for any number of folders")
	}
	body := strings.TrimSuffix(strings.TrimPrefix(p, "/"), "/")
	// Without a slash at its start or inside, a pattern is about any depth.
	anchored := strings.HasPrefix(p, "/") || strings.Contains(body, "/")
	var b strings.Builder
	b.WriteString(`\A`)
	if !anchored {
		b.WriteString(`(?:.*/)?`)
	}
	for i := 0; i < len(body); {
		rest := body[i:]
		switch {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString(`(?:.*/)?`)
			i += 3
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i += 2
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			i++
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			i++
		default:
			n := strings.IndexAny(rest, "*?")
			if n < 0 {
				n = len(rest)
			}
			b.WriteString(regexp.QuoteMeta(rest[:n]))
			i += n
		}
	}
	switch {
	case strings.HasSuffix(p, "/"):
		b.WriteString(`/.*`)
	case strings.HasSuffix(p, "/*"): // files of the folder, and not of those below
	default:
		b.WriteString(`(?:/.*)?`)
	}
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "%.100q is not a pattern: %w", p, err)
	}
	r.match = re
	return nil
}

// Of returns the owners of a slash-separated path from the repository's root: those
// of the last rule that matches, none if nobody owns it.
func (r Rules) Of(path string) []string {
	if rule := r.last(path, true); rule != nil {
		return rule.Owners
	}
	return nil
}

// OfTest returns the owners of a test: of its file if that is known, otherwise of
// the package that a name such as example.com/shop/cart.TestAdd starts with. How
// much of a package's path is the module's is not known, so the path is tried whole
// and then without its first elements; a rule for everything counts last.
func (r Rules) OfTest(test, file string) []string {
	if file != "" {
		return r.Of(strings.TrimPrefix(file, "./"))
	}
	folder := test
	if m := goTest.FindStringSubmatch(test); m != nil {
		folder = m[1]
	}
	for rest, ok := folder, true; ok; _, rest, ok = strings.Cut(rest, "/") {
		if rule := r.last(rest+"/x", false); rule != nil {
			return rule.Owners
		}
	}
	return r.Of(folder)
}

// goTest splits the name of a Go test; the name of a subtest may hold anything.
var goTest = regexp.MustCompile(`^(.*?)\.(?:Test|Fuzz|Example|Benchmark)`)

// last returns the last rule that matches, without those for everything unless all is set.
func (r Rules) last(path string, all bool) *Rule {
	path = strings.TrimPrefix(path, "/")
	for i := len(r) - 1; i >= 0; i-- {
		if rule := &r[i]; rule.match != nil && rule.match.MatchString(path) && (all || strings.Trim(rule.Pattern, "*/") != "") {
			return rule
		}
	}
	return nil
}
