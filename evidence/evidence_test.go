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

const (
	low      = assay.SeverityLow
	none     = assay.SeverityNone
	unknown  = assay.SeverityUnknown
	medium   = assay.SeverityMedium
	high     = assay.SeverityHigh
	critical = assay.SeverityCritical
)

func sev(s ...assay.Severity) []assay.Severity { return s }

var trivyTool = assay.Tool{Name: "trivy", Version: "dev"}

// realReports are all files of vectors/evidence. The figures were counted in the
// files with jq and Python's json and xml.etree.
var realReports = []struct {
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
	{"csaf_vex_v0.2.0.json", evidence.FormatCSAF, assay.KindVEX, assay.Tool{Name: "Example Company ProductCERT"}, 0, nil, "1 statement, 1 affected"},
	{"openvex_v0.2.0.json", evidence.FormatOpenVEX, assay.KindVEX, assay.Tool{Name: "The OpenVEX Project <openvex@openssf.org>"}, 0, nil, "5 statements, 2 not affected, 3 fixed"},
	{"gitleaks-report-violations.json", evidence.FormatGitleaks, assay.KindSecrets, assay.Tool{Name: "gitleaks"}, 0, sev(high, high), "0 critical, 2 high, 0 medium, 0 low"},
	{"grype-dirs.json", evidence.FormatGrype, assay.KindVulnerabilities, assay.Tool{Name: "grype"}, 0, sev(low, critical), "1 critical, 0 high, 0 medium, 1 low"},
	{"jacoco.xml", evidence.FormatJaCoCo, assay.KindCoverage, assay.Tool{Name: "JaCoCo"}, 0, nil, "25.0% of instructions, 25.0% of branches, 23.0% of lines, 20.0% of methods, 100.0% of classes"},
	{"junit.xml", evidence.FormatJUnit, assay.KindTests, assay.Tool{Name: "JUnit XML"}, 0, sev(high), "8 passed, 1 failed"},
	{"sbom-spdx-with-described-package.json", evidence.FormatSPDX, assay.KindSBOM, assay.Tool{Name: "syft", Version: "0.100.0"}, 1, nil, "1 component"},
	{"trivy-conda-spdx.json", evidence.FormatSPDX, assay.KindSBOM, assay.Tool{Name: "trivy", Version: "dev"}, 2, nil, "2 components"},
	{"trivy-alpine-310.json", evidence.FormatTrivy, assay.KindVulnerabilities, trivyTool, 0, sev(medium, medium, medium, medium), "0 critical, 0 high, 4 medium, 0 low"},
	{"trivy-alpine-39-high-critical.json", evidence.FormatTrivy, assay.KindVulnerabilities, trivyTool, 0, sev(critical, critical), "2 critical, 0 high, 0 medium, 0 low"},
	{"trivy-amazon-2.json", evidence.FormatTrivy, assay.KindVulnerabilities, trivyTool, 0, sev(medium, low), "0 critical, 0 high, 1 medium, 1 low"},
	{"trivy-bun.json", evidence.FormatTrivy, assay.KindVulnerabilities, trivyTool, 0, sev(medium), "0 critical, 0 high, 1 medium, 0 low"},
	{"trivy-busybox-with-lockfile.json", evidence.FormatTrivy, assay.KindVulnerabilities, trivyTool, 0, sev(high, medium), "0 critical, 1 high, 1 medium, 0 low"},
	{"trivy-misconfig-dockerfile.json", evidence.FormatTrivy, assay.KindManifests, trivyTool, 0, sev(high), "0 critical, 1 high, 0 medium, 0 low"},
	{"trivy-secrets.json", evidence.FormatTrivy, assay.KindSecrets, trivyTool, 0, sev(critical, high), "1 critical, 1 high, 0 medium, 0 low"},
}

func TestReadCountsWhatRealReportsHold(t *testing.T) {
	for _, tt := range realReports {
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

// Reports that came with a misleading name are read by their content.
func TestRecogniseIsRightOnEveryRealReport(t *testing.T) {
	files, err := os.ReadDir(vector(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range realReports {
		known[r.file] = true
		b, err := os.ReadFile(vector(t, r.file))
		if err != nil {
			t.Fatal(err)
		}
		if kind := evidence.Recognise(bytes.NewReader(b)); kind != r.kind {
			t.Errorf("%s is recognised as %q, want %s", r.file, kind, r.kind)
		}
		e, err := evidence.Read(bytes.NewReader(b), "report.sarif", evidence.Options{})
		if err != nil || e.Format != r.format {
			t.Errorf("%s under another name: %s, %v", r.file, e.Format, err)
		}
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("%s is in no row of realReports", f.Name())
		}
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
