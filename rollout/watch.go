package rollout

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/signal"
)

// maxWatch bounds how long a version is watched after it got all the traffic.
const maxWatch = 7 * 24 * time.Hour

// watching reports whether the version has all the traffic and is looked at still.
func (r record) watching() bool {
	return r.Rollout.Watch != nil && !r.Rollout.Watch.Began.IsZero() && !r.Rollout.Status.Ended()
}

// plan is what is decided by now: the declared plan, or after the last step that of
// the watch, which has one step of 100 percent and ends with its time.
func (r record) plan() decide.Plan {
	p := r.Rollout.Plan
	if !r.watching() {
		return p
	}
	switch {
	case len(r.After) > 0:
		p.Indicators = r.AfterTests
	case len(r.Alone) > 0:
		p.Indicators = r.Alone
	}
	p.Steps, p.OnHorizon = []int{100}, decide.HorizonPromote
	p.MinDuration = r.Rollout.Watch.Until.Sub(r.Rollout.Watch.Began)
	p.Horizon = p.MinDuration
	return p
}

// sources are where the counts of plan's indicators come from.
func (r record) sources() []Indicator {
	if r.watching() && len(r.After) > 0 {
		return r.After
	}
	return r.Indicators
}

// look begins the watch: the old version's past until now is what the new one is
// held against from here on.
func (r *record) look(now time.Time) (err error) {
	w := *r.Rollout.Watch
	w.Began, w.Until, w.From, w.To = now, now.Add(w.Duration), r.Past, now
	if w.UntilLoad > 0 && r.Rollout.Load != nil && r.Rollout.Load.Control > 0 {
		w.Until = now.Add(w.Longest)
	}
	if !w.From.Before(w.To) { // nothing is known of its past
		w.From = now.Add(-w.Duration)
	}
	r.Rollout.Watch = &w
	r.Rollout.Status = api.RolloutWatching
	r.Rollout.Reason = fmt.Sprintf("Watch: %s has all the traffic; it is held against what %s did from %s to %s UTC.",
		r.Rollout.Plan.Canary, r.Rollout.Plan.Control, w.From.UTC().Format(time.DateTime), w.To.UTC().Format(time.DateTime))
	r.State, err = decide.Begin(r.plan(), now)
	return err
}

// past is the moment of the old version's history that belongs to a moment of the
// watch. The whole history is spread over the whole watch, so that each count of
// the past is used once.
func past(w api.Watch, t time.Time) time.Time {
	span, done := w.To.Sub(w.From), t.Sub(w.Began)
	if done >= w.Duration {
		return w.To
	}
	return w.From.Add(time.Duration(float64(span) * (float64(done) / float64(w.Duration)))).Truncate(time.Millisecond)
}

// readPast reads what the new version has counted since the last reading, and what
// the old one counted in the part of its history that belongs to that time. The
// latter is handed on as a reading of the same time: that is what makes it the
// control, and the record of the decision keeps it.
func (c *Controller) readPast(ctx context.Context, rec record, i int, spec signal.Spec, from, now time.Time) ([]assay.Reading, *use, error) {
	// Moments of the past differ in who asked: all traffic is held against all. And nothing is
	// side by side: what hit all replicas once is part of how one moment differs from another.
	spec.StratumLabel, spec.ReplicaLabel = "", ""
	compiled, err := c.known.compile(rec.Rollout.ID, spec)
	if err != nil {
		return nil, nil, err
	}
	q := signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: from, End: now.Truncate(time.Millisecond).Add(time.Millisecond)}
	fresh, err := c.one(ctx, q, rec.Rollout.Plan.Canary)
	if err != nil || fresh == nil {
		return nil, nil, err
	}
	if end := fresh.EventTime.Add(time.Millisecond); end.Before(q.End) {
		if q.End = end; !q.Start.Before(q.End) {
			return nil, nil, nil
		}
		if fresh, err = c.one(ctx, q, rec.Rollout.Plan.Canary); err != nil || fresh == nil {
			return nil, nil, err
		}
	}
	var used *use
	q.Start, q.End, used = rec.against(i, *fresh)
	if !q.Start.Before(q.End) {
		return nil, used, nil
	}
	old, err := c.one(ctx, q, rec.Rollout.Plan.Control)
	if err == nil && old == nil && used == nil && !fresh.End.Before(rec.Rollout.Watch.Began.Add(rec.Rollout.Watch.Duration)) {
		return nil, &use{indicator: i, tape: -1, fresh: *fresh}, nil // so is the last piece: no longer one will come
	}
	if err != nil || old == nil {
		return nil, nil, err // this piece of the past is empty: the next reading is longer
	}
	old.Start, old.End, old.EventTime, old.Ingested = fresh.Start, fresh.End, fresh.EventTime, fresh.Ingested
	return []assay.Reading{*fresh, *old}, used, nil
}

