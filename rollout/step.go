package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// actor is who facts name for what the engine does by itself.
const actor = "assay-rollout"

// maxSteps bounds how many steps one call takes; more is left to the next one.
const maxSteps = 8

// Step carries a rollout on as far as it goes without waiting: what a person
// said, what is pending, and one evaluation. An error leaves the rollout as it
// was recorded last; Step may be called again at once.
func (c *Controller) Step(ctx context.Context, namespace, id string) error {
	for range maxSteps {
		again, err := c.step(ctx, namespace, id)
		if err != nil || !again {
			return err
		}
	}
	return nil
}

// step does one thing; again says that there is another to be done at once.
func (c *Controller) step(ctx context.Context, namespace, id string) (again bool, err error) {
	rec, err := load(ctx, c.cfg.Store, namespace, id)
	if err != nil {
		return false, err
	}
	switch {
	case rec.Pending != nil:
		return c.apply(ctx, rec)
	case rec.Rollout.Status.Ended():
		return false, c.judge(ctx, rec)
	}
	if told, err := c.told(ctx, rec); told || err != nil {
		return true, err
	}
	if rec.Rollout.Unapproved() {
		return false, nil
	}
	if rec.Rollout.Status == api.RolloutStarting {
		return c.introduce(ctx, rec)
	}
	return c.evaluate(ctx, rec)
}

// told carries out what a person said: the action becomes pending.
func (c *Controller) told(ctx context.Context, rec record) (bool, error) {
	var o order
	var waits bool
	err := c.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		o, waits, err = orderOf(r, rec)
		return err
	})
	if err != nil || !waits {
		return false, err
	}
	a := assay.Action{Kind: assay.ActionAbort, Service: rec.Rollout.Service, Version: rec.Rollout.Plan.Canary, From: rec.Rollout.Weight}
	if o.Command == CommandPromote {
		a.Kind, a.Weight = assay.ActionFinish, 100
	}
	verb := "Aborted"
	if a.Kind == assay.ActionFinish {
		verb = "Promoted"
	}
	words := fmt.Sprintf("%s by %s: %s", verb, o.Actor, o.Reason)
	rec.Rollout.Reason = words
	started := rec.Rollout.Status != api.RolloutStarting && !rec.Rollout.Unapproved()
	if !started && rec.Claimed {
		if c.halted(rec) != "" {
			return false, nil // introduce says so, and does nothing either
		}
		if err := c.unrule(ctx, rec); err != nil { // its rule may stand already
			return false, err
		}
	}
	err = c.write(ctx, func(tx store.Tx) error {
		if err := tx.Delete(orderKey(rec.Namespace, rec.Rollout.ID), store.AnyVersion); err != nil {
			return err
		}
		if !started { // it has no traffic: nothing is to be done
			return c.end(tx, &rec, api.RolloutAborted, words, o.Fact, 0)
		}
		c.intend(&rec, a, o.Fact, words, false)
		rec.Pending.Ordered = true
		return rec.put(tx)
	})
	return true, err
}

// intend makes an action pending under the next key and the current generation.
func (c *Controller) intend(rec *record, a assay.Action, cause assay.FactID, reason string, first bool) {
	rec.Actions++
	a.Key = fmt.Sprintf("rollout/%s/%d", rec.Rollout.ID, rec.Actions)
	a.Fence = uint64(c.lease.Held().Generation)
	if rec.Rollout.Strategy.Ruled() && !rec.watching() {
		a.From = rec.Rollout.Weight // requests reach it by a rule: the share of the plan's step is not one at the door
	}
	rec.Pending = &pending{Action: a, Cause: cause, Decided: c.cfg.Now().UTC(), Reason: reason, First: first}
}

// evaluate reads, decides and writes down.
func (c *Controller) evaluate(ctx context.Context, rec record) (again bool, err error) {
	began := c.cfg.Now().UTC()
	readings, err := c.read(ctx, rec, began)
	if err != nil {
		// Without data the decision is made all the same: its signals grow old and
		// become unknown, which is what people must see.
		c.cfg.Log.Warn("rollout cannot read its signals", "rollout", rec.Rollout.ID, "error", err)
	}
	r, err := decide.Decide(rec.plan(), rec.State, readings, c.guards(ctx, rec), c.cfg.Now())
	if err != nil {
		c.metrics.evaluated.WithLabelValues("error").Inc()
		if renewable(rec, err) {
			return false, c.renew(ctx, rec, err)
		}
		return false, err
	}
	rec.State = r.After
	rec.show(r)
	rec.tally(r)
	if err := c.keep(ctx, &rec, r); err != nil {
		c.metrics.evaluated.WithLabelValues("error").Inc()
		return false, err
	}
	c.metrics.evaluated.WithLabelValues(string(r.Decision.Action.Kind)).Inc()
	c.metrics.took.Observe(c.cfg.Now().Sub(began).Seconds())
	if c.over(rec, r) {
		return true, c.conclude(ctx, rec)
	}
	return rec.Pending != nil, nil
}

