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
	"assay.dev/assay/enforce"
)

// maxReplace is how often a change of the door's configuration is made anew because
// somebody else changed it meanwhile.
const maxReplace = 4

// reroute changes the service's route at the door. It is read, changed and written
// back with the digest it was made from, so that a change of somebody else at the
// same time is never undone: the change is made anew on top of it. It may be
// repeated: a route that is as desired is left alone.
func (c *Controller) reroute(ctx context.Context, rec record, what string, edit func(*enforce.Route) error) error {
	c.replacing.Lock() // of this process: one at a time saves the tries
	defer c.replacing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	for try := 1; ; try++ {
		err := c.rerouteOnce(ctx, rec, what, edit)
		if assay.CodeOf(err) != assay.CodeConflict || try == maxReplace {
			return err
		}
	}
}

func (c *Controller) rerouteOnce(ctx context.Context, rec record, what string, edit func(*enforce.Route) error) error {
	conf, err := c.cfg.Door.Config(ctx)
	if err != nil {
		return err
	}
	base, err := conf.Digest()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(conf.Routes, func(r enforce.Route) bool { return r.Service == rec.Rollout.Service })
	if i < 0 {
		return assay.Errorf(assay.CodeNotFound, "it has no route of service %q", rec.Rollout.Service)
	}
	conf.Routes = slices.Clone(conf.Routes) // the door's own stay as they are if it refuses the change
	for ; i < len(conf.Routes); i++ {
		if conf.Routes[i].Service != rec.Rollout.Service {
			continue
		}
		route := conf.Routes[i]
		route.Versions, route.Matches = slices.Clone(route.Versions), slices.Clone(route.Matches)
		if err := edit(&route); err != nil {
			return err
		}
		conf.Routes[i] = route
	}
	next, err := conf.Digest()
	if err != nil || next == base {
		return err
	}
	change := enforce.Replacement{
		Generation: uint64(c.lease.Held().Generation), Key: "rollout/" + rec.Rollout.ID + "/" + what + "/" + next.Short(), Config: conf, Base: base,
	}
	_, err = c.cfg.Door.Replace(ctx, change)
	if baseless(err) && !rec.Rollout.Strategy.Ruled() {
		change.Base = ""
		_, err = c.cfg.Door.Replace(ctx, change)
	}
	return err
}

// baseless reports whether a door of an older release refused a change because it does
// not know the field that says what the change was made from. Such a door knows no
// rules either: a change without any may be handed over as that release expects it.
func baseless(err error) bool {
	return assay.CodeOf(err) == assay.CodeInvalid && strings.Contains(err.Error(), " base is not a known key")
}

// admit makes the door know the version, with the attestations that speak for it,
// and sets the rule by which requests reach it, if the strategy has one.
func (c *Controller) admit(ctx context.Context, rec record) error {
	fresh := enforce.Version{Name: rec.Rollout.Plan.Canary, Digest: rec.Rollout.Digest, Backend: rec.Backend}
	var seen act.Observation
	if rec.Backend != "" {
		var err error
		if c.cfg.Attestations != nil {
			bundles, err := c.cfg.Attestations(ctx, rec.Namespace, rec.Rollout.Digest)
			if err != nil {
				return err
			}
			for _, b := range bundles {
				fresh.Attestations = append(fresh.Attestations, json.RawMessage(b))
			}
		}
		if seen, err = c.cfg.Actuator.Observe(ctx, rec.Rollout.Service); err != nil {
			return err
		}
	}
	return c.reroute(ctx, rec, "introduce", func(route *enforce.Route) error {
		if rec.Backend != "" {
			place(route, fresh, rec.Rollout.Plan.Control, seen.Shares)
		}
		return rule(route, rec.Rollout)
	})
}

// claim makes sure that nobody else has the rule that the rollout is about to set, and
// writes down that one which stands there from now on is its own: whoever else set it
// would find it overwritten, and removed at the end.
func (c *Controller) claim(ctx context.Context, rec *record) error {
	if !rec.Rollout.Strategy.Ruled() || rec.Claimed {
		return nil
	}
	asked, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	conf, err := c.cfg.Door.Config(asked)
	if err != nil {
		return err
	}
	for _, route := range conf.Routes {
		if route.Service != rec.Rollout.Service {
			continue
		}
		if m := rec.Rollout.Mirror; m != nil && route.Mirror != nil {
			return assay.Errorf(assay.CodeDenied, "route %s copies requests to %s already, by a rule of somebody else", route.Name, route.Mirror.Version)
		}
		if m := rec.Rollout.Match; m != nil {
			i := slices.IndexFunc(route.Matches, func(x enforce.Match) bool { return x.Header == m.Header && x.Cookie == m.Cookie && x.Value == m.Value })
			if i >= 0 {
				return assay.Errorf(assay.CodeDenied, "route %s sends these requests to %s already, by a rule of somebody else", route.Name, route.Matches[i].Version)
			}
		}
	}
	rec.Claimed = true
	return c.save(ctx, rec, rec.put)
}

// rule sets the rollout's rule on a route. A mirror of somebody else is not replaced.
func rule(route *enforce.Route, r api.Rollout) error {
	if m := r.Mirror; m != nil {
		if route.Mirror != nil && route.Mirror.Version != m.Version {
			return assay.Errorf(assay.CodeDenied, "route %s copies requests to %s already", route.Name, route.Mirror.Version)
		}
		route.Mirror = m
	}
	if m := r.Match; m != nil && !slices.Contains(route.Matches, *m) {
		if len(route.Matches) >= enforce.MaxMatches {
			return assay.Errorf(assay.CodeDenied, "route %s has %d rules already", route.Name, len(route.Matches))
		}
		route.Matches = append(route.Matches, *m)
	}
	return nil
}

