package signal

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// MaxQuery is the length of a PromQL expression, bytes.
const MaxQuery = 8 << 10

// Spec declares an indicator in PromQL: Total with one of Good, Bad, Count and Sum, or
// Count alone, or Gauge, or Buckets.
type Spec struct {
	Service      string
	Environment  string
	Name         string  // of the indicator, for example "errors"
	Good         string  // counters of events that met the indicator
	Bad          string  // counters of events that missed it
	Total        string  // counters of all events
	Buckets      string  // _bucket counters of a classic histogram, all bounds
	Threshold    float64 // for Buckets: an event is good up to this bound; 0 counts all as good
	Count        string  // counters of events of which one request may have many; without Total they are counted per time of each series
	Sum          string  // counters that add a value up, for example seconds of CPU
	Gauge        string  // one selector of a gauge
	Min, Max     float64 // declared bounds of the gauge
	VersionLabel string  // label that tells the versions apart; "version" if ""
	StratumLabel string  // label that tells parts of the traffic apart, for example "route"; "" tells none
	ClassLabel   string  // label of Bad that tells classes of bad events apart; "" tells none
	ReplicaLabel string  // label that tells the replicas of a version apart, for example "pod"; "" tells none
}

// Term is one selector of counters that is added or taken away.
type Term struct {
	Minus    bool
	Matchers []*labels.Matcher
}

// Counters is a sum of terms.
type Counters []Term

// Indicator is a Spec whose expressions are understood. Make it with Compile.
type Indicator struct {
	Service      string
	Environment  string
	Name         string
	VersionLabel string
	StratumLabel string
	ClassLabel   string
	ReplicaLabel string
	Good, Bad    Counters // at most one of them is set
	Total        Counters
	Buckets      Counters
	Threshold    float64
	Count, Sum   Counters // at most one of Good, Bad, Count and Sum is set
	Gauge        Counters // one term
	Min, Max     float64  // of the gauge
}

// Compile understands the expressions of a spec. They must be sums of counters:
// selectors, sum, + and -, increase over any range, and "or vector(0)". What is
// linear can be counted exactly, sample by sample; rates and quotients cannot,
// and are refused with CodeInvalid. A gauge is a selector and nothing else: each of its
// samples is a value.
func Compile(spec Spec) (Indicator, error) {
	ind := Indicator{Service: spec.Service, Environment: spec.Environment, Name: spec.Name, VersionLabel: spec.VersionLabel, Threshold: spec.Threshold, StratumLabel: spec.StratumLabel, ClassLabel: spec.ClassLabel}
	ind.ReplicaLabel = spec.ReplicaLabel
	ind.Min, ind.Max = spec.Min, spec.Max
	if ind.VersionLabel == "" {
		ind.VersionLabel = "version"
	}
	if spec.Name == "" {
		return ind, assay.Errorf(assay.CodeInvalid, "the indicator has no name")
	}
	histogram := spec.Buckets != ""
	switch {
	case histogram && (spec.Good != "" || spec.Bad != "" || spec.Total != ""):
		return ind, specError(spec, "buckets", "stands beside good, bad or total; expected one kind")
	case spec.ClassLabel != "" && spec.Bad == "":
		return ind, specError(spec, "classes", "need bad: classes are of the events that it counts")
	case histogram && !(spec.Threshold >= 0):
		return ind, specError(spec, "threshold", "is below zero")
	case spec.measures():
		if err := spec.checkMeasure(); err != nil {
			return ind, err
		}
	case !histogram && spec.Total == "":
		return ind, specError(spec, "total", "is missing")
	case !histogram && (spec.Good == "") == (spec.Bad == ""):
		return ind, specError(spec, "good", "and bad: expected exactly one of them")
	}
	for _, part := range []struct {
		field, text string
		into        *Counters
	}{{"good", spec.Good, &ind.Good}, {"bad", spec.Bad, &ind.Bad}, {"total", spec.Total, &ind.Total}, {"buckets", spec.Buckets, &ind.Buckets},
		{"count", spec.Count, &ind.Count}, {"sum", spec.Sum, &ind.Sum}, {"gauge", spec.Gauge, &ind.Gauge}} {
		if part.text == "" {
			continue
		}
		parse := ParseCounters
		if part.into == &ind.Gauge {
			parse = parseGauge
		}
		terms, err := parse(part.text)
		if err != nil {
			return ind, specError(spec, part.field, "%v", err)
		}
		*part.into = terms
	}
	return ind, nil
}

