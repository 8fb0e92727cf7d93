package ui

import (
	"context"
	"sync"
	"time"

	"assay.dev/assay/api"
)

// askTime is how long the enforcer may take to say what it does. A page without
// its traffic is better than no page.
const askTime = 2 * time.Second

// traffic asks the enforcer, at most twice a second for all pages together.
func (v *view) traffic() (api.Traffic, error) {
	return v.ui.traffic.of(v.Namespace()).get(v.ctx, v.ui.cfg.Now, v.s.Traffic)
}

// trafficCache holds the newest answer of each namespace. Asking is a call to
// another process, and every open page would make it twice a second.
type trafficCache struct {
	mu  sync.Mutex
	was map[string]*trafficSeen
}

func newTrafficCache() *trafficCache { return &trafficCache{was: map[string]*trafficSeen{}} }

func (c *trafficCache) of(namespace string) *trafficSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, ok := c.was[namespace]
	if !ok {
		seen = &trafficSeen{}
		c.was[namespace] = seen
	}
	return seen
}

// trafficSeen is the newest answer, also if it was an error: who waited for the
// one who asked takes that answer too.
type trafficSeen struct {
	mu      sync.Mutex
	at      time.Time // when it was answered
	traffic api.Traffic
	err     error
}

func (s *trafficSeen) get(ctx context.Context, now func() time.Time, ask func(context.Context) (api.Traffic, error)) (api.Traffic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && now().Sub(s.at).Abs() < streamTick {
		return s.traffic, s.err
	}
	// One page that is closed must not spoil the answer for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	s.traffic, s.err = ask(ctx)
	s.at = now()
	return s.traffic, s.err
}
