package simulate

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// standing runs a strategy by mitigate.Next.
type standing struct {
	strategy mitigate.Strategy
	scenario *Scenario
	service  simtest.Service // empty for a database
	classes  []string        // of the service's flows
	tenants  []string
	approves time.Duration
	team     *team
	state    mitigate.State
	by       [2]byVersion // as the first and the second source tell it
	load     history
	seen     time.Time // end of the newest view in load
	forecast *mitigate.Forecast
	asked    []decide.Approval
	current  assay.Action // that was wished last
	known    int          // values at the last look: about as many come again
}

// byVersion is what a source tells of the versions of a service.
type byVersion struct {
	newest []assay.Reading           // of the newest minutes
	was    map[string][]mitigate.Was // by version: what it counted, oldest first
}

// team are the strategies of one controller: they see each other's moves.
type team struct{ moves []decide.Move }

func newStanding(r policy.Strategy, s *Scenario, c *Controller, t *team) *standing {
	h := &standing{strategy: mitigate.Of(r), scenario: s, approves: c.Approves.D(), team: t}
	for _, o := range s.Spec.World.Services {
		if o.Name == r.Spec.Service {
			h.service = o
		}
	}
	h.classes = names(h.service.Flows, func(f *simtest.Flow) string { return f.Class })
	h.tenants = names(h.service.Flows, func(f *simtest.Flow) string { return f.Tenant })
	if l := r.Spec.Scale; l != nil && l.Forecast != nil {
		h.load = history{step: l.Forecast.Step.Value(), keep: int(l.Forecast.Past.Value() / l.Forecast.Step.Value())}
	}
	return h
}

func (h *standing) see(s sight) error {
	if h.load.step > 0 {
		if v := s.past.last(place{h.strategy.Spec.Service, ""}); v != nil && v.End.After(h.seen) {
			h.seen = v.End
			h.load.add(v.End, v.Rate())
		}
	}
	if h.strategy.Spec.Law() != "rollback" {
		return nil
	}
	h.by[0].see(s, &h.service)
	if s.second != nil {
		h.by[1].see(*s.second, &h.service)
	}
	return nil
}

func (b *byVersion) see(s sight, service *simtest.Service) {
	for _, r := range s.readings {
		if r.Service == service.Name && r.Indicator == simtest.IndicatorErrors {
			b.newest = append(b.newest, r)
		}
	}
	old := s.now.Add(-counted)
	b.newest = slices.DeleteFunc(b.newest, func(r assay.Reading) bool { return !r.End.After(old) })
	b.keep(service, s.now)
}

func (h *standing) look(s sight) ([]wish, error) {
	in, err := h.inputs(s)
	if err != nil {
		return nil, err
	}
	d, next, err := mitigate.Next(h.strategy, h.state, in, nil, s.now)
	if err != nil {
		return nil, err
	}
	h.state = next
	h.ask(d, s.now)
	if !d.Action.Kind.Changes() {
		return nil, nil
	}
	a := d.Action
	if a.Lever == assay.LeverShare && a.Version == "" {
		a.Version = a.Scope
	}
	h.current = d.Action
	return []wish{{a, d.Words}}, nil
}

// ask puts what needs a person to the one that the scenario has.
func (h *standing) ask(d assay.Decision, now time.Time) {
	for i := range h.asked {
		if q := &h.asked[i]; q.Answer == "" && now.Sub(q.Asked) >= h.approves {
			q.Answer, q.Answered, q.By = "yes", now, "the person on call"
		}
	}
	if d.Action.Kind != assay.ActionAsk || d.Proposed == nil || h.approves == 0 {
		return
	}
	timeout := h.strategy.Spec.ApprovalTimeout.Value()
	h.asked = slices.DeleteFunc(h.asked, func(q decide.Approval) bool { return now.Sub(q.Asked) > 2*timeout })
	same := func(q decide.Approval) bool { return q.Action == *d.Proposed }
	if !slices.ContainsFunc(h.asked, same) {
		h.asked = append(h.asked, decide.Approval{Action: *d.Proposed, Asked: now})
	}
}