func specError(spec Spec, field, format string, args ...any) error {
	return &assay.Error{Code: assay.CodeInvalid, Field: "indicator " + spec.Name + ": " + field, Msg: fmt.Sprintf(format, args...)}
}

// ParseCounters takes a sum of counters apart; see Compile.
func ParseCounters(text string) (Counters, error) {
	if len(text) > MaxQuery {
		return nil, assay.Errorf(assay.CodeTooLarge, "the expression has %d bytes; at most %d are allowed", len(text), MaxQuery)
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "%s is not PromQL: %v", clip(text), err)
	}
	var out Counters
	if err := out.add(expr, false); err != nil {
		return nil, err
	}
	return out, nil
}

// add walks a sum; minus says that the branch is taken away.
func (c *Counters) add(expr parser.Expr, minus bool) error {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return c.add(e.Expr, minus)
	case *parser.StepInvariantExpr:
		return c.add(e.Expr, minus)
	case *parser.AggregateExpr:
		if e.Op != parser.SUM {
			return notASum(expr)
		}
		return c.add(e.Expr, minus)
	case *parser.UnaryExpr:
		return c.add(e.Expr, minus != (e.Op == parser.SUB))
	case *parser.Call:
		m, ok := e.Args[0].(*parser.MatrixSelector)
		if e.Func.Name != "increase" || !ok {
			return notASum(expr)
		}
		return c.add(m.VectorSelector, minus)
	case *parser.BinaryExpr:
		switch {
		case e.Op == parser.LOR && isZero(e.RHS):
			return c.add(e.LHS, minus)
		case e.Op != parser.ADD && e.Op != parser.SUB:
			return notASum(expr)
		}
		if err := c.add(e.LHS, minus); err != nil {
			return err
		}
		return c.add(e.RHS, minus != (e.Op == parser.SUB))
	case *parser.VectorSelector:
		return c.addSelector(e, minus)
	}
	return notASum(expr)
}

func (c *Counters) addSelector(v *parser.VectorSelector, minus bool) error {
	if v.OriginalOffset != 0 || v.OriginalOffsetExpr != nil || v.Timestamp != nil || v.StartOrEnd != 0 {
		return assay.Errorf(assay.CodeInvalid, "%s looks at another time; a count is of its own interval", clip(v.String()))
	}
	named := slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
		return m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual
	})
	if !named {
		return assay.Errorf(assay.CodeInvalid, "%s names no metric; arriving samples are matched by it", clip(v.String()))
	}
	for _, m := range v.LabelMatchers {
		if m.Name == NamespaceLabel {
			return assay.Errorf(assay.CodeInvalid, "%s matches the label %s, which is set for you", clip(v.String()), NamespaceLabel)
		}
	}
	*c = append(*c, Term{Minus: minus, Matchers: v.LabelMatchers})
	return nil
}

func isZero(expr parser.Expr) bool {
	call, ok := expr.(*parser.Call)
	if !ok || call.Func.Name != "vector" || len(call.Args) != 1 {
		return false
	}
	n, ok := call.Args[0].(*parser.NumberLiteral)
	return ok && n.Val == 0
}

func notASum(expr parser.Expr) error {
	e := assay.Errorf(assay.CodeInvalid, "%s is not a sum of counters, so its events cannot be counted", clip(expr.String()))
	e.Hint = "use selectors, sum, + and -"
	return e
}

// metricName is the name that the term's matchers demand.
func (t Term) metricName() string {
	for _, m := range t.Matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// shortName is the name that may stand before the braces: not one of which PromQL has
// another use, or which it only takes in quotes, and none beside a second one.
func (t Term) shortName() string {
	name, names := t.metricName(), 0
	for _, m := range t.Matchers {
		if m.Name == model.MetricNameLabel {
			names++
		}
	}
	if names != 1 || !model.LegacyValidation.IsValidMetricName(name) {
		return ""
	}
	if tree, err := parser.NewParser(parser.Options{}).ParseExpr(name + "{}"); err != nil || tree.Type() != parser.ValueTypeVector {
		return ""
	}
	return name
}

// matches reports whether a series belongs to the term.
func (t Term) matches(ls labels.Labels) bool {
	for _, m := range t.Matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// String writes the sum as PromQL.
func (c Counters) String() string {
	var b strings.Builder
	for i, t := range c {
		switch {
		case t.Minus:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		var parts []string
		name := t.shortName()
		for _, m := range t.Matchers {
			if name == "" || m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual {
				parts = append(parts, m.String())
			}
		}
		fmt.Fprintf(&b, "sum(%s{%s})", name, strings.Join(parts, ","))
	}
	return strings.TrimSpace(b.String())
}
