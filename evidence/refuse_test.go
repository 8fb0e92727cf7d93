package evidence_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// hint is what every refusal of an unknown format ends with.
var hint = " (formats understood: " + strings.Join(evidence.Formats(), ", ") + ")"

var started = events("start")

// badReports are reports of every format and what Read says about them: the
// place starts with a colon, a field or statement of the whole with neither.
var badReports = []struct{ name, report, want string }{
	{"empty", "", "is empty; expected a report" + hint},
	{"white space", " \n\t\n", "is empty; expected a report" + hint},
	{"only a byte order mark", "\ufeff", "is empty; expected a report" + hint},
	{"text", "PASS\nok\n", "is no JSON object, which is not understood yet" + hint},
	{"a number", "42", "is no JSON object, which is not understood yet" + hint},
	{"NUL bytes", "\x00\x00\x00\x00", "is no JSON object, which is not understood yet" + hint},
	{"an empty object", "{}", "is JSON of an unknown format, which is not understood yet" + hint},
	{"another object", `{"a":{"b":[1]}}`, "is JSON of an unknown format, which is not understood yet" + hint},
	{"another tool's results", `{"results":[{"check_id":"x"}]}`, "is Semgrep JSON, which is not understood yet" + hint},
	{"unknown results", `{"results":[{"name":"x"}]}`, "is a list of results of an unknown tool, which is not understood yet" + hint},
	{"empty results of another tool", `{"results":[],"version":"1"}`, "is JSON of an unknown format, which is not understood yet" + hint},
	{"cut off before it says what it is", `{"bomFor`, `:1:9: document is cut off: the JSON ends before its value does`},
	{"duplicate key before it says what it is", "{\"a\":1,\n \"a\":2}", `:2:2: a is a duplicate key`},

	{"SARIF of another version", `{"version":"2.0.0","runs":[]}`, `:1:12: version "2.0.0" is not understood; expected "2.1.0"`},
	{"SARIF without a version", `{"runs":[{"tool":{"driver":{"name":"x"}},"results":[]}]}`, ` version is missing; expected "2.1.0"`},
	{"SARIF without runs", `{"$schema":"sarif-2.1.0.json","version":"2.1.0"}`, ` runs is missing; expected at least one run`},
	{"SARIF with no run", `{"version":"2.1.0","runs":[]}`, ` runs is missing; expected at least one run`},
	{"SARIF cut off", `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"`, `:1:57: runs[0].tool.driver is cut off: the JSON ends before its value does`},
	{"SARIF without a tool", `{"version":"2.1.0","runs":[{"results":[]}]}`, `:1:42: runs[0] has no tool.driver.name`},
	{"SARIF with a list for an object", "{\"version\":\"2.1.0\",\n\"runs\":[\n  {\"tool\":[]}]}", `:3:11: runs[0].tool has the wrong type: found a list, expected an object`},
	{"SARIF with a number for a text", run(`"results":[{"ruleId":"a"},{"ruleId":7}]`), `:1:113: runs[0].results[1].ruleId has the wrong type: found a number, expected a string`},
	{"SARIF with a text for a line", run(`"results":[{"locations":[{"physicalLocation":{"region":{"startLine":"7"}}}]}]`), `:1:145: runs[0].results[0].locations[0].physicalLocation.region.startLine has the wrong type: found a string, expected a whole number`},
	{"SARIF with half a line", run(`"results":[{"locations":[{"physicalLocation":{"region":{"startLine":7.5}}}]}]`), `:1:145: runs[0].results[0].locations[0].physicalLocation.region.startLine has the wrong type: found a fraction, expected a whole number`},
	{"SARIF with a text in a list of results", run(`"results":[{},"x"]`), `:1:91: runs[0].results[1] has the wrong type: found a string, expected an object`},
	{"SARIF with a text at the start of a list", run(`"results":["x"]`), `:1:88: runs[0].results[0] has the wrong type: found a string, expected an object`},
	{"duplicate key in what is not read", run(`"results":[{"extra":{"b":1,"b":2}}]`), `:1:104: runs[0].results[0].extra.b is a duplicate key`},
	{"data after the end", "{\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":{\"name\":\"x\"}},\"results\":[]}]}\n{}", `:2:1: document has data after the end of the JSON value`},
	{"NUL inside", "{\"runs\":[{\"a\":\x00}]}", `:1:15: runs[0].a is not valid JSON: invalid character '\x00' at start of value`},
	{"invalid UTF-8", "{\"runs\":[{\"a\":\"\xff\"}]}", `:1:16: runs[0].a is not valid JSON: invalid UTF-8`},
	{"raw control character in a string", "{\"runs\":[{\"a\":\"\x1b[2J\"}]}", `:1:16: runs[0].a is not valid JSON: invalid character '\x1b' in string (expecting non-control character)`},
	{"a comment", "{\"runs\": // here\n[]}", `:1:10: runs is not valid JSON: invalid character '/' at start of value`},

	{"CycloneDX without a version", `{"bomFormat":"CycloneDX","components":[]}`, ` specVersion is missing; expected 1.4, 1.5, 1.6`},
	{"CycloneDX that never says so", `{"specVersion":"1.5","components":[]}`, ` bomFormat is missing; expected "CycloneDX"`},
	{"CycloneDX with another name", `{"specVersion":"1.5","bomFormat":"Cyclone","components":[]}`, `:1:43: bomFormat "Cyclone" is not understood; expected "CycloneDX"`},
	{"CycloneDX component without a name", `{"bomFormat":"CycloneDX","components":[{"version":"1"}]}`, `:1:55: components[0] has no name`},
	{"CycloneDX subject with a bad sum", `{"bomFormat":"CycloneDX","metadata":{"component":{"hashes":[{"alg":"SHA-256","content":"abc"}]}}}`, `:1:94: metadata.component.hashes[0] is not a SHA-256 sum; expected 64 hexadecimal digits`},
	{"CycloneDX cut off", `{"bomFormat":"CycloneDX","components":[{"name":"a"},`, `:1:53: components is cut off: the JSON ends before its value does`},

	{"OSV advisory without an id", advisories(`"vulnerabilities":[{}]`), `:1:140: results[0].packages[0].vulnerabilities[0] has no id`},
	{"OSV result with a text", `{"results":[{"source":{}},"x"]}`, `:1:27: results[1] has the wrong type: found a string, expected an object`},

	{"test event cut off", started + `{"Action":"run","Pack`, `:2:22: document is cut off: the JSON ends before its value does`},
	{"object that is no event", started + `{"level":"info"}`, `:2:1: Action is missing; expected a test event`},
	{"two events on a line", started + `{"Action":"run"} {"Action":"run"}`, `:2:18: document has data after the end of the JSON value`},
	{"event with a number for its test", started + `{"Action":"run","Test":3}`, `:2:24: Test has the wrong type: found a number, expected a string`},
	{"event with a bad time", started + `{"Time":"noon","Action":"run"}`, `:2:9: Time "noon" is not an RFC 3339 time`},
	{"event with a duplicate key", started + `{"Action":"fail","Action":"pass"}`, `:2:18: Action is a duplicate key`},
}

func TestReadRefusesBadReportsWithOneLineThatSaysWhere(t *testing.T) {
	for _, tt := range badReports {
		t.Run(tt.name, func(t *testing.T) {
			want := "r.json" + tt.want
			if !strings.HasPrefix(tt.want, ":") {
				want = "r.json: " + strings.TrimPrefix(tt.want, " ")
			}
			for _, r := range []io.Reader{strings.NewReader(tt.report), iotest.OneByteReader(strings.NewReader(tt.report))} {
				e, err := evidence.Read(r, "r.json", evidence.Options{})
				refused(t, err, assay.CodeInvalid, want)
				if dump(t, e) != dump(t, assay.Evidence{}) {
					t.Errorf("evidence came with the error: %+v", e)
				}
			}
		})
	}
}

func TestReadRefusesWhatIsNotUTF8Text(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte("{}"))
	_ = w.Close()
	wide := func(mark string, high, low int) string {
		b := []byte(mark)
		for _, u := range utf16.Encode([]rune(`{"runs":[]}`)) {
			b = append(b, byte(u>>high), byte(u>>low))
		}
		return string(b)
	}
	for report, want := range map[string]string{
		zipped.String():        "is gzip-compressed; decompress it first",
		"\x28\xb5\x2f\xfd????": "is zstd-compressed; decompress it first",
		"PK\x03\x04????":       "is a zip archive; extract the report first",
		wide("\xff\xfe", 0, 8): "is UTF-16 text; convert it to UTF-8",
		wide("\xfe\xff", 8, 0): "is UTF-16 text; convert it to UTF-8",
		wide("", 0, 8):         "is UTF-16 text; convert it to UTF-8",
		wide("", 8, 0):         "is UTF-16 text; convert it to UTF-8",
	} {
		_, err := evidence.Read(strings.NewReader(report), "r.json", evidence.Options{Format: evidence.FormatSARIF})
		refused(t, err, assay.CodeInvalid, "r.json: "+want)
	}
}

