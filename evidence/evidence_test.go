package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/evidence"
	"assay.dev/assay/internal/testenv"
)

var collected = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// mustRead reads a report that has to be understood, one byte at a time, so
// that every boundary between reads is met.
func mustRead(t testing.TB, report string, opts evidence.Options) assay.Evidence {
	t.Helper()
	opts.Collected = collected
	e, err := evidence.Read(iotest.OneByteReader(strings.NewReader(report)), "report.json", opts)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := evidence.Read(strings.NewReader(report), "report.json", opts)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := dump(t, e), dump(t, whole); a != b {
		t.Fatalf("reading byte by byte differs from reading at once:\n%s\n%s", a, b)
	}
	return e
}

func readFile(t testing.TB, path string) assay.Evidence {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.Read(bytes.NewReader(b), filepath.Base(path), evidence.Options{Collected: collected, Origin: assay.OriginLive})
	if err != nil {
		t.Fatal(err)
	}
	if want := assay.DigestOf(sha256.Sum256(b)); e.Digest != want || e.Size != int64(len(b)) {
		t.Errorf("digest %s of %d bytes, want %s of %d", e.Digest, e.Size, want, len(b))
	}
	if e.Origin != assay.OriginLive || !e.Collected.Equal(collected) || e.Source != filepath.Base(path) {
		t.Errorf("origin %q, collected %v, source %q are not what the caller said", e.Origin, e.Collected, e.Source)
	}
	fingerprints := map[string]bool{}
	for _, f := range e.Findings {
		if fingerprints[f.Fingerprint] || !strings.HasPrefix(f.Fingerprint, "v1:") {
			t.Errorf("fingerprint %q of %s is not one of its own", f.Fingerprint, f.Rule)
		}
		fingerprints[f.Fingerprint] = true
	}
	return e
}

func vector(t testing.TB, name string) string {
	return testenv.Data(t, "vectors/evidence/"+name)
}

// The figures below were counted in the files with another JSON parser.
func TestReadCountsWhatRealReportsHold(t *testing.T) {
	sev := func(s ...assay.Severity) []assay.Severity { return s }
	const none, low, unknown, medium, high, critical = assay.SeverityNone, assay.SeverityLow, assay.SeverityUnknown, assay.SeverityMedium, assay.SeverityHigh, assay.SeverityCritical
	for _, tt := range []struct {
		file, format string
		kind         assay.EvidenceKind
		tool         assay.Tool
		components   int
		severities   []assay.Severity
		summary      string
	}{
		{"checkmarx.sarif", evidence.FormatSARIF, assay.KindStaticAnalysis, assay.Tool{Name: "Checkmarx One", Version: "1.0"}, 0, sev(high, critical, high), "3 errors, 0 warnings"},
		{"grype-image.sarif", evidence.FormatSARIF, assay.KindStaticAnalysis, assay.Tool{Name: "grype", Version: "0.0.0-dev"}, 0, sev(high, high), "2 errors, 0 warnings"},
		{"report.sarif", evidence.FormatSARIF, assay.KindStaticAnalysis, assay.Tool{Name: "tfsec"}, 0, sev(medium, high, high, high, high, high, high, high, medium), "7 errors, 2 warnings"},
		{"trivy-alpine-310.sarif", evidence.FormatSARIF, assay.KindStaticAnalysis, assay.Tool{Name: "Trivy", Version: "dev"}, 0, sev(medium, medium, medium, medium), "0 errors, 4 warnings"},
		{"sbom.cyclonedx-1.5.json", evidence.FormatCycloneDX, assay.KindSBOM, assay.Tool{Name: "syft", Version: "0.101.1"}, 250, nil, "250 components"},
		{"sbom.cyclonedx-1.5-vulnerabilities.json", evidence.FormatCycloneDX, assay.KindSBOM, assay.Tool{Name: "syft", Version: "0.101.1"}, 250, sev(critical), "250 components, 1 vulnerability"},
		{"osv-scanner-a.json", evidence.FormatOSVScanner, assay.KindVulnerabilities, assay.Tool{Name: "osv-scanner"}, 0, sev(unknown, high), "0 critical, 1 high, 0 medium, 0 low, 1 of unknown severity"},
		{"osv-scanner-some.json", evidence.FormatOSVScanner, assay.KindVulnerabilities, assay.Tool{Name: "osv-scanner"}, 0, sev(unknown), "0 critical, 0 high, 0 medium, 0 low, 1 of unknown severity"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			e := readFile(t, vector(t, tt.file))
			if e.Format != tt.format || e.Kind != tt.kind || e.Tool != tt.tool {
				t.Errorf("got %s of kind %s by %v, want %s of kind %s by %v", e.Format, e.Kind, e.Tool, tt.format, tt.kind, tt.tool)
			}
			if len(e.Components) != tt.components {
				t.Errorf("%d components, want %d", len(e.Components), tt.components)
			}
			var got []assay.Severity
			for _, f := range e.Findings {
				got = append(got, f.Severity)
				if f.Rule == "" || f.Message == "" {
					t.Errorf("finding without rule or message: %+v", f)
				}
			}
			if !slices.Equal(got, tt.severities) {
				t.Errorf("severities %v, want %v", got, tt.severities)
			}
			if s := evidence.Summary(e); s != tt.summary {
				t.Errorf("summary %q, want %q", s, tt.summary)
			}
			if len(e.Notes) != 0 {
				t.Errorf("unexpected notes %q", e.Notes)
			}
		})
	}
}

