package evidence

import "assay.dev/assay"

// Rate returns the highest rating that CVSS v3 vectors and the words of a database
// ("HIGH", "moderate") give a vulnerability, and unknown if none of them does.
func Rate(vectors, words []string) assay.Severity {
	s := assay.SeverityUnknown
	for _, v := range vectors {
		if score, ok := cvss3(v); ok {
			s = worst(s, bandOf(score))
		}
	}
	for _, w := range words {
		s = worst(s, severityWord(w))
	}
	return s
}
