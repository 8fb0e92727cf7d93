package mitigate_test

import (
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

func TestDeclaredGuardrailsHoldMovesBack(t *testing.T) {
	for name, c := range map[string]struct {
		rails policy.StrategyGuardrails
		guard string
	}{
		"a move that is not worth it":  {policy.StrategyGuardrails{Band: 0.5}, "hysteresis"},
		"what was done is not seen":    {policy.StrategyGuardrails{DeadTime: "2h"}, "dead-time"},
		"one lever moves once an hour": {policy.StrategyGuardrails{MinInterval: "1h"}, "min-interval"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, "scale", replicas)
			b.s.Spec.Scale.Forecast, b.s.Spec.Scale.Events = nil, nil
			start := b.at(assay.LeverReplicas)
			load := 1.3 * start * 40 * 0.8 // of which band 0.5 makes nothing
			if c.guard != "hysteresis" {
				load = 1.5 * start * 40 * 0.8
			}
			b.set("load", load)
			b.step(10 * time.Second)
			if c.guard != "hysteresis" { // the first move is made; without the guard the next is too
				if b.at(assay.LeverReplicas) <= start {
					t.Fatalf("nothing moved at all: %s", b.step(time.Second).Decision.Words)
				}
				b.set("load", 4*load)
			}
			b.s.Spec.Guardrails = &c.rails
			stood := b.at(assay.LeverReplicas)
			if c.guard == "hysteresis" {
				stood = start
				b = again(t, b, load)
			}
			s := b.step(time.Minute)
			if got := b.at(assay.LeverReplicas); got != stood {
				t.Errorf("it moved from %v to %v", stood, got)
			}
			held := false
			for _, g := range s.Decision.Guards {
				held = held || g.Guard == c.guard && g.Outcome == assay.OutcomeFail
			}
			if !held {
				t.Errorf("guard %s says nothing: %+v", c.guard, s.Decision.Guards)
			}
		})
	}
}

// again is a board of the same strategy on which nothing has moved yet.
func again(t *testing.T, was *board, load float64) *board {
	t.Helper()
	b := newBoard(t, "scale", replicas)
	b.s = was.s
	b.set("load", load)
	return b
}

func TestAStrategyThatExploresDrawsFromARecordedSeedAndIsMadeAgain(t *testing.T) {
	r := example(t, "scale")
	trouble(r, "scale")
	r.fresh()
	plain, err := mitigate.Decide(r.s, r.st, r.in, nil, r.now)
	if err != nil || len(plain.Mitigation.Draws) != 0 {
		t.Fatalf("what does not explore draws %v, %v", plain.Mitigation.Draws, err)
	}
	r.s.Spec.Explore = 0.001
	drawn := map[float64]bool{}
	for seed := range uint64(20) {
		r.in.Seed = seed
		d, err := mitigate.Decide(r.s, r.st, r.in, nil, r.now)
		if err != nil {
			t.Fatal(err)
		}
		if p := d.Mitigation.Problem; p.Explore != 0.001 || len(d.Mitigation.Draws) != len(p.Options) || len(p.Options) == 0 {
			t.Fatalf("%d draws for %d options: %v", len(d.Mitigation.Draws), len(p.Options), d.Decision().Reasons)
		}
		drawn[d.Mitigation.Draws[0]] = true
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, identical, err := mitigate.Replay(data); err != nil || !identical {
			t.Fatalf("seed %d is made again: %t, %v", seed, identical, err)
		}
	}
	if len(drawn) != 20 {
		t.Errorf("20 seeds draw %d numbers", len(drawn))
	}
}

func TestASeedIsDrawnOnlyForStrategiesThatExplore(t *testing.T) {
	asked := 0
	b := newBoard(t, "scale", replicas)
	b.ctl = b.controller(b.declared, func(c *mitigate.Config) { c.Seed = func() uint64 { asked++; return 7 } })
	b.set("load", 400)
	b.step(10 * time.Second)
	if asked != 0 {
		t.Errorf("%d seeds for a strategy that does not explore", asked)
	}
	b.s.Spec.Explore = 0.001
	b.step(10 * time.Second)
	if asked != 1 {
		t.Errorf("%d seeds", asked)
	}
}
