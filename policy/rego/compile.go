package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/version"
)

// Snapshot is a compiled revision. It never changes and is safe for concurrent use.
type Snapshot struct {
	revision assay.Digest
	queries  map[string]*query
}

// query asks one bound package for its deny and warn sets.
type query struct {
	pkg      string
	deny     []*ast.Rule
	warn     []*ast.Rule
	prepared rego.PreparedEvalQuery
}

// Compile parses, checks and prepares a revision. Every mistake found is in the
// error, one *assay.Error each (errors.Join), with file, line, column and a
// suggestion where a name looks misspelt.
func Compile(ctx context.Context, rev *policy.Revision) (*Snapshot, error) {
	l, err := load(rev, false)
	if err != nil {
		return nil, err
	}
	c := newCompiler(false)
	if c.Compile(l.modules); c.Failed() {
		return nil, l.errors(c.Errors)
	}
	if err := joined(l.undefined(c)); err != nil {
		return nil, err
	}
	s := &Snapshot{revision: rev.Digest(), queries: map[string]*query{}}
	store := inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
	var errs []error
	for _, p := range rev.Policies() {
		if _, done := s.queries[p.Spec.Package]; done {
			continue
		}
		q, err := l.bind(ctx, c, store, p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.queries[p.Spec.Package] = q
	}
	if err := joined(errs); err != nil {
		return nil, err
	}
	return s, nil
}

// Revision names the revision that was compiled.
func (s *Snapshot) Revision() assay.Digest { return s.revision }

// EngineVersion names the evaluator that is linked in; with the revision it
// determines every answer.
func EngineVersion() string { return "opa/" + version.Version }

func newCompiler(strictMode bool) *ast.Compiler {
	schemas := ast.NewSchemaSet()
	var schema any
	// The schema is embedded and tested; without it nothing is type-checked against the input.
	if json.Unmarshal(policy.InputSchema(), &schema) == nil {
		schemas.Put(ast.SchemaRootRef, schema)
	}
	return ast.NewCompiler().
		WithCapabilities(Capabilities()).
		WithDefaultRegoVersion(ast.RegoV1).
		WithSchemas(schemas).
		WithStrict(strictMode).
		SetErrorLimit(maxErrors)
}

// maxErrors bounds how many mistakes are reported at once.
const maxErrors = 20

// loaded is a parsed revision before it is compiled.
type loaded struct {
	modules map[string]*ast.Module
	data    map[string]any
	rules   map[string][]string // package → names of its rules, for suggestions
}

func load(rev *policy.Revision, tests bool) (*loaded, error) {
	l := &loaded{modules: map[string]*ast.Module{}, data: map[string]any{}, rules: map[string][]string{}}
	files := rev.Files(policy.ClassModule)
	if tests {
		files = append(files, rev.Files(policy.ClassTest)...)
	}
	var errs []error
	for _, f := range files {
		m, err := parseModule(f.Path, f.Content)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.modules[f.Path] = m
		pkg := packageName(m.Package.Path)
		if l.rules[pkg] == nil {
			l.rules[pkg] = []string{} // known even without rules
		}
		for _, r := range m.Rules {
			l.rules[pkg] = append(l.rules[pkg], ruleName(r))
		}
	}
	for _, f := range rev.Files(policy.ClassData) {
		if err := l.mount(f); err != nil {
			errs = append(errs, err)
		}
	}
	if err := l.mountLists(rev); err != nil {
		errs = append(errs, err)
	}
	return l, joined(errs)
}

// parseModule parses one file as Rego v1.
func parseModule(file string, src []byte) (*ast.Module, error) {
	if len(src) > policy.MaxFileBytes {
		return nil, assay.Errorf(assay.CodeTooLarge, "is above %d bytes", policy.MaxFileBytes).In(file)
	}
	if bytes.IndexByte(src, 0) >= 0 {
		return nil, assay.Errorf(assay.CodeInvalid, "contains a NUL byte").In(file)
	}
	opts := ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: Capabilities()}
	m, err := ast.ParseModuleWithOpts(file, string(src), opts)
	if err != nil {
		return nil, parseError(file, src, err)
	}
	if m == nil {
		return nil, assay.Errorf(assay.CodeInvalid, "is empty; a module starts with a package").In(file)
	}
	return m, nil
}

