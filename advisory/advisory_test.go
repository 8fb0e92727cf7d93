package advisory

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"assay.dev/assay"
)

// osv is an OSV record about one package with one range.
func osv(id, ecosystem, name string, events ...Event) string {
	type pkg struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	}
	type rng struct {
		Type   string              `json:"type"`
		Events []map[string]string `json:"events"`
	}
	r := rng{Type: "ECOSYSTEM"}
	for _, e := range events {
		m := map[string]string{}
		for k, v := range map[string]string{"introduced": e.Introduced, "fixed": e.Fixed, "last_affected": e.LastAffected, "limit": e.Limit} {
			if v != "" {
				m[k] = v
			}
		}
		r.Events = append(r.Events, m)
	}
	data, _ := json.Marshal(map[string]any{
		"id": id, "modified": "2026-01-02T03:04:05Z", "summary": "a flaw",
		"affected": []any{map[string]any{"package": pkg{ecosystem, name}, "ranges": []rng{r}}},
	})
	return string(data)
}

func parse(t *testing.T, s string) Advisory {
	t.Helper()
	a, err := ParseAdvisory([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestVersionsAreOrderedAsTheirEcosystemOrdersThem(t *testing.T) {
	for ecosystem, lines := range map[Ecosystem][]string{
		"Go":             {"0.9.0-20240102030405-abcdef123456 < 0.9.0", "1.2.3 < 1.10.0", "v1.2.3 = 1.2.3", "go1.21.3 < 1.21.10", "1.0.0-rc.1 < 1.0.0", "2.0.0+incompatible = 2.0.0"},
		"npm":            {"1.2.3-alpha.9 < 1.2.3-alpha.10", "1.2.3-beta < 1.2.3", "1.2.3 < 1.2.10"},
		"crates.io":      {"0.9.9 < 0.10.0", "1.0.0-alpha < 1.0.0"},
		"PyPI":           {"1.0.dev1 < 1.0a1", "1.0a1 < 1.0rc1", "1.0rc1 < 1.0", "1.0 < 1.0.post1", "1.0 = 1.0.0", "1!0.1 > 2.0", "1.9 < 1.10"},
		"Maven":          {"1.0-alpha-1 < 1.0-beta-1", "1.0-SNAPSHOT < 1.0", "1.0-rc1 < 1.0", "1.0 < 1.0-sp1", "1.9 < 1.10", "2.0.RELEASE > 1.9.RELEASE"},
		"RubyGems":       {"1.0.0.pre1 < 1.0.0", "1.9 < 1.10", "1.0.0.beta < 1.0.0.rc"},
		"NuGet":          {"1.0.0-alpha < 1.0.0", "1.0.0.1 > 1.0.0", "1.9.0 < 1.10.0"},
		"Packagist":      {"1.0.0-beta1 < 1.0.0-RC1", "1.0.0-RC1 < 1.0.0", "1.9 < 1.10"},
		"Debian":         {"1.0~rc1-1 < 1.0-1", "1:0.1 > 9.9", "1.0-1 < 1.0-1+deb12u1", "2.36-9 < 2.36-10"},
		"Alpine":         {"1.2.3_rc1 < 1.2.3", "1.2.3-r1 < 1.2.3-r2", "1.2.3 < 1.2.3_p1", "1.2.9 < 1.2.10"},
		"Rocky Linux":    {"0:1.0-1.el9 < 0:1.0-2.el9", "1.0~rc1-1 < 1.0-1", "1:0.1-1 > 0:9-1"},
		"Pub":            {"1.2.3-dev < 1.2.3"},
		"GitHub Actions": {"1.2.3 < 1.10.0"},
	} {
		ord := orders[ecosystem]
		for _, line := range lines {
			f := strings.Fields(line)
			want := map[string]int{"<": -1, "=": 0, ">": 1}[f[1]]
			if !ord.valid(f[0]) || !ord.valid(f[2]) {
				t.Errorf("%s: %s: valid %v %v", ecosystem, line, ord.valid(f[0]), ord.valid(f[2]))
				continue
			}
			if got := ord.compare(f[0], f[2]); got != want || ord.compare(f[2], f[0]) != -want {
				t.Errorf("%s: %s: %d and back %d", ecosystem, line, got, ord.compare(f[2], f[0]))
			}
		}
	}
}

func TestARangeHoldsWhatTheSchemaSays(t *testing.T) {
	const in, out, unknown = "in", "out", "unknown"
	for name, c := range map[string]struct {
		events   []Event
		versions map[string]string
	}{
		"fixed":           {[]Event{{Introduced: "0"}, {Fixed: "1.5.0"}}, map[string]string{"0.0.1": in, "1.4.9": in, "1.5.0-rc.1": in, "1.5.0": out, "2.0.0": out}},
		"never fixed":     {[]Event{{Introduced: "1.0.0"}}, map[string]string{"0.9.0": out, "1.0.0": in, "99.0.0": in}},
		"last affected":   {[]Event{{Introduced: "0"}, {LastAffected: "1.5.0"}}, map[string]string{"1.5.0": in, "1.5.1": out}},
		"two windows":     {[]Event{{Introduced: "1.0.0"}, {Fixed: "1.2.0"}, {Introduced: "2.0.0"}, {Fixed: "2.1.0"}}, map[string]string{"0.1.0": out, "1.1.0": in, "1.2.0": out, "1.9.0": out, "2.0.5": in, "2.1.0": out}},
		"in any order":    {[]Event{{Fixed: "2.1.0"}, {Introduced: "2.0.0"}, {Fixed: "1.2.0"}, {Introduced: "1.0.0"}}, map[string]string{"1.1.0": in, "1.5.0": out, "2.0.5": in, "2.1.0": out}},
		"limit":           {[]Event{{Introduced: "0"}, {Limit: "2.0.0"}}, map[string]string{"1.9.0": in, "2.0.0": out}},
		"limit of all":    {[]Event{{Introduced: "0"}, {Limit: "*"}}, map[string]string{"9.0.0": in}},
		"no order":        {[]Event{{Introduced: "0"}, {Fixed: "1.0.0"}}, map[string]string{"main": unknown}},
		"broken event":    {[]Event{{Introduced: "0"}, {Fixed: "soon"}}, map[string]string{"1.0.0": unknown}},
		"starts and ends": {[]Event{{Introduced: "1.0.0"}, {Fixed: "1.0.0"}}, map[string]string{"1.0.0": out}},
	} {
		r := Range{Events: c.events}
		for v, want := range c.versions {
			got := out
			if yes, ok := r.has(orders["npm"], v); !ok {
				got = unknown
			} else if yes {
				got = in
			}
			if got != want {
				t.Errorf("%s: %s is %s; want %s", name, v, got, want)
			}
		}
	}
}

func TestAPurlIsReadAsTheDatabaseSpeaksOfIt(t *testing.T) {
	for purl, want := range map[string]Package{
		"pkg:golang/github.com/BurntSushi/toml@v1.2.3":                                {"Go", "", "github.com/burntsushi/toml", "v1.2.3"},
		"pkg:golang/github.com/a/b@v1.2.3":                                            {"Go", "", "github.com/a/b", "v1.2.3"},
		"pkg:npm/%40babel/core@7.0.0":                                                 {"npm", "", "@babel/core", "7.0.0"},
		"pkg:pypi/Typing_Extensions@4.1":                                              {"PyPI", "", "typing-extensions", "4.1"},
		"pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1":                        {"Maven", "", "org.apache.logging.log4j:log4j-core", "2.14.1"},
		"pkg:cargo/time@0.1.0":                                                        {"crates.io", "", "time", "0.1.0"},
		"pkg:gem/rails@7.0.0":                                                         {"RubyGems", "", "rails", "7.0.0"},
		"pkg:composer/Symfony/Http-Kernel@5.0.0":                                      {"Packagist", "", "symfony/http-kernel", "5.0.0"},
		"pkg:deb/debian/libssl3@3.0.9-1?arch=amd64&distro=debian-12&upstream=openssl": {"Debian", "12", "openssl", "3.0.9-1"},
		"pkg:deb/debian/libc6@2.36-9?distro=debian-12.4&epoch=1":                      {"Debian", "12", "libc6", "1:2.36-9"},
		"pkg:deb/ubuntu/curl@7.81.0-1?distro=ubuntu-22.04":                            {"Ubuntu", "22.04", "curl", "7.81.0-1"},
		"pkg:apk/alpine/libcrypto3@3.1.4-r1?distro=3.19.1&upstream=openssl":           {"Alpine", "v3.19", "openssl", "3.1.4-r1"},
		"pkg:apk/wolfi/curl@8.0.0-r0":                                                 {"Wolfi", "", "curl", "8.0.0-r0"},
		"pkg:rpm/rocky/openssl-libs@3.0.7-1.el9?arch=x86_64&epoch=1&distro=rocky-9.3": {"Rocky Linux", "9", "openssl-libs", "1:3.0.7-1.el9"},
		"pkg:deb/debian/bash@5.2?distro=bookworm":                                     {"Debian", "", "bash", "5.2"},
		"pkg:githubactions/Tj-Actions/changed-files@v45.0.7":                          {"GitHub Actions", "", "tj-actions/changed-files", "v45.0.7"},
	} {
		if got, err := ParsePackage(assay.Component{PURL: purl}); got != want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", purl, got, err, want)
		}
	}
	for purl, why := range map[string]string{
		"": "has no purl", "pkg:npm/x": "has no version", "npm/x@1": "cannot be read", "pkg:": "cannot be read",
		"pkg:oci/app@sha256%3Aabc": "no OSV database", "pkg:rpm/homebrew/x@1": "no OSV database", "pkg:npm/" + strings.Repeat("x", 5000) + "@1": "5",
	} {
		if _, err := ParsePackage(assay.Component{PURL: purl}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v; want %q", purl, err, why)
		}
	}
}

func TestMatchNamesEveryHolderOfAnAffectedVersion(t *testing.T) {
	p := NewPackages()
	p.Add(1, assay.Component{Name: "lodash", PURL: "pkg:npm/lodash@4.17.20"})
	p.Add(1, assay.Component{Name: "lodash", PURL: "pkg:npm/lodash@4.17.20"})
	p.Add(2, assay.Component{Name: "lodash", PURL: "pkg:npm/lodash@4.17.21"})
	p.Add(3, assay.Component{Name: "lodash", PURL: "pkg:npm/lodash@4.17.20"})
	p.Add(3, assay.Component{Name: "lodash", PURL: "pkg:pypi/lodash@4.17.20"})
	p.Add(3, assay.Component{Name: "own code"})
	hits, doubts := p.Match(parse(t, osv("GHSA-1", "npm", "lodash", Event{Introduced: "0"}, Event{Fixed: "4.17.21"})))
	if len(hits) != 1 || len(doubts) != 0 || !slices.Equal(hits[0].Holders, []int{1, 3}) || !slices.Equal(hits[0].Fixed, []string{"4.17.21"}) {
		t.Errorf("%+v, %v", hits, doubts)
	}
	if s := p.Skipped(); len(s) != 1 || s["has no purl"] != 1 || p.Len() != 5 {
		t.Errorf("skipped %v, %d added", s, p.Len())
	}
	withdrawn := strings.Replace(osv("GHSA-1", "npm", "lodash", Event{Introduced: "0"}), `"id"`, `"withdrawn":"2026-02-02T00:00:00Z","id"`, 1)
	if hits, _ := p.Match(parse(t, withdrawn)); len(hits) != 0 {
		t.Errorf("a withdrawn advisory is about %+v", hits)
	}
}

func TestAGoModuleWithCapitalsIsMatched(t *testing.T) {
	p := NewPackages()
	p.Add(1, assay.Component{PURL: "pkg:golang/github.com/BurntSushi/toml@v1.2.3"})
	hits, _ := p.Match(parse(t, osv("GO-1", "Go", "github.com/BurntSushi/toml", Event{Introduced: "0"}, Event{Fixed: "1.3.0"})))
	if len(hits) != 1 {
		t.Errorf("%+v, want one: a purl spells it in lower case, the database does not", hits)
	}
}

func TestReleasesOfADistributionAreKeptApart(t *testing.T) {
	p := NewPackages()
	p.Add(11, assay.Component{PURL: "pkg:deb/debian/curl@7.74.0-1?distro=debian-11"})
	p.Add(12, assay.Component{PURL: "pkg:deb/debian/curl@7.88.1-10?distro=debian-12"})
	p.Add(0, assay.Component{PURL: "pkg:deb/debian/curl@7.88.1-9"})
	hits, _ := p.Match(parse(t, osv("DSA-1", "Debian:12", "curl", Event{Introduced: "0"}, Event{Fixed: "7.88.1-10+deb12u5"})))
	if len(hits) != 2 || hits[0].Holders[0] != 12 && hits[1].Holders[0] != 12 {
		t.Fatalf("%+v", hits)
	}
	for _, h := range hits {
		if (h.Note != "") != (h.Holders[0] == 0) {
			t.Errorf("holder %d has the note %q", h.Holders[0], h.Note)
		}
	}
}

func TestAnUnknownEcosystemIsSaidAndItsListedVersionsCount(t *testing.T) {
	p := NewPackages()
	a := Affected{Ecosystem: "Fortran", Name: "lapack", Versions: []string{"3.1"}, Ranges: []Range{{Events: []Event{{Introduced: "0"}}}}}
	if yes, _ := a.has("3.1"); !yes {
		t.Error("a listed version is not affected")
	}
	if yes, doubt := a.has("3.2"); yes || !strings.Contains(doubt, "Fortran") {
		t.Errorf("a version that cannot be ordered: %v, %q", yes, doubt)
	}
	p.Add(1, assay.Component{PURL: "pkg:npm/x@main"})
	if hits, doubts := p.Match(parse(t, osv("X", "npm", "x", Event{Introduced: "0"}, Event{Fixed: "2.0.0"}))); len(hits) != 0 || len(doubts) != 1 {
		t.Errorf("%v, %q", hits, doubts)
	}
}

func TestSeverityAndAliasesAreThoseOfTheRecord(t *testing.T) {
	a := parse(t, `{"id":"GHSA-1","aliases":["CVE-1","CVE-1"],"modified":"2026-01-01T00:00:00Z","details":"first line\nsecond",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"database_specific":{"severity":"MODERATE","cwe_ids":[]}}`)
	if a.Severity != assay.SeverityCritical || !slices.Equal(a.Aliases, []string{"CVE-1"}) || a.Summary != "first line" {
		t.Errorf("%+v", a)
	}
}

func read(t *testing.T, files map[string]string) (ids []string, r Report, err error) {
	t.Helper()
	dir := fstest.MapFS{}
	for name, data := range files {
		dir[name] = &fstest.MapFile{Data: []byte(data)}
	}
	r, err = ReadDir(t.Context(), dir, func(a Advisory) error { ids = append(ids, a.ID); return nil })
	return ids, r, err
}

func TestMalformedEntriesAreSkippedCountedAndSaid(t *testing.T) {
	ids, r, err := read(t, map[string]string{
		"npm/GHSA-1.json": osv("GHSA-1", "npm", "x"), "README.md": "hello", "b.json": "{", "c.json": `{"modified":"2026-01-01T00:00:00Z"}`,
		"d.json": `{"id":"D","affected":[{"package":{"ecosystem":"npm","name":"x"},"ranges":[{"events":[{}]}]}]}`, "e.json": "{\"id\":\"\x1b[31m\"}", "f.json": "[]", "g.json": "\xff",
	})
	if err != nil || !slices.Equal(ids, []string{"GHSA-1"}) || r.Advisories != 1 || r.Malformed != 6 || len(r.Problems) != 6 || r.Ignored != 1 || r.Digest == "" {
		t.Errorf("%q, %+v, %v", ids, r, err)
	}
}

func TestADatabaseWithoutARecordIsRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{"empty": {}, "text": {"a.txt": "x"}, "broken": {"a.json": "nothing"}} {
		if _, _, err := read(t, files); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadArchive(t.Context(), strings.NewReader("no zip"), 6, nil); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("no zip file: %v", err)
	}
	if _, err := ReadArchive(t.Context(), strings.NewReader(""), MaxArchive+1, nil); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("a huge file: %v", err)
	}
}

