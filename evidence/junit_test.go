package evidence_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

func TestJUnitCountsWhatEachCaseFinallyWas(t *testing.T) {
	const failure = `<failure message="boom" type="AssertionError">at a.go:7</failure>`
	tests := func(passed, failed, skipped, flaky int) assay.TestCounts {
		return assay.TestCounts{Passed: passed, Failed: failed, Skipped: skipped, Flaky: flaky}
	}
	for _, tt := range []struct {
		name, body string
		want       assay.TestCounts
		message    string // of the first finding
	}{
		{"a pass", `<testcase classname="a" name="b"/>`, tests(1, 0, 0, 0), ""},
		{"a failure", `<testcase classname="a" name="b">` + failure + `</testcase>`, tests(0, 1, 0, 0), "failed: boom"},
		{"an error", `<testcase classname="a" name="b"><error type="NPE"/></testcase>`, tests(0, 1, 0, 0), "failed: NPE"},
		{"a skip", `<testcase classname="a" name="b"><skipped/></testcase>`, tests(0, 0, 1, 0), ""},
		{"a skip by status", `<testcase name="b" status="notrun"/>`, tests(0, 0, 1, 0), ""},
		{"a failure by status only", `<testcase name="b" status="failed"/>`, tests(0, 1, 0, 0), "failed: its status is failed"},
		{"a failure and a skip", `<testcase name="b"><skipped/>` + failure + `</testcase>`, tests(0, 1, 0, 0), "failed: boom"},
		{"surefire: flaky", `<testcase name="b"><flakyFailure message="late" type="T"/><flakyError message="x"/></testcase>`, tests(0, 0, 0, 1), "flaky: failed 2 times, then passed: late"},
		{"surefire: failed in every rerun", `<testcase name="b">` + failure + `<rerunFailure message="again"/><rerunError message="again"/></testcase>`, tests(0, 1, 0, 0), "failed 3 times: boom"},
		{"repeated: failed, then passed", `<testcase classname="a" name="b">` + failure + `</testcase><testcase classname="a" name="b"/>`, tests(0, 0, 0, 1), "flaky: failed 1 time, then passed: boom"},
		{"repeated: failed, then failed", `<testcase classname="a" name="b">` + failure + `</testcase><testcase classname="a" name="b">` + failure + `</testcase>`, tests(0, 1, 0, 0), "failed 2 times: boom"},
		{"repeated: passed, then failed", `<testcase classname="a" name="b"/><testcase classname="a" name="b">` + failure + `</testcase>`, tests(0, 1, 0, 0), "failed: boom"},
		{"repeated: passed twice", `<testcase classname="a" name="b"/><testcase classname="a" name="b"/>`, tests(1, 0, 0, 0), ""},
		{"repeated: failed, then skipped", `<testcase name="b">` + failure + `</testcase><testcase name="b"><skipped/></testcase>`, tests(0, 1, 0, 0), "failed, then was skipped: boom"},
		{"nested suites", `<testsuite name="x"><testsuite name="y"><testcase name="b"/></testsuite><testcase name="b"/></testsuite>`, tests(2, 0, 0, 0), ""},
		{"a suite that could not start", `<testsuite name="x"><error message="no database"/></testsuite>`, tests(0, 1, 0, 0), "the suite failed: no database"},
		{"a suite that hides its failures", `<testsuite name="x" tests="4" failures="1" errors="1"><testcase name="b"/></testsuite>`, tests(1, 1, 0, 0), "the suite declares 2 failures, but lists none"},
		{"properties and output", `<properties><property name="a" value="b"/></properties><testcase name="b"><properties/><system-out><![CDATA[<failure/>]]></system-out><system-err>x</system-err></testcase>`, tests(1, 0, 0, 0), ""},
		{"no attributes at all", `<testcase/>`, tests(1, 0, 0, 0), ""},
		{"the same case on two hosts", `<testsuite name="s" hostname="chromium"><testcase name="b">` + failure + `</testcase></testsuite><testsuite name="s" hostname="firefox"><testcase name="b"/></testsuite>`, tests(1, 1, 0, 0), "failed: boom"},
		{"nothing", ``, tests(0, 0, 0, 0), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, report := range []string{`<testsuites><testsuite name="s">` + tt.body + `</testsuite></testsuites>`, `<?xml version="1.0"?><testsuite name="s">` + tt.body + `</testsuite>`} {
				e := mustRead(t, report, evidence.Options{})
				if *e.Tests != tt.want {
					t.Errorf("counts %+v, want %+v", *e.Tests, tt.want)
				}
				first := ""
				if len(e.Findings) > 0 {
					first = e.Findings[0].Message
				}
				if first != tt.message {
					t.Errorf("message %q, want %q", first, tt.message)
				}
			}
		})
	}
}

