package assay

import "time"

// EvidenceKind is what a piece of evidence speaks about; gates require kinds, not formats.
type EvidenceKind string

const (
	// KindTests is the result of running tests.
	KindTests EvidenceKind = "test-results"
	// KindStaticAnalysis is the report of a static analyser.
	KindStaticAnalysis EvidenceKind = "static-analysis"
	// KindSBOM is a bill of materials.
	KindSBOM EvidenceKind = "sbom"
	// KindVulnerabilities is the report of a vulnerability scan.
	KindVulnerabilities EvidenceKind = "vulnerabilities"
	// KindSecrets is the report of a search for committed secrets.
	KindSecrets EvidenceKind = "secrets"
	// KindManifests is the validation of declared infrastructure: Kubernetes manifests, Terraform plans.
	KindManifests EvidenceKind = "manifests"
	// KindCoverage is how much of the code its tests run.
	KindCoverage EvidenceKind = "coverage"
	// KindPerformance is the result of benchmarks or of a load test.
	KindPerformance EvidenceKind = "performance"
	// KindVEX is a supplier's word on which vulnerabilities matter.
	KindVEX EvidenceKind = "vex"
	// KindAttestation is a signed statement of somebody else about the subject.
	KindAttestation EvidenceKind = "attestation"
)

// EvidenceKinds lists every kind a gate may require, in the order reports use.
var EvidenceKinds = []EvidenceKind{
	KindTests, KindStaticAnalysis, KindSBOM, KindVulnerabilities, KindSecrets,
	KindManifests, KindCoverage, KindPerformance, KindVEX, KindAttestation,
}

// Origin says whether evidence was made for this run or kept from an earlier one.
type Origin string

const (
	// OriginLive is evidence gathered by the run that submits it.
	OriginLive Origin = "live"
	// OriginRecorded is evidence kept in a file and pinned by digest; reports always say so.
	OriginRecorded Origin = "recorded"
)

// Severity orders findings. Unknown ranks above low: what nobody rated is not harmless.
type Severity string

const (
	SeverityNone     Severity = "none"
	SeverityLow      Severity = "low"
	SeverityUnknown  Severity = "unknown"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Rank returns 0 (none) to 5 (critical); a word that is not a Severity ranks as unknown.
func (s Severity) Rank() int {
	switch s {
	case SeverityNone:
		return 0
	case SeverityLow:
		return 1
	case SeverityMedium:
		return 3
	case SeverityHigh:
		return 4
	case SeverityCritical:
		return 5
	default:
		return 2
	}
}

// Tool names the program that produced a report, as the report states it.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Location is a place in the judged source or package. Line and Column are 1-based, 0 if unknown.
type Location struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Component is one entry of a bill of materials.
type Component struct {
	Name     string   `json:"name"`
	Version  string   `json:"version,omitempty"`
	PURL     string   `json:"purl,omitempty"`
	Licenses []string `json:"licenses,omitempty"`
}

// Finding is one thing a tool complained about, whatever the tool.
type Finding struct {
	Rule        string    `json:"rule"`              // the tool's rule, test or advisory id
	Aliases     []string  `json:"aliases,omitempty"` // other ids of the same advisory (CVE, GHSA)
	Severity    Severity  `json:"severity"`
	Message     string    `json:"message"`
	Location    Location  `json:"location,omitzero"`
	Package     Component `json:"package,omitzero"`     // the affected component, for advisories
	FixedIn     []string  `json:"fixed_in,omitempty"`   // versions that fix it
	Fingerprint string    `json:"fingerprint"`          // stable across runs; identifies the finding
	Suppressed  string    `json:"suppressed,omitempty"` // the tool's own justification, "" if active
	Known       bool      `json:"known,omitempty"`      // the tool marked it as present in its baseline
}

// Measure is one number of a coverage or performance report.
type Measure struct {
	Name  string  `json:"name"`            // "lines", "BenchmarkParse/large", "http_req_duration{p95}"
	Unit  string  `json:"unit"`            // "ratio" in [0, 1], "ns/op", "s", "1/s"
	Value float64 `json:"value"`           // never NaN or infinite
	Lower bool    `json:"lower,omitempty"` // lower is better
}

// VEXStatus is what a supplier says about a vulnerability in a product, in OpenVEX's words.
type VEXStatus string

const (
	VEXNotAffected        VEXStatus = "not_affected"
	VEXAffected           VEXStatus = "affected"
	VEXFixed              VEXStatus = "fixed"
	VEXUnderInvestigation VEXStatus = "under_investigation"
)

// VEXStatement says whether one vulnerability matters in some products.
type VEXStatement struct {
	Vulnerability string    `json:"vulnerability"`
	Aliases       []string  `json:"aliases,omitempty"`
	Products      []string  `json:"products"`             // purls or other ids; a version left out means every version
	Components    []string  `json:"components,omitempty"` // the parts of the products that it speaks about; none means the products as a whole
	Status        VEXStatus `json:"status"`
	Justification string    `json:"justification,omitempty"` // OpenVEX's or CSAF's label
	Impact        string    `json:"impact,omitempty"`        // in the supplier's words
	Time          time.Time `json:"time,omitzero"`           // the later one of two about the same counts
}

// TestCounts counts test cases by what they finally were. A case that failed
// and then passed in the same report is flaky: neither passed nor failed.
type TestCounts struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
	Flaky   int `json:"flaky"`
}

// Evidence is one report, read and normalised. Findings of a test report are
// its failed and flaky cases.
type Evidence struct {
	Kind       EvidenceKind   `json:"kind"`
	Format     string         `json:"format"` // for example "sarif-2.1.0"
	Source     string         `json:"source"` // file name as the user gave it
	Digest     Digest         `json:"digest"` // of the bytes that were read
	Size       int64          `json:"size"`   // in bytes
	Tool       Tool           `json:"tool"`
	Origin     Origin         `json:"origin"`
	Produced   time.Time      `json:"produced,omitzero"` // when the tool says it ran; zero if the format does not say
	Collected  time.Time      `json:"collected"`         // when the run read it
	Subject    Digest         `json:"subject,omitempty"` // artifact the report says it is about, if it says so
	Tests      *TestCounts    `json:"tests,omitempty"`
	Components []Component    `json:"components,omitempty"`
	Findings   []Finding      `json:"findings,omitempty"`
	Measures   []Measure      `json:"measures,omitempty"`
	VEX        []VEXStatement `json:"vex,omitempty"`
	Predicate  string         `json:"predicate,omitempty"` // predicate type, of an attestation
	Producer   string         `json:"producer,omitempty"`  // verified identity of who made the report, "" if nobody vouches for it
	Notes      []string       `json:"notes,omitempty"`     // what the reader saw and did not understand
}

// Age is how old the evidence is at now: from when it was produced, or, when
// the format does not say, from when it was collected.
func (e Evidence) Age(now time.Time) time.Duration {
	if !e.Produced.IsZero() {
		return now.Sub(e.Produced)
	}
	return now.Sub(e.Collected)
}
