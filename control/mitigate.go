package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

// Strategies lists the declared strategies of the caller's namespace by name, each as
// it stands; one that nobody has looked at yet has no decision.
func (s *Session) Strategies(ctx context.Context) ([]api.StrategyStatus, error) {
	if err := s.read(); err != nil {
		return nil, err
	}
	pol, err := s.p.cfg.Policy()
	if err != nil {
		return nil, err
	}
	known, err := mitigate.List(ctx, s.p.cfg.Store, s.caller.Namespace)
	if err != nil {
		return nil, err
	}
	out := []api.StrategyStatus{}
	for _, r := range pol.Revision.Strategies() {
		if r.Metadata.Namespace != s.caller.Namespace {
			continue
		}
		one := api.StrategyStatus{
			Name: r.Metadata.Name, Service: r.Spec.Service, Law: r.Spec.Law(), Level: string(r.Spec.Level), Effective: string(policy.LevelObserve),
			Lowered: "nothing runs it yet", Precedence: r.Spec.Precedence, Rules: r.Spec.Deterministic, Revision: string(pol.Revision.Digest()), Bands: []api.StrategyBand{},
		}
		if i := slices.IndexFunc(known, func(k api.StrategyStatus) bool { return k.Name == one.Name }); i >= 0 {
			one = known[i]
		}
		if c := s.p.cfg.Strategies; c != nil {
			one.Halted = c.Halted(s.caller.Namespace, one.Service)
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b api.StrategyStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Strategy returns one declared strategy as it stands, with the trail of how it came there.
func (s *Session) Strategy(ctx context.Context, name string) (api.StrategyStatus, error) {
	list, err := s.Strategies(ctx)
	if err != nil {
		return api.StrategyStatus{}, err
	}
	i := slices.IndexFunc(list, func(x api.StrategyStatus) bool { return x.Name == name })
	if i < 0 {
		return api.StrategyStatus{}, &assay.Error{Code: assay.CodeNotFound, Msg: "there is no strategy " + quoted(name), Hint: "list them with: assay strategy list"}
	}
	one, err := mitigate.Get(ctx, s.p.cfg.Store, s.caller.Namespace, name)
	if assay.CodeOf(err) == assay.CodeNotFound { // nobody looked at it yet
		return list[i], nil
	}
	one.Halted = list[i].Halted
	return one, err
}

func quoted(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return "\"" + s + "\""
}

// TellStrategy records what a person says to a strategy: an answer, a pause, more
// spend, a source that is harmless.
func (s *Session) TellStrategy(ctx context.Context, name string, a api.StrategyAnswer) (api.StrategyStatus, error) {
	if err := s.require(api.RoleOperator, api.RoleApprover); err != nil {
		return api.StrategyStatus{}, err
	}
	if s.p.cfg.Strategies == nil {
		return api.StrategyStatus{}, &assay.Error{Code: assay.CodeConflict, Msg: "nothing here runs strategies", Hint: "start a control plane, assay serve, and name it with --server"}
	}
	if err := checkText("reason", a.Reason); err != nil {
		return api.StrategyStatus{}, err
	}
	for field, text := range map[string]string{"source": a.Source, "question": a.Question, "target": a.Target} {
		if err := checkText(field, text); text != "" && err != nil {
			return api.StrategyStatus{}, err
		}
	}
	return s.p.cfg.Strategies.Tell(ctx, s.caller.Namespace, name, s.caller.Name, a)
}

// Rolled is what rollback strategies need of rollouts: what changed, and to take it back.
type Rolled struct {
	Store    store.Store
	Rollouts *rollout.Controller
}

// Changes implements mitigate.Rollouts.
func (r Rolled) Changes(ctx context.Context, namespace, service string) (out []mitigate.Change, err error) {
	open, err := rollout.OpenOf(ctx, r.Store, namespace, service)
	if err != nil {
		return nil, err
	}
	recent, err := rollout.List(ctx, r.Store, namespace, recentRollouts)
	if err != nil {
		return nil, err
	}
	ended := slices.DeleteFunc(recent, func(o api.Rollout) bool {
		return o.Service != service || !o.Status.Ended() || o.Weight == 0
	})
	for _, o := range append(open, ended...) {
		if pending := o.Back != nil && !o.Status.Ended(); !o.Began.IsZero() || pending {
			x := mitigate.Change{Time: o.Began, Version: o.Plan.Canary, Old: o.Plan.Control, Open: !o.Status.Ended(), Return: o.Back != nil}
			if o.Began.IsZero() {
				x.Time = o.Created
			}
			if o.Ended.After(o.Began) { // it is suspected from when it got all traffic
				x.Time, x.Began = o.Ended, o.Began
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// recentRollouts is how many of a namespace's rollouts are looked through for a change
// that has ended; those under way are all found.
const recentRollouts = 20

// WayBack implements mitigate.Rollouts.
func (r Rolled) WayBack(ctx context.Context, namespace, service string) (string, error) {
	return r.Rollouts.WayBack(ctx, namespace, service)
}

// Answered implements mitigate.Rollouts.
func (r Rolled) Answered(ctx context.Context, namespace string, cause assay.FactID) (bool, error) {
	_, ok, err := rollout.Answered(ctx, r.Store, namespace, cause)
	return ok, err
}

// strategist is who facts name for what strategies ask of rollouts.
const strategist = "assay-mitigate"

// TakeBack implements mitigate.Rollouts.
func (r Rolled) TakeBack(ctx context.Context, t mitigate.TakeBack) (string, error) {
	id, ok, err := rollout.Answered(ctx, r.Store, t.Namespace, t.Cause)
	if err != nil || ok {
		return "rollout " + id + " answered it", err
	}
	list, err := rollout.OpenOf(ctx, r.Store, t.Namespace, t.Service)
	if err != nil {
		return "", err
	}
	for _, o := range list {
		if o.Plan.Canary == t.Version {
			_, err := r.Rollouts.Abort(ctx, t.Namespace, o.ID, strategist, t.Reason, t.Cause)
			return "rollout " + o.ID + " was told to abort", err
		}
	}
	o, err := r.Rollouts.Rollback(ctx, rollout.Return{
		Namespace: t.Namespace, Actor: strategist, Of: t.Service, From: t.Version, Reason: t.Reason, Cause: t.Cause, Approved: t.Approved,
	})
	return fmt.Sprintf("rollback %s to %s was started", o.ID, o.Plan.Canary), err
}

var _ mitigate.Rollouts = Rolled{}