// one is the reading of one version; nil if it counted nothing.
func (c *Controller) one(ctx context.Context, q signal.Query, version string) (*assay.Reading, error) {
	all, err := c.cfg.Source.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.Version == version {
			return &r, nil
		}
	}
	return nil, nil
}

// asks forbids what the plan leaves to a person: giving the traffic back.
func (r record) asks(a assay.Action) string {
	if r.watching() && r.Rollout.Watch.OnHarm == api.AskOnHarm && a.Kind == assay.ActionAbort {
		return "the plan leaves it to a person to give the traffic back"
	}
	return ""
}

// over reports whether the watch ends now: its time has passed and r shows no harm.
// Nobody waits for fresh signals then: the old version's past is used up, so that no
// reading is ever added again. Evidence that has grown old counts all the same: a
// question that was asked because of it does not answer itself. While the kill switch
// is pulled nothing ends.
func (c *Controller) over(rec record, r decide.Record) bool {
	if !rec.watching() || rec.Pending != nil || r.Now.Before(rec.Rollout.Watch.Until) || c.halted(rec) != "" {
		return false
	}
	d := r.Decision
	for _, k := range d.Candidates {
		if k.Action.Kind == assay.ActionAbort && k.Eligible {
			return false
		}
	}
	return r.Plan.Fixed != nil || d.Harm < d.AbortAt // harm of a fixed design shows at its looks alone
}

// found says what the watch has shown: of what was never seen it has shown nothing.
func (r record) found() string {
	p := r.plan()
	var unseen []string
	for i, w := range r.State.Watches {
		if w.EventTime.IsZero() {
			unseen = append(unseen, p.Indicators[i].Name)
		}
	}
	switch {
	case len(unseen) == 0:
		return fmt.Sprintf("and %s was not shown to be worse than %s had been", p.Canary, p.Control)
	case len(unseen) == len(p.Indicators):
		return fmt.Sprintf("but nothing of it could be seen (%s): whether %s is worse than %s had been is not known", strings.Join(unseen, ", "), p.Canary, p.Control)
	}
	return fmt.Sprintf("and %s was not shown to be worse than %s had been; nothing was seen of %s", p.Canary, p.Control, strings.Join(unseen, ", "))
}

// conclude ends the watch: the version keeps the traffic that it has.
func (c *Controller) conclude(ctx context.Context, rec record) error {
	p, r := rec.Rollout.Plan, *rec.Rollout.Watch
	words := strings.TrimSpace(fmt.Sprintf("Finish: the watch of %s is over, %s. %s", r.Until.Sub(r.Began).Round(time.Second), rec.found(), rec.Rollout.LoadWords()))
	a := assay.Action{Kind: assay.ActionFinish, Service: p.Service, Version: p.Canary, From: rec.Rollout.Weight, Weight: 100}
	c.intend(&rec, a, cmp.Or(rec.Rollout.DecidedFact, rec.Rollout.StartedFact), words, false)
	return c.save(ctx, &rec, rec.put)
}
