//go:build !race

package evidence_test

import (
	"fmt"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// Millions of bytes and entries, read by one goroutine: the race detector would make them ten
// times as long and has nothing to watch in them. `make test` runs the package with it, which
// leaves this file out, and without.

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

func TestXMLStopsAtEachLimit(t *testing.T) {
	same := func(s string) func(int) string { return func(int) string { return s } }
	for name, tt := range map[string]struct {
		in   stream
		want string
	}{
		"depth":      {stream{head: "<testsuites>", body: same("<testsuite>"), n: evidence.MaxDepth + 1}, "is nested deeper than 128 levels"},
		"attribute":  {stream{head: `<testsuite name="`, body: same(strings.Repeat("x", 1<<20)), n: 9, tail: `"/>`}, "has a tag longer than 8388608 bytes"},
		"attributes": {stream{head: "<testsuite", body: func(i int) string { return fmt.Sprintf(` a%d=""`, i) }, n: 1001, tail: "/>"}, "has more than 1000 attributes"},
		"directive":  {stream{head: "<!DOCTYPE x [", body: same(strings.Repeat("x", 1<<20)), n: 9, tail: "]><testsuite/>"}, "has a tag longer than 8388608 bytes"},
		"findings":   {stream{head: "<testsuite>", body: func(i int) string { return fmt.Sprintf(`<testcase name="%d"><failure/></testcase>`, i) }, n: evidence.MaxFindings + 1, tail: "</testsuite>"}, "has more than 100000 findings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := evidence.Read(&tt.in, "r.xml", evidence.Options{Format: evidence.FormatJUnit})
			if assay.CodeOf(err) != assay.CodeTooLarge || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %s %v, want %q", assay.CodeOf(err), err, tt.want)
			}
		})
	}
}

// The output of a test may be as long as it likes: it is passed over, whatever is in it.
func TestXMLPassesOverLongTexts(t *testing.T) {
	long := strings.Repeat("é & ]] > -- ", 40_000)
	escaped := strings.ReplaceAll(strings.ReplaceAll(long, "&", "&amp;"), ">", "&gt;")
	report := `<testsuite><!-- ` + strings.Repeat("x- ", 100_000) + ` --><testcase name="a"><system-out>` + escaped + `</system-out><system-err><![CDATA[` + long + `<failure>]]></system-err></testcase>` +
		"\n" + `<testcase name="b"><failure><![CDATA[` + long + `]]></failure></testcase></testsuite`
	e := mustRead(t, report+">", evidence.Options{})
	if *e.Tests != (assay.TestCounts{Passed: 1, Failed: 1}) || !strings.HasPrefix(e.Findings[0].Message, "failed: é & ]] > -- é") {
		t.Errorf("counts %+v, message %.60q", *e.Tests, e.Findings[0].Message)
	}
	_, err := evidence.Read(strings.NewReader(report), "r.xml", evidence.Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "r.xml:2:") {
		t.Errorf("a cut-off report: %v, want an error in line 2", err)
	}
}
