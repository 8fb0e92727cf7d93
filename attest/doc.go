// Package attest turns a verdict into a signed statement, and a signed
// statement back into something a stranger may rely on.
//
// Writing goes verdict → in-toto Statement (VSA, ExceptionStatement), or report →
// statement (TestResultStatement, VulnsStatement) → DSSE envelope in a Sigstore
// bundle (Sign). Reading goes the other way and trusts
// nothing it has not checked: Verify walks the seven steps of a SLSA
// verification summary in order and stops at the first that fails, so the
// report says how far an attestation got and what it would have needed.
//
// Only bytes under a verified signature are ever decoded as a statement, and a
// key id is a hint for people, never a reason to believe or to skip a key. The
// verdict's mode is part of what is signed: a gate that does not enforce grants
// no level, so its attestation cannot pass for an enforced one.
//
// The package reads no clock, no file and no network. Keys come through the
// ports Signer and Verifier, certificates with their logs and timestamps through
// Authority; packages below are the adapters. A Cache keeps what can never change
// about a document, and a TrustPolicy is asked anew each time.
package attest

// Limits of what this package reads and writes. Above them the answer is assay.CodeTooLarge.
const (
	// MaxStatement is the largest statement, in bytes.
	MaxStatement = 4 << 20
	// MaxBundle is the largest bundle or bare envelope, in bytes.
	MaxBundle = 8 << 20
	// MaxSignatures is the number of signatures a bare envelope may carry.
	MaxSignatures = 16
	// MaxSubjects is the number of subjects a statement may have; sigstore-go has the same limit.
	MaxSubjects = 1024
	// MaxTrustedKeys is the number of keys a TrustPolicy may hold.
	MaxTrustedKeys = 64
	// MaxListed is the number of violations a summary lists; it always states their full number.
	MaxListed = 1000
)
