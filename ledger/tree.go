package ledger

import "context"

// Tree is the writing side of one epoch. Its one user is the Sequencer's goroutine.
type Tree interface {
	// Append adds leaves as one batch and returns the index of each, in the order
	// of leaves, once all of them are durable and part of the tree. An index may be
	// any: the caller compares. After an error any part of the batch may be in the
	// tree, at any index behind the old end; the caller closes the tree, opens it
	// again and reads its end. If ctx ends the error is ctx.Err() and the same holds.
	Append(ctx context.Context, leaves [][]byte) ([]uint64, error)

	// Size is the number of leaves that are durable and part of the tree, whether
	// or not a checkpoint covers them.
	Size(ctx context.Context) (uint64, error)

	// Leaves returns up to limit leaves from index from on, fewer only at the end.
	Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error)

	// Close waits for appends under way, publishes a checkpoint over them if
	// signing is allowed, and releases the tree. After nil nothing of it writes any
	// more; after an error it must not be opened again by this process.
	Close() error
}

// Vet decides whether a tree that was just opened may be signed. It may only read.
type Vet func(ctx context.Context, t Tree) error

// Opener opens the tree of one epoch. It calls vet once, before any checkpoint over
// a leaf is signed; if vet fails it releases the tree and returns vet's error. A
// tree that is older than its own last signed head is refused with
// assay.CodeConflict, one that another process holds with assay.CodeUnavailable.
type Opener func(ctx context.Context, vet Vet) (Tree, error)
