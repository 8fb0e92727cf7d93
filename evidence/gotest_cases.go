package evidence

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// caseState is how far a test or package has come.
type caseState uint8

const (
	unseen caseState = iota
	running
	passed
	failed
	skipped
	benched // a benchmark: it ran, and there is nothing to count
)

// testPackage is one package of a report.
type testPackage struct {
	name  string
	state caseState
	build string // the failed build that its failure names
	out   output
	tests map[string]*testCase
	order []*testCase
}

// testCase is one test, subtest, example or fuzz seed, over all its runs.
type testCase struct {
	name     string
	state    caseState // of the last run
	failures int       // finished runs that failed
	out      output    // of the first failed run, or of the current one
	parent   bool      // has subtests
	below    bool      // a subtest failed, was flaky or never finished
}

// build is the outcome of one go build.
type build struct {
	failed, told bool
	out          output
}

// another counts one more test, package or build.
func (g *goTest) another() error {
	if g.cases++; g.cases > MaxTests {
		return assay.Errorf(assay.CodeTooLarge, "has more than %d tests and packages", MaxTests)
	}
	return nil
}

func (g *goTest) packageOf(name string) (*testPackage, error) {
	p := g.packages[name]
	if p == nil {
		if err := g.another(); err != nil {
			return nil, err
		}
		p = &testPackage{name: name, tests: map[string]*testCase{}}
		g.packages[name] = p
		g.order = append(g.order, p)
	}
	return p, nil
}

func (g *goTest) testOf(p *testPackage, name string) (*testCase, error) {
	t := p.tests[name]
	if t == nil {
		if err := g.another(); err != nil {
			return nil, err
		}
		t = &testCase{name: name}
		p.tests[name] = t
		p.order = append(p.order, t)
	}
	return t, nil
}

func (g *goTest) buildOf(importPath string) (*build, error) {
	b := g.builds[importPath]
	if b == nil {
		if err := g.another(); err != nil {
			return nil, err
		}
		b = &build{}
		g.builds[importPath] = b
		g.imports = append(g.imports, importPath)
	}
	return b, nil
}

func (t *testCase) end(g *goTest, s caseState) {
	t.state = s
	if s == failed {
		t.failures++
		return
	}
	if t.failures == 0 {
		t.out.drop(g)
	}
}

// output is the start of what something printed.
type output struct{ b []byte }

// maxKept bounds the output that is kept of all running and failed tests together, in bytes.
const maxKept = 64 << 20

func (o *output) add(g *goTest, s string) {
	room := min(MaxMessage-len(o.b), maxKept-g.kept)
	if room <= 0 {
		return
	}
	s = s[:min(len(s), room)]
	o.b = append(o.b, s...)
	g.kept += len(s)
}

func (o *output) drop(g *goTest) {
	g.kept -= len(o.b)
	o.b = nil
}

// isFrame reports whether a line of output only repeats what the events say.
func isFrame(s string) bool {
	s = strings.TrimLeft(s, " ")
	for _, p := range []string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "--- PASS", "--- FAIL", "--- SKIP"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return s == "PASS\n" || s == "FAIL\n"
}

func isCached(s string) bool {
	return strings.HasPrefix(s, "ok  \t") && strings.Contains(s, "\t(cached)")
}

// finish turns what was gathered into counts and findings.
func (g *goTest) finish() error {
	if len(g.order) == 0 && len(g.builds) == 0 {
		return assay.Errorf(assay.CodeInvalid, "holds no test event; expected the output of go test -json")
	}
	g.rep.ev.Tests = &assay.TestCounts{}
	for _, p := range g.order {
		if err := g.finishPackage(p); err != nil {
			return err
		}
	}
	for _, path := range g.imports {
		b := g.builds[path]
		if !b.failed || b.told {
			continue
		}
		if err := g.failPackage(path, "build failed", "build", b.out); err != nil {
			return err
		}
	}
	g.notes()
	return nil
}

func (g *goTest) notes() {
	if g.noise > 0 {
		g.rep.note("%s no test event, the first: %s", plural(g.noise, "line is", "lines are"), g.first)
	}
	if g.unknown > 0 {
		g.rep.note("%s an unknown action", plural(g.unknown, "event has", "events have"))
	}
	if g.cached > 0 {
		g.rep.note("%s answered from the test cache", plural(g.cached, "package was", "packages were"))
	}
	if g.empty > 0 {
		g.rep.note("%s no tests to run", plural(g.empty, "package has", "packages have"))
	}
	if *g.rep.ev.Tests == (assay.TestCounts{}) {
		g.rep.note("no test ran")
	}
}

