package mitigate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// clearFor is for how long a source that a person called harmless is not cut off.
const clearFor = 24 * time.Hour

// Tell records what a person said. CodeConflict if there is nothing to answer or the
// law knows no such thing, CodeInvalid for what cannot be told.
func (c *Controller) Tell(ctx context.Context, namespace, name, who string, a api.StrategyAnswer) (api.StrategyStatus, error) {
	now := c.cfg.Now().UTC()
	var out record
	err := c.write(ctx, func(tx store.Tx) error {
		v, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: name})
		if assay.CodeOf(err) == assay.CodeNotFound {
			return &assay.Error{Code: assay.CodeNotFound, Msg: fmt.Sprintf("there is no strategy %q that has decided anything", name), Hint: "list them with: assay strategy list"}
		}
		if err != nil {
			return err
		}
		if out, err = parse(v); err != nil {
			return err
		}
		p, err := out.tell(a, who, now)
		if err != nil {
			return err
		}
		if out.Fact, err = out.fact(tx, assay.FactMitigationTold, assay.RetainAudit, who, now, []assay.FactID{out.Fact}, p); err != nil {
			return err
		}
		return out.put(tx)
	})
	if err == nil {
		c.nudge()
	}
	return out.shown(), err
}

// asked is the question that an answer is to: never another one that is newer, nor one
// that was answered already.
func (r *record) asked(id string) (*decide.Approval, error) {
	newest := r.question()
	if newest == nil {
		return nil, assay.Errorf(assay.CodeConflict, "strategy %s asks nothing now", r.Name)
	}
	hint := "read what it asks with: assay strategy explain " + r.Name
	if id == "" {
		return nil, &assay.Error{Code: assay.CodeInvalid, Field: "question", Msg: "it is not said which question this answers", Hint: hint}
	}
	for i := range r.Approvals {
		if q := &r.Approvals[i]; q.Answer == "" && questionID(*q) == id {
			return q, nil
		}
	}
	return nil, &assay.Error{Code: assay.CodeConflict, Field: "question",
		Msg: fmt.Sprintf("question %q is not open: strategy %s now asks %s, to move %s to %s", id, r.Name, questionID(*newest), newest.Action.Target(), number(newest.Action.Want)), Hint: hint}
}

// tell takes over what was said and returns what is recorded of it.
func (r *record) tell(a api.StrategyAnswer, who string, now time.Time) (ToldPayload, error) {
	p := ToldPayload{Strategy: r.Name, Told: a.Told, Reason: a.Reason}
	r.Allowed = slices.DeleteFunc(r.Allowed, func(x allowance) bool { return !now.Before(x.Until) })
	switch a.Told {
	case ToldPause:
		r.Paused = fmt.Sprintf("%s paused it: %s", who, a.Reason)
	case ToldResume:
		r.Paused = ""
	case ToldAllow:
		if r.Strategy.Spec.Cost == nil {
			return p, assay.Errorf(assay.CodeConflict, "strategy %s has no cap of spend that could be lifted", r.Name)
		}
		if !(a.Amount > 0 && a.Amount < 1e12) {
			return p, assay.Errorf(assay.CodeInvalid, "%v is no amount to allow", a.Amount)
		}
		v := view{now: now}
		p.Amount, p.Until = a.Amount, now.Add(v.dayLeft(r.Strategy.Spec.Cost.Zone))
		r.Allowed = append(r.Allowed, allowance{Amount: a.Amount, Until: p.Until})
	case ToldClear:
		if r.Strategy.Spec.Contain == nil {
			return p, assay.Errorf(assay.CodeConflict, "strategy %s cuts no sources off", r.Name)
		}
		if a.Source == "" {
			return p, assay.Errorf(assay.CodeInvalid, "it is not said which source is harmless")
		}
		p.Source, p.Until = a.Source, now.Add(clearFor)
		r.Allowed = append(r.Allowed, allowance{Source: a.Source, Until: p.Until})
	case ToldThaw:
		var err error
		if p.Target, err = r.thaw(a.Target, now); err != nil {
			return p, err
		}
	case ToldYes, ToldNo:
		q, err := r.asked(a.Question)
		if err != nil {
			return p, err
		}
		q.Answer, q.Answered, q.By = "no", now, who
		if a.Told == ToldYes {
			q.Answer = "yes"
		}
		action := q.Action
		p.Action = &action
	default:
		return p, assay.Errorf(assay.CodeInvalid, "%s", strict.OneOf(a.Told, []string{ToldYes, ToldNo, ToldPause, ToldResume, ToldAllow, ToldClear, ToldThaw}))
	}
	if len(r.Allowed) > maxApprovals {
		return p, assay.Errorf(assay.CodeTooLarge, "%d allowances stand already", maxApprovals)
	}
	return p, nil
}
