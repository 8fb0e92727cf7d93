package evidence_test

import (
	"errors"
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
		for _, s := range texts {
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