func (h *standing) done(a assay.Action, stands float64, err error, now time.Time) error {
	if err != nil {
		return nil
	}
	made := h.current
	made.Want = stands
	h.state = h.state.Applied(made, now)
	h.asked = slices.DeleteFunc(h.asked, func(q decide.Approval) bool { return q.Action.Target() == made.Target() })
	h.team.moves = append(h.team.moves, decide.Move{
		Time: now, Strategy: h.strategy.Name, Rank: h.strategy.Rank(), Kind: a.Kind, Service: a.Service, Target: made.Target(), From: made.Now, To: stands,
	})
	h.team.moves = slices.DeleteFunc(h.team.moves, func(m decide.Move) bool { return now.Sub(m.Time) > 2*time.Hour })
	return nil
}

// inputs are what the strategy reads now.
func (h *standing) inputs(s sight) (mitigate.Inputs, error) {
	in := mitigate.Inputs{Seed: uint64(s.now.UnixNano()), Settings: h.settings(s.world), Burn: h.burn(s), Worth: h.worth()}
	in.Values = slices.Grow(in.Values, h.known)
	for i := range h.strategy.Spec.Signals {
		decl := &h.strategy.Spec.Signals[i]
		if s.second == nil || decl.Fallback == "" {
			in.Values = h.values(in.Values, s, decl)
			continue
		}
		values, why := h.strategy.Either(decl, s.now, func(query string) []mitigate.Value {
			if query == decl.Fallback {
				return h.values(nil, *s.second, decl)
			}
			return h.values(nil, s, decl)
		})
		if in.Values = append(in.Values, values...); why != "" {
			in.Second = append(in.Second, mitigate.Second{Name: decl.Name, Why: why})
		}
	}
	h.known = len(in.Values)
	in.Changes = h.changes(s, &h.by[min(len(in.Second), 1)])
	in.History.Strategy, in.History.Moves, in.History.Approvals = h.strategy.Name, h.team.moves, h.asked
	if err := h.foresee(s.now); err != nil {
		return in, err
	}
	if h.forecast != nil {
		in.Forecasts = []mitigate.Forecast{*h.forecast}
	}
	return in, nil
}

// foresee makes the forecast anew when it is old.
func (h *standing) foresee(now time.Time) (err error) {
	if h.load.step == 0 || h.forecast != nil && now.Sub(h.forecast.At) < mitigate.Refresh(h.strategy) {
		return nil
	}
	past, end := h.load.past()
	if h.forecast != nil && !end.After(h.forecast.At) || len(past) == 0 {
		return nil
	}
	f, err := mitigate.Foresee(h.strategy, past, end)
	h.forecast = &f
	return err
}

// changes are the scenario's releases up to now, and its rollouts.
func (h *standing) changes(s sight, by *byVersion) (out []mitigate.Change) {
	start := s.start
	for _, d := range h.scenario.Spec.Deploys {
		if at := start.Add(d.At.D()); d.Service == h.strategy.Spec.Service && !at.After(s.now) {
			share, _ := s.world.Standing(d.Service, assay.LeverShare, d.Version)
			x := mitigate.Change{Time: at, Version: d.Version, Old: d.Old, Open: share > 0 && share < 100}
			if share == 100 { // alone: it is held against what was before it, and gone back from as a whole
				x.Back = d.Old
				by.before(&x)
			}
			out = append(out, x)
		}
	}
	return out
}

// before is what the old version is held against that a change replaced: its counts when it
// came, or of the day before it, where the load was most like that of now.
func (b *byVersion) before(x *mitigate.Change) {
	past := slices.Clone(b.was[x.Old])
	past = slices.DeleteFunc(past, func(w mitigate.Was) bool { return w.Time.After(x.Time) })
	slices.Reverse(past)
	w, ok := mitigate.LikeLoad(past, b.counted(x.Version, time.Time{}).Total)
	if !ok {
		return
	}
	x.WasBad, x.WasTotal = w.Bad, w.Total
	if w.Time.Before(past[0].Time) {
		x.WasTime = w.Time
	}
}

// counted is what a version counted in the newest minutes.
func (b *byVersion) counted(version string, now time.Time) mitigate.Was {
	w := mitigate.Was{Time: now}
	for i := range b.newest {
		if r := &b.newest[i]; r.Version == version {
			w.Bad, w.Total = w.Bad+float64(r.Bad()), w.Total+float64(r.Total)
		}
	}
	return w
}