// mount puts a data file below data.<folder>.
func (l *loaded) mount(f policy.File) error {
	doc, err := parseData(f)
	if err != nil {
		return err
	}
	at := l.data
	if dir := path.Dir(f.Path); dir != "." {
		for part := range strings.SplitSeq(dir, "/") {
			if at[part] == nil {
				at[part] = map[string]any{}
			}
			next, ok := at[part].(map[string]any)
			if !ok {
				return assay.Errorf(assay.CodeInvalid, "lies in folder %q, but another data file gives %q a value", dir, part).In(f.Path)
			}
			at = next
		}
	}
	for k, v := range doc {
		if _, dup := at[k]; dup {
			return assay.Errorf(assay.CodeInvalid, "gives %q a value, which another data file already does", k).In(f.Path)
		}
		at[k] = v
	}
	return nil
}

func parseData(f policy.File) (map[string]any, error) {
	raw := f.Content
	if path.Ext(f.Path) == ".json" {
		if err := strict.CheckJSON(raw); err != nil {
			return nil, inFile(f.Path, err)
		}
	} else {
		var v json.RawMessage // YAML as JSON, number by number
		if err := strict.YAML(raw, &v); err != nil {
			return nil, inFile(f.Path, err)
		}
		raw = v
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // whole numbers stay exact
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil || doc == nil {
		return nil, assay.Errorf(assay.CodeInvalid, "is not an object at its top level").In(f.Path)
	}
	return doc, nil
}

// bind prepares the query for a policy's package.
func (l *loaded) bind(ctx context.Context, c *ast.Compiler, store storage.Store, p policy.Policy) (*query, error) {
	pkg := p.Spec.Package
	base := packageRef(pkg)
	q := &query{pkg: pkg}
	for name, rules := range map[string]*[]*ast.Rule{"deny": &q.deny, "warn": &q.warn} {
		*rules = c.GetRulesExact(base.Append(ast.StringTerm(name)))
		for _, r := range *rules {
			if r.Head.DocKind() != ast.PartialSetDoc {
				return nil, placed(r.Loc(), "rule %s.%s is not a set; write `%s contains v if { … }`", pkg, name, name)
			}
		}
	}
	if err := l.canObject(p, len(q.deny)+len(q.warn) > 0); err != nil {
		return nil, err
	}
	terms := []*ast.Term{setOrEmpty(base, "deny", q.deny), setOrEmpty(base, "warn", q.warn)}
	var err error
	q.prepared, err = rego.New(
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.ArrayTerm(terms...)))),
		rego.Compiler(c), rego.Store(store), rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil }),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "package %q cannot be prepared: %w", pkg, err)
	}
	return q, nil
}

// canObject fails at the Policy's place if its package does not exist or has no
// rule that could object: such a policy would look like a check and check nothing.
func (l *loaded) canObject(p policy.Policy, objects bool) error {
	if objects {
		return nil
	}
	pkg := p.Spec.Package
	e := &assay.Error{Code: assay.CodeInvalid, File: p.Place.File, Line: p.Place.Line, Column: 1, Field: "spec.package"}
	if names, ok := l.rules[pkg]; ok {
		e.Msg = fmt.Sprintf("%q has neither a deny nor a warn rule, so it can never object", pkg)
		e.Hint = didYouMeanRule(names)
		return e
	}
	e.Msg = fmt.Sprintf("%q is not the package of any module", pkg)
	e.Hint = didYouMean(pkg, sortedKeys(l.rules))
	return e
}

func setOrEmpty(base ast.Ref, name string, rules []*ast.Rule) *ast.Term {
	if len(rules) == 0 {
		return ast.SetTerm()
	}
	return ast.NewTerm(base.Append(ast.StringTerm(name)))
}

func packageRef(pkg string) ast.Ref {
	ref := ast.Ref{ast.DefaultRootDocument.Copy()}
	for part := range strings.SplitSeq(pkg, ".") {
		ref = ref.Append(ast.StringTerm(part))
	}
	return ref
}

// packageName is a package's path without "data.".
func packageName(ref ast.Ref) string {
	return strings.TrimPrefix(ref.String(), "data.")
}

func ruleName(r *ast.Rule) string {
	if ref := r.Head.Ref(); len(ref) > 0 {
		return ref.GroundPrefix().String()
	}
	return string(r.Head.Name)
}

func didYouMean(found string, known []string) string {
	if s := strict.Suggest(found, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(known) > 0 && len(known) <= 10 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

func didYouMeanRule(names []string) string {
	for _, n := range names {
		if s := strict.Suggest(n, []string{"deny", "warn"}); s != "" && len(n) > 2 {
			return fmt.Sprintf("is rule %q meant to be %q?", n, s)
		}
	}
	return ""
}