func TestReadKeepsTheDetailsOfRealReports(t *testing.T) {
	osv := readFile(t, vector(t, "osv-scanner-a.json")).Findings[1]
	osv.Fingerprint = ""
	want := assay.Finding{
		Rule:     "GHSA-m5pq-gvj9-9vr8",
		Aliases:  []string{"RUSTSEC-2022-0013", "CVE-2022-24713"},
		Severity: assay.SeverityHigh,
		Message:  "Rust's regex crate vulnerable to regular expression denial of service",
		Location: assay.Location{File: "/path/to/scorecard-check-osv-e2e/sub-rust-project/Cargo.lock"},
		Package:  assay.Component{Name: "regex", Version: "1.5.1", PURL: "pkg:cargo/regex"},
		FixedIn:  []string{"1.5.5"},
	}
	if got, want := dump(t, osv), dump(t, want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	sbom := readFile(t, vector(t, "sbom.cyclonedx-1.5-vulnerabilities.json"))
	if want := time.Date(2024, 1, 27, 21, 30, 7, 0, time.UTC); !sbom.Produced.Equal(want) {
		t.Errorf("produced %v, want %v", sbom.Produced, want)
	}
	if f := sbom.Findings[0]; f.Rule != "CVE-2025-4949" || f.Suppressed != "" ||
		f.Package.PURL != "pkg:maven/org.eclipse.jgit/org.eclipse.jgit@6.10.0.202406032230-r" {
		t.Errorf("finding %+v", f)
	}
	licensed := 0
	for _, c := range sbom.Components {
		licensed += len(c.Licenses)
		if c.Name == "" || c.Version == "" || c.PURL == "" {
			t.Errorf("component %+v is not complete", c)
		}
	}
	if licensed != 4 {
		t.Errorf("%d licences, want 4", licensed)
	}
}

func TestReadRefusesFormatsItDoesNotUnderstand(t *testing.T) {
	const hint = " (formats understood: go-test-json, sarif-2.1.0, cyclonedx-json, osv-scanner-json)"
	for file, what := range map[string]string{
		"csaf_vex_v0.2.0.json":                  "CSAF JSON",
		"gitleaks-report-violations.json":       "gitleaks JSON",
		"grype-dirs.json":                       "Grype JSON",
		"jacoco.xml":                            "JaCoCo XML",
		"junit.xml":                             "JUnit XML",
		"openvex_v0.2.0.json":                   "OpenVEX JSON",
		"sbom-spdx-with-described-package.json": "SPDX JSON",
		"trivy-alpine-310.json":                 "Trivy JSON",
		"trivy-alpine-39-high-critical.json":    "Trivy JSON",
		"trivy-amazon-2.json":                   "Trivy JSON",
		"trivy-bun.json":                        "Trivy JSON",
		"trivy-busybox-with-lockfile.json":      "Trivy JSON",
		"trivy-conda-spdx.json":                 "SPDX JSON",
		"trivy-misconfig-dockerfile.json":       "Trivy JSON",
		"trivy-secrets.json":                    "Trivy JSON",
	} {
		t.Run(file, func(t *testing.T) {
			b, err := os.ReadFile(vector(t, file))
			if err != nil {
				t.Fatal(err)
			}
			// A misleading name must not matter.
			_, err = evidence.Read(bytes.NewReader(b), "report.sarif", evidence.Options{})
			refused(t, err, assay.CodeInvalid, "report.sarif: is "+what+", which is not understood yet"+hint)
		})
	}
}

// Every file of the corpus is either counted above or refused above.
func TestEveryRealReportIsCovered(t *testing.T) {
	files, err := os.ReadDir(vector(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, f := range files {
		b, err := os.ReadFile(vector(t, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := evidence.Read(bytes.NewReader(b), f.Name(), evidence.Options{}); err == nil {
			read++
		}
	}
	if read != 8 || len(files) != 23 {
		t.Errorf("%d of %d files are read; this test knows 8 of 23", read, len(files))
	}
}

// refused checks that err is an *assay.Error of one line with the code and text.
func refused(t testing.TB, err error, code assay.Code, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want %q", text)
	}
	e, ok := errors.AsType[*assay.Error](err)
	if !ok || e.Code != code || err.Error() != text {
		t.Fatalf("got  %s %q\nwant %s %q", assay.CodeOf(err), err, code, text)
	}
}
