package evidence

import (
	"fmt"
	"math"
	"strings"

	"assay.dev/assay"
)

// Summary says on one line what e reports, for people: "412 passed, 0 failed,
// 3 skipped", "0 errors, 2 warnings, 1 note", "231 components", "1 critical,
// 0 high, 2 medium, 0 low", "81.5% of lines" or "2 to create, 1 to destroy". Findings that the report itself suppresses are
// counted apart, at the end.
func Summary(e assay.Evidence) string {
	var bySeverity [6]int
	suppressed, known := 0, 0
	for _, f := range e.Findings {
		switch {
		case f.Suppressed != "":
			suppressed++
			continue
		case f.Known:
			known++
		}
		bySeverity[f.Severity.Rank()]++
	}
	count := func(s assay.Severity) int { return bySeverity[s.Rank()] }

	var parts []string
	switch e.Kind {
	case assay.KindTests:
		return testSummary(e.Tests)
	case assay.KindStaticAnalysis:
		parts = []string{
			plural(count(assay.SeverityCritical)+count(assay.SeverityHigh), "error", "errors"),
			plural(count(assay.SeverityMedium), "warning", "warnings"),
		}
		if n := count(assay.SeverityLow) + count(assay.SeverityNone); n > 0 {
			parts = append(parts, plural(n, "note", "notes"))
		}
	case assay.KindVulnerabilities, assay.KindSecrets, assay.KindManifests:
		parts = append(scope(e), bands(count)...)
	case assay.KindCoverage, assay.KindPerformance:
		parts = append(measured(e), plural(len(e.Findings)-suppressed, "finding", "findings"))
		if len(e.Findings) == 0 {
			parts = parts[:len(parts)-1]
		}
	case assay.KindVEX:
		return statements(e.VEX)
	case assay.KindAttestation:
		return "predicate " + e.Predicate
	case assay.KindSBOM:
		parts = []string{plural(len(e.Components), "component", "components")}
		if n := len(e.Findings) - suppressed; n > 0 {
			parts = append(parts, plural(n, "vulnerability", "vulnerabilities"))
		}
	default:
		parts = []string{plural(len(e.Findings), "finding", "findings")}
	}
	if n := count(assay.SeverityUnknown); n > 0 && e.Kind != assay.KindSBOM {
		parts = append(parts, fmt.Sprintf("%d of unknown severity", n))
	}
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known before", known))
	}
	if suppressed > 0 {
		parts = append(parts, fmt.Sprintf("%d suppressed", suppressed))
	}
	return strings.Join(parts, ", ")
}

// bands counts findings by their severity.
func bands(count func(assay.Severity) int) []string {
	var parts []string
	for _, s := range []assay.Severity{assay.SeverityCritical, assay.SeverityHigh, assay.SeverityMedium, assay.SeverityLow} {
		parts = append(parts, fmt.Sprintf("%d %s", count(s), s))
	}
	if n := count(assay.SeverityNone); n > 0 {
		parts = append(parts, fmt.Sprintf("%d none", n))
	}
	return parts
}

// scope says how much was looked at, where a report says so.
func scope(e assay.Evidence) []string {
	var parts []string
	if e.Format == FormatTerraform {
		for _, name := range planned {
			if n := measureOf(e, name); n > 0 {
				parts = append(parts, fmt.Sprintf("%.0f to %s", n, name))
			}
		}
		if parts == nil {
			parts = []string{"no changes"}
		}
		return parts
	}
	for _, name := range []string{"validated", "valid", "not-validated"} {
		if n := measureOf(e, name); n > 0 {
			parts = append(parts, fmt.Sprintf("%.0f %s", n, strings.ReplaceAll(name, "-", " ")))
		}
	}
	return parts
}

// measured tells shares of code one by one, and counts any other measures.
func measured(e assay.Evidence) []string {
	if e.Kind == assay.KindPerformance || len(e.Measures) == 0 {
		return []string{plural(len(e.Measures), "measure", "measures")}
	}
	var parts []string
	for _, m := range e.Measures {
		parts = append(parts, fmt.Sprintf("%.1f%% of %s", math.Floor(m.Value*1000)/10, m.Name)) // 99.97% is not 100%
	}
	return parts
}

func statements(list []assay.VEXStatement) string {
	parts := []string{plural(len(list), "statement", "statements")}
	for _, status := range []assay.VEXStatus{assay.VEXNotAffected, assay.VEXAffected, assay.VEXFixed, assay.VEXUnderInvestigation} {
		n := 0
		for _, s := range list {
			if s.Status == status {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(status), "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}

func testSummary(t *assay.TestCounts) string {
	if t == nil {
		return "no test counts"
	}
	s := fmt.Sprintf("%d passed, %d failed", t.Passed, t.Failed)
	if t.Skipped > 0 {
		s += fmt.Sprintf(", %d skipped", t.Skipped)
	}
	if t.Flaky > 0 {
		s += fmt.Sprintf(", %d flaky", t.Flaky)
	}
	return s
}
