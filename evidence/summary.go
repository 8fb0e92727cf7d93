package evidence

import (
	"fmt"
	"strings"

	"assay.dev/assay"
)

// Summary says on one line what e reports, for people: "412 passed, 0 failed,
// 3 skipped", "0 errors, 2 warnings, 1 note", "231 components" or "1 critical,
// 0 high, 2 medium, 0 low". Findings that the report itself suppresses are
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
	case assay.KindVulnerabilities:
		for _, s := range []assay.Severity{assay.SeverityCritical, assay.SeverityHigh, assay.SeverityMedium, assay.SeverityLow} {
			parts = append(parts, fmt.Sprintf("%d %s", count(s), s))
		}
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