// keep remembers what the versions counted until now, for a day.
func (b *byVersion) keep(service *simtest.Service, now time.Time) {
	if b.was == nil {
		b.was = map[string][]mitigate.Was{}
	}
	for _, v := range service.Versions {
		list := b.was[v.Name]
		if n := len(list); n > 0 && now.Sub(list[n-1].Time) < counted {
			continue
		}
		if w := b.counted(v.Name, now); w.Total > 0 {
			list = append(list, w)
		}
		b.was[v.Name] = slices.DeleteFunc(list, func(w mitigate.Was) bool { return now.Sub(w.Time) > 24*time.Hour })
	}
}

// burn is the share of the whole budget that is spent in a minute; below 0 it is not
// known.
func (h *standing) burn(s sight) float64 {
	bad, all := 0, 0
	views := s.past.newest(place{h.strategy.Spec.Service, ""}, minute)
	for i := range views {
		flows := views[i].Flows
		for j := range flows {
			bad, all = bad+flows[j].Bad+flows[j].Dropped, all+flows[j].Arrived
		}
	}
	if all == 0 {
		return -1
	}
	o := h.scenario.Spec.Objective
	return float64(bad) / float64(all) / (1 - o.Target) / o.Window.D().Minutes()
}

// worth is what the strategy declares, else what all requests that may be bad in the
// objective's window cost in the scenario: what somebody would declare who knows that.
func (h *standing) worth() float64 {
	if declared := h.strategy.Spec.BudgetWorth; declared > 0 {
		return declared
	}
	o := h.scenario.Spec.Objective
	return h.service.Traffic.Rate * o.Window.D().Seconds() * (1 - o.Target) * h.scenario.Spec.Loss.Bad
}

// settings are where the levers stand that the law may move.
func (h *standing) settings(w *simtest.World) (out []mitigate.Setting) {
	spec := &h.strategy.Spec
	add := func(lever assay.Lever, scopes ...string) {
		for _, scope := range scopes {
			if now, ok := w.Standing(spec.Service, lever, scope); ok {
				out = append(out, mitigate.Setting{Lever: lever, Scope: scope, Now: now})
			}
		}
	}
	switch spec.Law() {
	case "scale", "stabilise":
		add(assay.LeverReplicas, "")
	case "throttle":
		add(spec.Throttle.Lever, "")
		add(assay.LeverClass, h.classes...)
	case "divert":
		for _, r := range h.scenario.Spec.World.Regions {
			add(assay.LeverRegion, r.Name)
		}
	case "isolate":
		add(assay.LeverQuota, h.tenants...)
	case "tiers":
		add(assay.LeverCostClass, h.classes...)
	case "cost":
		add(assay.LeverClass, h.classes...)
		add(assay.LeverSpend, "")
		if h.service.Price.Cheap > 0 {
			add(assay.LeverCostClass, h.classes...)
		}
	case "contain":
		add(assay.LeverQuarantine, h.tenants...)
		add(assay.LeverQuarantine, simtest.Attacker)
	case "rollback":
		for _, v := range h.service.Versions {
			add(assay.LeverShare, v.Name)
		}
	case "data":
		add(assay.LeverRetention, "")
		add(assay.LeverReplicas, "")
	}
	return out
}

// names are those that flows have, each once.
func names(flows []simtest.Flow, of func(*simtest.Flow) string) (out []string) {
	for i := range flows {
		if n := of(&flows[i]); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// history is a series of means over steps.
type history struct {
	step   time.Duration
	keep   int
	values []float64
	end    time.Time // of the last value
	sum    float64   // of the step that is being filled
	n      int
}

func (h *history) add(at time.Time, v float64) {
	last := at.Truncate(h.step)
	if h.end.IsZero() {
		h.end = last
	}
	for h.end.Add(h.step).Before(at) || h.end.Add(h.step).Equal(at) {
		value := math.NaN()
		if h.n > 0 {
			value = h.sum / float64(h.n)
		}
		h.values, h.sum, h.n, h.end = append(h.values, value), 0, 0, h.end.Add(h.step)
	}
	h.sum, h.n = h.sum+v, h.n+1
	if over := len(h.values) - h.keep; over > 1000 {
		h.values = slices.Clone(h.values[over:])
	}
}

// past are the last values, and when the last of them ended.
func (h *history) past() ([]float64, time.Time) {
	return h.values[max(0, len(h.values)-h.keep):], h.end
}
