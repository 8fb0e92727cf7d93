//go:build !race

// See long_test.go for why: what is beside Read writes the report and looks at the heap.

package evidence_test

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// writeJUnit writes a report of about size bytes: cases of about 2 KB with
// output and properties, one in a thousand failed and one in a thousand retried.
func writeJUnit(w io.Writer, size int64) (cases int, err error) {
	b := bufio.NewWriter(w)
	out := strings.Repeat("2026-11-21T10:00:00Z INFO handled request path=/items &amp; status=200\n", 25)
	fmt.Fprint(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<testsuites>\n")
	for written := int64(0); written < size; cases++ {
		if cases%1000 == 0 {
			if cases > 0 {
				fmt.Fprintln(b, "</testsuite>")
			}
			fmt.Fprintf(b, "<testsuite name=\"suite %d\" timestamp=\"2026-11-21T10:00:00Z\">\n", cases/1000)
		}
		body := ""
		switch cases % 1000 {
		case 7:
			body = `<failure message="expected 1, got 2" type="AssertionError">at org.example.Test.run(Test.java:42)</failure>`
		case 11:
			body = `<flakyFailure message="timed out" type="Timeout">at org.example.Test.run(Test.java:43)</flakyFailure>`
		}
		n, _ := fmt.Fprintf(b, "<testcase classname=\"org.example.package%d.Test\" name=\"case %d\" time=\"0.012\"><properties><property name=\"owner\" value=\"team\"/></properties>%s<system-out>%s</system-out></testcase>\n", cases/100, cases, body, out)
		written += int64(n)
	}
	fmt.Fprint(b, "</testsuite>\n</testsuites>\n")
	return cases, b.Flush()
}

// A report of 20 MB is read in far less memory than it has; the benchmark of
// the supply chain does the same with 500 MB.
func TestReadDoesNotHoldAJUnitReport(t *testing.T) {
	const size, allowed = 20 << 20, 12 << 20
	r, w := io.Pipe()
	var cases int
	go func() {
		var err error
		cases, err = writeJUnit(w, size)
		_ = w.CloseWithError(err) // never fails
	}()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapInuse))
			}
		}
	}()
	e, err := evidence.Read(r, "junit.xml", evidence.Options{})
	close(done)
	if err != nil {
		t.Fatal(err)
	}
	failed := (cases + 992) / 1000
	if want := (assay.TestCounts{Passed: cases - failed - (cases+988)/1000, Failed: failed, Flaky: (cases + 988) / 1000}); *e.Tests != want {
		t.Errorf("counts %+v, want %+v", *e.Tests, want)
	}
	if extra := int64(peak.Load()) - int64(before.HeapInuse); extra > allowed {
		t.Errorf("reading %d bytes took %d bytes of memory, want less than %d", e.Size, extra, allowed)
	}
}

func BenchmarkReadJUnit(b *testing.B) {
	var s strings.Builder
	if _, err := writeJUnit(&s, 8<<20); err != nil {
		b.Fatal(err)
	}
	benchmarkRead(b, []byte(s.String()))
}
