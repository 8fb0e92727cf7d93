// Package ledger makes the store's audit facts provable: it puts one small leaf
// per fact into an append-only Merkle tree whose head is signed, so that anybody
// who keeps a head can detect that history was rewritten.
//
// The mental model is one queue and one tree. The store numbers audit facts
// (store.Outbox.Sequence); one Sequencer appends their leaves in that order and
// notes where each ended up (store.Outbox.Place); the tree signs a checkpoint now
// and then. A fact is therefore recorded (numbered by the store), then placed (in
// the tree), then published (covered by a signed checkpoint). The leaf carries the
// store's number, so that after any crash the tree's own end says where to go on.
//
// The formats are C2SP's: tlog-checkpoint, tlog-tiles and tlog-proof over RFC 6962
// hashes. Proofs verify offline with VerifyProof and a public key.
//
// One rule stands above availability: a fork is worse than a stop. When store and
// tree contradict each other nothing is signed, and the only way on is Restore,
// which opens a new epoch whose first leaf commits to the old head.
package ledger

import "assay.dev/assay"

// Limits of what this package reads. What is larger is assay.CodeTooLarge.
const (
	// MaxLeaf is the largest leaf in bytes.
	MaxLeaf = 2048
	// MaxCheckpoint is the largest signed checkpoint in bytes; it leaves room for many cosignatures.
	MaxCheckpoint = 64 << 10
	// MaxProof is the largest serialised inclusion or consistency proof in bytes.
	MaxProof = MaxCheckpoint + 64*48 + 4096
	// MaxHashes is the largest number of hashes in one proof (a tree has at most 2^63 leaves).
	MaxHashes = 64
	// MaxBatch is the largest number of leaves appended at once.
	MaxBatch = 1024

	maxTile   = 256 * 32
	maxBundle = 256 * (2 + MaxLeaf)
	// maxExact is the first integer that a JSON reader with 64-bit floats gets wrong.
	maxExact = 1 << 53
)

// unverified says that a signature, proof or digest does not hold.
func unverified(format string, args ...any) *assay.Error {
	return assay.Errorf(assay.CodeUnverified, format, args...)
}

// tooLarge says which limit was passed.
func tooLarge(what string, got, limit int) *assay.Error {
	return assay.Errorf(assay.CodeTooLarge, "%s has %d bytes; the limit is %d", what, got, limit)
}
