package rego

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
)

// MaxMessageBytes is where longer messages and remedies are cut: they may quote evidence.
const MaxMessageBytes = 2000

var (
	ruleForm      = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$`)
	objectionKeys = []string{"rule", "msg", "severity", "remedy", "kind", "location", "package", "fingerprint"}
)

const shape = `a member is a text or {"rule": "…", "msg": "…"}`

// objection reads one member of a deny or warn set.
func objection(set string, v ast.Value) (policy.Objection, *assay.Error) {
	o := policy.Objection{Rule: set, Advice: set == "warn", Severity: assay.SeverityUnknown}
	switch v := v.(type) {
	case ast.String:
		o.Message = clip(string(v))
	case ast.Object:
		if err := readObject(&o, v); err != nil {
			return o, err
		}
	default:
		return o, bad(shape, "gave %s", ast.ValueName(v))
	}
	if strings.TrimSpace(o.Message) == "" {
		return o, bad(shape, "gave an empty message")
	}
	return o, nil
}

func bad(hint, format string, args ...any) *assay.Error {
	e := assay.Errorf(assay.CodeInvalid, format, args...)
	e.Hint = hint
	return e
}

func readObject(o *policy.Objection, v ast.Object) *assay.Error {
	r := reader{}
	v.Foreach(func(k, v *ast.Term) {
		key, ok := k.Value.(ast.String)
		if !ok {
			r.fail("gave an object with the key %v, which is not a text", k)
			return
		}
		switch string(key) {
		case "rule":
			o.Rule = r.text("rule", v)
		case "msg":
			o.Message = clip(r.text("msg", v))
		case "remedy":
			o.Remedy = clip(r.text("remedy", v))
		case "fingerprint":
			o.Fingerprint = r.text("fingerprint", v)
		case "severity":
			o.Severity = assay.Severity(r.word("severity", v, "none", "low", "unknown", "medium", "high", "critical"))
		case "kind":
			o.Kind = assay.EvidenceKind(r.word("kind", v, kinds()...))
		case "location":
			o.Location = r.location(v)
		case "package":
			o.Component = r.component(v)
		default:
			r.fail("gave an object with the key %q", string(key))
			r.hint(didYouMean(string(key), objectionKeys))
		}
	})
	if r.err != nil {
		return r.err
	}
	for _, key := range []string{"rule", "msg"} {
		if v.Get(ast.StringTerm(key)) == nil {
			return bad(shape, "gave an object without %q", key)
		}
	}
	if !ruleForm.MatchString(o.Rule) {
		return bad("use lower-case letters, digits and ._-", "gave the rule name %q", clip(o.Rule))
	}
	return nil
}

func kinds() []string {
	words := make([]string, len(assay.EvidenceKinds))
	for i, k := range assay.EvidenceKinds {
		words[i] = string(k)
	}
	return words
}

// reader reads members of an object and keeps the first mistake.
type reader struct{ err *assay.Error }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = bad("", format, args...)
	}
}

func (r *reader) hint(h string) {
	if r.err != nil && r.err.Hint == "" {
		r.err.Hint = h
	}
}

func (r *reader) text(key string, t *ast.Term) string {
	s, ok := t.Value.(ast.String)
	if !ok {
		r.fail("gave %s for %q; expected a text", ast.ValueName(t.Value), key)
	}
	return string(s)
}

func (r *reader) word(key string, t *ast.Term, known ...string) string {
	s := r.text(key, t)
	if slices.Contains(known, s) {
		return s
	}
	r.fail("gave %q, where %s", key, strict.OneOf(s, known))
	return ""
}

func (r *reader) object(key string, t *ast.Term, one func(key string, v *ast.Term) bool, known ...string) {
	obj, ok := t.Value.(ast.Object)
	if !ok {
		r.fail("gave %s for %q; expected an object with %s", ast.ValueName(t.Value), key, strings.Join(known, ", "))
		return
	}
	obj.Foreach(func(k, v *ast.Term) {
		name, _ := k.Value.(ast.String)
		if !one(string(name), v) {
			r.fail("gave %q with the key %v", key, k)
			r.hint(didYouMean(string(name), known))
		}
	})
}

func (r *reader) location(t *ast.Term) (l assay.Location) {
	r.object("location", t, func(k string, v *ast.Term) bool {
		switch k {
		case "file":
			l.File = r.text("location.file", v)
		case "line":
			l.Line = r.whole("location.line", v)
		case "column":
			l.Column = r.whole("location.column", v)
		default:
			return false
		}
		return true
	}, "file", "line", "column")
	return l
}

func (r *reader) whole(key string, t *ast.Term) int {
	n, ok := t.Value.(ast.Number)
	i, whole := n.Int()
	if !ok || !whole || i < 0 {
		r.fail("gave %v for %q; expected a whole number", t, key)
		return 0
	}
	return i
}

func (r *reader) component(t *ast.Term) (c assay.Component) {
	if s, ok := t.Value.(ast.String); ok {
		if strings.HasPrefix(string(s), "pkg:") {
			return assay.Component{PURL: string(s)}
		}
		return assay.Component{Name: string(s)}
	}
	r.object("package", t, func(k string, v *ast.Term) bool {
		switch k {
		case "name":
			c.Name = r.text("package.name", v)
		case "version":
			c.Version = r.text("package.version", v)
		case "purl":
			c.PURL = r.text("package.purl", v)
		case "licenses": // input.…package may be handed on as it is
		default:
			return false
		}
		return true
	}, "name", "version", "purl")
	return c
}

// clip cuts a text at MaxMessageBytes, between characters.
func clip(s string) string {
	if len(s) <= MaxMessageBytes {
		return s
	}
	n := MaxMessageBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s…", s[:n])
}
