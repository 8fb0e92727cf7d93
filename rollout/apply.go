package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/store"
)

// introduce makes the door know the version, with the attestations that speak
// for it and without traffic, and intends its first share.
func (c *Controller) introduce(ctx context.Context, rec record) (again bool, err error) {
	if why := c.cfg.Halted(); why != "" {
		return false, c.wait(ctx, rec, "Wait: "+why+".")
	}
	if c.cfg.Door != nil && rec.Backend != "" {
		if err := c.replace(ctx, rec); err != nil {
			if code := assay.CodeOf(err); code == assay.CodeUnavailable || code == assay.CodeInternal {
				return false, errors.Join(err, c.wait(ctx, rec, "Wait: the enforcer has not learned the version: "+err.Error()))
			}
			return true, c.write(ctx, func(tx store.Tx) error {
				reason := "Failed: the enforcer does not take the version: " + err.Error()
				return c.end(tx, &rec, api.RolloutFailed, reason, rec.Rollout.StartedFact, 0)
			})
		}
		c.doors.forget()
	}
	p := rec.Rollout.Plan
	first := assay.Action{Kind: assay.ActionAdvance, Service: p.Service, Version: p.Canary, Weight: p.Steps[0]}
	c.intend(&rec, first, rec.Rollout.StartedFact, rec.Rollout.Reason, true)
	return true, c.write(ctx, rec.put)
}

// replace adds or replaces the version in the door's configuration. One rollout
// does it at a time: what is read is changed and written back.
func (c *Controller) replace(ctx context.Context, rec record) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	conf, err := c.cfg.Door.Config(ctx)
	if err != nil {
		return err
	}
	fresh := enforce.Version{Name: rec.Rollout.Plan.Canary, Digest: rec.Rollout.Digest, Backend: rec.Backend}
	if c.cfg.Attestations != nil {
		bundles, err := c.cfg.Attestations(ctx, rec.Namespace, rec.Rollout.Digest)
		if err != nil {
			return err
		}
		for _, b := range bundles {
			fresh.Attestations = append(fresh.Attestations, json.RawMessage(b))
		}
	}
	seen, err := c.cfg.Actuator.Observe(ctx, rec.Rollout.Service)
	if err != nil {
		return err
	}
	found := false
	for i := range conf.Routes {
		if route := &conf.Routes[i]; route.Service == rec.Rollout.Service {
			found = true
			place(route, fresh, rec.Rollout.Plan.Control, seen.Shares)
		}
	}
	if !found {
		return assay.Errorf(assay.CodeNotFound, "it has no route of service %q", rec.Rollout.Service)
	}
	_, err = c.cfg.Door.Replace(ctx, enforce.Replacement{
		Generation: uint64(c.held().Generation), Key: "rollout/" + rec.Rollout.ID + "/introduce", Config: conf,
	})
	return err
}

// place puts a version into a route. Its weight stays what it was, so that the
// weights go on to add up; they count only for a new route. A full route loses its
// oldest version without traffic, whose weight the control takes.
func place(route *enforce.Route, fresh enforce.Version, control string, shares map[string]int) {
	named := func(name string) int {
		return slices.IndexFunc(route.Versions, func(v enforce.Version) bool { return v.Name == name })
	}
	if i := named(fresh.Name); i >= 0 {
		fresh.Weight = route.Versions[i].Weight
		route.Versions[i] = fresh
		return
	}
	keeper := named(control)
	idle := slices.IndexFunc(route.Versions, func(v enforce.Version) bool { return v.Name != control && shares[v.Name] == 0 })
	if len(route.Versions) >= enforce.MaxVersions && idle >= 0 && keeper >= 0 {
		route.Versions[keeper].Weight += route.Versions[idle].Weight
		route.Versions = slices.Delete(route.Versions, idle, idle+1)
	}
	route.Versions = append(route.Versions, fresh)
}

// wait writes down why nothing is done, once.
func (c *Controller) wait(ctx context.Context, rec record, reason string) error {
	if rec.Rollout.Reason == reason {
		return nil
	}
	rec.Rollout.Reason = reason
	return c.write(ctx, rec.put)
}

