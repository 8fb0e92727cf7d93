package policy

import (
	"strings"

	"assay.dev/assay/internal/strict"
	"github.com/prometheus/prometheus/promql/parser"
)

var promql = parser.NewParser(parser.Options{})

// checkPromQL says what is wrong with a query at a field, which is to give a number or
// one for each value of a label.
func checkPromQL(d strict.Document, at []string, query string) error {
	tree, err := promql.ParseExpr(query)
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return d.Errorf(at, "is no PromQL: %s", text)
	}
	if t := tree.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return d.Errorf(at, "gives a %s; expected a number, or one for each value of a label: an instant vector", parser.DocumentedType(t))
	}
	return nil
}
