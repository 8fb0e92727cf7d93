package ui

import (
	"context"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// askTime is how long a page waits for an answer that is shared. A page without
// it is better than no page.
const askTime = 2 * time.Second

// traffic asks the enforcer, at most twice a second for all pages together: it is
// a call to another process.
func (v *view) traffic() (api.Traffic, error) {
	return shared(v, v.ui.traffic, v.s.Traffic)
}

// shared answers from what the readers of a namespace share. The session of who is no
// reader refuses, which is no answer for anybody else.
func shared[T any](v *view, c *cache[T], ask func(context.Context) (T, error)) (T, error) {
	if !slices.ContainsFunc(api.Readers, v.caller.Has) {
		return ask(v.ctx)
	}
	return c.of(v.Namespace()).get(v.ctx, v.ui.cfg.Now, ask)
}

// cache holds the newest answer of each namespace, because every open page would
// ask for it twice a second.
type cache[T any] struct {
	fresh time.Duration // how long an answer is good for
	mu    sync.Mutex
	was   map[string]*answer[T]
}

func newCache[T any](fresh time.Duration) *cache[T] {
	return &cache[T]{fresh: fresh, was: map[string]*answer[T]{}}
}

func (c *cache[T]) of(namespace string) *answer[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.was[namespace]
	if !ok {
		a = &answer[T]{fresh: c.fresh}
		c.was[namespace] = a
	}
	return a
}

// answer is the newest answer, also if it was an error: who waited for the one
// who asked takes that answer too. A refusal is nobody else's.
type answer[T any] struct {
	fresh time.Duration
	mu    sync.Mutex
	at    time.Time // when it was answered
	value T
	err   error
}

func (a *answer[T]) get(ctx context.Context, now func() time.Time, ask func(context.Context) (T, error)) (T, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && now().Sub(a.at).Abs() < a.fresh {
		return a.value, a.err
	}
	// One page that is closed must not spoil the answer for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	value, err := ask(ctx)
	if assay.CodeOf(err) == assay.CodeDenied {
		return value, err // is about who asked
	}
	a.value, a.err, a.at = value, err, now()
	return value, err
}
