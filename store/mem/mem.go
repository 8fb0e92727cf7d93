// Package mem is a store in memory: for tests, demonstrations and dry runs.
//
// It keeps the contract of package store with real transactions and snapshots,
// and forgets everything with the process. One Update commits at a time, as a
// group of one. Values keep their older versions for as long as a View can see
// them, so that readers never wait for writers. Hooks make commits fail in the
// two ways a real one can: with and without effect.
package mem

import (
	"context"
	"fmt"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

// Config is what New needs; the zero value is ready to use.
type Config struct {
	Now       func() time.Time    // the clock for Recorded and empty times; nil means time.Now
	NewID     func() assay.FactID // ids of facts without one; nil means store.NewFactID
	Upcasters store.Upcasters     // how readers see old facts
	Hooks     Hooks
}

// Hooks make commits fail. They run in the writer, once per commit, those of
// Sequence and Place included; a nil hook does nothing.
type Hooks struct {
	// BeforeCommit's error fails the commit without effect.
	BeforeCommit func() error
	// AfterCommit's error fails the commit although it took effect, as when the
	// machine dies between the disk's answer and ours.
	AfterCommit func() error
}

// Store is a store.Store and store.Outbox in memory.
type Store struct {
	cfg  Config
	turn chan struct{} // holds one token; who has it is the writer

	mu      sync.RWMutex // guards all below, held for moments only; written by the writer and by views coming and going
	closed  bool
	head    int64 // number of commits
	facts   []assay.Fact
	byID    map[factKey]int64 // commit of a fact
	state   map[bucket]map[string][]version
	views   map[int64]int // open views by the head they see
	running sync.WaitGroup

	outbox   []int64 // commits of audit facts, in order
	numbered int     // outbox[:numbered] have their index as sequence number
	placed   map[uint64]uint64
	placedTo uint64 // all numbers below are placed
}

type factKey struct {
	namespace string
	id        assay.FactID
}

type bucket struct{ namespace, name string }

// version is one value of a key, in force from commit at on.
type version struct {
	at      int64
	deleted bool
	value   store.Value
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Outbox = (*Store)(nil)
)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = store.NewFactID
	}
	s := &Store{
		cfg:    cfg,
		turn:   make(chan struct{}, 1),
		byID:   map[factKey]int64{},
		state:  map[bucket]map[string][]version{},
		views:  map[int64]int{},
		placed: map[uint64]uint64{},
	}
	s.turn <- struct{}{}
	return s
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(tx store.Tx) error) error {
	return s.write(ctx, func() (func(), error) {
		t := s.begin()
		if err := call(t, fn); err != nil {
			return nil, err
		}
		return t.apply, nil
	})
}

// write gives run the writer's turn and commits what it returns to apply.
func (s *Store) write(ctx context.Context, run func() (apply func(), err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return errClosed()
	}
	apply, err := run()
	if err != nil {
		return err
	}
	if err := hook(s.cfg.Hooks.BeforeCommit); err != nil {
		return err
	}
	s.mu.Lock()
	apply()
	s.mu.Unlock()
	return hook(s.cfg.Hooks.AfterCommit)
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(r store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed()
	}
	r := &reader{s: s, head: s.head, commits: int64(len(s.facts))}
	s.views[r.head]++
	s.running.Add(1)
	s.mu.Unlock()
	defer func() {
		r.done = true
		s.mu.Lock()
		if s.views[r.head]--; s.views[r.head] == 0 {
			delete(s.views, r.head)
		}
		s.mu.Unlock()
		s.running.Done()
	}()
	return fn(r)
}

// Close implements store.Store. It waits for what runs.
func (s *Store) Close() error {
	<-s.turn
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.turn <- struct{}{}
	s.running.Wait()
	return nil
}

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// call runs a closure and turns its panic into an error.
func call(t *tx, fn func(tx store.Tx) error) (err error) {
	defer func() {
		t.done = true
		if p := recover(); p != nil {
			err = assay.Errorf(assay.CodeInternal, "a transaction panicked: %v", p)
		}
	}()
	return fn(t)
}

func hook(f func() error) error {
	if f == nil {
		return nil
	}
	if err := f(); err != nil {
		return &assay.Error{Code: assay.CodeUnavailable, Msg: fmt.Sprintf("the store could not commit: %v", err), Hint: "retry", Err: err}
	}
	return nil
}

func errClosed() error {
	return assay.Errorf(assay.CodeUnavailable, "the store is closed")
}

func errDone() error {
	return assay.Errorf(assay.CodeInternal, "a transaction was used after its function returned")
}
