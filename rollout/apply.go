package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	if why := c.halted(rec); why != "" {
		return false, c.wait(ctx, rec, "Wait: "+why+".")
	}
	p, back := rec.Rollout.Plan, rec.Rollout.Back
	if back != nil {
		if over, err := c.outlived(ctx, rec); over {
			return err == nil, err
		}
	}
	first := assay.Action{Kind: assay.ActionAdvance, Service: p.Service, Version: p.Canary, Weight: p.Steps[0]}
	if p.Steps[0] == 100 { // blue/green
		first.Kind = assay.ActionFinish
	}
	if back == nil {
		if why := c.forbids(ctx, rec, first); why != "" {
			return false, c.wait(ctx, rec, "Wait: "+why+".")
		}
	}
	if c.cfg.Door != nil && (rec.Backend != "" || rec.Rollout.Strategy.Ruled()) {
		if err := c.claim(ctx, &rec); err != nil {
			return c.unadmitted(ctx, rec, err)
		}
		if err := c.admit(ctx, rec); err != nil {
			return c.unadmitted(ctx, rec, err)
		}
	}
	if rec.Rollout.Strategy.Ruled() {
		return true, c.ruled(ctx, rec)
	}
	c.intend(&rec, first, rec.Rollout.StartedFact, rec.Rollout.Reason, true)
	rec.Pending.Ordered = back != nil && back.Cause == "" // what a person said does not grow old
	return true, c.save(ctx, &rec, rec.put)
}

// forbids says what policies have against an action that no evidence is asked about:
// the first share, of which there is none yet. "" if they let it pass.
func (c *Controller) forbids(ctx context.Context, rec record, a assay.Action) string {
	if c.cfg.Guard == nil {
		return ""
	}
	judge := c.cfg.Guard(ctx, rec.Namespace, rec.Rollout.Environment, rec.Rollout.Name)
	if judge == nil {
		return ""
	}
	var refused []string
	for _, v := range judge(a) {
		if v.Outcome != assay.OutcomePass {
			refused = append(refused, fmt.Sprintf("guard %s says %s: %s", v.Guard, v.Outcome, v.Reason))
		}
	}
	return strings.Join(refused, "; ")
}

// unadmitted says what becomes of a rollout whose version the door did not learn.
func (c *Controller) unadmitted(ctx context.Context, rec record, cause error) (again bool, err error) {
	code := assay.CodeOf(cause)
	if code == assay.CodeUnavailable || code == assay.CodeInternal {
		return false, errors.Join(cause, c.wait(ctx, rec, "Wait: the enforcer has not learned the version: "+cause.Error()))
	}
	status, reason := api.RolloutFailed, "Failed: the enforcer does not take the version: "+cause.Error()
	if code == assay.CodeDenied {
		status, reason = api.RolloutRefused, "Refused: "+cause.Error()
	}
	if err := c.unrule(ctx, rec); assay.CodeOf(err) == assay.CodeUnavailable { // an answer may have been lost before
		return false, err
	} else if err != nil {
		reason += "; and the enforcer keeps its rule: " + err.Error()
	}
	return true, c.save(ctx, &rec, func(tx store.Tx) error {
		return c.end(tx, &rec, status, reason, rec.Rollout.StartedFact, 0)
	})
}

// place puts a version into a route. Its weight stays what it was, so that the
// weights go on to add up; they count only for a new route. A full route loses its
// oldest version without traffic that no rule names, whose weight the control takes.
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
	ruled := func(name string) bool {
		return route.Mirror != nil && route.Mirror.Version == name ||
			slices.ContainsFunc(route.Matches, func(m enforce.Match) bool { return m.Version == name })
	}
	idle := slices.IndexFunc(route.Versions, func(v enforce.Version) bool {
		return v.Name != control && shares[v.Name] == 0 && !ruled(v.Name)
	})
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
	return c.save(ctx, &rec, rec.put)
}

