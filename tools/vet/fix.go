// Added to the go command's own cmd/vet by `make lint`, which builds it below bin/: what
// `go fix` would rewrite is reported beside what `go vet` finds. Each of the two reads and
// type-checks all dependencies, which is most of their work, and this way it is done once.
// The analyzers are those of the toolchain that builds it.
package main

import (
	"golang.org/x/tools/go/analysis/passes/inline"
	"golang.org/x/tools/go/analysis/passes/modernize"
)

func init() {
	for _, a := range append(modernize.Suite, inline.Analyzer) {
		named := *a
		named.Name = "fix" + a.Name // there are two of the name "waitgroup"
		suite = append(suite, &named)
	}
}
