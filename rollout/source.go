package rollout

import (
	"context"
	"fmt"
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
// old events are, and never on what they say.
func (c *Controller) readEither(ctx context.Context, rec record, i int, ind Indicator, from, now time.Time) ([]assay.Reading, error) {
	out, err := c.readBoth(ctx, rec, ind.Spec, from, now)
	if ind.Fallback == nil {
		return out, err
	}
	why := rec.unfit(i, out, err, now)
	if why == "" {
		return out, err
	}
	second, failed := c.readBoth(ctx, rec, *ind.Fallback, from, now)
	if failed != nil || rec.old(second, now) {
		return out, err // neither is of use: what is said of the first is what there is to repair
	}
	for j := range second {
		second[j].Instead = why
	}
	return second, nil
}

// unfit says why the first source is of no use, "" if it is. Between two reports it has nothing
// new and is not old yet; once the second was read it has to have something new.
func (r record) unfit(i int, out []assay.Reading, err error, now time.Time) string {
	w, most := &r.State.Watches[i], r.Rollout.Plan.MaxAge
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
		return fmt.Sprintf("the first has told nothing new of both versions for more than %s", most)
	}
	return ""
}

// old reports whether readings have no event of both versions that is fresh.
func (r record) old(out []assay.Reading, now time.Time) bool {
	at, both := earliest(out)
	return !both || now.Sub(at) > r.Rollout.Plan.MaxAge
}
