package ledger_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/ledger"
	"assay.dev/assay/ledger/memtree"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
	"github.com/prometheus/client_golang/prometheus"
)

// run starts the sequencer and returns how to stop it; stop fails on an error of Run.
func run(t *testing.T, s *ledger.Sequencer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestSequencerPutsFactsInTheStoresOrderAndPublishesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ids := commit(t, w.store, 0, 20)
		reg := prometheus.NewRegistry()
		s := w.sequencer(t, func(c *ledger.SequencerConfig) { c.Metrics = ledger.NewMetrics(reg) })
		stop := run(t, s)
		synctest.Wait()
		later := commit(t, w.store, 20, 3)
		s.Poke()
		synctest.Wait()
		for i, id := range append(ids, later...) {
			st, err := w.ledger.WaitPublished(t.Context(), "shop", id)
			if err != nil || st.State != ledger.StatePublished || st.Index != uint64(i) || st.Seq != uint64(i) {
				t.Fatalf("fact %d: %+v, %v", i, st, err)
			}
		}
		pass(ledger.DefaultTick)
		synctest.Wait()
		stop()
		if len(w.halts) != 0 {
			t.Errorf("halts %v, want none", w.halts)
		}
		for _, name := range []string{"assay_ledger_placed_seconds", "assay_ledger_published_seconds"} {
			if n := samples(t, reg, name); n != 23 {
				t.Errorf("%s has %d samples, want 23", name, n)
			}
		}
		w.check(t, 23)
	})
}

func samples(t *testing.T, reg *prometheus.Registry, name string) uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	return 0
}

// pass lets the bubble's clock run.
func pass(d time.Duration) { <-time.After(d) }

// faulty makes the second append fail.
func faulty(f memtree.Fault) func(int) memtree.Fault {
	calls := 0
	return func(int) memtree.Fault {
		calls++
		if calls == 2 {
			return f
		}
		return memtree.None
	}
}

func TestSequencerRecoversFromEveryTreeFault(t *testing.T) {
	for name, c := range map[string]struct {
		fault    memtree.Fault
		problems []string
	}{
		"append fails and nothing persisted":      {fault: memtree.NotPersisted},
		"append fails and everything persisted":   {fault: memtree.Persisted},
		"append fails and half persisted":         {fault: memtree.FirstHalf},
		"first flush lost and indices shifted":    {fault: memtree.SecondHalf, problems: []string{"changed the order"}},
		"two flushes swapped":                     {fault: memtree.Swapped, problems: []string{"changed the order"}},
		"indices answered are not those assigned": {fault: memtree.Misreported},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.log.Fault = faulty(c.fault)
				ids := commit(t, w.store, 0, 30)
				stop := run(t, w.sequencer(t, nil))
				pass(time.Minute)
				synctest.Wait()
				stop()
				if len(w.halts) != 1 || w.halts[0].Final {
					t.Fatalf("halts %+v, want one that is not final", w.halts)
				}
				w.check(t, 30, c.problems...)
				for _, id := range ids {
					p, err := w.ledger.Prove(t.Context(), "shop", id)
					if err != nil {
						t.Fatal(err)
					}
					if err := ledger.VerifyProof(p.Leaf, p.Marshal(), w.verifier, assay.DefaultOrigin); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

func TestSequencerRecoversFromEveryStoreFault(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for nth := 2; nth <= 9; nth++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				calls, broken := 0, errors.New("disk full")
				hook := func() error {
					if calls++; calls == nth {
						return broken
					}
					return nil
				}
				cfg := mem.Config{}
				if when == "before" {
					cfg.Hooks.BeforeCommit = hook
				} else {
					cfg.Hooks.AfterCommit = hook
				}
				w.store = mem.New(cfg)
				w.ledger = w.open(t, w.store)
				commit(t, w.store, 0, 30)
				stop := run(t, w.sequencer(t, nil))
				pass(time.Minute)
				stop()
				if len(w.halts) != 1 || w.halts[0].Final {
					t.Fatalf("%s commit %d: halts %+v, want one that is not final", when, nth, w.halts)
				}
				w.check(t, 30)
			})
		}
	}
}