// show puts what was decided into what people see.
func (rec *record) show(r decide.Record) {
	out, d := &rec.Rollout, r.Decision
	out.Decision, out.Reason = &d, d.Words
	out.Status = api.RolloutRunning
	if rec.watching() {
		out.Status = api.RolloutWatching
	}
	if d.Action.Kind == assay.ActionAsk {
		out.Status = api.RolloutAsking
	}
	for _, t := range d.Tests {
		if t.Bound == 0 {
			out.Canary, out.Control = t.Canary, t.Control
			break
		}
	}
	out.Observed = nil
	if w := rec.State.Watches[0]; w.StepRequests+w.StepControl > 0 && !rec.watching() && out.Strategy != api.StrategyMirrored {
		out.Observed = new(float64(w.StepRequests) / float64(w.StepRequests+w.StepControl))
	}
	if len(r.Readings) == 0 {
		return
	}
	p := api.PathPoint{Time: d.Time, Weight: out.Weight, Harm: d.Harm, Safe: d.Safe, Canary: out.Canary, Control: out.Control}
	if rec.watching() {
		out.Watch.Path = walk(out.Watch.Path, p)
		return
	}
	out.Path = walk(out.Path, p)
}

// keep stores the evaluation; with a fact if it says something new, and with its
// action pending if it has one.
func (c *Controller) keep(ctx context.Context, rec *record, r decide.Record) error {
	sig := signature{Text: signatureOf(r.Decision), Time: r.Now}
	changes := r.Decision.Action.Kind.Changes()
	if !changes && sig.Text == rec.Recorded.Text && r.Now.Sub(rec.Recorded.Time) < c.cfg.Heartbeat {
		return c.write(ctx, rec.put)
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	// The record is durable before the fact that names it.
	blob, err := c.cfg.Blobs.Put(ctx, bytes.NewReader(data), decide.MaxRecordBytes)
	if err != nil {
		return err
	}
	keep := assay.RetainOperational
	if changes {
		keep = assay.RetainAudit
	}
	causes := []assay.FactID{rec.Rollout.StartedFact, rec.Rollout.DecidedFact}
	return c.write(ctx, func(tx store.Tx) error {
		id, err := rec.fact(tx, assay.FactRolloutDecided, keep, actor, r.Now, causes, DecidedPayload{
			Rollout: rec.Rollout.ID, Record: blob, Decision: r.Decision,
		})
		if err != nil {
			return err
		}
		rec.Rollout.DecidedFact, rec.Recorded = id, sig
		if changes {
			c.intend(rec, r.Decision.Action, id, r.Decision.Words, false)
		}
		return rec.put(tx)
	})
}

// signatureOf is equal for decisions of which one fact is enough.
func signatureOf(d assay.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d", d.Action.Kind, d.Action.Weight)
	for _, k := range d.Candidates {
		fmt.Fprintf(&b, " %s=%t", k.Action.Kind, k.Eligible)
	}
	for _, g := range d.Guards {
		fmt.Fprintf(&b, " %s=%s", g.Guard, g.Outcome)
	}
	for _, s := range d.Signals {
		fmt.Fprintf(&b, " %s=%t", s.Indicator, s.Known)
	}
	return b.String()
}

// read takes from each indicator's last reading on what both versions have
// reported by now. The interval ends with the older arm's newest event, so that
// what is under way from the other one is not lost between two readings. Series
// have a resolution of a millisecond: the one that has begun is read as well. An
// indicator that cannot be read does not keep the others from being read.
func (c *Controller) read(ctx context.Context, rec record, now time.Time) (out []assay.Reading, err error) {
	var problems []error
	for i, ind := range rec.sources() {
		readings, err := c.readOne(ctx, rec, ind, rec.State.Watches[i].Through, now)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, readings...)
	}
	return out, errors.Join(problems...)
}

func (c *Controller) readOne(ctx context.Context, rec record, ind Indicator, from, now time.Time) ([]assay.Reading, error) {
	if rec.watching() {
		return c.readPast(ctx, rec, ind, from, now)
	}
	compiled, err := signal.Compile(ind.Spec)
	if err != nil {
		return nil, err
	}
	q := signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: from, End: now.Truncate(time.Millisecond).Add(time.Millisecond)}
	if !q.Start.Before(q.End) {
		return nil, nil
	}
	readings, err := c.both(ctx, rec, q)
	newest, both := earliest(readings)
	if err != nil || !both {
		return nil, err // one version has nothing new: it waits for the other
	}
	end := newest.Add(time.Millisecond) // the newest event is in
	if !end.Before(q.End) {
		return readings, nil
	}
	if q.End = end; !q.Start.Before(q.End) {
		return nil, nil
	}
	return c.both(ctx, rec, q)
}

// both reads the canary's and the control's counts.
func (c *Controller) both(ctx context.Context, rec record, q signal.Query) ([]assay.Reading, error) {
	all, err := c.cfg.Source.Read(ctx, q)
	var out []assay.Reading
	for _, r := range all {
		if r.Version == rec.Rollout.Plan.Canary || r.Version == rec.Rollout.Plan.Control {
			out = append(out, r)
		}
	}
	return out, err
}

// earliest is the newest event of the version that is further behind; false unless
// two versions have one. A version is as far as the newest of its strata.
func earliest(readings []assay.Reading) (t time.Time, both bool) {
	newest := map[string]time.Time{}
	for _, r := range readings {
		if r.EventTime.After(newest[r.Version]) {
			newest[r.Version] = r.EventTime
		}
	}
	for _, at := range newest {
		if t.IsZero() || at.Before(t) {
			t = at
		}
	}
	return t, len(newest) == 2
}
