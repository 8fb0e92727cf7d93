package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/bench/result"
	"assay.dev/assay/bench/run"
	"assay.dev/assay/evidence"
)

// What reading a large test report must hold.
const (
	junitBytes        = 500_000_000
	junitMemoryTarget = 64 // MiB beyond what the process had before
)

// benchJUnit measures how fast a large JUnit report is read, and in how much memory.
func benchJUnit(_ context.Context, b *run.Bench) error {
	var rate, extra []float64
	for n := range b.Rounds {
		mb, mib, err := junitOnce()
		if err != nil {
			return err
		}
		rate, extra = append(rate, mb), append(extra, mib)
		b.Say("junit %d/%d: %.0f MB/s, %.1f MiB extra", n+1, b.Rounds, mb, mib)
	}
	b.Rows = append(b.Rows,
		result.New("JUnit report of 500 MB, extra memory", "MiB", extra).Want("<", junitMemoryTarget),
		result.New("JUnit report of 500 MB, reading", "MB/s", rate),
	)
	return nil
}

// junitOnce reads one report that is written while it is read, and checks its counts.
func junitOnce() (rate, extra float64, err error) {
	r, w := io.Pipe()
	cases := make(chan int, 1)
	go func() {
		n, err := junitReport(w, junitBytes)
		_ = w.CloseWithError(err) // never fails
		cases <- n
	}()
	runtime.GC()
	before := memory()
	stop, peak := make(chan struct{}), make(chan uint64, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		most := uint64(0)
		for {
			most = max(most, memory())
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	began := time.Now()
	e, err := evidence.Read(r, "junit.xml", evidence.Options{Collected: began})
	took := time.Since(began)
	close(stop)
	if err != nil {
		_ = r.CloseWithError(err) // so that the writer ends
		return 0, 0, err
	}
	n := <-cases
	failed, flaky := (n+992)/1000, (n+988)/1000
	if want := (assay.TestCounts{Passed: n - failed - flaky, Failed: failed, Flaky: flaky}); *e.Tests != want {
		return 0, 0, fmt.Errorf("the report of %d cases was counted as %+v", n, *e.Tests)
	}
	return float64(e.Size) / 1e6 / took.Seconds(), (float64(<-peak) - float64(before)) / (1 << 20), nil
}

// memory is what the process holds for its heap and stacks, in bytes.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// junitReport writes a JUnit XML report of about size bytes: cases of about 2 KB
// with output and properties, one in a thousand failed and one in a thousand
// flaky. It returns how many cases it wrote; of them (cases+992)/1000 are failed
// and (cases+988)/1000 are flaky.
func junitReport(w io.Writer, size int64) (cases int, err error) {
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
		n, err := fmt.Fprintf(b, "<testcase classname=\"org.example.package%d.Test\" name=\"case %d\" time=\"0.012\"><properties><property name=\"owner\" value=\"team\"/></properties>%s<system-out>%s</system-out></testcase>\n", cases/100, cases, body, out)
		if err != nil {
			return cases, err
		}
		written += int64(n)
	}
	fmt.Fprint(b, "</testsuite>\n</testsuites>\n")
	return cases, b.Flush()
}
