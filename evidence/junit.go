package evidence

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
)

// readJUnit reads JUnit XML as its many writers write it: one suite or several
// as the root, suites in suites, and cases anywhere below.
//
// A case is what its suite's host, class and name say it is. The same case
// again is a retry, and counts once: failed if its last attempt failed, flaky
// if an attempt failed and the last one passed, skipped or passed otherwise.
// Surefire's rerunFailure and rerunError are further failed attempts, and
// flakyFailure and flakyError are failed attempts before one that passed.
//
// A suite that itself has an error, or that declares failures but lists none,
// counts as one failed case: the report is not complete.
func readJUnit(r *report) error {
	r.ev.Tool = assay.Tool{Name: "JUnit XML"} // the format does not say who wrote it
	x, err := newXMLCursor(r)
	if err != nil {
		return err
	}
	j := &junit{rep: r, x: x, seen: map[caseKey]caseState{}, failed: map[caseKey]*junitFailure{}}
	switch root := x.root(); {
	case x.err != nil:
		return x.err
	case root.name == "testsuite":
		j.suite(root, junitSuite{})
	case root.name == "testsuites":
		j.timestamp(root)
		for e := range x.children() {
			j.member(e, &junitSuite{name: root.attr("name")})
		}
	default:
		x.fail(assay.CodeInvalid, fmt.Sprintf("has the root element %q; expected testsuites or testsuite", clean(root.name, 100).s))
	}
	if x.end(); x.err != nil {
		return x.err
	}
	return j.finish()
}

type junit struct {
	rep    *report
	x      *xmlCursor
	seen   map[caseKey]caseState // of the last attempt
	failed map[caseKey]*junitFailure
	again  int // attempts beyond the first
	kept   int // bytes of messages kept
	naive  int // timestamps without a zone
	differ int // suites that declare other counts than they list
	hollow int // suites that declare failures and list none
}

// caseKey is the truncated SHA-256 of what tells a case from others. Names are
// not kept: a report may hold half a million.
type caseKey [16]byte

// junitFailure is a case that failed at least once.
type junitFailure struct {
	finding  int // its index
	failures int
}

// junitSuite is what a suite hands down to its cases, and what they add up to.
type junitSuite struct {
	name, file, host string
	cases, bad       int // cases and attempts seen below it
}

func (j *junit) suite(e element, up junitSuite) junitSuite {
	s := junitSuite{name: e.attr("name"), file: e.attr("file"), host: e.attr("hostname") + "/" + e.attr("package")}
	if s.file == "" {
		s.file = up.file
	}
	if up.host != "" {
		s.host = up.host + "\x00" + s.host
	}
	j.timestamp(e)
	for child := range j.x.children() {
		j.member(child, &s)
	}
	j.compare(e, s)
	return s
}

// member reads what may lie in a suite.
func (j *junit) member(e element, s *junitSuite) {
	switch e.name {
	case "testsuite":
		sub := j.suite(e, *s)
		s.cases, s.bad = s.cases+sub.cases, s.bad+sub.bad
	case "testcase":
		s.cases++
		j.testCase(e, s)
	case "error", "failure":
		// Some writers say so when a suite could not even start.
		s.bad++
		text := j.problem(e)
		j.broken(s.name, "the suite failed: "+text)
	case "properties", "property", "system-out", "system-err":
	default:
		j.rep.note("element %s of a suite was not read", e.name)
	}
}

// attempt is one testcase element.
type attempt struct {
	state    caseState
	failures int    // attempts that failed, this one included
	text     string // of the first failure
	location assay.Location
}

