package mitigate_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/signal"
)

// meeting answers what is asked about one service only once the other is asked about.
type meeting struct {
	*board
	came map[string]chan struct{}
	once map[string]*sync.Once
	late func()
}

func (m meeting) Gauge(_ context.Context, q signal.GaugeQuery) ([]signal.Gauge, error) {
	m.once[q.Expr].Do(func() { close(m.came[q.Expr]) })
	for name, here := range m.came {
		if name == q.Expr {
			continue
		}
		select {
		case <-here:
		case <-time.After(10 * time.Second): // only if it fails
			m.late()
		}
	}
	return []signal.Gauge{{Value: 100, Time: q.Time, Completeness: 1}}, nil
}

func TestServicesAreLookedAtSideBySide(t *testing.T) {
	b := newBoard(t, "scale")
	m := meeting{board: b, came: map[string]chan struct{}{}, once: map[string]*sync.Once{}, late: func() { t.Error("one service waits for another") }}
	var list []mitigate.Strategy
	for _, name := range []string{"a", "b"} {
		m.came[name], m.once[name] = make(chan struct{}), &sync.Once{}
		s := b.s
		s.Name, s.Spec.Service = name, name
		s.Spec.Signals = []policy.StrategySignal{{Name: "load", Query: name}}
		list = append(list, s)
	}
	declared := func() ([]mitigate.Strategy, assay.Digest, error) { return list, "sha256:00", nil }
	c := b.controller(declared, func(conf *mitigate.Config) { conf.Gauges = m })
	if err := c.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if got, err := mitigate.Get(t.Context(), b.store, s.Namespace, s.Name); err != nil || got.Decision == nil {
			t.Errorf("strategy %s has no decision: %v", s.Name, err)
		}
	}
}
