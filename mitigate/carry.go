package mitigate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/decide"
	"assay.dev/assay/store"
)

// actor is who facts name for what strategies do by themselves.
const actor = "assay-mitigate"

// worldTime bounds one question to the world.
const worldTime = 10 * time.Second

// inputs reads what the strategy looks at. What cannot be read is left out: it is
// unknown then, and the decision says so.
func (c *Controller) inputs(ctx context.Context, rec *record) Inputs {
	now, s := c.cfg.Now().UTC(), rec.Strategy
	in := Inputs{Burn: -1, Worth: rec.Strategy.Spec.BudgetWorth, Extra: rec.extra(now), Cleared: rec.cleared(now)}
	for _, sig := range s.Spec.Signals {
		values, why := c.readEither(ctx, &s, sig, now)
		in.Values = append(in.Values, values...)
		if why != "" {
			in.Second = append(in.Second, Second{Name: sig.Name, Why: why})
		}
	}
	movable := c.settings(ctx, rec, &in)
	switch {
	case s.Spec.Contain != nil:
		in.narrow()
	case s.Spec.Isolate != nil:
		in.declared(s.Spec.Isolate)
	}
	if c.cfg.Burn != nil && s.Spec.Objective != "" {
		if b, why, ok := c.cfg.Burn(ctx, s.Namespace, s.Spec.Objective); ok {
			if in.Burn = b; why != "" {
				in.Second = append(in.Second, Second{Name: burnRead + s.Spec.Objective, Why: why})
			}
		}
	}
	if c.cfg.Rollouts != nil && s.Spec.Rollback != nil {
		var err error
		if in.Changes, err = c.cfg.Rollouts.Changes(ctx, s.Namespace, s.Spec.Service); err != nil {
			in.Unknown = append(in.Unknown, assay.Signal{Indicator: "changes", Reason: "what was changed cannot be read: " + err.Error()})
		}
		c.lookBack(ctx, s, &in, now)
	}
	v, learns := rec.cared.effects.Active()
	if in.Learned = rec.learned(v); !learns {
		in.Reactive = rec.cared.effects.Why()
	}
	if s.Spec.Explore > 0 {
		in.Seed = c.cfg.Seed()
	}
	c.foresee(ctx, rec, now)
	if rec.Forecast != nil {
		in.Forecasts = []Forecast{*rec.Forecast}
	}
	var err error
	if in.History, err = c.history(ctx, rec, movable); err != nil {
		in.Unknown = append(in.Unknown, assay.Signal{Indicator: "strategies", Reason: "what other strategies did cannot be read: " + err.Error()})
	}
	return in
}

// foresee makes the forecast anew when it is old.
func (c *Controller) foresee(ctx context.Context, rec *record, now time.Time) {
	s := rec.Strategy
	if s.Spec.Scale == nil || s.Spec.Scale.Forecast == nil {
		rec.Forecast = nil
		return
	}
	imports, name := c.imports.Load(), s.Namespace+"/"+s.Name
	made, _ := c.foreseen.Swap(name, imports)
	anew := made != nil && made != imports
	if rec.Forecast != nil && !anew && now.Sub(rec.Forecast.At) < Refresh(s) && rec.Forecast.Version == rec.cared.load.Care.Active {
		return
	}
	f := s.Spec.Scale.Forecast
	end := now.Truncate(f.Step.Value())
	query := ""
	for _, sig := range s.Spec.Signals {
		if sig.Name == "load" {
			query = sig.Query
		}
	}
	past, err := c.cfg.Gauges.Past(ctx, s.Namespace, query, end.Add(-f.Past.Value()), end, f.Step.Value())
	if err == nil {
		for len(past) > 0 && math.IsNaN(past[0]) { // it began later
			past = past[1:]
		}
		var fc Forecast
		if fc, err = rec.forecast(past, end); err == nil {
			rec.Forecast = &fc
			return
		}
	}
	c.cfg.Log.Warn("the load cannot be forecast", "strategy", s.Name, "error", err)
}

// says reports whether a decision says something new, so that a fact is made of it.
func (c *Controller) says(rec *record, r Record) bool {
	d := r.Mitigation.Decision
	return d.Action.Kind.Changes() || len(r.froze()) > 0 || signatureOf(d) != rec.Signature || r.Now.Sub(rec.Recorded) >= c.cfg.Heartbeat
}