func (j *junit) testCase(e element, s *junitSuite) {
	a := attempt{state: passed, location: assay.Location{File: e.attr("file")}}
	if a.location.File == "" {
		a.location.File = s.file
	}
	if n, ok := e.number("line"); ok && n <= 1<<30 {
		a.location.Line = int(n)
	}
	switch status := strings.ToLower(e.attr("status")); status {
	case "failed", "error", "failure", "broken":
		a.state, a.text = failed, "its status is "+status
	case "notrun", "disabled", "skipped", "ignored", "pending":
		a.state = skipped
	}
	if r := strings.ToLower(e.attr("result")); r == "skipped" || r == "suppressed" { // GoogleTest
		a.state = skipped
	}
	for child := range j.x.children() {
		j.outcome(child, &a)
	}
	if a.state == failed {
		a.failures = max(a.failures, 1)
	}
	if a.failures > 0 {
		s.bad++
	}
	if j.x.err == nil {
		j.take(e, s, a)
	}
}

// outcome reads what lies in a testcase.
func (j *junit) outcome(e element, a *attempt) {
	switch e.name {
	case "failure", "error", "rerunFailure", "rerunError":
		if text := j.problem(e); a.failures == 0 || a.text == "" {
			a.text = text
		}
		a.failures++
		a.state = failed
	case "flakyFailure", "flakyError":
		if text := j.problem(e); a.failures == 0 {
			a.text = text
		}
		a.failures++
	case "skipped", "disabled", "ignored":
		if a.failures == 0 {
			a.state = skipped
		}
	case "properties", "property", "system-out", "system-err":
	default:
		j.rep.note("element %s of a test case was not read", e.name)
	}
}

// problem says what a failure or error element tells.
func (j *junit) problem(e element) string {
	message, kind := e.attr("message"), e.attr("type")
	text := j.x.text(MaxMessage)
	switch {
	case strings.TrimSpace(message) != "":
	case text != "":
		message = text
	default:
		message = kind
	}
	return message
}

// take counts one attempt at a case.
func (j *junit) take(e element, s *junitSuite, a attempt) {
	class, name := e.attr("classname"), e.attr("name")
	sum := sumOf([]string{s.host, s.name, class, name})
	key := caseKey(sum[:16])
	if _, ok := j.seen[key]; ok {
		j.again++
	} else if len(j.seen) >= MaxTests {
		j.x.fail(assay.CodeTooLarge, fmt.Sprintf("has more than %d test cases", MaxTests))
		return
	}
	j.seen[key] = a.state
	if a.failures == 0 {
		return
	}
	if f := j.failed[key]; f != nil {
		f.failures += a.failures
		return
	}
	j.failed[key] = &junitFailure{finding: len(j.rep.ev.Findings), failures: a.failures}
	rule, identity := name, []string{"junit", s.name, class, name}
	if class != "" {
		rule, identity[1] = class+"."+name, "" // a class is found wherever its suite lies
	}
	if rule == "" {
		rule = s.name
	}
	f := assay.Finding{
		Rule:        j.rep.text(rule, MaxName),
		Severity:    assay.SeverityHigh,
		Message:     j.keep(a.text),
		Location:    a.location,
		Fingerprint: j.rep.prints.of(identity...),
	}
	f.Location.File = j.rep.text(f.Location.File, MaxName)
	j.locate(&f)
	if err := j.rep.finding(f); err != nil {
		j.x.fail(assay.CodeTooLarge, asError(err).Msg)
	}
}

// keptMessages bounds the texts of failures that are kept in full, in bytes, and
// shortMessage is what is kept of each one after that.
const (
	keptMessages = 16 << 20
	shortMessage = 200
)

func (j *junit) keep(s string) string {
	limit := MaxMessage - 100 // room for what finish puts before it
	if j.kept > keptMessages {
		limit = shortMessage
	}
	s = j.rep.text(s, limit)
	j.kept += len(s)
	return s
}

var sourceLine = regexp.MustCompile(`(?:^|[\s("'])((?:[\w.\-]+[/\\])*[\w.\-]+\.(?:go|java|kts?|scala|groovy|py|rb|php|rs|swift|cs|fs|vb|c|cc|cpp|cxx|h|hpp|m|mm|[cm]?[jt]sx?|dart|exs?|erl|lua|pl|sh|feature)):(\d{1,7})\b`)