func archive(t testing.TB, write func(*zip.Writer) error) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if err := errors.Join(write(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

func TestAnArchiveReadsLikeItsFolder(t *testing.T) {
	z := archive(t, func(w *zip.Writer) error {
		f, err := w.Create("npm/GHSA-1.json")
		if err == nil {
			_, err = io.WriteString(f, osv("GHSA-1", "npm", "x"))
		}
		return err
	})
	r, err := ReadArchive(t.Context(), z, z.Size(), func(Advisory) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, dir, _ := read(t, map[string]string{"npm/GHSA-1.json": osv("GHSA-1", "npm", "x")}); dir.Digest != r.Digest {
		t.Errorf("%+v and %+v", dir, r)
	}
}

func TestAnEntryThatLeadsOutOfTheArchiveIsRefused(t *testing.T) {
	z := archive(t, func(w *zip.Writer) (err error) {
		for _, name := range []string{"../evil.json", "/etc/evil.json", "a/../../evil.json", `..\evil.json`, "good.json"} {
			f, e := w.Create(name)
			if e == nil {
				_, e = io.WriteString(f, osv("X", "npm", "x"))
			}
			err = errors.Join(err, e)
		}
		return err
	})
	r, err := ReadArchive(t.Context(), z, z.Size(), func(Advisory) error { return nil })
	if err != nil || r.Advisories != 1 || r.Malformed != 4 || !strings.Contains(r.Problems[0], "leads out") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ReadDir(ctx, fstest.MapFS{"a.json": {Data: []byte(osv("A", "npm", "x"))}}, func(Advisory) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestARecordAboveItsLimitsIsTooLarge(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"package":{"ecosystem":"npm","name":"x"}},`, MaxAffected+1), ",")
	versions := strings.TrimSuffix(strings.Repeat(`"1",`, MaxVersions+1), ",")
	for name, data := range map[string]string{
		"packages": `{"id":"A","affected":[` + many + `]}`,
		"versions": `{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"x"},"versions":[` + versions + `]}]}`,
		"bytes":    `{"id":"A","details":"` + strings.Repeat("x", MaxAdvisory) + `"}`,
	} {
		if _, err := ParseAdvisory([]byte(data)); assay.CodeOf(err) != assay.CodeTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseAdvisory(f *testing.F) {
	f.Add([]byte(osv("GHSA-1", "npm", "x", Event{Introduced: "0"}, Event{Fixed: "1.0.0"})))
	f.Add([]byte(osv("DSA-1", "Debian:12", "curl", Event{Introduced: "0"}, Event{LastAffected: "1:2-3"})))
	f.Add([]byte(`{"id":"A","affected":[{"versions":["1"]}]}`))
	p := NewPackages()
	for _, purl := range []string{"pkg:npm/x@0.5.0", "pkg:deb/debian/curl@1:1-1", "pkg:pypi/x@1.0", "pkg:maven/g/a@1", "pkg:gem/x@1", "pkg:golang/x@v1.0.0", "pkg:apk/alpine/x@1-r0", "pkg:composer/a/b@1"} {
		p.Add(0, assay.Component{PURL: purl})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAdvisory(data)
		if err != nil {
			return
		}
		p.Match(a)
	})
}

func FuzzParsePackage(f *testing.F) {
	for _, s := range []string{"pkg:npm/%40a/b@1", "pkg:deb/debian/x@1?distro=debian-12&upstream=y%402", "pkg:", "pkg:golang/a@go1.2", "\x00"} {
		f.Add(s, "1.0.0")
	}
	f.Fuzz(func(t *testing.T, purl, fixed string) {
		p, err := ParsePackage(assay.Component{PURL: purl})
		if err != nil {
			return
		}
		a := Affected{Ecosystem: p.Ecosystem, Name: p.Name, Ranges: []Range{{Events: []Event{{Introduced: "0"}, {Fixed: fixed}, {LastAffected: p.Version}}}}}
		a.has(p.Version)
	})
}

func FuzzParseEcosystem(f *testing.F) {
	for _, s := range []string{"Debian:12", "Ubuntu:Pro:18.04:LTS", "Maven:https://x", "npm", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { ParseEcosystem(s) })
}

func FuzzReadArchive(f *testing.F) {
	z := archive(f, func(w *zip.Writer) error {
		g, err := w.Create("a.json")
		if err == nil {
			_, err = io.WriteString(g, osv("A", "npm", "x"))
		}
		return err
	})
	data, _ := io.ReadAll(z)
	f.Add(data)
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ReadArchive(t.Context(), bytes.NewReader(data), int64(len(data)), func(Advisory) error { return nil })
	})
}

// BenchmarkDiscovery is the matching of 20,000 advisories against 5,000 bills of
// materials of 200 packages.
func BenchmarkDiscovery(b *testing.B) {
	var boms [][]assay.Component
	for i := range 5000 {
		var list []assay.Component
		for j := range 200 {
			n := (i*37 + j*101) % 8000
			list = append(list, assay.Component{PURL: fmt.Sprintf("pkg:npm/package-%d@1.%d.0", n, (i+j)%40)})
		}
		boms = append(boms, list)
	}
	var advisories []Advisory
	for i := range 20_000 {
		a, err := ParseAdvisory([]byte(osv(fmt.Sprint("A-", i), "npm", fmt.Sprintf("package-%d", i), Event{Introduced: "0"}, Event{Fixed: fmt.Sprintf("1.%d.0", i%40)})))
		if err != nil {
			b.Fatal(err)
		}
		advisories = append(advisories, a)
	}
	for b.Loop() {
		p := NewPackages()
		for i, list := range boms {
			for _, c := range list {
				p.Add(i, c)
			}
		}
		hits := 0
		for _, a := range advisories {
			h, _ := p.Match(a)
			hits += len(h)
		}
		if hits == 0 {
			b.Fatal("no hits")
		}
	}
}
