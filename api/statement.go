package api

import "assay.dev/assay"

// Kinds of statement that can be made from reports, as people call them.
const (
	// StatementTestResult is in-toto's test result, made of test reports.
	StatementTestResult = "test-result"
	// StatementVulns is in-toto's vulnerability scan, made of one scan.
	StatementVulns = "vulns"
)

// StatementRequest asks for a signed statement of what reports say about one
// artifact. No gate judges it: it states what was found, good or bad.
type StatementRequest struct {
	Type    string        `json:"type"` // StatementTestResult or StatementVulns
	Subject assay.Subject `json:"subject"`
	Reports []Report      `json:"reports"`
}

// SignedStatement is the answer.
type SignedStatement struct {
	PredicateType string       `json:"predicate_type"`
	Says          string       `json:"says"` // in one line
	BundleDigest  assay.Digest `json:"bundle_digest"`
	Bundle        []byte       `json:"bundle"` // Sigstore bundle, JSON
	Fact          assay.FactID `json:"fact"`   // the statement.signed fact, which the ledger proves
}