func TestReadAcceptsAByteOrderMark(t *testing.T) {
	for _, report := range []string{run(`"results":[]`), events("start", "run A", "pass A", "pass")} {
		e := mustRead(t, "\ufeff"+report, evidence.Options{})
		if int(e.Size) != len(report)+3 {
			t.Errorf("size %d, want %d with the mark", e.Size, len(report)+3)
		}
	}
}

func TestReadHonoursTheCallersExpectation(t *testing.T) {
	sarif := run(`"results":[]`)
	for _, tt := range []struct {
		report, want string
		opts         evidence.Options
	}{
		{sarif, "is sarif-2.1.0, which is evidence of kind static-analysis; expected evidence of kind sbom", evidence.Options{Kind: assay.KindSBOM}},
		{sarif, `format "sarif" is not one of ` + strings.Join(evidence.Formats(), ", "), evidence.Options{Format: "sarif"}},
		{sarif, "bomFormat is missing; expected \"CycloneDX\"", evidence.Options{Format: evidence.FormatCycloneDX}},
		{`{"bomFormat":"CycloneDX","specVersion":"1.6"}`, "vulnerabilities is missing; expected a list, to be read as evidence of kind vulnerabilities", evidence.Options{Kind: assay.KindVulnerabilities}},
	} {
		_, err := evidence.Read(strings.NewReader(tt.report), "r.json", tt.opts)
		refused(t, err, assay.CodeInvalid, "r.json: "+tt.want)
	}
	if e := mustRead(t, sarif, evidence.Options{}); e.Origin != assay.OriginRecorded || e.Kind != assay.KindStaticAnalysis {
		t.Errorf("origin %s and kind %s by default, want recorded static-analysis", e.Origin, e.Kind)
	}
}