// The store notes a batch while the tree takes the next one, so both can fail at once.
func TestSequencerRecoversWhenStoreAndTreeFailTogether(t *testing.T) {
	for _, fault := range []memtree.Fault{memtree.NotPersisted, memtree.Persisted, memtree.FirstHalf, memtree.Misreported} {
		for nth := 2; nth <= 9; nth++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				calls := 0
				w.store = mem.New(mem.Config{Hooks: mem.Hooks{BeforeCommit: func() error {
					if calls++; calls == nth {
						return errors.New("disk full")
					}
					return nil
				}}})
				w.ledger = w.open(t, w.store)
				w.log.Fault = faulty(fault)
				commit(t, w.store, 0, 45)
				stop := run(t, w.sequencer(t, nil))
				pass(time.Minute)
				synctest.Wait()
				stop()
				if len(w.halts) == 0 || w.halts[len(w.halts)-1].Final {
					t.Fatalf("fault %v and commit %d: halts %+v, want some that are not final", fault, nth, w.halts)
				}
				w.check(t, 45)
			})
		}
	}
}

func TestSequencerGoesOnAfterARestartAtAnyPoint(t *testing.T) {
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			calls := 0
			// The process ends while the n-th append is on its way: persisted or not.
			w.log.Fault = func(int) memtree.Fault {
				calls++
				if calls == after/2+1 {
					cancel()
					return []memtree.Fault{memtree.NotPersisted, memtree.Persisted}[after%2]
				}
				return memtree.None
			}
			commit(t, w.store, 0, 30)
			if err := w.sequencer(t, nil).Run(ctx); err != nil {
				t.Fatal(err)
			}
			w.log.Fault = nil
			commit(t, w.store, 30, 5)
			stop := run(t, w.sequencer(t, nil))
			synctest.Wait()
			stop()
			w.check(t, 35)
		})
	}
}

// older is a store that was brought back from a backup with fewer facts.
func TestSequencerRefusesToSignWhenTheStoreIsOlderThanTheTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		commit(t, w.store, 0, 10)
		stop := run(t, w.sequencer(t, nil))
		synctest.Wait()
		stop()
		before, err := w.log.ReadCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		w.store = mem.New(mem.Config{})
		commit(t, w.store, 100, 4)
		err = w.sequencer(t, nil).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "fork is worse than a stop") || assay.CodeOf(err) != assay.CodeConflict {
			t.Fatalf("Run = %v, want a refusal", err)
		}
		if len(w.halts) != 1 || !w.halts[0].Final {
			t.Errorf("halts %+v, want a final one", w.halts)
		}
		after, err := w.log.ReadCheckpoint(t.Context())
		if err != nil || string(after) != string(before) {
			t.Errorf("checkpoint changed: %q, %v", after, err)
		}
	})
}

func TestSequencerRefusesToSignWhenTheTreeIsOlderThanTheStore(t *testing.T) {
	for _, kept := range []int{0, 4, 9} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			commit(t, w.store, 0, 10)
			stop := run(t, w.sequencer(t, nil))
			synctest.Wait()
			stop()
			if err := w.log.Truncate(kept); err != nil {
				t.Fatal(err)
			}
			err := w.sequencer(t, nil).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "older than the store") {
				t.Fatalf("kept %d: Run = %v, want a refusal", kept, err)
			}
			if cp, err := w.log.ReadCheckpoint(t.Context()); err == nil {
				t.Errorf("signed %q", cp)
			}
		})
	}
}

// rewritten answers another fact under a number.
type rewritten struct {
	store.Outbox
	seq uint64
	as  func(e *store.Entry)
}

func (r rewritten) Entries(ctx context.Context, from uint64, limit int) ([]store.Entry, error) {
	es, err := r.Outbox.Entries(ctx, from, limit)
	for i := range es {
		if es[i].Seq == r.seq {
			r.as(&es[i])
		}
	}
	return es, err
}

func TestSequencerRefusesToSignWhenAFactWasRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		commit(t, w.store, 0, 10)
		stop := run(t, w.sequencer(t, nil))
		synctest.Wait()
		stop()
		s := w.sequencer(t, func(c *ledger.SequencerConfig) {
			c.Outbox = rewritten{w.store, 7, func(e *store.Entry) { e.Fact.Payload = []byte(`{"n":8}`) }}
		})
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "rewritten") {
			t.Fatalf("Run = %v, want a refusal", err)
		}
	})
}

func TestSequencerWithoutLeaseStandsByQuietlyAndTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		commit(t, w.store, 0, 3)
		var mine atomic.Bool
		stop := run(t, w.sequencer(t, func(c *ledger.SequencerConfig) {
			c.Lease = func(context.Context) error {
				if mine.Load() {
					return nil
				}
				return assay.Errorf(assay.CodeConflict, "another process holds the lease")
			}
		}))
		pass(time.Minute)
		synctest.Wait()
		if _, err := w.ledger.Head(t.Context()); assay.CodeOf(err) != assay.CodeNotFound {
			t.Errorf("without a lease: Head = %v, want not found", err)
		}
		mine.Store(true)
		pass(time.Minute)
		stop()
		if len(w.halts) != 0 {
			t.Errorf("halts %+v, want none", w.halts)
		}
		w.check(t, 3)
	})
}

