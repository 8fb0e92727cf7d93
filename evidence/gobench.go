package evidence

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// readGoBench reads the text that go test -bench prints. Each measure is the
// median over the runs of a benchmark (-count). The number of processors at the
// end of a name is left out if all names have the same. Names carry their
// package if the report holds several. A benchmark or package that failed is a
// high finding.
func readGoBench(r *report) error {
	r.ev.Tool = assay.Tool{Name: "go test -bench"}
	b := &goBench{rep: r, runs: map[benchKey][]float64{}, suffixes: map[string]bool{}}
	lr := &lineReader{buf: r.in.buf}
	for {
		line, err := lr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := b.line(strings.TrimRight(string(line), "\r\n")); err != nil {
			e := asError(err)
			e.Line, e.Column, e.Field = lr.n, 1, "line"
			return e
		}
	}
	return b.finish()
}

type goBench struct {
	rep      *report
	runs     map[benchKey][]float64
	order    []benchKey
	suffixes map[string]bool // the endings of names: "-8", or ""
	pkg      string
	packages int
	values   int
	other    int // lines that say nothing to this reader
}

type benchKey struct{ pkg, name, unit string }

// maxRuns bounds the values of one report over all benchmarks and runs.
const maxRuns = 10 * MaxMeasures

func (b *goBench) line(s string) error {
	switch {
	case strings.HasPrefix(s, "pkg: "):
		b.pkg = b.rep.text(strings.TrimPrefix(s, "pkg: "), MaxName)
		b.packages++
	case strings.HasPrefix(s, "--- FAIL"), strings.HasPrefix(s, "FAIL\t"), strings.HasPrefix(s, "panic:"):
		return b.failed(s)
	case strings.HasPrefix(s, "Benchmark"):
		return b.result(strings.Fields(s))
	case s == "", s == "PASS", s == "FAIL", strings.HasPrefix(s, "ok  \t"), strings.HasPrefix(s, "goos: "), strings.HasPrefix(s, "goarch: "), strings.HasPrefix(s, "cpu: "), strings.HasPrefix(s, "?   \t"):
	default:
		b.other++
	}
	return nil
}

func (b *goBench) failed(s string) error {
	return b.rep.finding(assay.Finding{
		Rule: "benchmark-failed", Severity: assay.SeverityHigh, Message: b.rep.text(s, MaxMessage),
		Fingerprint: b.rep.prints.of("go bench", b.pkg, messageKind(clean(s, MaxName).s)),
	})
}

var processors = regexp.MustCompile(`-\d+$`)

// result takes "BenchmarkName-8 100 123 ns/op 45 B/op …". A line with nothing
// but a name is the start of one that printed something.
func (b *goBench) result(f []string) error {
	if len(f) < 4 || len(f)%2 != 0 {
		b.other++
		return nil
	}
	if _, err := strconv.ParseUint(f[1], 10, 63); err != nil {
		b.other++
		return nil
	}
	b.suffixes[processors.FindString(f[0])] = true
	for i := 2; i < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return assay.Errorf(assay.CodeInvalid, "has %q where a number of %s is expected", clean(f[i], 50).s, clean(f[i+1], 50).s)
		}
		key := benchKey{b.pkg, f[0], b.rep.text(f[i+1], MaxName)}
		runs, ok := b.runs[key]
		if !ok {
			if len(b.order) >= MaxMeasures {
				return assay.Errorf(assay.CodeTooLarge, "is one more than %d measures", MaxMeasures)
			}
			b.order = append(b.order, key)
		}
		if b.values++; b.values > maxRuns {
			return assay.Errorf(assay.CodeTooLarge, "is one more than %d values", maxRuns)
		}
		b.runs[key] = append(runs, v)
	}
	return nil
}

