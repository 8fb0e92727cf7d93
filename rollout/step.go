package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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
	_, err := c.advance(ctx, namespace, id)
	return err
}

// advance is Step. under reports that the rollout was under way when it was read last:
// then something is left to be done of it.
func (c *Controller) advance(ctx context.Context, namespace, id string) (under bool, err error) {
	for range maxSteps {
		var again bool
		if again, under, err = c.step(ctx, namespace, id); err != nil || !again {
			break
		}
	}
	return under, err
}

// step does one thing; again says that there is another to be done at once, and under
// that the rollout was under way before it.
func (c *Controller) step(ctx context.Context, namespace, id string) (again, under bool, err error) {
	rec, o, waits, err := c.load(ctx, namespace, id)
	if err != nil {
		return false, false, err
	}
	under = !rec.Rollout.Status.Ended()
	switch {
	case rec.Pending != nil:
		again, err = c.apply(ctx, rec)
		return again, under, err
	case !under:
		return false, false, c.judge(ctx, rec)
	}
	if waits {
		if told, err := c.told(ctx, rec, o); told || err != nil {
			return true, under, err
		}
	}
	if rec.Rollout.Unapproved() {
		again, err = c.lapse(ctx, rec)
		return again, under, err
	}
	if rec.Rollout.Status == api.RolloutStarting {
		again, err = c.introduce(ctx, rec)
		return again, under, err
	}
	again, err = c.evaluate(ctx, rec)
	return again, under, err
}

// told carries out what a person said: the action becomes pending.
func (c *Controller) told(ctx context.Context, rec record, o order) (bool, error) {
	a := assay.Action{Kind: assay.ActionAbort, Service: rec.Rollout.Service, Version: rec.Rollout.Plan.Canary, From: rec.Rollout.Weight}
	if o.Command == api.CommandPromote {
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
	err := c.save(ctx, &rec, func(tx store.Tx) error {
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

// evaluate reads what arrived, decides and writes down.
func (c *Controller) evaluate(ctx context.Context, rec record) (again bool, err error) {
	began := c.cfg.Now().UTC()
	var readings []assay.Reading
	var uses []use
	if c.unread(rec.Rollout.ID, began) {
		readings, uses, err = c.read(ctx, rec, began)
	}
	if err != nil {
		// Without data the decision is made all the same: its signals grow old and
		// become unknown, which is what people must see.
		c.cfg.Log.Warn("rollout cannot read its signals", "rollout", rec.Rollout.ID, "error", err)
		c.leave(rec.Rollout.ID)
	}
	r, err := c.decide(ctx, rec, readings)
	if err != nil {
		c.metrics.evaluated.WithLabelValues("error").Inc()
		c.leave(rec.Rollout.ID)
		if renewable(rec, err) {
			return false, c.renew(ctx, rec, err)
		}
		return false, err
	}
	shown := rec.shown()
	rec.State = r.After
	rec.show(r)
	rec.tally(r)
	rec.loads(r)
	wound := rec.wound(uses, r.After)
	err = c.keep(ctx, &rec, r, shown, wound)
	if err != nil || left(r) {
		c.leave(rec.Rollout.ID)
	}
	if err != nil {
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

// left reports whether a decision was given readings that it did not take into its
// evidence, because more of their sources may still report: it is made with them again.
func left(r decide.Record) bool {
	for _, one := range r.Readings {
		for i, ind := range r.Plan.Indicators {
			if one.Indicator == ind.Name && one.End.After(r.After.Watches[i].Through) {
				return true
			}
		}
	}
	return false
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
	} else if rec.waits(d.Time) && d.Action.Kind == assay.ActionHold {
		out.Reason = fmt.Sprintf("Watch: %s waits for %.0f %% of %s's load, until %s UTC at most. %s", d.Canary, 100*out.Watch.UntilLoad, d.Control, out.Watch.Until.UTC().Format(time.DateTime), out.LoadWords())
	}
	if canary, control, ok := rates(r.Plan, d.Tests); ok {
		out.Canary, out.Control = canary, control
	}
	out.Observed = nil
	first := max(slices.IndexFunc(r.Plan.Indicators, decide.Indicator.CountsRequests), 0)
	if w := rec.State.Watches[first]; w.StepRequests+w.StepControl > 0 && r.Plan.Indicators[first].CountsRequests() && !rec.watching() && out.Strategy != api.StrategyMirrored {
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

// said is what people see of a rollout first.
type said struct {
	status  api.RolloutStatus
	decided bool      // the reason is the decision's
	at      time.Time // when it was decided
}

func (r record) shown() said {
	d := r.Rollout.Decision
	if d == nil {
		return said{status: r.Rollout.Status}
	}
	return said{r.Rollout.Status, d.Words == r.Rollout.Reason || r.waits(d.Time), d.Time}
}

// seenFor is how long people see ages in words as they were, while no data come.
const seenFor = 10 * time.Second

// keep stores the evaluation; with a fact if it says something new, and with its
// action pending if it has one. One that had no data and says what was said before, but
// for how old that is, is not stored: its evidence is that of before, and there is one
// each second of every rollout.
func (c *Controller) keep(ctx context.Context, rec *record, r decide.Record, before said, wound bool) error {
	sig := signature{Text: signatureOf(r.Decision), Time: r.Now}
	changes := r.Decision.Action.Kind.Changes()
	if !changes && sig.Text == rec.Recorded.Text && r.Now.Sub(rec.Recorded.Time) < c.cfg.Heartbeat {
		again := before.decided && before.status == rec.Rollout.Status && r.Now.Sub(before.at) < seenFor
		if again && !wound && len(r.Readings) == 0 && r.Plan.Fixed == nil {
			return nil
		}
		return c.save(ctx, rec, rec.put)
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
	return c.save(ctx, rec, func(tx store.Tx) error {
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
		if s.Instead != "" {
			b.WriteString(" (second source)")
		}
	}
	return b.String()
}

// read takes from each indicator's last reading on what both versions have
// reported by now. The interval ends with the older arm's newest event, so that
// what is under way from the other one is not lost between two readings. Series
// have a resolution of a millisecond: the one that has begun is read as well. An
// indicator that cannot be read does not keep the others from being read. uses are the
// pieces of the old version's day that readings of a watch are held against.
func (c *Controller) read(ctx context.Context, rec record, now time.Time) (out []assay.Reading, uses []use, err error) {
	var problems []error
	for i, ind := range rec.sources() {
		readings, used, err := c.readOne(ctx, rec, i, ind, now)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, readings...)
		if used != nil {
			uses = append(uses, *used)
		}
	}
	return out, uses, errors.Join(problems...)
}

func (c *Controller) readOne(ctx context.Context, rec record, i int, ind Indicator, now time.Time) ([]assay.Reading, *use, error) {
	from := later(rec.State.Watches[i].Through, rec.Day.skipped(i))
	return c.readEither(ctx, rec, i, ind, from, now)
}

func (c *Controller) readBoth(ctx context.Context, rec record, spec signal.Spec, from, now time.Time) ([]assay.Reading, error) {
	compiled, err := c.known.compile(rec.Rollout.ID, spec)
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
	if slices.ContainsFunc(readings, func(r assay.Reading) bool { return r.EventTime.After(newest) }) {
		return c.both(ctx, rec, q) // without what the other version is ahead
	}
	for i := range readings {
		readings[i].End = q.End.UTC() // nothing was counted after it
	}
	return readings, nil
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
	return compared(out, rec.Rollout.Plan.Control), err
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