func TestReadPassesOnThatItsInputCannotBeRead(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, report := range []string{"", run(`"results":[`), strings.Repeat(events("run A"), 2000)} {
		r := io.MultiReader(strings.NewReader(report), iotest.ErrReader(broken))
		_, err := evidence.Read(r, "r.json", evidence.Options{})
		refused(t, err, assay.CodeUnavailable, "r.json: cannot be read: disk on fire")
		if !errors.Is(err, broken) {
			t.Errorf("the cause of %v is lost", err)
		}
	}
}

func TestTextsFromReportsAreHarmless(t *testing.T) {
	long := strings.Repeat("é", evidence.MaxMessage)
	e := mustRead(t, run(`"results":[{"ruleId":"a\u001b]0;x\u0007\nb","message":{"text":"one\r\n\ttwo \u202e\u0000\u009b three"}},{"ruleId":"b","message":{"text":"`+long+`"}}]`), evidence.Options{})
	f := e.Findings[0]
	if f.Rule != "a\uFFFD]0;x\uFFFD b" || f.Message != "one two \uFFFD\uFFFD\uFFFD three" {
		t.Errorf("rule %q, message %q", f.Rule, f.Message)
	}
	if m := e.Findings[1].Message; len(m) > evidence.MaxMessage || !strings.HasSuffix(m, "é…") {
		t.Errorf("message of %d bytes ends in %q", len(m), m[len(m)-8:])
	}
	if dump(t, e.Notes) != `["1 text was longer than the limit and clipped"]` {
		t.Errorf("notes %q", e.Notes)
	}
}