// keep stores the evaluation; with a fact if it says something new, and with its
// action pending if it has one.
func (c *Controller) keep(ctx context.Context, rec *record, r Record) error {
	if !c.says(rec, r) {
		return c.write(ctx, rec.put)
	}
	d, now := r.Decision(), r.Now
	sig := signatureOf(d)
	changes := d.Action.Kind.Changes()
	weighed, err := r.Mitigation.Encode()
	if err != nil {
		return err
	}
	whole, err := r.Encode()
	if err != nil {
		return err
	}
	// The records are durable before the fact that names them.
	blob, err := c.cfg.Blobs.Put(ctx, bytes.NewReader(weighed), decide.MaxRecordBytes)
	if err != nil {
		return err
	}
	law, err := c.cfg.Blobs.Put(ctx, bytes.NewReader(whole), decide.MaxRecordBytes)
	if err != nil {
		return err
	}
	keep := assay.RetainOperational
	if changes {
		keep = assay.RetainAudit
	}
	return c.write(ctx, func(tx store.Tx) error {
		id, err := rec.fact(tx, assay.FactMitigationDecided, keep, actor, now, []assay.FactID{rec.Fact},
			DecidedPayload{Strategy: rec.Name, Revision: rec.Revision, Record: blob, Law: law, Decision: d})
		if err != nil {
			return err
		}
		rec.Fact, rec.Signature, rec.Recorded = id, sig, now
		if err := rec.announce(tx, r); err != nil {
			return err
		}
		if changes {
			rec.Actions++
			a := d.Action
			a.Key, a.Fence = fmt.Sprintf("mitigation/%s/%s/%d", rec.Namespace, rec.Name, rec.Actions), uint64(c.lease.Held().Generation)
			rec.Pending = &pending{Action: a, Cause: id, Decided: now, Words: d.Words, Guess: rec.expect(r), Promise: promised(&r)}
		}
		return rec.put(tx)
	})
}

// signatureOf is equal for decisions of which one fact is enough.
func signatureOf(d assay.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", d.Action.Kind, d.Action.Target())
	if d.Proposed != nil {
		fmt.Fprintf(&b, " ?%s %v", d.Proposed.Target(), d.Proposed.Want)
	}
	for _, k := range d.Candidates {
		fmt.Fprintf(&b, " %s/%s=%t", k.Action.Kind, k.Action.Target(), k.Eligible)
	}
	for _, g := range d.Guards {
		fmt.Fprintf(&b, " %s/%s=%s", g.Guard, g.Target, g.Outcome)
	}
	for _, s := range d.Signals {
		fmt.Fprintf(&b, " %s=%t", s.Indicator, s.Known)
		if s.Instead != "" {
			b.WriteString(" (second source)")
		}
	}
	return b.String()
}

// apply takes the pending action to the world and writes down what came of it. One that
// may not be taken any more, or has grown old, is dropped: nobody would decide it now.
func (c *Controller) apply(ctx context.Context, rec *record) error {
	p := *rec.Pending
	if why := c.withdrawn(ctx, rec, p); why != "" {
		return c.drop(ctx, rec, p, why)
	}
	if err := c.lease.Check(ctx); err != nil {
		return err // whoever holds it finds the action pending
	}
	receipt, err := c.deliver(ctx, rec, p)
	switch code := assay.CodeOf(err); {
	case err == nil:
		c.acted.WithLabelValues(string(p.Action.Kind), "ok").Inc()
		return c.applied(ctx, rec, p, receipt)
	case code == assay.CodeDenied || code == assay.CodeConflict || code == assay.CodeNotFound || code == assay.CodeInvalid:
		c.acted.WithLabelValues(string(p.Action.Kind), "refused").Inc()
		rec.refusedBy(p.Action.Target(), err.Error(), c.cfg.Now().UTC())
		return c.refused(ctx, rec, p, code, err.Error())
	default: // it may have happened or not: the same key is tried again
		c.acted.WithLabelValues(string(p.Action.Kind), "unavailable").Inc()
		return err
	}
}

// withdrawn says why a pending action may not be taken any more, "" if it may: the
// strategy, its level, a pause and what policies say may have changed since.
func (c *Controller) withdrawn(ctx context.Context, rec *record, p pending) string {
	if why := decide.Halted(c.cfg.Halted(rec.Namespace, rec.Strategy.Spec.Service)); why != "" {
		return why
	}
	now := c.cfg.Now().UTC()
	if now.Sub(p.Decided) > max(rec.Strategy.Spec.MaxAge.Value(), time.Minute) {
		return "it was decided too long ago"
	}
	h, err := c.history(ctx, rec, true)
	if err != nil {
		return "what other strategies did cannot be read: " + err.Error()
	}
	memory := rec.State.clone()
	v := newView(&rec.Strategy, &memory, &Inputs{History: h}, now)
	for _, said := range v.guard(c.judged(ctx, rec.Strategy))(p.Action) {
		if said.Outcome != assay.OutcomePass {
			return fmt.Sprintf("guard %s says %s now: %s", said.Guard, said.Outcome, said.Reason)
		}
	}
	return ""
}

