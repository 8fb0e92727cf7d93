package rollout_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/rollout"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// asked counts what the engine asks of its source and of its store.
type asked struct {
	*stage
	store.Store

	mu           sync.Mutex // guards the stage's world and readings
	reads, views atomic.Int64
	fails        atomic.Bool // the source does not answer
	half         atomic.Bool // half of what counts has not reported yet
}

func (a *asked) Read(ctx context.Context, q signal.Query) ([]assay.Reading, error) {
	a.reads.Add(1)
	if a.fails.Load() {
		return nil, assay.Errorf(assay.CodeUnavailable, "it does not answer")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	got, err := a.stage.Read(ctx, q)
	for i := range got {
		if a.half.Load() {
			got[i].Completeness = 0.5
		}
	}
	return got, err
}

func (a *asked) View(ctx context.Context, fn func(store.Reader) error) error {
	a.views.Add(1)
	return a.Store.View(ctx, fn)
}

// TestARolloutIsReadWhenSomethingArrived: a thousand rollouts are looked at each second,
// and neither the series nor the store are asked for what is known.
func TestARolloutIsReadWhenSomethingArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, 60, 0.01)
		a := &asked{stage: s, Store: s.store}
		epoch := time.Now()
		now := func() time.Time { return time.Now().Add(began.Sub(epoch)) }
		s.ctl = rollout.New(rollout.Config{
			Store: a, Blobs: s.blobs, Source: a, Actuator: s.actuator, Watch: signal.NewWatch(), Now: now, Log: slog.New(slog.DiscardHandler), Holder: "test",
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.ctl.Run(ctx) }()
		synctest.Wait()
		p := plan()
		p.MinDuration = time.Hour // it stays at its first step
		id := s.propose(p).ID
		elapse := func(d time.Duration) {
			for range d / time.Second {
				a.mu.Lock()
				got, err := s.world.Step(time.Second)
				if err != nil {
					t.Fatal(err)
				}
				s.readings = append(s.readings, got...)
				a.mu.Unlock()
				<-time.After(time.Second)
				synctest.Wait()
			}
		}
		arrive := func(newest time.Time) {
			s.ctl.Arrived(signal.Arrival{Namespace: namespace, Indicators: []string{id}, Newest: newest, Received: now()})
			synctest.Wait()
		}
		counted := func() uint64 { return s.rollout(id).Canary.Total }
		// Ticks and arrivals do not meet.
		<-time.After(time.Second / 2)
		elapse(2 * time.Second)

		reads, views := a.reads.Load(), a.views.Load()
		elapse(20 * time.Second)
		if n := a.reads.Load() - reads; n != 0 {
			t.Errorf("without data its signals were read %d times in 20 s", n)
		}
		if n := a.views.Load() - views; n > 20/5 { // open ones are listed when the lease is renewed
			t.Errorf("without data the store was asked %d times in 20 s", n)
		}
		if before := counted(); before != 0 {
			t.Fatalf("%d requests were counted that nobody announced", before)
		}
		arrive(now())
		first := counted()
		if first == 0 {
			t.Fatalf("what arrived was not read: %s", s.rollout(id).Reason)
		}

		reads = a.reads.Load()
		arrive(now().Add(3 * time.Second)) // the sender's clock is ahead
		elapse(3 * time.Second)
		if counted() == first || a.reads.Load() == reads+1 {
			t.Error("what is dated ahead was not read when its time had come")
		}
		elapse(2 * time.Second) // and nothing after that
		reads = a.reads.Load()
		elapse(5 * time.Second)
		if n := a.reads.Load() - reads; n != 0 {
			t.Errorf("once its time had come it was read %d times more", n)
		}

		for name, trouble := range map[string]*atomic.Bool{"a source that fails": &a.fails, "half of the sources": &a.half} {
			elapse(2 * time.Second)
			before := counted()
			trouble.Store(true)
			arrive(now().Add(-time.Millisecond))
			if counted() != before {
				t.Errorf("%s: it was counted all the same", name)
			}
			trouble.Store(false)
			elapse(time.Second)
			if counted() == before {
				t.Errorf("%s: what was left was not read again: %s", name, s.rollout(id).Reason)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s.replays()
	})
}

// replays makes every recorded decision again.
func (s *stage) replays() {
	s.t.Helper()
	facts := s.facts(assay.FactRolloutDecided)
	if len(facts) < 4 {
		s.t.Errorf("%d decisions were recorded", len(facts))
	}
	for _, f := range facts {
		blob, err := s.blobs.Open(s.t.Context(), payload[rollout.DecidedPayload](s.t, f).Record)
		if err != nil {
			s.t.Fatal(err)
		}
		data, err := io.ReadAll(blob)
		if err != nil {
			s.t.Fatal(err)
		}
		again, err := decide.Replay(data)
		if err != nil || !again.Identical {
			s.t.Errorf("decision %s made again is the same: %t, %v", f.ID, again.Identical, err)
		}
	}
}
