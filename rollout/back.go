package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

// Return asks to go back from the version that has all the traffic of a service to one
// that had it before.
type Return struct {
	Namespace string
	Actor     string
	Of        string // id of the rollout that brought the version, or name of the service
	From      string // version that is to be left; "" is the one that has all the traffic
	To        string // version; "" is the last one that had all the traffic and may be entered
	Reason    string
	// Cause is the decision of a strategy that asks for it, "" if a person does. One
	// decision makes one rollback, however often it is asked for.
	Cause assay.FactID
	// Approved says that a person said yes to what the strategy asked for.
	Approved bool
}

// wayBack is what a rollback would do.
type wayBack struct {
	service  string
	from, to string
	digest   assay.Digest // of what is gone back to
	of       string       // id of the rollout that brought from; "" if none did
	basis    record       // whose plan is followed
	passed   []api.PassedOver
	newest   assay.FactID // of the end of the service's newest rollout, when this was looked at
}

// Rollback records that a service goes back; Run carries it out as a rollout of the older
// version. CodeConflict while a rollout of the service is open or the kill switch is
// pulled, if the version that is to be left has not all the traffic, or if there is none
// to go back to; CodeDenied if the enforcer does not let the named one in; CodeNotFound if
// nothing of the service has ended.
func (c *Controller) Rollback(ctx context.Context, p Return) (api.Rollout, error) {
	switch id, ok, err := Answered(ctx, c.cfg.Store, p.Namespace, p.Cause); {
	case err != nil:
		return api.Rollout{}, err
	case ok:
		return Get(ctx, c.cfg.Store, p.Namespace, id)
	}
	w, err := c.back(ctx, p)
	if err != nil {
		return api.Rollout{}, err
	}
	rec := w.record(p, c.cfg.Now().UTC())
	if why := c.halted(rec); why != "" {
		return api.Rollout{}, &assay.Error{Code: assay.CodeConflict, Msg: why, Hint: "see what is halted with: assay halt list"}
	}
	if err := rec.Rollout.Plan.Check(); err != nil {
		return api.Rollout{}, err
	}
	err = c.save(ctx, &rec, func(tx store.Tx) error {
		if err := noneUnderWay(tx, p.Namespace, w.service); err != nil {
			return err
		}
		if _, newest, err := pastOf(tx, p.Namespace, w.service); err != nil || newest != w.newest {
			return orElse(err, &assay.Error{Code: assay.CodeConflict, Msg: "another rollout of " + w.service + " has ended meanwhile", Hint: "look where the traffic is and ask again"})
		}
		o := &rec.Rollout
		var err error
		o.StartedFact, err = rec.fact(tx, assay.FactRolloutStarted, assay.RetainAudit, p.Actor, o.Created, []assay.FactID{p.Cause, w.cause()}, StartedPayload{
			Rollout: o.ID, Name: o.Name, Digest: o.Digest, Canary: o.Plan.Canary, Control: o.Plan.Control, Plan: o.Plan, Watch: o.Watch, Back: o.Back,
		})
		if err != nil {
			return err
		}
		rec.version = 0
		return rec.put(tx)
	})
	if err != nil {
		return api.Rollout{}, err
	}
	c.nudge()
	return rec.Rollout, nil
}

func orElse(err error, other error) error {
	if err != nil {
		return err
	}
	return other
}

// Answered finds the rollout that a strategy's decision began, or told to abort.
func Answered(ctx context.Context, s store.Store, namespace string, cause assay.FactID) (id string, ok bool, err error) {
	if cause == "" { // a person's order
		return "", false, nil
	}
	err = s.View(ctx, func(tx store.Reader) error {
		rows, err := tx.Facts(store.Query{Namespace: namespace, Kinds: []string{assay.FactRolloutStarted, assay.FactRolloutCommanded}, Cause: cause, Limit: 1})
		if len(rows) > 0 {
			id, ok = rows[0].Fact.DeploymentID, true
		}
		return err
	})
	return id, ok, err
}

// WayBack is the version that a service would go back to by itself, from the one that has
// all its traffic; the errors of Rollback if there is none.
func (c *Controller) WayBack(ctx context.Context, namespace, service string) (version string, err error) {
	w, err := c.back(ctx, Return{Namespace: namespace, Of: service})
	return w.to, err
}

// noneUnderWay refuses to go back while a rollout of the service has not ended: to take
// its version back is its abort.
func noneUnderWay(tx store.Reader, namespace, service string) error {
	return eachOpen(tx, namespace, service, func(r record) error {
		id := r.Rollout.ID
		return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("rollout %s of %s has not ended: it is %s", id, service, r.Rollout.Status),
			Hint: fmt.Sprintf("take the traffic from %s with: assay rollout abort %s --reason TEXT", r.Rollout.Plan.Canary, id)}
	})
}

