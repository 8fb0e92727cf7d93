package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/signal"
)

// specs are where an indicator's counts come from: the second only while the first is of no use.
func (i Indicator) specs() []signal.Spec {
	if i.Fallback == nil {
		return []signal.Spec{i.Spec}
	}
	return []signal.Spec{i.Spec, *i.Fallback}
}

// readEither reads what both versions counted since an instant: from the indicator's second
// source while the first is of no use and the second is. Each interval is read from one of
// them, for both versions: two senders may count differently, and what was counted of an
// interval is not counted again when the first comes back. Which one is read depends on how
// old events are, and never on what they say. In the watch the old version's past is of the
// same source as what it is held against.
func (c *Controller) readEither(ctx context.Context, rec record, i int, ind Indicator, from, now time.Time) ([]assay.Reading, *use, error) {
	if ind.Fallback == nil {
		return c.readFrom(ctx, rec, i, ind.Spec, from, now)
	}
	onSecond := rec.State.Watches[i].Instead != ""
	out, used, err := c.takeUp(ctx, rec, i, ind.Spec, onSecond, from, now)
	why := rec.unfit(i, out, err, now)
	if why == "" {
		return out, used, err
	}
	second, wound, failed := c.takeUp(ctx, rec, i, *ind.Fallback, !onSecond, from, now)
	if failed != nil || rec.old(second, now) {
		return out, used, err // neither is of use: what is said of the first is what there is to repair
	}
	for j := range second {
		second[j].Instead = why
	}
	return second, wound, nil
}

// readFrom reads one source: of both versions, or in the watch of the new one and of the
// old one's past.
func (c *Controller) readFrom(ctx context.Context, rec record, i int, spec signal.Spec, from, now time.Time) ([]assay.Reading, *use, error) {
	if rec.watching() {
		return c.readPast(ctx, rec, i, spec, from, now)
	}
	out, err := c.readBoth(ctx, rec, spec, from, now)
	return out, nil, err
}

// takeUp is readFrom; other says that what was read last is of the other source. A counter
// that comes back has grown by all that the other source has counted meanwhile: so a source is
// taken up where it told something before. Until it has, the other one is read on; and if that
// tells nothing either, what neither told stays a hole.
func (c *Controller) takeUp(ctx context.Context, rec record, i int, spec signal.Spec, other bool, from, now time.Time) ([]assay.Reading, *use, error) {
	if !other || rec.State.Watches[i].EventTime.IsZero() {
		return c.readFrom(ctx, rec, i, spec, from, now)
	}
	told, err := c.toldBefore(ctx, rec, spec, from)
	if hole := now.Add(-rec.Rollout.Plan.MaxAge).Truncate(time.Millisecond); err == nil && !told && hole.After(from) {
		from = hole
		told, err = c.toldBefore(ctx, rec, spec, from)
	}
	if err != nil || !told {
		return nil, nil, err
	}
	return c.readFrom(ctx, rec, i, spec, from, now)
}

// toldBefore reports whether a source told of the versions in the time before an instant in
// which what it tells is fresh.
func (c *Controller) toldBefore(ctx context.Context, rec record, spec signal.Spec, at time.Time) (bool, error) {
	compiled, err := c.known.compile(rec.Rollout.ID, spec)
	if err != nil {
		return false, err
	}
	all, err := c.both(ctx, rec, signal.Query{Namespace: rec.Namespace, Indicator: compiled, Start: at.Add(-rec.Rollout.Plan.MaxAge), End: at})
	if rec.watching() {
		return slices.ContainsFunc(all, func(r assay.Reading) bool { return r.Version == rec.Rollout.Plan.Canary }), err
	}
	_, both := earliest(all)
	return both, err
}

// unfit says why the first source is of no use, "" if it is. Between two reports it has nothing
// new and is not old yet; once the second was read it has to have something new.
func (r record) unfit(i int, out []assay.Reading, err error, now time.Time) string {
	w, most, whose := &r.State.Watches[i], r.Rollout.Plan.MaxAge, " of both versions"
	if r.watching() {
		whose = ""
	}
	switch {
	case err != nil:
		return "the first cannot be read"
	case len(out) > 0 && r.old(out, now):
		at, _ := earliest(out)
		return fmt.Sprintf("the newest event of the first is %s old, at most %s is fresh", now.Sub(at).Round(time.Second), most)
	case len(out) > 0:
		return ""
	case w.Instead != "":
		return w.Instead
	case now.Sub(later(w.EventTime, r.State.Began)) > most:
		return fmt.Sprintf("the first has told nothing new%s for more than %s", whose, most)
	}
	return ""
}

// old reports whether readings have no event of both versions that is fresh.
func (r record) old(out []assay.Reading, now time.Time) bool {
	at, both := earliest(out)
	return !both || now.Sub(at) > r.Rollout.Plan.MaxAge
}
