package assay

// Names that outlive a release. They stand in signed documents, so they change
// only by adding a new one; operators who run their own trust domain override
// the ones that carry a domain name through configuration, never by editing.
const (
	// APIVersion is the group and version of every Assay YAML resource.
	APIVersion = "assay.dev/v1alpha1"

	// StatementType is the in-toto statement type of every attestation we sign.
	StatementType = "https://in-toto.io/Statement/v1"
	// VSAPredicateType is SLSA's verification summary; SLSA forbids the minor version here.
	VSAPredicateType = "https://slsa.dev/verification_summary/v1"
	// ExceptionPredicateType is our predicate for an approved exception.
	ExceptionPredicateType = "https://assay.dev/attestation/exception/v1"
	// TestResultPredicateType is in-toto's result of a test run.
	TestResultPredicateType = "https://in-toto.io/attestation/test-result/v0.1"
	// VulnsPredicateType is in-toto's result of a vulnerability scan.
	VulnsPredicateType = "https://in-toto.io/attestation/vulns/v0.2"
	// StatementPayloadType is the DSSE payload type of an in-toto statement.
	StatementPayloadType = "application/vnd.in-toto+json"
	// BundleMediaType is the Sigstore bundle version we write.
	BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// ProofMediaType is our portable proof: a bundle, its ledger leaf and the inclusion proof.
	ProofMediaType = "application/vnd.assay.proof.v1+json"
	// ProofOfFactMediaType is the portable proof of any other fact: leaf and inclusion proof, no bundle.
	ProofOfFactMediaType = "application/vnd.assay.fact-proof.v1+json"

	// ExtensionViolations is the VSA extension field that lists what failed (SLSA has no field for it).
	ExtensionViolations = "https://assay.dev/vsa/violations/v1"
	// ExtensionRequirements is the VSA extension field with the state of each required evidence.
	ExtensionRequirements = "https://assay.dev/vsa/requirements/v1"
	// ExtensionExceptions is the VSA extension field that names the exceptions a verdict used.
	ExtensionExceptions = "https://assay.dev/vsa/exceptions/v1"
	// ExtensionTestCounts is the test-result extension field with the numbers of tests (in-toto has no field for them).
	ExtensionTestCounts = "https://assay.dev/test-result/counts/v1"

	// DefaultVerifierID identifies this gate in a VSA unless the operator sets another.
	DefaultVerifierID = "https://assay.dev/gate"
	// DefaultOrigin is the C2SP origin of a ledger unless the operator sets another;
	// a restored ledger appends "/epoch-N".
	DefaultOrigin = "assay.dev/ledger"
)
