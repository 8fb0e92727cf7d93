package gameday

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"assay.dev/assay/internal/faas"
)

// pollers are between a queue and a platform of functions: each takes one event after the
// other and has a function invoked with it. What fails, for whatever reason, goes back into
// the queue: an event may be worked on twice, and none is lost.
type pollers struct {
	ctx    context.Context
	b      *broker
	invoke func(ctx context.Context, payload []byte) ([]byte, error)
	group  sync.WaitGroup

	mu     sync.Mutex
	many   int
	runs   map[int]bool
	writes faas.Histogram // of the database, as the functions see it
}

func newPollers(ctx context.Context, b *broker, invoke func(context.Context, []byte) ([]byte, error)) *pollers {
	return &pollers{ctx: ctx, b: b, invoke: invoke, runs: map[int]bool{}, writes: faas.NewHistogram()}
}

// hold keeps n of them; those beyond it finish what they have.
func (s *pollers) hold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.many = n
	for i := range n {
		if !s.runs[i] {
			s.runs[i] = true
			s.group.Go(func() { s.poll(i) })
		}
	}
}

// goesOn is whether there is still a place for a poller.
func (s *pollers) goesOn(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[i] = s.ctx.Err() == nil && i < s.many
	return s.runs[i]
}

func (s *pollers) poll(i int) {
	for s.goesOn(i) {
		e, ok := s.b.take(s.ctx)
		if !ok {
			continue
		}
		if err := s.one(e); err != nil {
			s.b.back(e)
			_ = pause(s.ctx, retryAfter(err)) // goesOn sees that it is over
		}
	}
}

// retryAfter is how long a poller waits after an event went back.
func retryAfter(err error) time.Duration {
	if failed := new(faas.FunctionError); errors.As(err, &failed) && failed.Type == "Runtime.ExitError" {
		return 0 // another instance takes it
	}
	return 50 * time.Millisecond
}

// one has a function work on an event.
func (s *pollers) one(e event) error {
	payload, err := json.Marshal(e)
	if err != nil {
		return err
	}
	answer, err := s.invoke(s.ctx, payload)
	if err != nil {
		return err
	}
	var o outcome
	if err := json.Unmarshal(answer, &o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes.Observe(time.Duration(o.Write * float64(time.Second)))
	return nil
}

// written is how long the database took.
func (s *pollers) written() faas.Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes.Clone()
}