// unrule takes the rollout's rules from the door, and leaves those of others there. It
// may be repeated. A route that is gone has taken its rules with it.
func (c *Controller) unrule(ctx context.Context, rec record) error {
	if !rec.Rollout.Strategy.Ruled() || c.cfg.Door == nil {
		return nil
	}
	if !rec.Claimed && rec.Rollout.Status == api.RolloutStarting {
		return nil // it has set none
	}
	err := c.reroute(ctx, rec, "unrule", func(route *enforce.Route) error {
		if m := rec.Rollout.Mirror; m != nil && route.Mirror != nil && route.Mirror.Version == m.Version {
			route.Mirror = nil
		}
		if m := rec.Rollout.Match; m != nil {
			route.Matches = slices.DeleteFunc(route.Matches, func(x enforce.Match) bool { return x == *m })
		}
		return nil
	})
	if assay.CodeOf(err) == assay.CodeNotFound {
		return nil
	}
	return err
}

// keptRule says that the door keeps a rule that is to go. Whatever the reason, to take
// it back is tried again: a version that is given up must not go on to get requests.
type keptRule struct{ cause error }

// Error implements error.
func (k keptRule) Error() string { return "the enforcer keeps its rule: " + k.cause.Error() }

// take carries an action to the world. Of a version that requests reach by a rule,
// the rule goes first when it is taken out, and last when it gets all the traffic:
// so harm ends at once, and nobody is moved twice.
func (c *Controller) take(ctx context.Context, rec record, a assay.Action) (act.Receipt, error) {
	if a.Kind == assay.ActionAbort {
		if err := c.unrule(ctx, rec); err != nil {
			return act.Receipt{}, keptRule{err}
		}
	}
	receipt, err := c.cfg.Actuator.Apply(ctx, a)
	if err == nil && a.Kind == assay.ActionFinish {
		if err := c.unrule(ctx, rec); err != nil {
			return receipt, keptRule{err} // it has all the traffic: that is not undone by a rule that stays
		}
	}
	return receipt, err
}

// ruled writes down that the rule stands: the rollout runs from here on.
func (c *Controller) ruled(ctx context.Context, rec record) error {
	p, now := rec.Rollout.Plan, c.cfg.Now().UTC()
	rec.Actions++
	a := assay.Action{Kind: assay.ActionAdvance, Service: p.Service, Version: p.Canary, Key: fmt.Sprintf("rollout/%s/%d", rec.Rollout.ID, rec.Actions), Fence: uint64(c.lease.Held().Generation)}
	receipt := act.Receipt{Key: a.Key, Time: now, Changed: true, Detail: ruleWords(rec.Rollout)}
	return c.applied(ctx, rec, pending{Action: a, Cause: rec.Rollout.StartedFact, Decided: now, Reason: receipt.Detail, First: true}, receipt)
}

// ruleWords says by which rule requests reach the new version.
func ruleWords(r api.Rollout) string {
	switch {
	case r.Mirror != nil:
		methods := r.Mirror.Methods
		if len(methods) == 0 {
			methods = []string{"GET", "HEAD"}
		}
		return fmt.Sprintf("%d %% of the %s requests are copied to %s, and its answers are thrown away", r.Mirror.Percent, strings.Join(methods, ", "), r.Mirror.Version)
	case r.Match != nil && r.Match.Header != "":
		return fmt.Sprintf("requests with %s: %s go to %s", r.Match.Header, r.Match.Value, r.Match.Version)
	case r.Match != nil:
		return fmt.Sprintf("requests with the cookie %s=%s go to %s", r.Match.Cookie, r.Match.Value, r.Match.Version)
	}
	return ""
}

// strategies refuses a proposal whose strategy and rules do not fit.
func strategies(p Proposal, door bool) error {
	bad := func(field, format string, args ...any) error {
		e := assay.Errorf(assay.CodeInvalid, format, args...)
		e.Field = field
		return e
	}
	switch {
	case p.Watch < 0 || p.Watch > maxWatch:
		return bad("watch", "is %s; expected at most %s", p.Watch, maxWatch)
	case p.UntilLoad != 0 && (!(p.UntilLoad > 0 && p.UntilLoad <= 1) || p.Watch <= 0 || p.Longest < p.Watch || p.Longest > maxWatch):
		return bad("watch.untilLoad", "%v with a watch of %s and %s at most; expected a share up to 1, and at most %s", p.UntilLoad, p.Watch, p.Longest, maxWatch)
	case p.Strategy.Ruled() && !door:
		return bad("strategy", "%s needs an enforcer that takes rules", p.Strategy)
	case (p.Strategy == api.StrategyMirrored) != (p.Mirror != nil):
		return bad("mirror", "belongs to the strategy mirrored, which needs it")
	case (p.Strategy == api.StrategyAB) != (p.Match != nil):
		return bad("match", "belongs to the strategy a-b, which needs it")
	case p.Strategy == api.StrategyBlueGreen && p.Watch < time.Second:
		return bad("watch", "is missing: blue/green gives all the traffic at once, and what goes wrong is seen only by watching")
	case p.Strategy != api.StrategyBlueGreen && p.Plan.Steps[0] >= 100:
		return &assay.Error{Code: assay.CodeInvalid, Field: "steps", Msg: "begin at 100 percent: there would be nobody to compare with",
			Hint: "begin with a small share, for example 10, or say strategy: blue-green"}
	}
	return nil
}
