package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/decide"
	"assay.dev/assay/enforce"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/store"
)

// Proposal asks for a rollout.
type Proposal struct {
	Namespace  string
	Actor      string
	Name       string // of the declared rollout
	Plan       decide.Plan
	Indicators []Indicator   // in the plan's order
	Baseline   time.Duration // of the old version's past that bounds are frozen from and dispersion is learned from
	Canary     string
	Digest     assay.Digest
	Backend    string // "" if the enforcer knows the version

	Strategy api.Strategy    // "" is a canary
	Mirror   *enforce.Mirror // of the strategy mirrored; its version is the canary
	Match    *enforce.Match  // of the strategy a-b; its version is the canary
	// Watch is how long it goes on looking once the version has all the traffic; 0
	// is not at all.
	Watch  time.Duration
	OnHarm api.OnHarm // in that time; "" is revert
	// UntilLoad lets the watch go on until the version has had that share of the greatest
	// load of the old one's last day, at most for Longest; 0 does not.
	UntilLoad float64
	Longest   time.Duration
	// After is what is tested in that time, if it is not the plan's indicators, and
	// Sources where its counts come from.
	After   []decide.Indicator
	Sources []Indicator
	// BackSteps are the steps of a rollback of the version once it has all the traffic;
	// none is one of 100 percent.
	BackSteps []int
	// Risk of the change, nil if nobody scored it. With the gate api.RiskApprove it gets
	// no request before another person than Actor said yes.
	Risk *api.Risk
}

