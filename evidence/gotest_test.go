package evidence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/internal/golden"
)

// The files were written by go test -json -count=2, by packages that do not
// build, panic, skip or exit with 1, and by a run into its time-out.
func TestGoTestReportsOfTheRealTool(t *testing.T) {
	for _, tt := range []struct {
		file string
		want assay.TestCounts
	}{
		{"gotest-count2", assay.TestCounts{Passed: 6, Failed: 3, Skipped: 1, Flaky: 1}},
		{"gotest-build-panic", assay.TestCounts{Passed: 2, Failed: 5}},
		{"gotest-timeout", assay.TestCounts{Passed: 1, Failed: 2}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			e := readFile(t, "testdata/"+tt.file+".json")
			if *e.Tests != tt.want {
				t.Errorf("counts %+v, want %+v", *e.Tests, tt.want)
			}
			if got := tt.want.Failed + tt.want.Flaky; len(e.Findings) != got {
				t.Errorf("%d findings, want one for each failed or flaky case, %d", len(e.Findings), got)
			}
			var b strings.Builder
			fmt.Fprintf(&b, "%s, produced %s\n", evidence.Summary(e), e.Produced.Format(time.RFC3339Nano))
			for _, f := range e.Findings {
				fmt.Fprintf(&b, "%-8s %s at %s:%d\n         %s\n", f.Severity, f.Rule, f.Location.File, f.Location.Line, f.Message)
			}
			for _, n := range e.Notes {
				fmt.Fprintf(&b, "note     %s\n", n)
			}
			golden.Equal(t, "testdata/"+tt.file+".golden", []byte(b.String()))
		})
	}
}

