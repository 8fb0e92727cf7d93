package mitigate

import (
	"cmp"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/infer"
)

// promise is what a decision expected of its action, written down before it was taken: its
// outcome is held against that.
type promise struct {
	Gone float64       `json:"gone"`           // share of what is spent that goes away, as the decision's expected effect says
	Own  float64       `json:"own,omitempty"`  // what the action spends itself: a share of the error budget per minute
	Lead time.Duration `json:"lead,omitempty"` // until it works
}

// promised is what was expected of the action that was decided; nil if nothing was: a
// threshold, a person or a hard cap promises no size, and to give back promises nothing.
func promised(r *Record) *promise {
	d, p := &r.Mitigation.Decision, &r.Mitigation.Problem
	i := slices.IndexFunc(p.Options, func(o decide.Option) bool { return o.Action == d.Action })
	if d.Expected == nil || i < 0 || d.Action.Kind == assay.ActionRestore || d.Expected.Change >= 0 {
		return nil
	}
	o := &p.Options[i]
	own := o.Own
	for _, b := range d.Beliefs {
		own += b.After * o.Risk[decide.Hypothesis(b.Hypothesis)]
	}
	return &promise{Gone: -d.Expected.Change, Own: max(own, 0), Lead: o.Lead}
}

// within is the promise for the mean of a judged window, in steps of a length, that began so
// long before the action was taken: of a window in which it works for a part only, it promises
// that part.
func (p promise) within(step, since time.Duration) infer.Promise {
	end := (judgedDead + judgedSpan) * step
	works := min(max(float64(end-since-p.Lead)/float64(judgedSpan*step), 0), 1)
	return infer.Promise{Gone: min(p.Gone, 1) * works, Own: p.Own}
}

// promise adds what a step of the action promised, taken now, to what the steps before it
// did: each takes its share of what they leave. A step that promised nothing adds nothing.
func (j *judging) promise(p *promise, now time.Time) {
	if p == nil {
		return
	}
	add := p.within(cmp.Or(j.Step, slot), now.Sub(j.At))
	if q := j.Promise; q != nil {
		add = infer.Promise{Gone: 1 - (1-q.Gone)*(1-add.Gone), Own: q.Own + add.Own}
	}
	j.Promise = &add
}

// promised is what was promised for the judged window; nothing if nothing was.
func (j judging) promised() (out infer.Promise) {
	if j.Promise != nil {
		out = *j.Promise
	}
	return out
}

// could says why that nothing became better speaks against no action, "" if it does. To give
// back is to change nothing, what is not spent cannot be saved, and what has not begun to work
// cannot have helped. Where the budget still lasted, the action came before the trouble, and
// that none came is what it was for.
func (j judging) could(seen infer.Attribution) string {
	switch {
	case j.Action.Kind == assay.ActionRestore || seen.Would <= material():
		return "there was nothing that it could have made better"
	case seen.Before*window.Minutes() < 1:
		return "the budget was still lasting when it was taken, so it came before what it was to prevent"
	case j.Promise != nil && j.Promise.Gone == 0:
		return "it was not to work before this was seen"
	}
	return ""
}