// apply takes the pending action to the world and writes down what came of it.
func (c *Controller) apply(ctx context.Context, rec record) (again bool, err error) {
	if why := c.halted(rec); why != "" {
		return false, c.wait(ctx, rec, "Wait: "+why+".")
	}
	p := *rec.Pending
	if dropped, err := c.reconsider(ctx, rec); dropped || err != nil {
		return dropped, err
	}
	receipt, err := c.take(ctx, rec, p.Action)
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
		why := "the enforcer does not answer"
		if kept, ok := errors.AsType[keptRule](err); ok {
			why = kept.Error()
		}
		return false, errors.Join(err, c.wait(ctx, rec, "Wait: "+why+", so this is not done: "+p.Reason))
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
	if age := c.cfg.Now().Sub(p.Decided); age > rec.Rollout.Plan.MaxAge && !p.Ordered { // what a person said does not rest on data
		why = fmt.Sprintf("it was decided %s ago, and at most %s is fresh: decided anew", age.Round(time.Millisecond), rec.Rollout.Plan.MaxAge)
	}
	err = c.cfg.Store.View(ctx, func(tx store.Reader) error {
		o, waits, err := orderOf(tx, rec)
		if waits && o.Command == api.CommandAbort {
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
	return true, c.save(ctx, &rec, func(tx store.Tx) error {
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
	if rec.State, err = rec.after(p, receipt, now); err != nil {
		return err
	}
	watched := rec.watching() // before this action
	rec.Rollout.Weight, rec.Pending, rec.ActedAt = receipt.Observed, nil, now
	if p.Action.Kind == assay.ActionFinish && !watched && rec.Rollout.Watch != nil {
		if err := rec.look(now); err != nil {
			return err
		}
	}
	return c.save(ctx, &rec, func(tx store.Tx) error {
		acted, err := rec.fact(tx, assay.FactRolloutActed, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			ActedPayload{Rollout: rec.Rollout.ID, Action: p.Action, Receipt: receipt})
		if err != nil {
			return err
		}
		back := max(0, now.Sub(p.Decided).Seconds())
		switch p.Action.Kind {
		case assay.ActionAbort:
			rec.JudgeAt = now.Add(c.cfg.Window)
			status := api.RolloutAborted
			if watched {
				status = api.RolloutReverted
			}
			return c.end(tx, &rec, status, p.Reason, acted, back)
		case assay.ActionFinish:
			if rec.watching() && !watched {
				return rec.put(tx)
			}
			o, waits, err := orderOf(tx, rec)
			if err != nil {
				return err
			}
			if waits && o.Command == api.CommandAbort {
				return rec.put(tx) // somebody said so meanwhile: it is next
			}
			rec.JudgeAt = now.Add(c.cfg.Window)
			return c.end(tx, &rec, api.RolloutPromoted, p.Reason, acted, back)
		}
		return rec.put(tx)
	})
}

// after is the state of the evidence once an action is done.
func (rec *record) after(p pending, receipt act.Receipt, now time.Time) (decide.State, error) {
	if !p.First {
		return rec.State.Applied(rec.plan(), p.Action, now)
	}
	rec.Rollout.Began, rec.Rollout.Status = now, api.RolloutRunning
	rec.Rollout.Reason = fmt.Sprintf("Begin: %s has %d %% of the traffic; no evidence yet.", p.Action.Version, receipt.Observed)
	if words := ruleWords(rec.Rollout); words != "" {
		rec.Rollout.Reason = "Begin: " + words + "; no evidence yet."
	}
	return decide.Begin(rec.Rollout.Plan, now)
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
	share := seen.Shares[p.Action.Version]
	abort := p.Action.Kind == assay.ActionAbort
	moved := abort && seenErr == nil && seen.Generation <= p.Action.Fence && share != p.Action.From
	failed := "Failed: the traffic is left as it is: " + cause.Error()
	if !moved && (code != assay.CodeDenied || abort) { // it fails: its rule must not outlive it
		if err := c.unrule(ctx, rec); assay.CodeOf(err) == assay.CodeUnavailable {
			return err // the action is refused again
		} else if err != nil {
			failed += "; and the enforcer keeps its rule: " + err.Error()
		}
	}
	rec.Pending = nil
	return c.save(ctx, &rec, func(tx store.Tx) error {
		fact, err := rec.fact(tx, assay.FactRolloutRefused, assay.RetainAudit, actor, now, []assay.FactID{p.Cause},
			RefusedPayload{Rollout: rec.Rollout.ID, Action: p.Action, Code: code, Detail: cause.Error()})
		if err != nil {
			return err
		}
		switch {
		case code == assay.CodeDenied && p.First:
			return c.end(tx, &rec, api.RolloutRefused, "Refused: "+cause.Error(), fact, 0)
		case code == assay.CodeDenied && !abort:
			words := "Abort: the enforcer does not let it in any more: " + cause.Error()
			c.intend(&rec, assay.Action{Kind: assay.ActionAbort, Service: p.Action.Service, Version: p.Action.Version, From: share}, fact, words, false)
		case moved:
			rec.Rollout.Weight = share // somebody moved it meanwhile: take it out from where it is
			a := p.Action
			a.From = share
			c.intend(&rec, a, fact, p.Reason, false)
		default:
			return c.end(tx, &rec, api.RolloutFailed, failed, fact, 0)
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
		Began: rec.Rollout.Began, Back: rec.Rollout.Back,
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
	if at, ok := c.since(rec.Rollout.ID); ok && !rec.Pending.First {
		c.metrics.arrival.Observe(now.Sub(at).Seconds())
	}
}