// events writes test events of the package p from words like "run A", "fail A" or "pass".
func events(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		action, test, _ := strings.Cut(w, " ")
		fmt.Fprintf(&b, `{"Time":"2026-11-21T10:00:00Z","Action":%q,"Package":"p"`, action)
		if test != "" {
			fmt.Fprintf(&b, `,"Test":%q`, test)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func TestGoTestCountsACaseByWhatItFinallyWas(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []string
		want   assay.TestCounts
		says   string // of the only finding
	}{
		{"passed", []string{"start", "run A", "pass A", "pass"}, assay.TestCounts{Passed: 1}, ""},
		{"failed", []string{"start", "run A", "fail A", "fail"}, assay.TestCounts{Failed: 1}, "failed"},
		{"failed, then passed: flaky", []string{"start", "run A", "fail A", "run A", "pass A", "fail"}, assay.TestCounts{Flaky: 1}, "flaky: failed 1 time, then passed"},
		{"passed, then failed: failed", []string{"start", "run A", "pass A", "run A", "fail A", "fail"}, assay.TestCounts{Failed: 1}, "failed"},
		{"failed, passed, failed: failed", []string{"start", "run A", "fail A", "run A", "pass A", "run A", "fail A", "fail"}, assay.TestCounts{Failed: 1}, "failed"},
		{"failed, then skipped: never passed", []string{"start", "run A", "fail A", "run A", "skip A", "fail"}, assay.TestCounts{Failed: 1}, "failed, then was skipped"},
		{"passed, then never finished", []string{"start", "run A", "pass A", "run A", "pass"}, assay.TestCounts{Failed: 1}, "never finished"},
		{"never finished although the package passed", []string{"start", "run A", "pass"}, assay.TestCounts{Failed: 1}, "never finished"},
		{"package fails though its tests pass", []string{"start", "run A", "pass A", "fail"}, assay.TestCounts{Passed: 1, Failed: 1}, "failed outside its tests"},
		{"package without a result", []string{"start", "run A", "pass A"}, assay.TestCounts{Passed: 1, Failed: 1}, "never finished: the report ends before the package has a result"},
		{"only a start", []string{"start"}, assay.TestCounts{Failed: 1}, "never finished: the report ends before the package has a result"},
		{"leaves count, parents do not", []string{"start", "run A", "run A/x", "run A/y/z", "pass A/x", "skip A/y/z", "pass A", "pass"}, assay.TestCounts{Passed: 1, Skipped: 1}, ""},
		{"a parent that fails by itself", []string{"start", "run A", "run A/x", "pass A/x", "fail A", "fail"}, assay.TestCounts{Passed: 1, Failed: 1}, "failed"},
		{"a parent that fails with its subtest", []string{"start", "run A", "run A/x", "fail A/x", "fail A", "fail"}, assay.TestCounts{Failed: 1}, "failed"},
		{"a parent of a flaky subtest", []string{"start", "run A", "run A/x", "fail A/x", "fail A", "run A", "run A/x", "pass A/x", "pass A", "fail"}, assay.TestCounts{Flaky: 1}, "flaky: failed 1 time, then passed"},
		{"retried in another run of the package", []string{"start", "run A", "fail A", "run B", "pass B", "fail", "start", "run A", "pass A", "pass"}, assay.TestCounts{Passed: 1, Flaky: 1}, "flaky: failed 1 time, then passed"},
		{"benchmarks are no tests", []string{"start", "run BenchmarkA", "bench BenchmarkA", "pass"}, assay.TestCounts{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := mustRead(t, events(tt.events...), evidence.Options{})
			if *e.Tests != tt.want {
				t.Errorf("counts %+v, want %+v", *e.Tests, tt.want)
			}
			says := ""
			if len(e.Findings) == 1 {
				says = e.Findings[0].Message
			}
			if says != tt.says || len(e.Findings) > 1 {
				t.Errorf("findings %+v, want one that says %q", e.Findings, tt.says)
			}
		})
	}
}

func TestGoTestNamesAFailedBuildOnce(t *testing.T) {
	build := `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p_test.go:3:1: undefined: x\n"}` + "\n" +
		`{"ImportPath":"p [p.test]","Action":"build-fail"}` + "\n"
	told := `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}` + "\n"
	for name, report := range map[string]string{"p": build + told, "p [p.test]": build} {
		e := mustRead(t, report, evidence.Options{})
		if len(e.Findings) != 1 || e.Tests.Failed != 1 {
			t.Fatalf("findings %+v, counts %+v", e.Findings, e.Tests)
		}
		if f := e.Findings[0]; f.Rule != name || f.Message != "build failed: p_test.go:3:1: undefined: x" {
			t.Errorf("finding %+v", f)
		}
	}
}

func TestGoTestNotesWhatIsNoEvent(t *testing.T) {
	report := "go: downloading example.org/x v1.0.0\n# p\n" + events("start", "run A", "pass A", "telepathy A", "pass") +
		`{"Action":"output","Package":"q","Output":"ok  \tq\t(cached)\n"}` + "\n" + `{"Action":"pass","Package":"q"}` + "\n\n"
	e := mustRead(t, report, evidence.Options{})
	want := `["2 lines are no test event, the first: go: downloading example.org/x v1.0.0","1 event has an unknown action","1 package was answered from the test cache"]`
	if got := dump(t, e.Notes); got != want || *e.Tests != (assay.TestCounts{Passed: 1}) {
		t.Errorf("counts %+v, notes %s\nwant %s", e.Tests, got, want)
	}
}

func TestGoTestKeepsCasesWithLongNamesApart(t *testing.T) {
	long := strings.Repeat("x", 5000)
	e := mustRead(t, events("start", "run "+long+"a", "run "+long+"b", "fail "+long+"a", "pass "+long+"b", "fail"), evidence.Options{})
	if *e.Tests != (assay.TestCounts{Passed: 1, Failed: 1}) {
		t.Errorf("counts %+v, want one passed and one failed", e.Tests)
	}
}

func TestGoTestBoundsTheOutputItKeeps(t *testing.T) {
	var b strings.Builder
	b.WriteString(events("start", "run A"))
	for range 1000 {
		b.WriteString(`{"Action":"output","Package":"p","Test":"A","Output":"a_test.go:7: a line of sixty-four bytes, again and again and again\n"}` + "\n")
	}
	b.WriteString(events("fail A", "fail"))
	f := mustRead(t, b.String(), evidence.Options{}).Findings[0]
	if len(f.Message) > evidence.MaxMessage || !strings.HasPrefix(f.Message, "failed: a_test.go:7: a line") {
		t.Errorf("message of %d bytes: %s", len(f.Message), f.Message)
	}
	if f.Location != (assay.Location{File: "p/a_test.go", Line: 7}) {
		t.Errorf("location %+v", f.Location)
	}
}
