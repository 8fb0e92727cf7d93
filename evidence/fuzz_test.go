package evidence_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
)

// FuzzRead holds Read to its promises for any bytes: evidence or one
// *assay.Error of one harmless line, the same however the bytes arrive, within
// the limits, and with texts that cannot drive a terminal.
func FuzzRead(f *testing.F) {
	// Small seeds: the fuzzer spends its time on shrinking large ones.
	for _, seed := range []string{
		events("start", "run A", "run A/b", "fail A/b", "fail A", "run A", "pass A", "fail"),
		"# p\n" + `{"ImportPath":"p","Action":"build-output","Output":"x"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}`,
		run(`"results":[{"ruleId":"a/b","rule":{"toolComponent":{"index":0},"index":1},"ruleIndex":0,"kind":"fail","level":"note","baselineState":"absent",
			"message":{"id":"default","arguments":["a"]},"suppressions":[{"kind":"inSource"}],"partialFingerprints":{"a":"b"},"properties":{"security-severity":7},
			"locations":[{"physicalLocation":{"artifactLocation":{"uri":"file:///a%20b","index":0},"region":{"startLine":1}}}]}],
			"artifacts":[{"location":{"uri":"x"}}],"invocations":[{"executionSuccessful":false,"endTimeUtc":"2026-01-01T00:00:00Z"}]`),
		`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"timestamp":"2026-01-01T00:00:00Z","tools":{"components":[{"name":"t"}]},
			"component":{"hashes":[{"alg":"SHA-256","content":"` + sum + `"}]}},"components":[{"name":"a","group":"g","bom-ref":"r","licenses":[{"expression":"MIT"}],"components":[{"name":"b"}]}],
			"vulnerabilities":[{"id":"v","ratings":[{"score":9,"method":"CVSSv3"}],"affects":[{"ref":"r"}],"analysis":{"state":"resolved"}}]}`,
		advisories(`"vulnerabilities":[{"id":"A","aliases":["B"],"severity":[{"score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}],
			"affected":[{"package":{"name":"lib","ecosystem":"Debian"},"ranges":[{"events":[{"fixed":"1"}]}]}]}],"groups":[{"ids":["A"],"max_severity":"7.5"}]`),
		"<testsuites><testsuite name='s' tests='2' failures='1'><testcase classname='a' name='b' file='x.go' line='3'><failure message='m'>at x.go:3</failure><rerunFailure/></testcase><testcase name='b'><flakyError/></testcase></testsuite></testsuites>",
		"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='\xe9'><error><![CDATA[x]]></error></testcase></testsuite>",
		"\xff\xfe<\x00t\x00e\x00s\x00t\x00s\x00u\x00i\x00t\x00e\x00/\x00>\x00", "<!DOCTYPE a [<!ENTITY b 'c'>]><testsuite name='&b;'/>",
		"<report><sessioninfo dump='1435852061672'/><counter type='LINE' missed='1' covered='2'/></report>",
		xmlBOM, spdxReport, grypeReport, trivyReport, openVEXReport, csafReport, planReport, kubeconformReport, kubectlReport, k6Exported, k6Handled, hyperfine,
		benchText, statCSV, cover, cobertura, goodManifests, `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod"}]}`,
		`[{"RuleID":"a","StartLine":1,"File":"f","Secret":"s"}]`, statement("p", "{}"), dsse(statement("p", "{}")),
		"\xef\xbb\xbf{\"runs\":[", "\x1f\x8b", "<testsuites/>", "[]", "\xff\xfe{\x00", `{"results":[]}`, `{"a":1,"a":2}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, report string) {
		e, err := evidence.Read(strings.NewReader(report), "r.json", evidence.Options{})
		again, err2 := evidence.Read(iotest.OneByteReader(strings.NewReader(report)), "r.json", evidence.Options{})
		if dump(t, e) != dump(t, again) || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("at once: %v; byte by byte: %v", err, err2)
		}
		if err != nil {
			if _, ok := errors.AsType[*assay.Error](err); !ok || !harmless(err.Error()) || dump(t, e) != dump(t, assay.Evidence{}) {
				t.Fatalf("error %q with evidence %+v", err, e)
			}
			return
		}
		if int(e.Size) != len(report) || e.Digest == "" || len(e.Notes) > evidence.MaxNotes+2 {
			t.Fatalf("size %d of %d, digest %q, %d notes", e.Size, len(report), e.Digest, len(e.Notes))
		}
		texts := append([]string{evidence.Summary(e), e.Tool.Name, e.Tool.Version}, e.Notes...)
		prints := map[string]bool{}
		for _, f := range e.Findings {
			texts = append(texts, f.Rule, f.Message, f.Suppressed, f.Location.File, f.Package.Name, f.Package.Version, f.Package.PURL)
			texts = append(append(texts, f.Aliases...), f.FixedIn...)
			if prints[f.Fingerprint] || f.Location.Line < 0 || f.Location.Column < 0 {
				t.Fatalf("finding %+v", f)
			}
			prints[f.Fingerprint] = true
		}
		for _, c := range e.Components {
			texts = append(append(texts, c.Name, c.Version, c.PURL), c.Licenses...)
		}
		for _, m := range e.Measures {
			if texts = append(texts, m.Name, m.Unit); math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
				t.Fatalf("measure %+v", m)
			}
		}
		for _, v := range e.VEX {
			texts = append(append(append(texts, v.Vulnerability, string(v.Status), v.Justification, v.Impact), v.Products...), v.Components...)
		}
		for _, s := range append(texts, e.Predicate) {
			if !harmless(s) || len(s) > 2*evidence.MaxMessage {
				t.Fatalf("text %q is not harmless", s)
			}
		}
	})
}

// harmless reports whether s is one line of valid UTF-8 without control characters.
func harmless(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x202e
	})
}

// FuzzParseMapping holds ParseMapping to refusing or giving a mapping that Read can follow.
func FuzzParseMapping(f *testing.F) {
	for _, seed := range []string{acmeMapping, "kind: secrets\ntool: t\nfindings: '[]'\nfields: {message: m}\n", "findings: a[][]\n", "{", "a: &a [*a]"} {
		f.Add(seed, acmeReport)
	}
	f.Fuzz(func(t *testing.T, text, report string) {
		m, err := evidence.ParseMapping(strings.NewReader(text))
		if err != nil {
			if _, ok := errors.AsType[*assay.Error](err); !ok || m != nil {
				t.Fatalf("error %v with mapping %+v", err, m)
			}
			return
		}
		e, err := evidence.Read(strings.NewReader(report), "r.json", evidence.Options{Mapping: m})
		if _, ok := errors.AsType[*assay.Error](err); err != nil && !ok || err == nil && e.Kind != m.Kind {
			t.Fatalf("%v, kind %s", err, e.Kind)
		}
	})
}