// apply takes the pending action to the world and writes down what came of it.
func (c *Controller) apply(ctx context.Context, rec record) (again bool, err error) {
	if why := c.cfg.Halted(); why != "" {
		return false, c.wait(ctx, rec, "Wait: "+why+".")
	}
	p := *rec.Pending
	if dropped, err := c.reconsider(ctx, rec); dropped || err != nil {
		return dropped, err
	}
	receipt, err := c.cfg.Actuator.Apply(ctx, p.Action)
	c.doors.forget()
	switch code := assay.CodeOf(err); {
	case err == nil:
		c.metrics.acted.WithLabelValues(string(p.Action.Kind), "ok").Inc()
		c.timeAction(rec, c.cfg.Now())
		return true, c.applied(ctx, rec, p, receipt)
	case code == assay.CodeDenied || code == assay.CodeConflict || code == assay.CodeNotFound || code == assay.CodeInvalid:
		c.metrics.acted.WithLabelValues(string(p.Action.Kind), "refused").Inc()
		return true, c.refused(ctx, rec, p, code, err)
	default: // it may have happened or not: the same key is tried again
		c.metrics.acted.WithLabelValues(string(p.Action.Kind), "unavailable").Inc()
		return false, errors.Join(err, c.wait(ctx, rec, "Wait: the enforcer does not answer, so this is not done: "+p.Reason))
	}
}

