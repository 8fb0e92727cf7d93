package rego

import (
	"encoding/json"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
)

// inputValue builds the engine's form of the input directly. Going through JSON
// would hold the evidence three times: as text, as Go maps and as terms. A test
// keeps the two equal.
func inputValue(in policy.Input) ast.Value {
	o := fields{}
	o.add("subject", o.subject(in.Subject))
	o.text("environment", in.Environment)
	o.add("time", ast.StringTerm(in.Time.Format(time.RFC3339Nano)))
	g := fields{}
	g.add("name", ast.StringTerm(in.Gate.Name))
	g.add("namespace", ast.StringTerm(in.Gate.Namespace))
	g.add("mode", ast.StringTerm(string(in.Gate.Mode)))
	o.add("gate", g.term())
	o.add("evidence", list(in.Evidence, evidence))
	if in.Action != nil {
		o.add("action", action(*in.Action))
	}
	return o.term().Value
}

func action(a policy.InputAction) *ast.Term {
	f := make(fields, 0, 10)
	f.add("plan", ast.StringTerm(a.Plan))
	f.add("kind", ast.StringTerm(string(a.Kind)))
	f.add("service", ast.StringTerm(a.Service))
	f.text("version", a.Version)
	f.add("from", number(a.From))
	f.add("weight", number(a.Weight))
	f.text("lever", string(a.Lever))
	f.text("scope", a.Scope)
	f.add("now", ast.FloatNumberTerm(a.Now))
	f.add("want", ast.FloatNumberTerm(a.Want))
	return f.term()
}

// fields collects the members of one object.
type fields [][2]*ast.Term

func (f *fields) add(key string, v *ast.Term) {
	*f = append(*f, [2]*ast.Term{keyTerm(key), v})
}

// text adds a string unless it is empty.
func (f *fields) text(key, v string) {
	if v != "" {
		f.add(key, ast.StringTerm(v))
	}
}

func (f fields) term() *ast.Term { return ast.NewTerm(ast.NewObject(f...)) }

func (fields) subject(s assay.Subject) *ast.Term {
	f := fields{}
	f.add("name", ast.StringTerm(s.Name))
	f.add("digest", ast.StringTerm(string(s.Digest)))
	f.text("uri", s.URI)
	f.text("commit", s.Commit)
	return f.term()
}

func list[T any](items []T, one func(T) *ast.Term) *ast.Term {
	terms := make([]*ast.Term, len(items))
	for i, v := range items {
		terms[i] = one(v)
	}
	return ast.ArrayTerm(terms...)
}

func texts(items []string) *ast.Term { return list(items, ast.StringTerm) }

func number(n int) *ast.Term { return ast.InternedTerm(n) }

func evidence(e policy.InputEvidence) *ast.Term {
	f := fields{}
	f.add("kind", ast.StringTerm(string(e.Kind)))
	f.add("format", ast.StringTerm(e.Format))
	tool := fields{}
	tool.add("name", ast.StringTerm(e.Tool.Name))
	tool.text("version", e.Tool.Version)
	f.add("tool", tool.term())
	f.add("origin", ast.StringTerm(string(e.Origin)))
	f.add("digest", ast.StringTerm(string(e.Digest)))
	f.text("subject", string(e.Subject))
	f.add("age_seconds", ast.NumberTerm(json.Number(strconv.FormatInt(e.AgeSeconds, 10))))
	if len(e.Requirements) > 0 {
		f.add("requirements", texts(e.Requirements))
	}
	if e.Tests != nil {
		t := fields{}
		t.add("passed", number(e.Tests.Passed))
		t.add("failed", number(e.Tests.Failed))
		t.add("skipped", number(e.Tests.Skipped))
		t.add("flaky", number(e.Tests.Flaky))
		f.add("tests", t.term())
	}
	if len(e.Components) > 0 {
		f.add("components", list(e.Components, component))
	}
	if len(e.Findings) > 0 {
		f.add("findings", list(e.Findings, finding))
	}
	if len(e.Measures) > 0 {
		f.add("measures", list(e.Measures, measure))
	}
	f.text("predicate", e.Predicate)
	f.text("producer", e.Producer)
	return f.term()
}

func measure(m assay.Measure) *ast.Term {
	f := make(fields, 0, 4)
	f.add("name", ast.StringTerm(m.Name))
	f.add("unit", ast.StringTerm(m.Unit))
	f.add("value", ast.FloatNumberTerm(m.Value))
	if m.Lower {
		f.add("lower", ast.InternedTerm(true))
	}
	return f.term()
}

func component(c assay.Component) *ast.Term {
	f := make(fields, 0, 4)
	f.add("name", ast.StringTerm(c.Name))
	f.text("version", c.Version)
	f.text("purl", c.PURL)
	if len(c.Licenses) > 0 {
		f.add("licenses", texts(c.Licenses))
	}
	return f.term()
}

func finding(v assay.Finding) *ast.Term {
	f := make(fields, 0, 10)
	f.add("rule", ast.StringTerm(v.Rule))
	if len(v.Aliases) > 0 {
		f.add("aliases", texts(v.Aliases))
	}
	f.add("severity", keyTerm(string(v.Severity)))
	f.add("message", ast.StringTerm(v.Message))
	if v.Location != (assay.Location{}) {
		l := make(fields, 0, 3)
		l.text("file", v.Location.File)
		if v.Location.Line != 0 {
			l.add("line", number(v.Location.Line))
		}
		if v.Location.Column != 0 {
			l.add("column", number(v.Location.Column))
		}
		f.add("location", l.term())
	}
	if p := v.Package; p.Name != "" || p.Version != "" || p.PURL != "" || p.Licenses != nil {
		f.add("package", component(p))
	}
	if len(v.FixedIn) > 0 {
		f.add("fixed_in", texts(v.FixedIn))
	}
	f.add("fingerprint", ast.StringTerm(v.Fingerprint))
	f.text("suppressed", v.Suppressed)
	if v.Known {
		f.add("known", ast.InternedTerm(true))
	}
	return f.term()
}

// keyTerm shares the terms of names that recur in every object; terms are never changed.
func keyTerm(s string) *ast.Term {
	if t, ok := shared[s]; ok {
		return t
	}
	return ast.StringTerm(s)
}

var shared = sharedTerms(
	"name", "version", "purl", "licenses", "rule", "aliases", "severity", "message", "location", "file", "line", "column",
	"package", "fixed_in", "fingerprint", "suppressed", "known", "none", "low", "unknown", "medium", "high", "critical",
)

func sharedTerms(words ...string) map[string]*ast.Term {
	m := make(map[string]*ast.Term, len(words))
	for _, w := range words {
		m[w] = ast.StringTerm(w)
	}
	return m
}
