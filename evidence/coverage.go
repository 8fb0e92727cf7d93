package evidence

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
)

// readGoCover reads a Go coverage profile. A block that is listed several
// times, as in profiles of several packages put together, counts once: covered
// if any line says so. The measure is "statements".
func readGoCover(r *report) error {
	r.ev.Tool = assay.Tool{Name: "go test"}
	lr := &lineReader{buf: r.in.buf}
	p := &coverProfile{blocks: map[[16]byte]bool{}}
	for {
		line, err := lr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || bytes.HasPrefix(line, []byte("mode: ")) {
			continue // each of several profiles put together has its mode
		}
		if err := p.block(line); err != nil {
			e := asError(err)
			e.Line, e.Column, e.Field = lr.n, 1, "line"
			return e
		}
	}
	if p.all == 0 {
		r.note("the profile lists no statements")
	}
	return r.ratio("statements", p.covered, p.all)
}

type coverProfile struct {
	blocks       map[[16]byte]bool // covered, by file and place
	covered, all int64
}

// block takes "file.go:1.2,3.4 statements count".
func (p *coverProfile) block(line []byte) error {
	place, rest, ok := cutLast(string(line), " ")
	count, err := strconv.ParseUint(rest, 10, 64)
	place, rest, ok2 := cutLast(place, " ")
	n, err2 := strconv.ParseUint(rest, 10, 31)
	file, span, ok3 := cutLast(place, ":")
	if !ok || !ok2 || !ok3 || err != nil || err2 != nil || file == "" || !isSpan(span) {
		return assay.Errorf(assay.CodeInvalid, "is no coverage block; expected FILE:LINE.COLUMN,LINE.COLUMN STATEMENTS COUNT")
	}
	sum := sumOf([]string{place})
	key := [16]byte(sum[:16])
	covered, known := p.blocks[key]
	switch {
	case known && (covered || count == 0):
		return nil
	case !known && len(p.blocks) >= MaxBlocks:
		return assay.Errorf(assay.CodeTooLarge, "is one more than %d blocks", MaxBlocks)
	case !known:
		p.all += int64(n)
	}
	p.blocks[key] = count > 0
	if count > 0 {
		p.covered += int64(n)
	}
	return nil
}

// isSpan reports whether s is "1.2,3.4".
func isSpan(s string) bool {
	digits := 0
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == ',' }) {
		if _, err := strconv.ParseUint(part, 10, 31); err != nil {
			return false
		}
		digits++
	}
	return digits == 4 && strings.Count(s, ",") == 1 && strings.Count(s, ".") == 2
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// readJaCoCo reads the totals of a JaCoCo report: lines, branches,
// instructions, methods and classes. JaCoCo's own totals are taken; packages
// are not added up.
func readJaCoCo(r *report) error {
	r.ev.Tool = assay.Tool{Name: "JaCoCo"} // the report does not say which version
	x, err := newXMLCursor(r)
	if err != nil {
		return err
	}
	if root := x.root(); x.err == nil && root.name != "report" {
		x.fail(assay.CodeInvalid, fmt.Sprintf("has the root element %q; expected report", clean(root.name, 100).s))
	}
	names := map[string]string{"LINE": "lines", "BRANCH": "branches", "INSTRUCTION": "instructions", "METHOD": "methods", "CLASS": "classes"}
	counters := 0
	for e := range x.children() {
		switch e.name {
		case "sessioninfo":
			if ms, ok := e.number("dump"); ok && ms > 0 && ms < 1<<42 {
				r.produced(time.UnixMilli(ms))
			}
		case "counter":
			counters++
			missed, ok1 := e.number("missed")
			covered, ok2 := e.number("covered")
			if !ok1 || !ok2 || missed > 1<<40 || covered > 1<<40 {
				x.fail(assay.CodeInvalid, "counter needs missed and covered as whole numbers")
				continue
			}
			if name := names[e.attr("type")]; name != "" {
				if err := r.ratio(name, covered, covered+missed); err != nil {
					x.fail(assay.CodeInvalid, asError(err).Msg)
				}
			}
		}
	}
	if x.end(); x.err != nil {
		return x.err
	}
	if counters == 0 {
		return missing("report.counter", "the totals of the report")
	}
	if len(r.ev.Measures) == 0 {
		r.note("the report covers no code")
	}
	return nil
}

// readCobertura reads the totals of a Cobertura report: lines and branches, from
// counts if the report gives them and from rates otherwise. Branches that a
// report counts as none are left out: writers give them a rate of 0 or of 1.
func readCobertura(r *report) error {
	r.ev.Tool = assay.Tool{Name: "Cobertura XML"} // many tools write it, and few say who they are
	x, err := newXMLCursor(r)
	if err != nil {
		return err
	}
	root := x.root()
	if x.err == nil && root.name != "coverage" {
		x.fail(assay.CodeInvalid, fmt.Sprintf("has the root element %q; expected coverage", clean(root.name, 100).s))
	}
	r.ev.Tool.Version = r.text(root.attr("version"), MaxName)
	for _, m := range []struct{ name, covered, all, rate string }{
		{"lines", "lines-covered", "lines-valid", "line-rate"},
		{"branches", "branches-covered", "branches-valid", "branch-rate"},
	} {
		if err := totals(r, root, m.name, m.covered, m.all, m.rate); err != nil && x.err == nil {
			x.fail(assay.CodeInvalid, asError(err).Msg)
		}
	}
	if n, ok := root.number("timestamp"); ok && n > 0 {
		if n > 1<<33 { // milliseconds, as Cobertura itself writes; others write seconds
			n /= 1000
		}
		if n < 1<<33 {
			r.produced(time.Unix(n, 0))
		}
	}
	if x.end(); x.err != nil {
		return x.err
	}
	if len(r.ev.Measures) == 0 {
		r.note("the report covers no code")
	}
	return nil
}

func totals(r *report, root element, name, covered, all, rate string) error {
	have, ok1 := root.number(covered)
	of, ok2 := root.number(all)
	if ok1 && ok2 {
		return r.ratio(name, have, of)
	}
	s := strings.TrimSpace(root.attr(rate))
	if s == "" {
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v > 1 {
		return assay.Errorf(assay.CodeInvalid, "%s %q is not a number from 0 to 1", rate, clean(s, 50).s)
	}
	if name == "branches" {
		r.note("the report does not say how many branches there are; a rate of %s may mean none", s)
	}
	return r.measure(assay.Measure{Name: name, Unit: unitRatio, Value: v})
}