// back finds out what a rollback would do.
func (c *Controller) back(ctx context.Context, p Return) (w wayBack, err error) {
	var past []record
	named := ""
	err = c.cfg.Store.View(ctx, func(tx store.Reader) error {
		w.service = p.Of
		v, err := tx.Get(store.Key{Namespace: p.Namespace, Bucket: bucket, Name: p.Of})
		if err == nil {
			var r record
			if r, err = parseRecord(v); err != nil {
				return err
			}
			w.service, named = r.Rollout.Service, r.Rollout.Plan.Canary
		} else if assay.CodeOf(err) != assay.CodeNotFound {
			return err
		}
		if err := noneUnderWay(tx, p.Namespace, w.service); err != nil {
			return err
		}
		past, w.newest, err = pastOf(tx, p.Namespace, w.service)
		return err
	})
	if err != nil {
		return w, err
	}
	if len(past) == 0 {
		return w, &assay.Error{Code: assay.CodeNotFound, Msg: fmt.Sprintf("no rollout %[1]q and none of a service %[1]q has ended", clip(p.Of)), Hint: "list them with: assay rollout list"}
	}
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	seen, err := c.cfg.Actuator.Observe(ctx, w.service)
	if err != nil {
		return w, err
	}
	if err := c.ahead(seen); err != nil {
		return w, err
	}
	if w.from, err = control(seen, w.service, ""); err != nil {
		return w, err
	}
	switch {
	case p.From != "" && p.From != w.from:
		return w, assay.Errorf(assay.CodeConflict, "%s has not the traffic of %s: %s has all of it", p.From, w.service, w.from)
	case named != "" && named != w.from:
		return w, &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("%s of rollout %s has not the traffic of %s: %s has all of it", named, p.Of, w.service, w.from),
			Hint: "to go back from " + w.from + ", name the service"}
	}
	w.follow(past)
	return w, c.choose(ctx, &w, lineage(past, w.from), p.To)
}

// follow takes the plan of the rollout that brought the version which is left, or of the
// newest that gave all the traffic if that was done by hand.
func (w *wayBack) follow(past []record) {
	w.basis = past[0]
	for _, r := range slices.Backward(past) {
		if r.Rollout.Status == api.RolloutPromoted {
			w.basis = r
		}
	}
	for _, r := range slices.Backward(past) {
		if r.Rollout.Status == api.RolloutPromoted && r.Rollout.Plan.Canary == w.from {
			w.basis, w.of = r, r.Rollout.ID
		}
	}
}

// cause is the end of the rollout that is taken back.
func (w wayBack) cause() assay.FactID {
	if w.of == "" {
		return ""
	}
	return w.basis.Rollout.EndedFact
}

// choose takes the named version, or the last one that may be entered.
func (c *Controller) choose(ctx context.Context, w *wayBack, list []bearer, to string) error {
	entry, err := c.entries(ctx, w.service)
	if err != nil {
		return err
	}
	if to == w.from {
		return assay.Errorf(assay.CodeConflict, "version %q of %s has all the traffic already", clip(to), w.service)
	}
	for _, b := range list {
		why := entry.against(&b)
		switch {
		case to != "" && b.version != to:
			continue
		case to != "" && why != "":
			return &assay.Error{Code: assay.CodeDenied, Msg: fmt.Sprintf("%s cannot be gone back to: %s", to, why), Hint: "name another version, or none: the last one that may be entered is taken"}
		case to == "" && b.why != "":
			why = b.why
		}
		if why == "" {
			w.to, w.digest = b.version, b.digest
			return nil
		}
		w.passed = append(w.passed, api.PassedOver{Version: b.version, Reason: why})
	}
	if to != "" {
		return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("%q never had all the traffic of %s, as its last %d rollouts tell", clip(to), w.service, maxPast),
			Hint: "a version that is new gets its traffic by: assay rollout start"}
	}
	words := "no version had all its traffic before " + w.from
	if len(w.passed) > 0 {
		parts := make([]string, len(w.passed))
		for i, p := range w.passed {
			parts[i] = p.Version + ": " + p.Reason
		}
		words = strings.Join(parts, "; ")
	}
	return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("%s has nothing to go back to: %s", w.service, words), Hint: "roll a version out that may be entered: assay rollout start"}
}

// entries are what the door says of the versions of a service; nil if there is no door.
type entries map[string]entry

type entry struct {
	digest  assay.Digest
	refusal string
}

func (c *Controller) entries(ctx context.Context, service string) (entries, error) {
	if c.cfg.Door == nil {
		return nil, nil
	}
	status, err := c.cfg.Door.StatusOf(ctx, service)
	if err != nil {
		return nil, err
	}
	out := entries{}
	for _, r := range status.Routes {
		for _, v := range r.Versions {
			if r.Service != service {
				continue
			}
			e := entry{digest: v.Digest, refusal: out[v.Name].refusal}
			if v.Refusal != nil && r.Mode != assay.ModeDryRun {
				e.refusal = fmt.Sprintf("the enforcer does not let it in: %s: %s", v.Refusal.Name, v.Refusal.Detail)
			}
			out[v.Name] = e
		}
	}
	return out, nil
}