// locate finds a line in the message of a case whose writer gives no place.
func (j *junit) locate(f *assay.Finding) {
	if f.Location.Line > 0 {
		return
	}
	m := sourceLine.FindStringSubmatch(f.Message)
	if m == nil {
		return
	}
	if f.Location.File == "" || strings.HasSuffix(f.Location.File, m[1]) || strings.HasSuffix(m[1], f.Location.File) {
		if f.Location.File == "" {
			f.Location.File = m[1]
		}
		f.Location.Line, _ = strconv.Atoi(m[2]) // at most seven digits
	}
}

// timestamp takes the time of a suite if it says in which zone it is.
func (j *junit) timestamp(e element) {
	s := strings.TrimSpace(e.attr("timestamp"))
	if s == "" {
		return
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			j.rep.produced(t)
			return
		}
	}
	j.naive++
}

// compare holds what a suite declares against what it lists.
func (j *junit) compare(e element, s junitSuite) {
	failures, ok1 := e.number("failures")
	errors, ok2 := e.number("errors")
	if tests, ok := e.number("tests"); ok && tests != int64(s.cases) || (ok1 || ok2) && failures+errors != int64(s.bad) {
		j.differ++
	}
	if failures+errors > 0 && s.bad == 0 {
		j.hollow++
		j.broken(s.name, fmt.Sprintf("the suite declares %s, but lists none", plural(int(min(failures+errors, 1<<30)), "failure", "failures")))
	}
}

// broken counts a suite as one failed case.
func (j *junit) broken(name, why string) {
	if j.rep.ev.Tests == nil {
		j.rep.ev.Tests = &assay.TestCounts{}
	}
	j.rep.ev.Tests.Failed++
	if name == "" {
		name = "testsuite"
	}
	err := j.rep.finding(assay.Finding{
		Rule: j.rep.text(name, MaxName), Severity: assay.SeverityHigh, Message: j.keep(why),
		Fingerprint: j.rep.prints.of("junit", name, "", "", "suite"),
	})
	if err != nil {
		j.x.fail(assay.CodeTooLarge, asError(err).Msg)
	}
}

// finish turns what was gathered into counts, and says of each finding what its case came to.
func (j *junit) finish() error {
	if j.rep.ev.Tests == nil {
		j.rep.ev.Tests = &assay.TestCounts{}
	}
	n := j.rep.ev.Tests
	for key, state := range j.seen {
		f := j.failed[key]
		if f == nil {
			switch state {
			case skipped:
				n.Skipped++
			default:
				n.Passed++
			}
			continue
		}
		finding := &j.rep.ev.Findings[f.finding]
		what := "failed"
		switch {
		case state == passed:
			n.Flaky++
			finding.Severity = assay.SeverityMedium
			what = fmt.Sprintf("flaky: failed %s, then passed", plural(f.failures, "time", "times"))
		case state == skipped:
			n.Failed++
			what = "failed, then was skipped"
		default:
			n.Failed++
			if f.failures > 1 {
				what = fmt.Sprintf("failed %d times", f.failures)
			}
		}
		if finding.Message != "" {
			what += ": " + finding.Message
		}
		finding.Message = what
	}
	j.notes()
	return nil
}

func (j *junit) notes() {
	if j.again > 0 {
		j.rep.note("%s a case that was listed before; each counts once, by its last attempt", plural(j.again, "test case repeats", "test cases repeat"))
	}
	if j.naive > 0 {
		j.rep.note("%s without a time zone and not used; age counts from when the report was read", plural(j.naive, "timestamp is", "timestamps are"))
	}
	if j.differ > 0 {
		j.rep.note("%s other numbers of tests or failures than listed", plural(j.differ, "suite declares", "suites declare"))
	}
	if *j.rep.ev.Tests == (assay.TestCounts{}) {
		j.rep.note("no test ran")
	}
}
