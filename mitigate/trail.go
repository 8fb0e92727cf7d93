package mitigate

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/store"
)

// What is kept of a strategy's past, for people: three hours, minute by minute. It lies
// beside the record, which every look reads.
const (
	trailBucket = "strategy-trail"
	trailStep   = time.Minute
	maxTrail    = 180
	// maxTraced is how many levers, and how many signals, a point of the trail has; the
	// levers that move most come first.
	maxTraced = 6
)

// trace notes where levers and signals stand, once a minute; put writes it.
func (r *record) trace(in Inputs, now time.Time) {
	if r.point = nil; now.Truncate(trailStep).Equal(r.Traced.Truncate(trailStep)) {
		return
	}
	r.Traced = now.UTC()
	p := api.StrategyPoint{Time: r.Traced}
	for _, target := range r.traced() {
		b := r.State.Bands[target]
		p.Levers = append(p.Levers, api.LeverPoint{Target: target, Now: b.Now, Want: b.Want, Low: b.Low, High: b.High})
	}
	oldest := now.Add(-r.Strategy.Spec.MaxAge.Value())
	for _, v := range in.Values {
		if v.Scope == "" && v.Completeness > 0 && !v.Time.Before(oldest) && len(p.Signals) < maxTraced {
			p.Signals = append(p.Signals, api.SignalPoint{Name: v.Name, Value: v.Value})
		}
	}
	r.point = &p
}

// traced are the targets that a point of the trail is about.
func (r *record) traced() []string {
	targets := slices.Sorted(maps.Keys(r.State.Bands))
	slices.SortStableFunc(targets, func(a, b string) int { return len(r.State.Dampers[b].Moves) - len(r.State.Dampers[a].Moves) })
	return targets[:min(len(targets), maxTraced)]
}

func (r *record) trailKey() store.Key {
	return store.Key{Namespace: r.Namespace, Bucket: trailBucket, Name: r.Name}
}

// trail is what is kept; one that cannot be read begins anew.
func (r *record) trail(tx store.Reader) (out []api.StrategyPoint, err error) {
	v, err := tx.Get(r.trailKey())
	if assay.CodeOf(err) == assay.CodeNotFound {
		return nil, nil
	}
	if err == nil && json.Unmarshal(v.Data, &out) != nil {
		out = nil
	}
	return out, err
}

// extend writes the point that was noted.
func (r *record) extend(tx store.Tx) error {
	if r.point == nil {
		return nil
	}
	list, err := r.trail(tx)
	if err != nil {
		return err
	}
	list = append(list, *r.point)
	data, err := json.Marshal(list[max(0, len(list)-maxTrail):])
	if err != nil {
		return assay.Errorf(assay.CodeInternal, "the trail of strategy %s cannot be stored: %w", r.Name, err)
	}
	_, err = tx.Put(r.trailKey(), data, store.AnyVersion)
	return err
}

// whole is what people see who look at this strategy alone.
func (r *record) whole(trail []api.StrategyPoint) api.StrategyStatus {
	out := r.shown()
	out.Trail = trail
	for _, target := range slices.Sorted(maps.Keys(r.State.Dampers)) {
		for _, m := range r.State.Dampers[target].Moves {
			if r.Decision != nil && r.Decision.Time.Sub(m.Time) > toggleWindow {
				continue
			}
			out.Moves = append(out.Moves, api.StrategyMove{Time: m.Time, Target: target, Kind: m.Kind, From: m.From, To: m.To, Harmed: m.Harmed})
		}
	}
	slices.SortStableFunc(out.Moves, func(a, b api.StrategyMove) int { return a.Time.Compare(b.Time) })
	return out
}
