package rego

import (
	"context"
	"errors"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// MaxEvalTime bounds the evaluation of one package, whatever the caller's deadline.
const MaxEvalTime = 10 * time.Second

// MaxObjections bounds what one package may object.
const MaxObjections = 100_000

// Evaluate asks each package what it objects to. The answer has an entry for
// every package asked, in the engine's sorted order. The error is CodeNotFound
// for a package that no Policy binds, CodeUnavailable when ctx or MaxEvalTime
// ended the evaluation, and CodeInvalid, with the rule's place, for anything a
// policy did wrong. Nothing is answered unless every package could be evaluated.
func (s *Snapshot) Evaluate(ctx context.Context, in policy.Input, packages []string) (map[string][]policy.Objection, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	value := inputValue(in)
	answers := make(map[string][]policy.Objection, len(packages))
	for _, pkg := range packages {
		q := s.queries[pkg]
		if q == nil {
			return nil, assay.Errorf(assay.CodeNotFound, "Rego package %s", strict.OneOf(pkg, sortedKeys(s.queries)))
		}
		o, err := q.eval(ctx, value)
		if err != nil {
			return nil, err
		}
		answers[pkg] = o
	}
	return answers, nil
}

func (q *query) eval(ctx context.Context, in ast.Value) ([]policy.Objection, error) {
	ctx, cancel := context.WithTimeout(ctx, MaxEvalTime)
	defer cancel()
	// A deadline that has passed already must not depend on the engine noticing.
	if err := ctx.Err(); err != nil {
		return nil, q.runtimeError(ctx, err)
	}
	rs, err := q.prepared.Eval(ctx, rego.EvalParsedInput(in))
	if err != nil {
		return nil, q.runtimeError(ctx, err)
	}
	if len(rs) != 1 || len(rs[0].Expressions) != 1 {
		return nil, assay.Errorf(assay.CodeInternal, "package %s gave %d results; expected one", q.pkg, len(rs))
	}
	both, ok := rs[0].Expressions[0].Value.(*ast.Term)
	if !ok {
		return nil, assay.Errorf(assay.CodeInternal, "package %s gave no term", q.pkg)
	}
	var out []policy.Objection
	for i, name := range []string{"deny", "warn"} {
		set, ok := both.Value.(*ast.Array).Elem(i).Value.(ast.Set)
		if !ok {
			return nil, assay.Errorf(assay.CodeInternal, "%s.%s is not a set", q.pkg, name)
		}
		if set.Len() > MaxObjections {
			return nil, placed(q.rules(name)[0].Loc(), "%s.%s has %d members; at most %d are accepted", q.pkg, name, set.Len(), MaxObjections)
		}
		for _, t := range set.Slice() {
			o, err := objection(name, t.Value)
			if err != nil {
				return nil, q.misshapen(ctx, in, name, t, err)
			}
			out = append(out, o)
		}
	}
	return out, nil
}

func (q *query) rules(name string) []*ast.Rule {
	if name == "deny" {
		return q.deny
	}
	return q.warn
}

func (q *query) runtimeError(ctx context.Context, err error) error {
	if topdown.IsCancel(err) || ctx.Err() != nil {
		e := assay.Errorf(assay.CodeUnavailable, "package %s was not evaluated in time (%v)", q.pkg, ctx.Err())
		e.Hint = "simplify the rules, or retry if the machine was busy"
		return e
	}
	if t, ok := errors.AsType[*topdown.Error](err); ok {
		return placed(t.Location, "package %s cannot be evaluated: %s", q.pkg, t.Message)
	}
	return assay.Errorf(assay.CodeInvalid, "package %s cannot be evaluated: %v", q.pkg, err)
}

// misshapen says which rule gave a member of the wrong shape. A set does not
// remember that, so the query runs again under a tracer.
func (q *query) misshapen(ctx context.Context, in ast.Value, name string, bad *ast.Term, why *assay.Error) error {
	tracer := &blame{bad: bad, rules: q.rules(name)}
	// The first run has succeeded; should this one not, the first rule of the set is named.
	_, _ = q.prepared.Eval(ctx, rego.EvalParsedInput(in), rego.EvalQueryTracer(tracer))
	rule := q.rules(name)[0]
	if tracer.found != nil {
		rule = tracer.found
	}
	e := placed(rule.Loc(), "rule %s.%s %s", q.pkg, name, why.Msg)
	e.Hint = why.Hint
	return e
}

// blame finds the rule that produced a value.
type blame struct {
	bad   *ast.Term
	rules []*ast.Rule
	found *ast.Rule
}

// Enabled is always true.
func (*blame) Enabled() bool { return true }

// Config asks for the values of local variables.
func (*blame) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent looks at rules as they are left.
func (b *blame) TraceEvent(e topdown.Event) {
	rule, ok := e.Node.(*ast.Rule)
	if b.found != nil || e.Op != topdown.ExitOp || !ok || rule.Head.Key == nil {
		return
	}
	for _, r := range b.rules {
		if r.Loc().Equal(rule.Loc()) && e.Plug(rule.Head.Key).Equal(b.bad) {
			b.found = rule
		}
	}
}