// against says why a version cannot be entered now, "" if it can. It fills in the artifact
// of one that no rollout brought.
func (e entries) against(b *bearer) string {
	if e == nil {
		return "" // whoever moves the traffic will say
	}
	v, known := e[b.version]
	switch {
	case !known:
		return "the enforcer does not know it any more"
	case v.refusal != "":
		return v.refusal
	case b.digest != "" && b.digest != v.digest:
		return fmt.Sprintf("the enforcer has it running %s, and %s had the traffic", v.digest, b.digest)
	}
	b.digest = v.digest
	return ""
}

// record is the rollback before its first step.
func (w wayBack) record(p Return, now time.Time) record {
	b := w.basis
	plan, sources := b.Rollout.Plan, b.Indicators
	if len(b.After) > 0 { // pairs of copied requests: there are none
		plan.Indicators, sources = b.AfterTests, b.After
	}
	plan.Canary, plan.Control, plan.Steps, plan.Fixed, plan.HarmBudget, plan.StepBudget = w.to, w.from, []int{100}, nil, 0, 0
	if len(b.BackSteps) > 0 {
		plan.Steps = b.BackSteps
	}
	watch := api.Watch{Duration: b.baseline(), OnHarm: api.AskOnHarm}
	if b.Rollout.Watch != nil {
		watch.Duration = b.Rollout.Watch.Duration
	}
	rec := record{Namespace: p.Namespace, Indicators: sources, Baseline: b.Baseline, BackSteps: b.BackSteps, Past: now.Add(-b.baseline())}
	if w.of != "" {
		rec.Past = later(rec.Past, b.Rollout.Began)
	}
	rec.Rollout = api.Rollout{
		ID: string(store.NewFactID()), Name: b.Rollout.Name, Service: w.service, Environment: plan.Environment, Digest: w.digest,
		Actor: p.Actor, Status: api.RolloutStarting, Created: now, Plan: plan, Watch: &watch,
		Reason: fmt.Sprintf("Go back: %s gets %d %% of the traffic of %s, which %s has: %s", w.to, plan.Steps[0], w.service, w.from, p.Reason),
		Back:   &api.Back{Of: w.of, Reason: p.Reason, Cause: p.Cause, Passed: w.passed},
	}
	reverts := b.Rollout.Watch != nil && b.Rollout.Watch.OnHarm == api.RevertOnHarm
	if p.Cause != "" && !p.Approved && !reverts {
		rec.Rollout.Status, rec.Rollout.Approval = api.RolloutAsking, &api.Approval{}
		rec.Rollout.Reason = fmt.Sprintf("Ask: shall %s go back from %s to %s? The plan leaves it to a person: %s", w.service, w.from, w.to, p.Reason)
	}
	return rec
}

const (
	// askFor is how long a yes is waited for to what a strategy asked for.
	askFor = 15 * time.Minute
	// takeWithin is how long what it asked for may wait for the door, if the plan's signals
	// do not stay fresh for longer.
	takeWithin = time.Minute
)

// lapse gives up what a strategy asked for and nobody said yes to.
func (c *Controller) lapse(ctx context.Context, rec record) (again bool, err error) {
	b := rec.Rollout.Back
	if b == nil || b.Cause == "" || c.cfg.Now().Sub(rec.Rollout.Created) < askFor {
		return false, nil
	}
	return true, c.giveUp(ctx, rec, fmt.Sprintf("Aborted: nobody said yes within %s", askFor))
}

// outlived says whether a rollback that was not begun is given up: what a strategy asked
// for too long ago nobody would decide now, and traffic that somebody else moved is left
// as it is. Nothing was asked of the world yet.
func (c *Controller) outlived(ctx context.Context, rec record) (over bool, err error) {
	p, since := rec.Rollout.Plan, rec.Rollout.Created
	if a := rec.Rollout.Approval; a != nil {
		since = a.Time
	}
	if limit := max(takeWithin, p.MaxAge); rec.Rollout.Back.Cause != "" && c.cfg.Now().Sub(since) > limit {
		return true, c.giveUp(ctx, rec, fmt.Sprintf("Aborted: it was asked for more than %s ago and could not begin; it is decided anew", limit))
	}
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	seen, err := c.cfg.Actuator.Observe(ctx, p.Service)
	if err != nil {
		return true, orElse(c.wait(ctx, rec, "Wait: the enforcer does not say where the traffic is: "+err.Error()), err)
	}
	if seen.Shares[p.Control] == 100 {
		return false, nil
	}
	return true, c.save(ctx, &rec, func(tx store.Tx) error {
		return c.end(tx, &rec, api.RolloutFailed, fmt.Sprintf("Failed: %s has %d %% of the traffic and not all of it; it is left as it is", p.Control, seen.Shares[p.Control]), rec.Rollout.StartedFact, 0)
	})
}

func (c *Controller) giveUp(ctx context.Context, rec record, words string) error {
	return c.save(ctx, &rec, func(tx store.Tx) error { return c.end(tx, &rec, api.RolloutAborted, words, rec.Rollout.StartedFact, 0) })
}

// baseline is how much of the past a watch is held against.
func (r record) baseline() time.Duration {
	if r.Baseline > 0 {
		return r.Baseline
	}
	return defaultBaseline // of a record that was stored before it was kept
}

const defaultBaseline = 5 * time.Minute
