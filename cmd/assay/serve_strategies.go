package main

import (
	"context"
	"math/rand/v2"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/control"
	"assay.dev/assay/decide"
	"assay.dev/assay/gate"
	"assay.dev/assay/mitigate"
	"github.com/prometheus/client_golang/prometheus"
)

// addStrategies lets the plane run the strategies of the policy in force. Without a
// door that moves their levers they decide and propose, and nothing is done.
func (a *app) addStrategies(in *installation, cfg *control.Config, prove time.Duration, reg prometheus.Registerer) error {
	doors, err := a.openDoors()
	if err != nil {
		return err
	}
	if prove <= 0 {
		prove = -1
	}
	conf := mitigate.Config{
		Store: in.store, Blobs: in.blobs, Gauges: in.telemetry.db, Strategies: a.declaredStrategies,
		Halted: a.halted, Guard: a.judged, Recorded: cfg.Poke, Now: a.now, Log: a.log, Registerer: reg, Holder: leaseHolder,
		Doors: doors, Prove: prove, Seed: rand.Uint64,
		Burn: func(_ context.Context, namespace, objective string) (float64, string, bool) {
			return spentPerMinute(cfg.Books, namespace, objective, a)
		},
	}
	conf.Spent = func(ctx context.Context, namespace, objective string, from time.Time, step time.Duration, n int) ([]float64, error) {
		if books := in.telemetry.books; books != nil && books.Namespace() == namespace {
			return books.Spent(ctx, objective, from, step, n)
		}
		return nil, assay.Errorf(assay.CodeNotFound, "nobody keeps the budgets of namespace %s", namespace)
	}
	if in.door != nil {
		conf.Actuator = in.door
	}
	if in.rollouts != nil {
		conf.Rollouts = control.Rolled{Store: in.store, Rollouts: in.rollouts}
	}
	in.strategies = mitigate.New(conf)
	in.telemetry.listeners = append(in.telemetry.listeners, in.strategies.Arrived)
	cfg.Strategies = in.strategies
	return nil
}

// declaredStrategies are those of the policy in force.
func (a *app) declaredStrategies() ([]mitigate.Strategy, assay.Digest, error) {
	pol, err := a.policies()
	if err != nil {
		return nil, "", err
	}
	var out []mitigate.Strategy
	for _, s := range pol.Revision.Strategies() {
		out = append(out, mitigate.Of(s))
	}
	return out, pol.Revision.Digest(), nil
}

// judged is the guard that the policy in force is to the actions of a rollout or strategy.
// Without a policy that can be read nobody knows what it would say: nothing is done.
func (a *app) judged(ctx context.Context, namespace, environment, plan string) decide.Guard {
	pol, err := a.policies()
	if err != nil {
		return func(x assay.Action) []assay.GuardVerdict {
			return []assay.GuardVerdict{{Guard: "policy", Action: x.Kind, Target: x.Target(), Want: x.Want, Outcome: assay.OutcomeAbsent, Reason: "the policy in force cannot be read: " + err.Error()}}
		}
	}
	by := gate.Proposer{Namespace: namespace, Environment: environment, Plan: plan}
	return gate.ActionGuard(ctx, pol.Engine, pol.Revision.Policies(), by, a.now())
}

// spentPerMinute is the share of an objective's budget that its newest minutes spent, and
// why they rest on its second source, "" if they rest on the first.
func spentPerMinute(books control.Books, namespace, objective string, a *app) (rate float64, instead string, known bool) {
	if books == nil || books.Namespace() != namespace {
		return 0, "", false
	}
	s, err := books.Snapshot(objective, a.now())
	if err != nil || !s.Known || s.Budget.Allowed() == 0 {
		return 0, "", false
	}
	const newest = 5
	bad, n := 0.0, 0
	for i := len(s.Minutes) - 1; i >= 0 && n < newest; i-- {
		if m := s.Minutes[i]; m.Known {
			bad += float64(m.Total - m.Good)
			n++
		}
	}
	if n == 0 {
		return 0, "", false
	}
	return bad / float64(n) / float64(s.Budget.Allowed()), s.Instead, true
}