// Propose records a rollout; Run carries it out. CodeConflict if another one of
// the service is open or the canary has traffic already, CodeInvalid for a plan
// that cannot be or for a baseline without data.
func (c *Controller) Propose(ctx context.Context, p Proposal) (api.Rollout, error) {
	seen, err := c.cfg.Actuator.Observe(ctx, p.Plan.Service)
	if err != nil {
		return api.Rollout{}, err
	}
	plan := p.Plan
	plan.Canary = p.Canary
	if plan.Control, err = control(seen, plan.Service, p.Canary); err != nil {
		return api.Rollout{}, err
	}
	if err := c.agrees(ctx, p, seen); err != nil {
		return api.Rollout{}, err
	}
	if err := strategies(p, c.cfg.Door != nil); err != nil {
		return api.Rollout{}, err
	}
	rec, err := c.prepare(ctx, p, plan)
	if err != nil {
		return api.Rollout{}, err
	}
	plan, now := rec.Rollout.Plan, rec.Rollout.Created
	err = c.save(ctx, &rec, func(tx store.Tx) error {
		if err := noneOpen(tx, p.Namespace, plan.Service); err != nil {
			return err
		}
		var err error
		rec.Rollout.StartedFact, err = rec.fact(tx, assay.FactRolloutStarted, assay.RetainAudit, p.Actor, now, nil, StartedPayload{
			Rollout: rec.Rollout.ID, Name: p.Name, Digest: p.Digest, Canary: plan.Canary, Control: plan.Control, Plan: plan,
			Strategy: rec.Rollout.Strategy, Mirror: p.Mirror, Match: p.Match, Watch: rec.Rollout.Watch, After: rec.AfterTests, Risk: p.Risk,
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

// prepare makes the record of a proposal, with what the old version's past says.
func (c *Controller) prepare(ctx context.Context, p Proposal, plan decide.Plan) (rec record, err error) {
	now := c.cfg.Now().UTC()
	rec = record{Namespace: p.Namespace, Indicators: p.Indicators, Backend: p.Backend, After: p.Sources, Baseline: p.Baseline, BackSteps: p.BackSteps}
	rec.Rollout = api.Rollout{
		ID: string(store.NewFactID()), Name: p.Name, Service: plan.Service, Environment: plan.Environment, Digest: p.Digest,
		Actor: p.Actor, Status: api.RolloutStarting, Created: now, Strategy: p.Strategy, Mirror: p.Mirror, Match: p.Match,
		Reason: fmt.Sprintf("Start: %s waits for its first %d %% of the traffic of %s.", plan.Canary, plan.Steps[0], plan.Service),
	}
	if words := ruleWords(rec.Rollout); words != "" {
		rec.Rollout.Reason = fmt.Sprintf("Start: %s waits for its rule: %s.", plan.Canary, words)
	}
	rec.gate(p.Risk)
	if p.Watch > 0 {
		rec.Rollout.Watch = &api.Watch{Duration: p.Watch, OnHarm: cmp.Or(p.OnHarm, api.RevertOnHarm), UntilLoad: p.UntilLoad, Longest: p.Longest}
	}
	if plan.Indicators, err = c.freeze(ctx, p, plan, p.Indicators, now); err != nil {
		return rec, err
	}
	if rec.AfterTests = p.After; len(p.Sources) > 0 {
		after := plan
		after.Indicators = p.After
		if rec.AfterTests, err = c.freeze(ctx, p, after, p.Sources, now); err != nil {
			return rec, err
		}
		after.Indicators = rec.AfterTests
		if err := after.Check(); err != nil { // not when the watch begins: it has all the traffic then
			return rec, err
		}
	}
	if err := c.study(ctx, p, &plan, &rec, now); err != nil {
		return rec, err
	}
	rec.Rollout.Plan = plan
	return rec, plan.Check()
}

// agrees refuses what the enforcer would contradict later: a version that it does not know
// and is not told of, another artifact behind the version's label, or an owner that is ahead
// of this one.
func (c *Controller) agrees(ctx context.Context, p Proposal, seen act.Observation) error {
	if err := c.ahead(seen); err != nil {
		return err
	}
	if c.cfg.Door == nil || p.Backend != "" {
		return nil
	}
	status, err := c.cfg.Door.StatusOf(ctx, p.Plan.Service)
	if err != nil {
		return err
	}
	for _, r := range status.Routes {
		if r.Service != p.Plan.Service {
			continue
		}
		i := slices.IndexFunc(r.Versions, func(v enforce.VersionStatus) bool { return v.Name == p.Canary })
		if i < 0 {
			return stranger(p, r)
		}
		if v := r.Versions[i]; v.Digest != p.Digest {
			return assay.Errorf(assay.CodeConflict, "the enforcer has %s running %s, and the rollout was asked for %s", p.Canary, v.Digest, p.Digest)
		}
	}
	return nil
}

// stranger refuses a version that a route cannot send anybody to.
func stranger(p Proposal, r enforce.RouteStatus) error {
	var known []string
	for _, v := range r.Versions {
		known = append(known, v.Name)
	}
	return &assay.Error{Code: assay.CodeConflict, Field: "canary",
		Msg:  fmt.Sprintf("%q is a version that the enforcer does not know: its route %s of %s has %s", clip(p.Canary), r.Name, r.Service, strings.Join(known, ", ")),
		Hint: "say where the version answers with --backend URL, or let the platform add it to the route first"}
}

// ahead refuses what an enforcer that a newer owner drove would refuse.
func (c *Controller) ahead(seen act.Observation) error {
	own := uint64(c.lease.Held().Generation)
	if own == 0 || seen.Generation <= own {
		return nil
	}
	return &assay.Error{Code: assay.CodeConflict,
		Msg:  fmt.Sprintf("the enforcer was driven by generation %d of an owner, and this one is at %d: it would refuse every action", seen.Generation, own),
		Hint: "use the state directory that drove it, or give the enforcer a new folder"}
}

// control is the version that has all the traffic now.
func control(seen act.Observation, service, canary string) (string, error) {
	if n := seen.Shares[canary]; n > 0 {
		return "", assay.Errorf(assay.CodeConflict, "version %q of %s has %d %% of the traffic already", clip(canary), service, n)
	}
	for version, share := range seen.Shares {
		if share == 100 {
			return version, nil
		}
	}
	var parts []string
	for version, share := range seen.Shares {
		parts = append(parts, fmt.Sprintf("%s %d %%", version, share))
	}
	slices.Sort(parts)
	return "", &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("no version of %s has all the traffic: %s", service, strings.Join(parts, ", ")),
		Hint: "finish what is under way first"}
}

// Command records what a person wants: promote or abort. It is carried out next,
// whatever the evidence says; CodeConflict once the rollout has ended or while an
// earlier command waits.
func (c *Controller) Command(ctx context.Context, namespace, id, actor, command, reason string) (api.Rollout, error) {
	return c.command(ctx, namespace, id, order{Command: command, Reason: reason, Actor: actor}, "")
}

// Abort is the abort that a strategy's decision asks for; Answered finds it by that.
func (c *Controller) Abort(ctx context.Context, namespace, id, actor, reason string, cause assay.FactID) (api.Rollout, error) {
	return c.command(ctx, namespace, id, order{Command: api.CommandAbort, Reason: reason, Actor: actor}, cause)
}

func (c *Controller) command(ctx context.Context, namespace, id string, o order, cause assay.FactID) (api.Rollout, error) {
	command := o.Command
	rec, err := load(ctx, c.cfg.Store, namespace, id)
	if err != nil {
		return api.Rollout{}, err
	}
	err = c.save(ctx, &rec, func(tx store.Tx) error {
		v, err := tx.Get(rec.key())
		if err != nil {
			return err
		}
		if rec, err = parseRecord(v); err != nil {
			return err
		}
		if rec.Rollout.Status.Ended() {
			return assay.Errorf(assay.CodeConflict, "rollout %s has ended: it is %s", id, rec.Rollout.Status)
		}
		if command == api.CommandPromote && rec.Rollout.Unapproved() {
			return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("rollout %s waits for a yes before its first request", id),
				Hint: "say it with: assay rollout approve " + id + " --reason TEXT"}
		}
		if command == api.CommandPromote && rec.Rollout.Status == api.RolloutStarting {
			return assay.Errorf(assay.CodeConflict, "rollout %s has not begun: the new version has no traffic yet", id)
		}
		fact, err := rec.fact(tx, assay.FactRolloutCommanded, assay.RetainAudit, o.Actor, c.cfg.Now(), []assay.FactID{rec.Rollout.StartedFact, cause},
			CommandedPayload{Rollout: id, Command: command, Reason: o.Reason})
		if err != nil {
			return err
		}
		o.Fact = fact
		data, err := json.Marshal(o)
		if err != nil {
			return err
		}
		waiting, waits, err := orderOf(tx, rec)
		if err != nil {
			return err
		}
		if waits && (command != api.CommandAbort || waiting.Command == api.CommandAbort) { // an abort goes before a promotion
			return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("%s told rollout %s to %s, which is not carried out yet", waiting.Actor, id, waiting.Command),
				Hint: "see why with: assay rollout explain " + id}
		}
		_, err = tx.Put(orderKey(namespace, id), data, store.AnyVersion)
		return err
	})
	c.known.told(id) // whatever became of it: the store knows
	if err != nil {
		return api.Rollout{}, err
	}
	c.poke(rec.Namespace, id)
	return rec.Rollout, nil
}

// order is a command that waits to be carried out.
type order struct {
	Command string       `json:"command"`
	Reason  string       `json:"reason"`
	Actor   string       `json:"actor"`
	Fact    assay.FactID `json:"fact"`
}

func orderKey(namespace, id string) store.Key {
	return store.Key{Namespace: namespace, Bucket: commandBucket, Name: id}
}

// orderOf finds the command that waits for a rollout.
func orderOf(r store.Reader, rec record) (o order, waits bool, err error) {
	v, err := r.Get(orderKey(rec.Namespace, rec.Rollout.ID))
	if assay.CodeOf(err) == assay.CodeNotFound {
		return o, false, nil
	}
	if err != nil {
		return o, false, err
	}
	return o, true, strict.JSON(v.Data, &o)
}

// versionOf is the newest version of a kind's payload.
func versionOf(kind string) int {
	if v, listed := store.BuiltinUpcasters().Newest(kind); listed {
		return v
	}
	return 1
}

// fact appends a fact of the rollout.
func (r record) fact(tx store.Tx, kind string, keep assay.Retention, actor string, now time.Time, causes []assay.FactID, payload any) (assay.FactID, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "fact %s of rollout %s cannot be written: %w", kind, r.Rollout.ID, err)
	}
	causes = slices.DeleteFunc(slices.Clone(causes), func(id assay.FactID) bool { return id == "" })
	slices.Sort(causes)
	return tx.Append(assay.Fact{
		Kind: kind, Version: versionOf(kind), Time: now.UTC(), Namespace: r.Namespace, Service: r.Rollout.Service, Environment: r.Rollout.Environment,
		Subject: r.Rollout.Digest, DeploymentID: r.Rollout.ID, Actor: actor, Causes: slices.Compact(causes), Retention: keep, Payload: data,
	})
}
