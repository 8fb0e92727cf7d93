package evidence_test

import (
	"io"
	"strings"
	"testing"

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
