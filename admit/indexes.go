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

	mu      sync.Mutex // never held while an index is read
	all     map[string]*tenant
	running context.Context // of Run; nil when it does not run
	done    sync.WaitGroup
}

// tenant is one index, or the reading of it.
type tenant struct {
	index *artifact.Index
	read  chan struct{} // closed when it was read, or could not be
	err   error         // valid after read
}

// NewIndexes returns the indexes of a store.
func NewIndexes(s store.Store, failed func(error)) *Indexes {
	return &Indexes{store: s, failed: failed, all: map[string]*tenant{}}
}

// Of returns the index of a namespace. The first call reads the whole of it, which
// goes on when ctx ends: who asks again finds it further. Other namespaces do not wait.
func (x *Indexes) Of(ctx context.Context, namespace string) (Index, error) {
	x.mu.Lock()
	t := x.all[namespace]
	if t == nil {
		t = &tenant{index: artifact.NewIndex(x.store, namespace), read: make(chan struct{})}
		x.all[namespace] = t
		go x.load(context.WithoutCancel(ctx), namespace, t)
	}
	x.mu.Unlock()
	select {
	case <-t.read:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.err != nil {
		return nil, t.err
	}
	return t.index, nil
}

// load reads an index whole. One that cannot be read is forgotten, so that the next
// who asks tries again.
func (x *Indexes) load(ctx context.Context, namespace string, t *tenant) {
	t.err = t.index.Refresh(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	defer close(t.read) // under the lock, so that Run and this agree on who lets it follow
	if t.err != nil {
		delete(x.all, namespace)
		return
	}
	x.follow(t.index)
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
	for _, t := range x.all {
		select {
		case <-t.read:
			x.follow(t.index)
		default: // it follows once it was read
		}
	}
	x.mu.Unlock()
	<-ctx.Done()
	x.mu.Lock()
	x.running = nil
	x.mu.Unlock()
	x.done.Wait()
	return nil
}