func TestWaitPublishedEndsWithItsContextAndNamesTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.log.Held = true
		ids := commit(t, w.store, 0, 1)
		wait := func() (ledger.Status, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return w.ledger.WaitPublished(ctx, "shop", ids[0])
		}
		if st, err := wait(); st.State != ledger.StateRecorded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before the sequencer: %+v, %v", st, err)
		}
		stop := run(t, w.sequencer(t, nil))
		if st, err := wait(); st.State != ledger.StatePlaced || assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("before the checkpoint: %+v, %v", st, err)
		}
		if _, err := w.ledger.Prove(t.Context(), "shop", ids[0]); assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("Prove before the checkpoint: %v", err)
		}
		if err := w.log.Publish(); err != nil {
			t.Fatal(err)
		}
		if st, err := wait(); st.State != ledger.StatePublished || err != nil {
			t.Errorf("after the checkpoint: %+v, %v", st, err)
		}
		stop()
		if _, err := w.ledger.WaitPublished(t.Context(), "shop", store.NewFactID()); assay.CodeOf(err) != assay.CodeNotFound {
			t.Errorf("unknown fact: %v", err)
		}
	})
}

func TestAnAppendThatHangsIsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		w.log.Fault = func(int) memtree.Fault { <-release; return memtree.None }
		commit(t, w.store, 0, 3)
		s := w.sequencer(t, nil)
		stop := run(t, s)
		pass(time.Second)
		if d, lagging := s.Lag(); lagging {
			t.Errorf("lagging after a second, by %v", d)
		}
		pass(9 * time.Second)
		if d, lagging := s.Lag(); !lagging || d < 9*time.Second {
			t.Errorf("an append hangs for ten seconds: lag %v, lagging %v", d, lagging)
		}
		close(release)
		pass(ledger.DefaultTick)
		synctest.Wait()
		if d, lagging := s.Lag(); lagging {
			t.Errorf("still lagging by %v after the append ended", d)
		}
		stop()
		w.check(t, 3)
	})
}

// paced is a tree that signs once a second.
type paced struct {
	ledger.Tree
	mu    sync.Mutex
	sizes []int
	last  time.Time
}

func (p *paced) batches() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sizes)
}

func (p *paced) Due() time.Duration { return time.Until(p.last.Add(time.Second)) }

func (p *paced) Append(ctx context.Context, leaves [][]byte) ([]uint64, error) {
	p.mu.Lock()
	p.sizes = append(p.sizes, len(leaves))
	p.mu.Unlock()
	if p.Due() <= 0 {
		p.last = time.Now()
	}
	return p.Tree.Append(ctx, leaves)
}

func TestSequencerAppendsWholeBatchesAtOnceAndTheRestWhenACheckpointIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		open := w.log.Opener()
		tree := &paced{last: time.Now()}
		s := w.sequencer(t, func(c *ledger.SequencerConfig) {
			c.Batch = 10
			c.Open = func(ctx context.Context, vet ledger.Vet) (ledger.Tree, error) {
				var err error
				tree.Tree, err = open(ctx, vet)
				return tree, err
			}
		})
		stop := run(t, s)
		pass(100 * time.Millisecond)
		commit(t, w.store, 0, 23)
		s.Poke()
		pass(300 * time.Millisecond)
		commit(t, w.store, 23, 2) // joins the three that wait
		s.Poke()
		pass(500 * time.Millisecond)
		if got := tree.batches(); len(got) != 2 {
			t.Errorf("batches %v before the checkpoint is due; want two whole ones", got)
		}
		pass(200 * time.Millisecond)
		if got := tree.batches(); len(got) != 3 || got[2] != 5 {
			t.Errorf("batches %v; want the five that waited when the checkpoint was due", got)
		}
		pass(5 * time.Second)
		began := time.Now()
		id := commit(t, w.store, 25, 1)[0]
		s.Poke()
		if _, err := w.ledger.WaitPublished(t.Context(), "shop", id); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("a fact of a quiet ledger was published after %v, %v", time.Since(began), err)
		}
		stop()
		w.check(t, 26)
	})
}
