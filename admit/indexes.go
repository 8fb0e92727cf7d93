package admit

import (
	"context"
	"sync"
	"time"

	"assay.dev/assay/artifact"
	"assay.dev/assay/store"
)

// followEvery is how often an index looks for news if nobody pokes it.
const followEvery = 250 * time.Millisecond

// Indexes are the artifacts of each tenant that a door asks about. An index is
// read whole when it is first asked for, and follows the store while Run runs. It is
// safe for concurrent use.
type Indexes struct {
	store  store.Store
	failed func(error) // told when an index cannot follow; may be nil

	mu      sync.Mutex
	all     map[string]*artifact.Index
	running context.Context // of Run; nil when it does not run
	done    sync.WaitGroup
}

// NewIndexes returns the indexes of a store.
func NewIndexes(s store.Store, failed func(error)) *Indexes {
	return &Indexes{store: s, failed: failed, all: map[string]*artifact.Index{}}
}

// Of returns the index of a namespace. The first call reads the whole of it.
func (x *Indexes) Of(ctx context.Context, namespace string) (Index, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ix := x.all[namespace]; ix != nil {
		return ix, nil
	}
	ix := artifact.NewIndex(x.store, namespace)
	if err := ix.Refresh(ctx); err != nil {
		return nil, err
	}
	x.all[namespace] = ix
	x.follow(ix)
	return ix, nil
}

func (x *Indexes) follow(ix *artifact.Index) {
	if ctx := x.running; ctx != nil {
		x.done.Go(func() { _ = ix.Follow(ctx, followEvery, x.failed) }) // ends with ctx and has no error
	}
}

// Run lets all indexes follow the store until ctx ends.
func (x *Indexes) Run(ctx context.Context) error {
	x.mu.Lock()
	x.running = ctx
	for _, ix := range x.all {
		x.follow(ix)
	}
	x.mu.Unlock()
	<-ctx.Done()
	x.mu.Lock()
	x.running = nil
	x.mu.Unlock()
	x.done.Wait()
	return nil
}
