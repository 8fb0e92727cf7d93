package rollout

import (
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
	"assay.dev/assay/infer"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/signal"
	"assay.dev/assay/store"
)

// Proposal asks for a rollout.
type Proposal struct {
	Namespace  string
	Actor      string
	Name       string // of the declared rollout
	Plan       decide.Plan
	Indicators []Indicator   // in the plan's order
	Baseline   time.Duration // of the old version's past that latency bounds are frozen from
	Canary     string
	Digest     assay.Digest
	Backend    string // "" if the enforcer knows the version
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
	now := c.cfg.Now().UTC()
	if plan.Indicators, err = c.freeze(ctx, p, plan, now); err != nil {
		return api.Rollout{}, err
	}
	if err := plan.Check(); err != nil {
		return api.Rollout{}, err
	}
	if plan.Steps[0] >= 100 {
		return api.Rollout{}, &assay.Error{Code: assay.CodeInvalid, Field: "steps", Msg: "begin at 100 percent: there would be nobody to compare with", Hint: "begin with a small share, for example 10"}
	}
	rec := record{
		Namespace: p.Namespace, Indicators: p.Indicators, Backend: p.Backend,
		Rollout: api.Rollout{
			ID: string(store.NewFactID()), Name: p.Name, Service: plan.Service, Environment: plan.Environment, Digest: p.Digest,
			Actor: p.Actor, Status: api.RolloutStarting, Reason: fmt.Sprintf("Start: %s waits for its first %d %% of the traffic of %s.", plan.Canary, plan.Steps[0], plan.Service),
			Plan: plan, Created: now,
		},
	}
	err = c.write(ctx, func(tx store.Tx) error {
		if err := noneOpen(tx, p.Namespace, plan.Service); err != nil {
			return err
		}
		var err error
		rec.Rollout.StartedFact, err = rec.fact(tx, assay.FactRolloutStarted, assay.RetainAudit, p.Actor, now, nil, StartedPayload{
			Rollout: rec.Rollout.ID, Name: p.Name, Digest: p.Digest, Canary: plan.Canary, Control: plan.Control, Plan: plan,
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

// agrees refuses what the enforcer would contradict later: another artifact behind
// the version's label, or an owner that is ahead of this one.
func (c *Controller) agrees(ctx context.Context, p Proposal, seen act.Observation) error {
	if own := uint64(c.held().Generation); own > 0 && seen.Generation > own {
		return &assay.Error{Code: assay.CodeConflict,
			Msg:  fmt.Sprintf("the enforcer was driven by generation %d of an owner, and this one is at %d: it would refuse every action", seen.Generation, own),
			Hint: "use the state directory that drove it, or give the enforcer a new folder"}
	}
	if c.cfg.Door == nil || p.Backend != "" {
		return nil
	}
	status, err := c.cfg.Door.Status(ctx)
	if err != nil {
		return err
	}
	for _, r := range status.Routes {
		for _, v := range r.Versions {
			if r.Service == p.Plan.Service && v.Name == p.Canary && v.Digest != p.Digest {
				return assay.Errorf(assay.CodeConflict, "the enforcer has %s running %s, and the rollout was asked for %s", p.Canary, v.Digest, p.Digest)
			}
		}
	}
	return nil
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

// noneOpen refuses a second rollout of a service.
func noneOpen(tx store.Reader, namespace, service string) error {
	for after := namespace + "/"; ; {
		page, err := tx.List(store.Key{Namespace: store.SystemNamespace, Bucket: openBucket, Name: namespace + "/"}, after, store.MaxLimit)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			after = v.Key.Name
			_, id, _ := strings.Cut(v.Key.Name, "/")
			got, err := tx.Get(store.Key{Namespace: namespace, Bucket: bucket, Name: id})
			if err != nil {
				return err
			}
			r, err := parseRecord(got)
			if err != nil {
				return err
			}
			if r.Rollout.Service == service && !r.Rollout.Status.Ended() {
				return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("rollout %s of %s is %s", id, service, r.Rollout.Status),
					Hint: "end it first: assay rollout abort " + id}
			}
		}
	}
}

// freeze gives the plan's indicators their bounds: what the old version's past
// says, fixed before the new one gets its first request.
func (c *Controller) freeze(ctx context.Context, p Proposal, plan decide.Plan, now time.Time) ([]decide.Indicator, error) {
	out := slices.Clone(plan.Indicators)
	if len(p.Indicators) != len(out) {
		return nil, assay.Errorf(assay.CodeInvalid, "the plan has %d indicators and %d sources", len(out), len(p.Indicators))
	}
	for i, ind := range p.Indicators {
		compiled, err := signal.Compile(ind.Spec)
		if err != nil {
			return nil, err
		}
		if len(ind.Quantiles) == 0 && ind.Limit == 0 {
			continue
		}
		readings, err := c.cfg.Source.Read(ctx, signal.Query{Namespace: p.Namespace, Indicator: compiled, Start: now.Add(-p.Baseline), End: now})
		if err != nil {
			return nil, err
		}
		bounds, total := baseline(readings, plan.Control)
		thresholds, err := infer.Freeze(bounds, total, ind.Quantiles, ind.Limit)
		if err != nil || len(thresholds) == 0 {
			return nil, &assay.Error{Code: assay.CodeInvalid, Field: "indicators." + out[i].Name,
				Msg:  fmt.Sprintf("has no baseline: version %s answered %d requests in the last %s", plan.Control, total, p.Baseline),
				Hint: "wait until its telemetry has arrived, or state the bounds"}
		}
		out[i].Bounds = slices.Clone(out[i].Bounds) // stated ones stay; the limit is watched beside them
		for _, t := range thresholds {
			out[i].Bounds = append(out[i].Bounds, t.LE)
		}
		slices.Sort(out[i].Bounds)
		out[i].Bounds = slices.Compact(out[i].Bounds)
	}
	return out, nil
}

func baseline(readings []assay.Reading, version string) (bounds []infer.Bound, total uint64) {
	for _, r := range readings {
		if r.Version != version {
			continue
		}
		for _, b := range r.Buckets {
			bounds = append(bounds, infer.Bound{LE: b.LE, Count: b.Count})
		}
		return bounds, r.Total
	}
	return nil, 0
}

// Command records what a person wants: promote or abort. It is carried out next,
// whatever the evidence says; CodeConflict once the rollout has ended or while an
// earlier command waits.
func (c *Controller) Command(ctx context.Context, namespace, id, actor, command, reason string) (api.Rollout, error) {
	rec, err := load(ctx, c.cfg.Store, namespace, id)
	if err != nil {
		return api.Rollout{}, err
	}
	err = c.write(ctx, func(tx store.Tx) error {
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
		if command == CommandPromote && rec.Rollout.Status == api.RolloutStarting {
			return assay.Errorf(assay.CodeConflict, "rollout %s has not begun: the new version has no traffic yet", id)
		}
		fact, err := rec.fact(tx, assay.FactRolloutCommanded, assay.RetainAudit, actor, c.cfg.Now(), []assay.FactID{rec.Rollout.StartedFact},
			CommandedPayload{Rollout: id, Command: command, Reason: reason})
		if err != nil {
			return err
		}
		data, err := json.Marshal(order{Command: command, Reason: reason, Actor: actor, Fact: fact})
		if err != nil {
			return err
		}
		waiting, waits, err := orderOf(tx, rec)
		if err != nil {
			return err
		}
		if waits && (command != CommandAbort || waiting.Command == CommandAbort) { // an abort goes before a promotion
			return &assay.Error{Code: assay.CodeConflict, Msg: fmt.Sprintf("%s told rollout %s to %s, which is not carried out yet", waiting.Actor, id, waiting.Command),
				Hint: "see why with: assay rollout explain " + id}
		}
		_, err = tx.Put(orderKey(namespace, id), data, store.AnyVersion)
		return err
	})
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

// fact appends a fact of the rollout.
func (r record) fact(tx store.Tx, kind string, keep assay.Retention, actor string, now time.Time, causes []assay.FactID, payload any) (assay.FactID, error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", assay.Errorf(assay.CodeInternal, "fact %s of rollout %s cannot be written: %w", kind, r.Rollout.ID, err)
	}
	causes = slices.DeleteFunc(slices.Clone(causes), func(id assay.FactID) bool { return id == "" })
	slices.Sort(causes)
	return tx.Append(assay.Fact{
		Kind: kind, Version: 1, Time: now.UTC(), Namespace: r.Namespace, Service: r.Rollout.Service, Environment: r.Rollout.Environment,
		Subject: r.Rollout.Digest, DeploymentID: r.Rollout.ID, Actor: actor, Causes: slices.Compact(causes), Retention: keep, Payload: data,
	})
}