func (g *goTest) finishPackage(p *testPackage) error {
	broken := p.family()
	for _, t := range p.order {
		if err := g.count(p, t); err != nil {
			return err
		}
	}
	switch {
	case p.state == running || p.state == unseen:
		return g.failPackage(p.name, "never finished: the report ends before the package has a result", "unfinished", p.out)
	case p.state == failed && p.build != "":
		b, err := g.buildOf(p.build)
		if err != nil {
			return err
		}
		b.told = true
		return g.failPackage(p.name, "build failed", "build", b.out)
	case p.state == failed && !broken:
		return g.failPackage(p.name, "failed outside its tests", "package", p.out)
	}
	return nil
}

// family marks parents and hands trouble up to them, and reports whether any test has trouble.
func (p *testPackage) family() bool {
	any := false
	for _, t := range p.order {
		trouble := t.trouble()
		any = any || trouble
		rest := t.name
		for range MaxDepth {
			i := strings.LastIndexByte(rest, '/')
			if i < 0 {
				break
			}
			rest = rest[:i]
			if up := p.tests[rest]; up != nil {
				up.parent = true
				up.below = up.below || trouble
			}
		}
	}
	return any
}

// count adds one case to the counts; a failed or flaky one also becomes a finding.
func (g *goTest) count(p *testPackage, t *testCase) error {
	n := g.rep.ev.Tests
	if t.parent && (t.below || !t.trouble()) {
		return nil
	}
	switch t.state {
	case running:
		n.Failed++
		return g.failTest(p, t, "never finished")
	case failed:
		n.Failed++
		return g.failTest(p, t, "failed")
	case passed:
		if t.failures == 0 {
			n.Passed++
			return nil
		}
		n.Flaky++
		return g.failTest(p, t, fmt.Sprintf("flaky: failed %s, then passed", plural(t.failures, "time", "times")))
	case skipped:
		if t.failures > 0 {
			n.Failed++
			return g.failTest(p, t, "failed, then was skipped")
		}
		n.Skipped++
	}
	return nil
}

// trouble reports whether t failed in any run or never finished.
func (t *testCase) trouble() bool {
	return t.state == failed || t.state == running || t.failures > 0
}

var testFile = regexp.MustCompile(`(?:^|\s)([^\s:]+_test\.go):(\d+)`)

// failTest adds the finding of a failed or flaky test.
func (g *goTest) failTest(p *testPackage, t *testCase, what string) error {
	sev := assay.SeverityHigh
	if strings.HasPrefix(what, "flaky") {
		sev = assay.SeverityMedium
	}
	rule := t.name
	if p.name != "" {
		rule = p.name + "." + t.name
	}
	out := p.outputOf(t)
	f := assay.Finding{
		Rule:     g.rep.text(rule, MaxName),
		Severity: sev,
		Message:  g.message(what, out),
	}
	if m := testFile.FindStringSubmatch(out); m != nil {
		file := m[1]
		if !strings.ContainsAny(file, `/\`) && p.name != "" {
			file = p.name + "/" + file // as -trimpath writes it
		}
		f.Location.File = g.rep.text(file, MaxName)
		f.Location.Line, _ = strconv.Atoi(m[2]) // 0, unknown, if it does not fit
	}
	f.Fingerprint = g.rep.prints.of("go test", p.name, t.name) // the test, however it went
	return g.rep.finding(f)
}

// outputOf returns what t printed; what a panic printed stands under a parent.
func (p *testPackage) outputOf(t *testCase) string {
	for name := t.name; ; {
		if t != nil && len(t.out.b) > 0 {
			return string(t.out.b)
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return ""
		}
		name = name[:i]
		t = p.tests[name]
	}
}

// failPackage counts a package, or a build, as one failed case.
func (g *goTest) failPackage(name, what, kind string, out output) error {
	g.rep.ev.Tests.Failed++
	return g.rep.finding(assay.Finding{
		Rule:        g.rep.text(name, MaxName),
		Severity:    assay.SeverityHigh,
		Message:     g.message(what, string(out.b)),
		Fingerprint: g.rep.prints.of("go test", name, "", kind),
	})
}

func (g *goTest) message(what, out string) string {
	if strings.TrimSpace(out) != "" {
		what += ": " + out
	}
	return g.rep.text(what, MaxMessage)
}
