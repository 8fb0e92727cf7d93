package rego

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// MaxTestTime bounds one Rego unit test.
const MaxTestTime = 10 * time.Second

// TestStatus is what became of one Rego unit test.
type TestStatus string

const (
	TestPassed  TestStatus = "pass"
	TestFailed  TestStatus = "fail"
	TestErrored TestStatus = "error"
	TestSkipped TestStatus = "skip" // named todo_test_…
)

// TestResult is one Rego unit test.
type TestResult struct {
	Package  string        `json:"package"`
	Name     string        `json:"name"`
	Status   TestStatus    `json:"status"`
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Duration time.Duration `json:"duration_ns"`
	// FailedLine is the line of the expression that did not hold, 0 if unknown.
	FailedLine int `json:"failed_line,omitempty"`
	// Message says what did not hold or what went wrong, "" for a passed test.
	Message string `json:"message,omitempty"`
	// Output is what the test printed.
	Output string `json:"output,omitempty"`
}

// FileCoverage is how much of one module the tests evaluated.
type FileCoverage struct {
	File    string  `json:"file"`
	Percent float64 `json:"percent"`
	// NotCovered lists the first lines of ranges that no test evaluated.
	NotCovered []int `json:"not_covered,omitempty"`
}

// TestReport is the result of all Rego unit tests of a revision.
type TestReport struct {
	Results  []TestResult   `json:"results"` // sorted by package, file and line
	Coverage float64        `json:"coverage"`
	Files    []FileCoverage `json:"files"` // of modules that are not tests, sorted by name
}

// OK reports whether tests ran and none failed.
func (r TestReport) OK() bool {
	ran := false
	for _, t := range r.Results {
		if t.Status == TestFailed || t.Status == TestErrored {
			return false
		}
		ran = ran || t.Status == TestPassed
	}
	return ran
}

// Test runs every rule named test_… of a revision's modules and *_test.rego
// files. Tests see the same functions and data as policies do. The error says
// why no test could run; failures are in the report.
func Test(ctx context.Context, rev *policy.Revision) (TestReport, error) {
	l, err := load(rev, true)
	if err != nil {
		return TestReport{}, err
	}
	tracer := &testTracer{Cover: cover.New(), failed: map[*ast.Location]int{}}
	store := inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false))
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return TestReport{}, assay.Errorf(assay.CodeInternal, "test data cannot be read: %w", err)
	}
	defer store.Abort(ctx, txn)
	ch, err := tester.NewRunner().
		SetCompiler(newCompiler(false).WithEnablePrintStatements(true)).
		SetStore(store).SetModules(l.modules).SetTimeout(MaxTestTime).SetParallel(1).
		RaiseBuiltinErrors(true).CapturePrintOutput(true).
		SetCoverageQueryTracer(tracer).SetCoverageRuns(nil).
		RunTests(ctx, txn)
	if err != nil {
		if list, ok := errors.AsType[ast.Errors](err); ok {
			return TestReport{}, l.errors(list)
		}
		return TestReport{}, assay.Errorf(assay.CodeInvalid, "tests cannot run: %w", err)
	}
	var report TestReport
	for r := range ch {
		report.Results = append(report.Results, testResult(r, tracer, l.modules))
	}
	if ctx.Err() != nil {
		return TestReport{}, assay.Errorf(assay.CodeUnavailable, "tests were interrupted: %w", ctx.Err())
	}
	slices.SortFunc(report.Results, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.File, b.File), a.Line-b.Line, cmp.Compare(a.Name, b.Name))
	})
	report.cover(tracer.Cover, l.modules)
	return report, nil
}

func testResult(r *tester.Result, tracer *testTracer, modules map[string]*ast.Module) TestResult {
	out := TestResult{
		Package: strings.TrimPrefix(r.Package, "data."), Name: r.Name, Status: TestPassed,
		Duration: r.Duration, Output: string(r.Output),
	}
	if r.Location != nil {
		out.File, out.Line = r.Location.File, r.Location.Row
	}
	switch {
	case r.Skip:
		out.Status = TestSkipped
	case r.Error != nil:
		out.Status, out.Message = TestErrored, r.Error.Error()
		if t, ok := errors.AsType[*topdown.Error](r.Error); ok {
			out.Message = t.Message
			if t.Location != nil {
				out.FailedLine = t.Location.Row
			}
		}
	case r.Fail:
		out.Status, out.Message = TestFailed, "the test's body does not hold"
		if loc := tracer.lastFailure(modules[out.File], out.Line); loc != nil {
			text, _, _ := strings.Cut(strings.TrimSpace(string(loc.Text)), "\n")
			out.FailedLine, out.Message = loc.Row, "does not hold: "+text
		}
		if failed := failedCases(r); failed != "" {
			out.Message = "failed cases: " + failed
		}
	}
	return out
}

// testTracer measures coverage and remembers, by place, which expressions did
// not hold and in what order.
type testTracer struct {
	*cover.Cover
	mu     sync.Mutex
	failed map[*ast.Location]int
	seen   int
}

// TraceEvent is called by the engine for every step.
func (t *testTracer) TraceEvent(e topdown.Event) {
	t.Cover.TraceEvent(e)
	expr, ok := e.Node.(*ast.Expr)
	if e.Op != topdown.FailOp || !ok || expr.Location == nil || policy.Classify(expr.Location.File) != policy.ClassTest {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen++
	t.failed[expr.Location] = t.seen
}

// lastFailure is the place of the last expression of the rule on a line that did
// not hold, nil if none is known.
func (t *testTracer) lastFailure(m *ast.Module, line int) *ast.Location {
	if m == nil {
		return nil
	}
	end := math.MaxInt // where the next rule starts
	for _, r := range m.Rules {
		if row := r.Loc().Row; row > line && row < end {
			end = row
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var last *ast.Location
	latest := 0
	for loc, seq := range t.failed {
		if loc.File == m.Package.Location.File && loc.Row >= line && loc.Row < end && seq > latest {
			last, latest = loc, seq
		}
	}
	return last
}

func failedCases(r *tester.Result) string {
	var names []string
	for name, s := range r.SubResults.Iter {
		if s.Fail {
			names = append(names, strings.Join(name, "/"))
		}
	}
	return strings.Join(names, ", ")
}

// cover keeps only modules that are not tests: a test covers itself always.
func (r *TestReport) cover(cov *cover.Cover, modules map[string]*ast.Module) {
	covered, all := 0, 0
	files := cov.Report(modules).Files
	for _, name := range sortedKeys(modules) {
		f := files[name]
		if f == nil || policy.Classify(name) != policy.ClassModule {
			continue
		}
		covered += f.CoveredLines
		all += f.CoveredLines + f.NotCoveredLines
		c := FileCoverage{File: name, Percent: f.Coverage}
		for _, rng := range f.NotCovered {
			c.NotCovered = append(c.NotCovered, rng.Start.Row)
		}
		r.Files = append(r.Files, c)
	}
	if all > 0 {
		r.Coverage = 100 * float64(covered) / float64(all)
	}
}
