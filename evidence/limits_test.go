package evidence_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// stream yields a report of any size without holding it: head, then body(i)
// for i below n, then tail.
type stream struct {
	head, tail string
	body       func(i int) string
	n, i       int
	rest       string
	done       bool
}

func (s *stream) Read(p []byte) (int, error) {
	if s.head != "" {
		s.rest, s.head = s.head, ""
	}
	for s.rest == "" {
		switch {
		case s.i < s.n:
			s.rest = s.body(s.i)
			s.i++
		case !s.done:
			s.rest, s.done = s.tail, true
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func TestReadStopsAtEachLimitAndNamesIt(t *testing.T) {
	same := func(s string) func(int) string { return func(int) string { return s } }
	blank := same(strings.Repeat(" ", 1<<20))
	sarif := `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[`
	for _, tt := range []struct {
		name string
		in   stream
		want string
		slow bool
	}{
		{"findings", stream{head: sarif + "{}", body: same(",{}"), n: evidence.MaxFindings, tail: "]}]}"}, "runs[0].results[100000] has more than 100000 findings", false},
		{"artifacts", stream{head: `{"runs":[{"artifacts":[{}`, body: same(",{}"), n: evidence.MaxArtifacts, tail: "]}]}"}, "has more than 200000 artifacts", false},
		{"rules", stream{head: `{"runs":[{"tool":{"driver":{"rules":[{}`, body: same(",{}"), n: evidence.MaxRules, tail: "]}}}]}"}, "has more than 50000 rules", false},
		{"components", stream{head: `{"bomFormat":"CycloneDX","components":[{"name":"a"}`, body: same(`,{"name":"a"}`), n: evidence.MaxComponents, tail: "]}"}, "has more than 200000 components", false},
		{"vulnerabilities", stream{head: `{"bomFormat":"CycloneDX","vulnerabilities":[{"id":"a"}`, body: same(`,{"id":"a"}`), n: evidence.MaxFindings, tail: "]}"}, "has more than 100000 findings", false},
		{"advisories", stream{head: `{"results":[{"source":{},"packages":[{"vulnerabilities":[{"id":"a"}`, body: same(`,{"id":"a"}`), n: evidence.MaxFindings + 1, tail: "]}]}]}"}, "has more than 100000 findings", false},
		{"depth", stream{head: `{"runs":[{"a":`, body: same("["), n: evidence.MaxDepth}, "is nested deeper than 128 levels", false},
		{"depth of components", stream{head: `{"bomFormat":"CycloneDX","components":[{"name":"a"`, body: same(`,"components":[{"name":"a"`), n: evidence.MaxDepth}, "is nested deeper than 128 levels", false},
		{"members", stream{head: `{"runs":[{"a":{"x":0`, body: func(i int) string { return fmt.Sprintf(`,"%d":0`, i) }, n: evidence.MaxMembers, tail: "}}]}"}, "has more than 100000 members", false},
		{"key", stream{head: `{"runs":[{"` + strings.Repeat("k", 2000) + `":0}]}`}, "has a key longer than 1000 bytes", false},
		{"string", stream{head: `{"runs":[{"a":"`, body: blank, n: 9, tail: `"}]}`}, "has a single value longer than 8388608 bytes", false},
		{"white space", stream{head: `{"runs":[{"a":`, body: blank, n: 9, tail: `0}]}`}, "has a single value longer than 8388608 bytes", false},
		{"line", stream{head: events("start"), body: blank, n: 9}, "line is longer than 8388608 bytes", false},
		{"tests", stream{head: events("start"), body: func(i int) string { return fmt.Sprintf(`{"Action":"run","Package":"p","Test":"%d"}`+"\n", i) }, n: evidence.MaxTests}, "has more than 500000 tests and packages", true},
		{"CycloneDX bytes", stream{head: `{"bomFormat":"CycloneDX","x":[0`, body: same("," + strings.Repeat(" ", 1<<20) + "0"), n: 130, tail: "]}"}, "is larger than 134217728 bytes, the limit for cyclonedx-json", true},
		{"SARIF bytes", stream{head: `{"runs":[{"a":[`, body: same("null," + strings.Repeat(" ", 1<<20)), n: 260, tail: "null]}]}"}, "is larger than 268435456 bytes, the limit for sarif-2.1.0", true},
		{"go test bytes", stream{head: events("start"), body: same(strings.Repeat("x", 1<<20) + "\n"), n: 260}, "is larger than 268435456 bytes, the limit for go-test-json", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow && testing.Short() {
				t.Skip("reads hundreds of megabytes")
			}
			_, err := evidence.Read(&tt.in, "r.json", evidence.Options{})
			if assay.CodeOf(err) != assay.CodeTooLarge || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %s %v, want %q", assay.CodeOf(err), err, tt.want)
			}
		})
	}
}

// A report as large as its format allows is read in little memory.
func TestReadDoesNotHoldTheReport(t *testing.T) {
	text := `{"ignored":"` + strings.Repeat("x", 1<<16) + `"}`
	more := "," + text
	in := &stream{head: `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[],"artifacts":[` + text,
		body: func(int) string { return more }, n: 1000, tail: "]}]}"}
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			again := *in
			if _, err := evidence.Read(&again, "r.json", evidence.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 4<<20 {
		t.Errorf("reading 64 MiB allocated %d bytes, want less than 4 MiB", allocated)
	}
}