// drop gives a pending action up, unless the world shows that it was taken: an earlier
// attempt may have been carried out although its answer was lost.
func (c *Controller) drop(ctx context.Context, rec *record, p pending, why string) error {
	taken, err := c.taken(ctx, rec, p.Action)
	switch {
	case err != nil && assay.CodeOf(err) != assay.CodeNotFound:
		return err // whether it was taken must be known
	case taken:
		return c.applied(ctx, rec, p, act.Receipt{Key: p.Action.Key, Time: c.cfg.Now().UTC(), Stands: p.Action.Want, Changed: true, Detail: "it was read back as done, after its answer was lost"})
	}
	return c.refused(ctx, rec, p, assay.CodeConflict, why)
}

// taken reads back whether the world is as the action wants it.
func (c *Controller) taken(ctx context.Context, rec *record, a assay.Action) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	if a.Lever == assay.LeverShare && c.cfg.Rollouts != nil {
		if told, err := c.cfg.Rollouts.Answered(ctx, rec.Namespace, rec.Pending.Cause); told || err != nil {
			return told, err
		}
	}
	if a.Lever == assay.LeverShare && c.cfg.Actuator != nil {
		seen, err := c.cfg.Actuator.Observe(ctx, a.Service)
		return err == nil && float64(seen.Shares[a.Version]) == a.Want, err
	}
	door, ok := c.door(rec.Strategy, a.Lever).(act.Levers)
	if !ok {
		return false, nil
	}
	list, err := door.Levers(ctx, a.Service)
	at := func(scope string) int {
		return slices.IndexFunc(list, func(l act.LeverAt) bool { return l.Lever == a.Lever && l.Scope == scope })
	}
	i := at(a.Scope)
	if i < 0 {
		i = at(act.AnyScope)
	}
	return i >= 0 && list[i].Value == a.Want, err
}

// deliver hands an action to whoever moves its lever. Shares of traffic belong to the
// rollout that is under way: two owners of one dial would undo each other.
func (c *Controller) deliver(ctx context.Context, rec *record, p pending) (act.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	if p.Action.Lever == assay.LeverShare {
		if c.cfg.Rollouts == nil {
			return act.Receipt{}, assay.Errorf(assay.CodeNotFound, "nothing here carries rollouts out")
		}
		detail, err := c.cfg.Rollouts.TakeBack(ctx, TakeBack{
			Namespace: rec.Namespace, Service: p.Action.Service, Version: p.Action.Version, Reason: p.Words, Cause: p.Cause, Approved: rec.approved(p.Action),
		})
		return act.Receipt{Key: p.Action.Key, Time: c.cfg.Now().UTC(), Changed: true, Detail: detail}, err
	}
	d := c.door(rec.Strategy, p.Action.Lever)
	if d == nil {
		return act.Receipt{}, assay.Errorf(assay.CodeNotFound, "no door of this installation moves %s", p.Action.Target())
	}
	return d.Apply(ctx, p.Action)
}

func (c *Controller) applied(ctx context.Context, rec *record, p pending, receipt act.Receipt) error {
	now := c.cfg.Now().UTC()
	rec.State, rec.Pending = rec.State.Applied(p.Action, now), nil
	rec.await(p, c.outcomeStep(rec.Strategy), now)
	rec.acknowledge(p.Action, receipt)
	rec.Refusals = slices.DeleteFunc(rec.Refusals, func(r decide.Refusal) bool { return r.Target == p.Action.Target() })
	rec.Approvals = slices.DeleteFunc(rec.Approvals, func(a decide.Approval) bool { return a.Action.Target() == p.Action.Target() })
	return c.write(ctx, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactMitigationActed, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			ActedPayload{Strategy: rec.Name, Action: p.Action, Receipt: receipt})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

func (c *Controller) refused(ctx context.Context, rec *record, p pending, code assay.Code, why string) error {
	now := c.cfg.Now().UTC()
	rec.Pending = nil
	return c.write(ctx, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactMitigationRefused, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			RefusedPayload{Strategy: rec.Name, Action: p.Action, Code: code, Detail: why})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

// write runs fn in one transaction that fails unless the lease is held.
func (c *Controller) write(ctx context.Context, fn func(tx store.Tx) error) error {
	err := c.lease.Update(ctx, fn)
	if err == nil {
		c.cfg.Recorded()
	}
	return err
}

// fact appends a fact of the strategy.
func (r *record) fact(tx store.Tx, kind string, keep assay.Retention, who string, now time.Time, causes []assay.FactID, payload any) (assay.FactID, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "fact %s of strategy %s cannot be written: %w", kind, r.Name, err)
	}
	causes = slices.DeleteFunc(slices.Clone(causes), func(id assay.FactID) bool { return id == "" })
	return tx.Append(assay.Fact{
		Kind: kind, Version: 1, Time: now.UTC(), Namespace: r.Namespace, Service: r.Strategy.Spec.Service, Environment: r.Strategy.Spec.Environment,
		Actor: who, Causes: causes, Retention: keep, Payload: data,
	})
}
