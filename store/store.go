// Package store is where facts and state live, as a port.
//
// A store is one serialised history. Update appends facts and changes state in
// one transaction, so that the state can always be explained by the facts that
// made it; audit facts enter an outbox in the same transaction, from which the
// ledger takes them in order. Readers see a consistent snapshot and never block
// the writer.
//
// Adapters live below this folder; storetest is the suite that makes them equal.
package store

import (
	"context"
	"io"
	"time"

	"assay.dev/assay"
)

// MaxPayload is the largest fact payload and state value a store accepts, in bytes.
// Larger evidence belongs into Blobs, with its digest in the fact.
const MaxPayload = 1 << 20

// Store is the durable home of facts and state.
type Store interface {
	// Update runs fn in the writer, under a savepoint, together with other
	// callers' closures in one durable transaction (group commit). It returns
	// after the commit is durable. An error from fn undoes only fn and is
	// returned unchanged. When the commit itself fails, every caller of the group
	// gets assay.CodeUnavailable and must treat the outcome as unknown: all of
	// the group or, as a rule, nothing of it happened. A caller that retries
	// therefore names its facts' ids. After a failed commit nothing is
	// acknowledged until the store has proved that it can write again. fn must
	// do no I/O and must not keep tx. A panic in fn undoes fn and is returned as
	// an error of assay.CodeInternal.
	// If ctx ends before fn ran, fn does not run and ctx.Err() is returned; once
	// fn has run, the answer waits for the commit.
	Update(ctx context.Context, fn func(tx Tx) error) error

	// View runs fn on a consistent snapshot. It never waits for writers.
	View(ctx context.Context, fn func(r Reader) error) error

	// Close commits what was accepted, then releases the store. Later calls
	// return assay.CodeUnavailable.
	Close() error
}

// Key addresses a state value. The namespace leads, so that no index mixes tenants.
type Key struct {
	Namespace string
	Bucket    string // what the values are, for example "exception"
	Name      string
}

// Value is a state value and its version, which grows by one with each write of the key, from 1.
type Value struct {
	Key     Key
	Data    []byte
	Version int64
}

// Reader reads one consistent snapshot.
type Reader interface {
	// Get returns the value at k, or assay.CodeNotFound.
	Get(k Key) (Value, error)

	// List returns up to limit values of k's namespace and bucket whose names
	// start with k.Name and come after the name after, in the order of the
	// names' bytes. A limit of 0 means DefaultLimit; at most MaxLimit.
	List(k Key, after string, limit int) ([]Value, error)

	// Fact returns one fact by id within a namespace, upcast to the newest
	// version of its kind, or assay.CodeNotFound.
	Fact(namespace string, id assay.FactID) (Row, error)

	// Facts returns the facts that match q, in commit order, upcast as Fact does.
	Facts(q Query) ([]Row, error)
}

// Tx reads its own writes.
type Tx interface {
	Reader

	// Append adds f. The store sets Recorded, and sets ID and Time where they
	// are empty; causes must exist in f's namespace, else assay.CodeNotFound. It
	// returns the fact's id. Appending an id that exists with the same content
	// (SameFact) changes nothing; with other content it is assay.CodeConflict.
	Append(f assay.Fact) (assay.FactID, error)

	// Put writes data at k if the key's version is ifVersion: 0 means the key
	// must not exist, AnyVersion skips the check. It returns the new version,
	// or assay.CodeConflict.
	Put(k Key, data []byte, ifVersion int64) (int64, error)

	// Delete removes k under the same rule. A missing key is assay.CodeNotFound
	// unless ifVersion is AnyVersion.
	Delete(k Key, ifVersion int64) error
}

// AnyVersion as ifVersion skips the version check.
const AnyVersion int64 = -1

// Row is a fact with its place in the store.
type Row struct {
	Fact   assay.Fact
	Commit int64 // grows in commit order; a cursor for Query.After. Never a ledger index.
}

// Query selects facts. Empty fields select all, except Namespace, which is mandatory.
type Query struct {
	Namespace string
	Kinds     []string
	Subject   assay.Digest
	Cause     assay.FactID // facts that name this one among their causes
	Since     time.Time    // event time, inclusive
	Until     time.Time    // event time, exclusive
	After     int64        // Row.Commit to start behind
	Newest    bool         // newest first; After then means "before this commit", 0 being the end
	Limit     int          // 0 means DefaultLimit; at most MaxLimit
}

// Outbox is the queue of audit facts on their way into the ledger. A store
// that feeds a ledger implements it. Only the holder of the sequencer lease
// may call Sequence and Place. Facts in entries are as they were written, never
// upcast: what a ledger committed to must not change with the reader's version.
type Outbox interface {
	// Sequence gives the next sequence numbers, without gaps and from 0, to
	// up to limit audit facts that are committed and have none yet, in commit
	// order, and returns up to limit entries that have no ledger index yet, by
	// number, from sequence number from on. It is durable when it returns.
	// Numbers once given never change. A limit of 0 means DefaultLimit; at most
	// MaxLimit.
	Sequence(ctx context.Context, from uint64, limit int) ([]Entry, error)

	// Place records the ledger index of entries, all or none. It is durable when
	// it returns, idempotent, assay.CodeConflict if an entry has another index
	// already and assay.CodeNotFound if no entry has that number.
	Place(ctx context.Context, placed []Placement) error

	// Entries returns up to limit numbered entries from sequence number from on.
	Entries(ctx context.Context, from uint64, limit int) ([]Entry, error)

	// Entry finds the outbox entry of an audit fact, or assay.CodeNotFound.
	Entry(ctx context.Context, namespace string, id assay.FactID) (Entry, error)
}

// Entry is one audit fact in the outbox.
type Entry struct {
	Numbered bool   // Seq is set
	Seq      uint64 // the store's sequence number
	Placed   bool   // Index is set: the entry is in the ledger's tree
	Index    uint64 // position in the ledger
	Fact     assay.Fact
}

// Placement says where in the ledger a sequence number ended up.
type Placement struct {
	Seq   uint64
	Index uint64
}

// Blobs keeps large payloads by their digest, apart from facts.
type Blobs interface {
	// Put stores what r yields, up to limit bytes, and returns its digest. It is
	// durable when it returns and idempotent. More than limit bytes is
	// assay.CodeTooLarge and leaves nothing behind.
	Put(ctx context.Context, r io.Reader, limit int64) (assay.Digest, error)

	// Open returns the bytes with that digest, or assay.CodeNotFound. Reading to
	// the end verifies the digest: a mismatch is assay.CodeUnverified.
	Open(ctx context.Context, d assay.Digest) (io.ReadCloser, error)
}
