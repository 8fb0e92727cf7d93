package evidence

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"assay.dev/assay"
	"github.com/go-json-experiment/json/jsontext"
)

// readGoTest reads the events of go test -json, one JSON object a line.
//
// What is counted: a test that has no subtests, and every leaf of the tree of
// subtests. A test with subtests counts only when it failed or was flaky and
// none of its subtests was, so that nothing is counted twice and nothing is
// missed. A test that runs several times (-count, or reports of retries put
// together) counts once: failed if its last run failed or never finished,
// flaky if it passed after a failure, skipped or passed otherwise. A package
// that fails without a failed or flaky test of its own (build, TestMain, race
// detector, exit) and a package without a result each count as one failed case.
// Benchmarks report no result and are not counted.
//
// Lines that are no JSON objects, which go prints when its standard error is
// kept too, are counted in the notes. An object that is no event is an error:
// it could be a damaged result.
func readGoTest(r *report) error {
	r.ev.Tool = assay.Tool{Name: "go test"}
	g := &goTest{rep: r, packages: map[string]*testPackage{}, builds: map[string]*build{}}
	lr := &lineReader{buf: r.in.buf}
	c := &cursor{rep: r, keys: map[string]string{}, dec: jsontext.NewDecoder(bytes.NewReader(nil))}
	c.place = func(off int64) (int, int) { return lr.n, int(off) + 1 }
	for {
		line, err := lr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := g.line(c, line); err != nil {
			return err
		}
	}
	return g.finish()
}

// lineReader returns lines of at most MaxToken bytes.
type lineReader struct {
	buf  *bufio.Reader
	n    int // number of the line that next returned, from 1
	long []byte
}

// next returns a line that is valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.n++
	l.long = l.long[:0]
	for {
		part, err := l.buf.ReadSlice('\n')
		if err == nil && len(l.long) == 0 {
			return part, nil
		}
		if len(l.long)+len(part) > MaxToken {
			return nil, &assay.Error{Code: assay.CodeTooLarge, Line: l.n, Column: 1, Field: "line",
				Msg: fmt.Sprintf("is longer than %d bytes", MaxToken)}
		}
		l.long = append(l.long, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(l.long) == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		}
		return l.long, nil
	}
}

// event is what is read of one test2json event.
type event struct {
	time                             time.Time
	action                           string
	pkg, test, output, failed, build string
}

// goTest gathers the events of one report.
type goTest struct {
	rep      *report
	packages map[string]*testPackage
	order    []*testPackage
	builds   map[string]*build
	imports  []string // keys of builds, in order
	cases    int      // tests, packages and builds
	kept     int      // bytes of output kept now
	noise    int      // lines that are no events
	first    string
	unknown  int // events of unknown actions
	cached   int // packages answered from the test cache
	empty    int // packages without test files
}

func (g *goTest) line(c *cursor, line []byte) error {
	switch b := bytes.TrimLeft(line, " \t\r\n"); {
	case len(b) == 0:
		return nil
	case b[0] != '{':
		if g.noise++; g.first == "" {
			g.first = g.rep.text(string(b[:min(len(b), MaxName)]), 120)
		}
		return nil
	}
	c.dec.Reset(bytes.NewReader(line))
	e := readEvent(c)
	if c.err != nil {
		return c.err
	}
	if e.action == "" {
		c.failAt(assay.CodeInvalid, 0, "Action", "is missing; expected a test event")
		return c.err
	}
	g.rep.produced(e.time)
	return g.take(e)
}

func readEvent(c *cursor) event {
	var e event
	for key := range c.document() {
		switch key {
		case "Time":
			at := c.next()
			s := c.name()
			if s == "" || c.err != nil {
				continue
			}
			var err error
			if e.time, err = time.Parse(time.RFC3339Nano, s); err != nil {
				c.fail(assay.CodeInvalid, at, fmt.Sprintf("%q is not an RFC 3339 time", s))
			}
		case "Action":
			e.action = c.name()
		case "Package":
			e.pkg = c.id()
		case "Test":
			e.test = c.id()
		case "Output":
			e.output = string(c.bytes(false))
		case "FailedBuild":
			e.failed = c.id()
		case "ImportPath":
			e.build = c.id()
		default:
			c.skip()
		}
	}
	return e
}

// id reads a string that tells things apart, and so must not be clipped to the same text.
func (c *cursor) id() string {
	b := c.bytes(false)
	if len(b) <= MaxName/2 {
		return string(b)
	}
	sum := sumOf([]string{string(b)})
	return fmt.Sprintf("%s…%x", bytes.ToValidUTF8(b[:MaxName/2], nil), sum[:8])
}

// take applies one event.
func (g *goTest) take(e event) error {
	switch e.action {
	case "build-output", "build-fail":
		b, err := g.buildOf(e.build)
		if err != nil {
			return err
		}
		b.out.add(g, e.output)
		b.failed = b.failed || e.action == "build-fail"
		return nil
	}
	p, err := g.packageOf(e.pkg)
	if err != nil {
		return err
	}
	if e.test == "" {
		g.takePackage(p, e)
		return nil
	}
	t, err := g.testOf(p, e.test)
	if err != nil {
		return err
	}
	switch e.action {
	case "run":
		t.state = running
	case "pass":
		t.end(g, passed)
	case "fail":
		t.end(g, failed)
	case "skip":
		t.end(g, skipped)
	case "bench":
		t.end(g, benched)
	case "output":
		if t.failures == 0 && !isFrame(e.output) {
			t.out.add(g, e.output)
		}
	case "pause", "cont", "start", "attr", "artifacts":
	default:
		g.unknown++
	}
	return nil
}

func (g *goTest) takePackage(p *testPackage, e event) {
	switch e.action {
	case "start":
		p.state = running
	case "pass":
		p.state = passed
		p.out.drop(g)
	case "fail":
		p.state, p.build = failed, e.failed
	case "skip":
		p.state = skipped
		g.empty++
	case "output":
		if isCached(e.output) {
			g.cached++
		}
		if !isFrame(e.output) {
			p.out.add(g, e.output)
		}
	case "run", "pause", "cont", "bench", "attr", "artifacts":
	default:
		g.unknown++
	}
}
