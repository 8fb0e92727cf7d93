package mitigate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/api"
	"assay.dev/assay/signal"
)

// shownStands is how many values of one lever people are shown.
const shownStands = 50

// door is what moves a lever of a strategy, nil if nothing here does.
func (c *Controller) door(s Strategy, l assay.Lever) act.Actuator {
	name := s.Spec.Door(l)
	if d, ok := c.cfg.Doors[name]; ok {
		return d
	}
	if name == defaultDoor {
		return c.cfg.Actuator
	}
	return nil
}

// settings reads where levers stand, from doors and from declared queries, and
// reports whether doors move them without a person.
func (c *Controller) settings(ctx context.Context, rec *record, in *Inputs) (movable bool) {
	ctx, cancel := context.WithTimeout(ctx, worldTime)
	defer cancel()
	s := rec.Strategy
	if s.Spec.Rollback != nil {
		if c.cfg.Actuator != nil {
			if seen, err := c.cfg.Actuator.Observe(ctx, s.Spec.Service); err == nil {
				for _, v := range slices.Sorted(maps.Keys(seen.Shares)) {
					in.Settings = append(in.Settings, Setting{Lever: assay.LeverShare, Scope: v, Now: float64(seen.Shares[v])})
				}
			}
			movable = c.cfg.Rollouts != nil
		}
	} else {
		movable = c.askDoors(ctx, rec, in)
	}
	for _, l := range s.Spec.Levers {
		if l.Query == "" {
			continue
		}
		list, err := c.cfg.Gauges.Gauge(ctx, signal.GaugeQuery{Namespace: s.Namespace, Expr: l.Query, By: l.By, Time: c.cfg.Now(), MaxAge: s.Spec.MaxAge.Value()})
		if err != nil {
			continue
		}
		for _, g := range list {
			known := slices.ContainsFunc(in.Settings, func(x Setting) bool { return x.Lever == l.Lever && x.Scope == g.Scope })
			if !known && g.Value >= 0 && !math.IsInf(g.Value, 0) {
				in.Settings = append(in.Settings, Setting{Lever: l.Lever, Scope: g.Scope, Now: g.Value})
				movable = false
			}
		}
	}
	return movable
}

// askDoors asks each door of the strategy once where its levers stand. They are
// movable if one stands somewhere and no door of those that do needs a person.
func (c *Controller) askDoors(ctx context.Context, rec *record, in *Inputs) (movable bool) {
	type answer struct {
		list []act.LeverAt
		err  error
	}
	asked, s, now := map[string]answer{}, rec.Strategy, c.cfg.Now().UTC()
	alone := true
	var shown []api.StrategyDoor
	for _, lever := range s.Spec.Moves() {
		name, d := s.Spec.Door(lever), c.door(s, lever)
		out := api.StrategyDoor{Lever: string(lever), Door: name, Acknowledged: rec.acknowledged(lever)}
		door, speaks := d.(act.Levers)
		if !speaks {
			out.Why = fmt.Sprintf("this installation has no door %q that moves levers", name)
			shown = append(shown, out)
			continue
		}
		a, known := asked[name]
		if !known {
			a.list, a.err = door.Levers(ctx, s.Spec.Service)
			asked[name] = a
		}
		out.Class, out.Asked = string(d.Class()), now
		stands := 0
		for _, l := range a.list {
			if l.Lever != lever {
				continue
			}
			stands++
			if l.Scope == act.AnyScope {
				continue
			}
			in.Settings = append(in.Settings, Setting{Lever: l.Lever, Scope: l.Scope, Now: l.Value})
			if len(out.Stands) < shownStands {
				out.Stands = append(out.Stands, api.StrategyStand{Scope: l.Scope, Value: l.Value})
			}
		}
		in.anyScope(s, lever, a.list)
		switch {
		case a.err != nil:
			out.Why = "it cannot be asked: " + a.err.Error()
		case stands == 0:
			out.Why = fmt.Sprintf("it has no %s of service %s", lever, s.Spec.Service)
		case d.Class() == act.AtMostOnce:
			out.Why, alone = "it can be asked once only, so a person allows each action", false
			movable = true
		default:
			movable = true
		}
		shown = append(shown, out)
	}
	rec.Doors = shown
	return movable && alone
}

// anyScope lets a lever that a door has for whoever comes stand at its rest for
// those that the signals name, the most conspicuous first.
func (in *Inputs) anyScope(s Strategy, lever assay.Lever, list []act.LeverAt) {
	i := slices.IndexFunc(list, func(l act.LeverAt) bool { return l.Lever == lever && l.Scope == act.AnyScope })
	if i < 0 {
		return
	}
	first := map[string]string{"contain": "anomaly", "isolate": "usage"}[s.Spec.Law()]
	var named []Value
	for _, v := range in.Values {
		if v.Name == first && v.Scope != "" {
			named = append(named, v)
		}
	}
	slices.SortStableFunc(named, func(a, b Value) int { return cmp.Compare(b.Value, a.Value) })
	for _, v := range named {
		known := slices.ContainsFunc(in.Settings, func(x Setting) bool { return x.Lever == lever && x.Scope == v.Scope })
		if !known && len(in.Settings) < MaxSettings {
			in.Settings = append(in.Settings, Setting{Lever: lever, Scope: v.Scope, Now: list[i].Value})
		}
	}
}

// acknowledged is what was read back last after a lever was moved, nil if nothing was.
func (r *record) acknowledged(l assay.Lever) *api.StrategyStand {
	for _, d := range r.Doors {
		if d.Lever == string(l) {
			return d.Acknowledged
		}
	}
	return nil
}

// acknowledge remembers what a door answered to an action.
func (r *record) acknowledge(a assay.Action, receipt act.Receipt) {
	r.Doors = slices.Clone(r.Doors)
	for i := range r.Doors {
		if r.Doors[i].Lever == string(a.Lever) {
			r.Doors[i].Acknowledged = &api.StrategyStand{Scope: a.Scope, Value: receipt.Stands, Time: receipt.Time.UTC(), Key: receipt.Key}
		}
	}
}