// reconsider drops a pending action that gives traffic if the evidence it was
// decided on has grown old, or if somebody said to abort meanwhile, and the world
// shows that it was not taken. Without that an outage would end in a step that
// nobody would decide now. Aborts are never reconsidered.
func (c *Controller) reconsider(ctx context.Context, rec record) (dropped bool, err error) {
	p := *rec.Pending
	if p.Action.Kind == assay.ActionAbort {
		return false, nil
	}
	why := ""
	if age := c.cfg.Now().Sub(p.Decided); age > rec.Rollout.Plan.MaxAge {
		why = fmt.Sprintf("it was decided %s ago, and at most %s is fresh: decided anew", age.Round(time.Millisecond), rec.Rollout.Plan.MaxAge)
	}
	err = c.cfg.Store.View(ctx, func(tx store.Reader) error {
		o, waits, err := orderOf(tx, rec)
		if waits && o.Command == CommandAbort {
			why = "somebody aborted before it was taken"
		}
		return err
	})
	if err != nil || why == "" {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	seen, err := c.cfg.Actuator.Observe(ctx, rec.Rollout.Service)
	if assay.CodeOf(err) == assay.CodeUnavailable {
		return false, errors.Join(err, c.wait(ctx, rec, "Wait: the enforcer does not answer, so this is not done: "+p.Reason))
	}
	if err != nil || seen.Shares[p.Action.Version] != p.Action.From {
		return false, nil // it was taken, or the world says what is wrong when it is asked again
	}
	rec.Pending = nil
	return true, c.write(ctx, func(tx store.Tx) error {
		_, err := rec.fact(tx, assay.FactRolloutRefused, assay.RetainAudit, actor, c.cfg.Now(), []assay.FactID{p.Cause},
			RefusedPayload{Rollout: rec.Rollout.ID, Action: p.Action, Code: assay.CodeConflict, Detail: why})
		if err != nil {
			return err
		}
		return rec.put(tx)
	})
}

// applied records a receipt and what follows from it.
func (c *Controller) applied(ctx context.Context, rec record, p pending, receipt act.Receipt) error {
	now := c.cfg.Now().UTC()
	var err error
	if p.First {
		if rec.State, err = decide.Begin(rec.Rollout.Plan, now); err != nil {
			return err
		}
		rec.Rollout.Began, rec.Rollout.Status = now, api.RolloutRunning
		rec.Rollout.Reason = fmt.Sprintf("Begin: %s has %d %% of the traffic; no evidence yet.", p.Action.Version, receipt.Observed)
	} else if rec.State, err = rec.State.Applied(rec.Rollout.Plan, p.Action, now); err != nil {
		return err
	}
	rec.Rollout.Weight, rec.Pending, rec.ActedAt = receipt.Observed, nil, now
	return c.write(ctx, func(tx store.Tx) error {
		acted, err := rec.fact(tx, assay.FactRolloutActed, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			ActedPayload{Rollout: rec.Rollout.ID, Action: p.Action, Receipt: receipt})
		if err != nil {
			return err
		}
		back := max(0, now.Sub(p.Decided).Seconds())
		switch p.Action.Kind {
		case assay.ActionAbort:
			rec.JudgeAt = now.Add(c.cfg.Window)
			return c.end(tx, &rec, api.RolloutAborted, p.Reason, acted, back)
		case assay.ActionFinish:
			o, waits, err := orderOf(tx, rec)
			if err != nil {
				return err
			}
			if waits && o.Command == CommandAbort {
				return rec.put(tx) // somebody said so meanwhile: it is next
			}
			rec.JudgeAt = now.Add(c.cfg.Window)
			return c.end(tx, &rec, api.RolloutPromoted, p.Reason, acted, back)
		}
		return rec.put(tx)
	})
}

// refused records that the world did not take an action, and decides what now:
// a version that never had traffic is refused, one that may no longer be entered
// is taken out, and traffic that somebody else moved is left as it is.
func (c *Controller) refused(ctx context.Context, rec record, p pending, code assay.Code, cause error) error {
	now := c.cfg.Now().UTC()
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	seen, seenErr := c.cfg.Actuator.Observe(ctx, rec.Rollout.Service)
	if assay.CodeOf(seenErr) == assay.CodeUnavailable {
		return seenErr // where the traffic is must be known; the action is refused again
	}
	rec.Pending = nil
	return c.write(ctx, func(tx store.Tx) error {
		fact, err := rec.fact(tx, assay.FactRolloutRefused, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			RefusedPayload{Rollout: rec.Rollout.ID, Action: p.Action, Code: code, Detail: cause.Error()})
		if err != nil {
			return err
		}
		share := seen.Shares[p.Action.Version]
		foreign := seen.Generation > p.Action.Fence
		switch {
		case code == assay.CodeDenied && p.First:
			return c.end(tx, &rec, api.RolloutRefused, "Refused: "+cause.Error(), fact, 0)
		case code == assay.CodeDenied && p.Action.Kind != assay.ActionAbort:
			words := "Abort: the enforcer does not let it in any more: " + cause.Error()
			c.intend(&rec, assay.Action{Kind: assay.ActionAbort, Service: p.Action.Service, Version: p.Action.Version, From: share}, fact, words, false)
		case p.Action.Kind == assay.ActionAbort && seenErr == nil && !foreign && share != p.Action.From:
			rec.Rollout.Weight = share // somebody moved it meanwhile: take it out from where it is
			a := p.Action
			a.From = share
			c.intend(&rec, a, fact, p.Reason, false)
		default:
			return c.end(tx, &rec, api.RolloutFailed, "Failed: the traffic is left as it is: "+cause.Error(), fact, 0)
		}
		return rec.put(tx)
	})
}

// end closes a rollout and stores it.
func (c *Controller) end(tx store.Tx, rec *record, status api.RolloutStatus, reason string, cause assay.FactID, back float64) error {
	now := c.cfg.Now().UTC()
	rec.Rollout.Status, rec.Rollout.Reason, rec.Rollout.Ended, rec.Pending = status, reason, now, nil
	id, err := rec.fact(tx, assay.FactRolloutEnded, assay.RetainAudit, actor, now, []assay.FactID{cause, rec.Rollout.StartedFact}, EndedPayload{
		Rollout: rec.Rollout.ID, Status: status, Reason: reason, Canary: rec.Rollout.Canary, Control: rec.Rollout.Control, TrafficBack: back,
	})
	if err != nil {
		return err
	}
	rec.Rollout.EndedFact = id
	if err := tx.Delete(orderKey(rec.Namespace, rec.Rollout.ID), store.AnyVersion); err != nil && assay.CodeOf(err) != assay.CodeNotFound {
		return err
	}
	return rec.put(tx)
}

// timeAction observes how long after its data arrived an action was done.
func (c *Controller) timeAction(rec record, now time.Time) {
	c.mu.Lock()
	at, ok := c.since[rec.Rollout.ID]
	c.mu.Unlock()
	if ok && !rec.Pending.First {
		c.metrics.arrival.Observe(now.Sub(at).Seconds())
	}
}