func (b *goBench) finish() error {
	if len(b.order) == 0 && len(b.rep.ev.Findings) == 0 {
		return assay.Errorf(assay.CodeInvalid, "holds no benchmark result; expected the output of go test -bench")
	}
	most := 0
	for _, key := range b.order {
		name := key.name
		if len(b.suffixes) == 1 {
			name = processors.ReplaceAllString(name, "")
		}
		if b.packages > 1 && key.pkg != "" {
			name = key.pkg + "." + name
		}
		runs := b.runs[key]
		most = max(most, len(runs))
		m := assay.Measure{Name: b.rep.text(name, MaxName), Unit: key.unit, Value: median(runs), Lower: lowerIsBetter(key.unit)}
		if err := b.rep.measure(m); err != nil {
			return err
		}
	}
	if most > 1 {
		b.rep.note("benchmarks ran up to %d times; each measure is the median", most)
	}
	if b.other > 0 {
		b.rep.note("%s no benchmark result", plural(b.other, "line is", "lines are"))
	}
	return nil
}

// lowerIsBetter is what Go's own tools assume of a unit: a rate should be high, anything else low.
func lowerIsBetter(unit string) bool {
	return !strings.HasSuffix(unit, "/s") && !strings.HasSuffix(unit, "/sec")
}

// readBenchstat reads the tables of benchstat -format csv. Measures are those
// of the last column: the newest of the compared files. A change for the worse
// that benchstat calls significant is a low finding, for a policy to judge.
func readBenchstat(r *report) error {
	r.ev.Tool = assay.Tool{Name: "benchstat"}
	b := &benchstat{rep: r}
	lr := &lineReader{buf: r.in.buf}
	for {
		line, err := lr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := b.line(strings.TrimRight(string(line), "\r\n")); err != nil {
			e := asError(err)
			e.Line, e.Column, e.Field = lr.n, 1, "line"
			return e
		}
	}
	if len(r.ev.Measures) == 0 {
		return assay.Errorf(assay.CodeInvalid, "holds no table of benchstat -format csv")
	}
	return nil
}

type benchstat struct {
	rep      *report
	unit     string
	value    int // column of the newest value, 0 outside a table
	delta    int // column of the change, 0 if nothing is compared
	packages string
}

func (b *benchstat) line(s string) error {
	f := strings.Split(s, ",")
	switch {
	case strings.HasPrefix(s, "pkg: "):
		b.packages = strings.TrimPrefix(s, "pkg: ")
		return nil
	case len(f) < 2:
		b.value = 0 // a blank line, or a header such as "goos: linux"
		return nil
	case f[0] == "":
		return b.header(f)
	case b.value == 0 || b.value >= len(f) || f[0] == "geomean" || f[b.value] == "":
		return nil
	}
	v, err := strconv.ParseFloat(f[b.value], 64)
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "has %q where a number of %s is expected", clean(f[b.value], 50).s, b.unit)
	}
	m := assay.Measure{Name: b.rep.text(f[0], MaxName), Unit: b.unit, Value: v, Lower: lowerIsBetter(b.unit)}
	if err := b.rep.measure(m); err != nil {
		return err
	}
	if b.delta == 0 || b.delta >= len(f) {
		return nil
	}
	change, err := strconv.ParseFloat(strings.TrimSuffix(f[b.delta], "%"), 64)
	if err != nil || m.Lower && change <= 0 || !m.Lower && change >= 0 {
		return nil // "~": no significant change, or a change for the better
	}
	return b.rep.finding(assay.Finding{
		Rule: "performance-regression", Severity: assay.SeverityLow,
		Message:     fmt.Sprintf("%s is %+.4g%% %s than in the compared run", m.Name, change, b.unit),
		Fingerprint: b.rep.prints.of("benchstat", b.packages, m.Name, b.unit),
	})
}

// header reads the second line of a table, for example ",sec/op,CI,sec/op,CI,vs base,P".
func (b *benchstat) header(f []string) error {
	value, delta := 0, 0
	for i := 1; i+1 < len(f); i++ {
		if f[i+1] == "CI" {
			value = i
		}
		if f[i] == "vs base" {
			delta = i
		}
	}
	if value == 0 {
		b.value = 0 // the first line of a table, with the names of the files
		return nil
	}
	b.unit, b.value, b.delta = b.rep.text(f[value], MaxName), value, delta
	return nil
}