// Whether a test failed or was flaky, in which suite its class lay and where in
// the file it stands: its fingerprint is its identity.
func TestAFingerprintOfATestIsItsIdentity(t *testing.T) {
	print := func(report string) string {
		e := mustRead(t, report, evidence.Options{})
		if len(e.Findings) != 1 {
			t.Fatalf("%d findings, want 1", len(e.Findings))
		}
		return e.Findings[0].Fingerprint
	}
	failed := print(`<testsuite name="run 1"><testcase classname="a.B" name="c" line="3"><failure>one</failure></testcase></testsuite>`)
	for name, report := range map[string]string{
		"flaky":         `<testsuite name="run 1"><testcase classname="a.B" name="c"><flakyFailure/></testcase></testsuite>`,
		"another suite": `<testsuite name="run 2"><testcase classname="a.B" name="c" line="9"><error>two</error></testcase></testsuite>`,
	} {
		if print(report) != failed {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	if print(`<testsuite name="run 1"><testcase classname="a.B" name="d"><failure/></testcase></testsuite>`) == failed {
		t.Error("another test has the same fingerprint")
	}
	if a, b := print(events("start", "run A", "fail A", "fail")), print(events("start", "run A", "fail A", "run A", "pass A", "pass")); a != b {
		t.Errorf("go test: a failed and a flaky run of one test have the fingerprints %s and %s", a, b)
	}
}

func TestJUnitFindsThePlaceOfAFailure(t *testing.T) {
	for report, want := range map[string]assay.Location{
		`<testsuite><testcase name="a" file="x/y_test.py" line="12"><failure/></testcase></testsuite>`:                          {File: "x/y_test.py", Line: 12},
		`<testsuite file="spec/a.rb"><testcase name="a"><failure>boom</failure></testcase></testsuite>`:                         {File: "spec/a.rb"},
		`<testsuite><testcase name="a"><failure>AssertionError at src/app.test.ts:33:5</failure></testcase></testsuite>`:        {File: "src/app.test.ts", Line: 33},
		`<testsuite><testcase name="a"><failure>cannot connect to example.com:8080</failure></testcase></testsuite>`:            {},
		`<testsuite><testcase name="a" file="/src/other.py"><failure>see lib/app.py:3</failure></testcase></testsuite>`:         {File: "/src/other.py"},
		`<testsuite><testcase name="a" file="/src/lib/app.py"><failure>raised in lib/app.py:3</failure></testcase></testsuite>`: {File: "/src/lib/app.py", Line: 3},
	} {
		if e := mustRead(t, report, evidence.Options{}); e.Findings[0].Location != want {
			t.Errorf("%s\n\tplace %+v, want %+v", report, e.Findings[0].Location, want)
		}
	}
}

func TestJUnitSaysWhatItDidNotUse(t *testing.T) {
	e := mustRead(t, `<testsuites><testsuite name="s" tests="3" timestamp="2024-05-01T10:00:00"><testcase name="a"/><testcase name="a"/><extra/></testsuite>
		<testsuite timestamp="2024-05-02T10:00:00+02:00"><testcase name="b"><note/></testcase></testsuite></testsuites>`, evidence.Options{})
	want := []string{
		"element extra of a suite was not read",
		"element note of a test case was not read",
		"1 test case repeats a case that was listed before; each counts once, by its last attempt",
		"1 timestamp is without a time zone and not used; age counts from when the report was read",
		"1 suite declares other numbers of tests or failures than listed",
	}
	if !slices.Equal(e.Notes, want) {
		t.Errorf("notes %q\nwant  %q", e.Notes, want)
	}
	if e.Produced.Format("2006-01-02 15:04") != "2024-05-02 08:00" {
		t.Errorf("produced %v", e.Produced)
	}
}

func TestXMLMayBeInTheEncodingItDeclares(t *testing.T) {
	latin := "<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='caf\xe9'><failure/></testcase></testsuite>"
	windows := `<?xml version="1.0" encoding="windows-1252"?><testsuite><testcase name="` + "\x80" + `"><failure/></testcase></testsuite>`
	wide := func(mark string, high, low int) string {
		b := []byte(mark)
		for _, u := range utf16.Encode([]rune(`<?xml version="1.0" encoding="utf-16"?><testsuite><testcase name="ünï"><failure/></testcase></testsuite>`)) {
			b = append(b, byte(u>>high), byte(u>>low))
		}
		return string(b)
	}
	for report, want := range map[string]string{
		latin: "café", windows: "€",
		wide("\xff\xfe", 0, 8): "ünï", wide("\xfe\xff", 8, 0): "ünï", wide("", 0, 8): "ünï",
		"\ufeff<testsuite><testcase name=\"ä\"><failure/></testcase></testsuite>": "ä",
	} {
		if e := mustRead(t, report, evidence.Options{}); e.Findings[0].Rule != want {
			t.Errorf("rule %q, want %q", e.Findings[0].Rule, want)
		}
	}
	lying := mustRead(t, `<?xml version="1.0" encoding="utf-16"?><testsuite/>`, evidence.Options{})
	if len(lying.Notes) == 0 || !strings.Contains(lying.Notes[0], "declares the encoding utf-16") {
		t.Errorf("notes %q", lying.Notes)
	}
	_, err := evidence.Read(strings.NewReader(`<?xml version="1.0" encoding="klingon"?><testsuite/>`), "r.xml", evidence.Options{})
	refused(t, err, assay.CodeInvalid, "r.xml: is written in the encoding klingon, which is not known (convert it to UTF-8)")
}

func TestReadRefusesBadXMLWithOneLineThatSaysWhere(t *testing.T) {
	laughs := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]><testsuite name="&lol1;"/>`
	for _, tt := range []struct{ name, report, want string }{
		{"billion laughs", laughs, ":1:125: document declares entities, which are not expanded; write the report without them"},
		{"entity of nobody", `<testsuite name="&lol;"/>`, ":1:22: document is not valid XML: invalid character entity &lol;"},
		{"cut off", "<testsuite>\n<testcase", ":2:9: testsuite is cut off: the XML ends before its element does"},
		{"cut off in text", "<testsuite><testcase name='a'><failure>half", ":1:43: testsuite.testcase.failure is cut off: the XML ends before its element does"},
		{"wrong end", "<testsuite></testcase>", ":1:22: testsuite is not valid XML: element <testsuite> closed by </testcase>"},
		{"an attribute twice", `<testsuite name="a" name="b"/>`, ":1:30: testsuite has the attribute name twice"},
		{"two reports", "<testsuite/>\n<testsuite/>", ":2:12: document has data after the end of its root element"},
		{"text behind", "<testsuite/>\nPASS", ":2:4: document has data after the end of its root element"},
		{"a NUL byte", "<testsuite>\x00</testsuite>", ":1:13: testsuite is not valid XML: illegal character code U+0000"},
		{"invalid UTF-8", "<testsuite name='\xff'/>", ":1:19: document is not valid XML: invalid UTF-8"},
		{"another root", "<html></html>", " is XML with the root element html, which is not understood yet" + hint},
		{"another test report", `<assemblies/>`, " is xUnit.net XML, which is not understood yet" + hint},
		{"Clover", `<coverage generated="1"><project/></coverage>`, " is Clover XML, which is not understood yet" + hint},
		{"Cobertura beyond all", `<coverage line-rate="1.5"/>`, `:1:27: coverage line-rate "1.5" is not a number from 0 to 1`},
		{"JaCoCo without totals", `<report><sessioninfo/></report>`, " report.counter is missing; expected the totals of the report"},
		{"JaCoCo that counts badly", `<report><counter type="LINE" missed="x"/></report>`, ":1:41: report.counter counter needs missed and covered as whole numbers"},
		{"CycloneDX component without a name", `<bom xmlns="http://cyclonedx.org/schema/bom/1.5"><components><component/></components></bom>`, ":1:73: bom.components has a component without a name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "r.xml" + tt.want
			if !strings.HasPrefix(tt.want, ":") {
				want = "r.xml: " + strings.TrimPrefix(tt.want, " ")
			}
			_, err := evidence.Read(strings.NewReader(tt.report), "r.xml", evidence.Options{})
			refused(t, err, assay.CodeInvalid, want)
		})
	}
}
