package evidence

import (
	"math"
	"strconv"
	"strings"

	"assay.dev/assay"
)

// bandOf maps a CVSS base score to its qualitative rating (CVSS v3.1, section
// 5). A score outside 0 to 10 is unknown.
func bandOf(score float64) assay.Severity {
	switch {
	case math.IsNaN(score) || score < 0 || score > 10:
		return assay.SeverityUnknown
	case score == 0:
		return assay.SeverityNone
	case score < 4:
		return assay.SeverityLow
	case score < 7:
		return assay.SeverityMedium
	case score < 9:
		return assay.SeverityHigh
	}
	return assay.SeverityCritical
}

// bandOfText maps a score in text form; "" and anything that is no number is unknown.
func bandOfText(score string) assay.Severity {
	f, err := strconv.ParseFloat(strings.TrimSpace(score), 64)
	if err != nil {
		return assay.SeverityUnknown
	}
	return bandOf(f)
}

// severityWord maps the words that advisory databases and CycloneDX use.
func severityWord(word string) assay.Severity {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "critical":
		return assay.SeverityCritical
	case "high", "important":
		return assay.SeverityHigh
	case "medium", "moderate":
		return assay.SeverityMedium
	case "low", "minor", "negligible", "info", "informational":
		return assay.SeverityLow
	case "none":
		return assay.SeverityNone
	}
	return assay.SeverityUnknown
}

// worst returns the highest rating that anybody gave: unknown means nobody rated it.
func worst(ratings ...assay.Severity) assay.Severity {
	w := assay.SeverityUnknown
	for _, s := range ratings {
		if s != assay.SeverityUnknown && (w == assay.SeverityUnknown || s.Rank() > w.Rank()) {
			w = s
		}
	}
	return w
}

// cvss3Weights are the numbers of CVSS v3.1, section 7.4.
var cvss3Weights = map[string]float64{
	"AV:N": 0.85, "AV:A": 0.62, "AV:L": 0.55, "AV:P": 0.2,
	"AC:L": 0.77, "AC:H": 0.44,
	"PR:N": 0.85, "PR:L": 0.62, "PR:H": 0.27,
	"UI:N": 0.85, "UI:R": 0.62,
	"S:U": 0, "S:C": 1,
	"C:H": 0.56, "C:L": 0.22, "C:N": 0,
	"I:H": 0.56, "I:L": 0.22, "I:N": 0,
	"A:H": 0.56, "A:L": 0.22, "A:N": 0,
}

// cvss3 returns the base score of a CVSS v3 vector, for example
// "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H".
func cvss3(vector string) (score float64, ok bool) {
	parts := strings.Split(vector, "/")
	if parts[0] != "CVSS:3.0" && parts[0] != "CVSS:3.1" {
		return 0, false
	}
	m := map[string]float64{}
	for _, p := range parts[1:] {
		name, _, _ := strings.Cut(p, ":")
		if w, base := cvss3Weights[p]; base {
			m[name] = w
		}
	}
	if len(m) != 8 { // all of AV, AC, PR, UI, S, C, I and A
		return 0, false
	}
	changed := m["S"] == 1
	if changed { // privileges weigh more when the scope changes
		switch m["PR"] {
		case cvss3Weights["PR:L"]:
			m["PR"] = 0.68
		case cvss3Weights["PR:H"]:
			m["PR"] = 0.5
		}
	}
	iss := 1 - (1-m["C"])*(1-m["I"])*(1-m["A"])
	impact := 6.42 * iss
	if changed {
		impact = 7.52*(iss-0.029) - 3.25*math.Pow(iss-0.02, 15)
	}
	if impact <= 0 {
		return 0, true
	}
	sum := impact + 8.22*m["AV"]*m["AC"]*m["PR"]*m["UI"]
	if changed {
		sum *= 1.08
	}
	return roundUp(min(sum, 10)), true
}

// roundUp is Roundup of CVSS v3.1, appendix A: up to one decimal, immune to floating-point error.
func roundUp(x float64) float64 {
	n := int64(math.Round(x * 100_000))
	if n%10_000 == 0 {
		return float64(n) / 100_000
	}
	return float64(n/10_000+1) / 10
}
