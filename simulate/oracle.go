package simulate

import (
	"context"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// Oracle knows the traffic and the faults beforehand, and moves the levers it may in
// the moment a fault begins and ends. For each seed it tries schedules, one lever
// after the other, and keeps what loses least: the loss of a controller that made no
// mistake, and met no lag, within the schedules that were tried.
type Oracle struct {
	// Levers that it may move; those that its world has a use for if left out.
	Levers []assay.Lever `json:"levers,omitempty"`
}

// choice is one schedule: for each lever a grade, 0 is not to move it.
type choice map[assay.Lever]float64

// grades are what is tried for each lever, in this order.
var grades = []struct {
	lever assay.Lever
	tried []float64
}{
	{assay.LeverShare, []float64{1}},
	{assay.LeverQuarantine, []float64{1}},
	{assay.LeverQuota, []float64{1, 1.5, 2, 3, 4}},       // times the usual rate of the tenant
	{assay.LeverRegion, []float64{10, 0}},                // percent that the region keeps, 0 stands for 0.001
	{assay.LeverReplicas, []float64{1.05, 1.2, 1.5, 2}},  // times what the coming load needs
	{assay.LeverClass, []float64{50, 20, 1}},             // percent of what is not critical
	{assay.LeverConcurrency, []float64{1.05, 1.5, 3}},    // times the workers
	{assay.LeverRateLimit, []float64{1.08, 1, 0.9, 0.7}}, // times what the service manages
	{assay.LeverCostClass, []float64{1}},
	{assay.LeverSpend, []float64{1}},
}

// oracle finds the schedule with the least loss for a seed.
func (p *Prepared) oracle(ctx context.Context, seed uint64) (Run, error) {
	best, rates, err := p.foresee(ctx, seed)
	if err != nil {
		return Run{}, err
	}
	chosen := choice{}
	for _, g := range slices.Concat(grades, grades) { // the second time beside what the first chose
		if l := p.scenario.Spec.Oracle.Levers; len(l) > 0 && !slices.Contains(l, g.lever) {
			continue
		}
		keep := chosen[g.lever]
		for _, grade := range append(slices.Clone(g.tried), -1) {
			if chosen[g.lever] = max(grade, 0.001); grade < 0 {
				chosen[g.lever] = 0
			}
			r, err := p.hindsight(ctx, seed, chosen, rates)
			if err != nil {
				return Run{}, err
			}
			if r.Loss < best.Loss {
				best, keep = r, chosen[g.lever]
			}
		}
		chosen[g.lever] = keep
	}
	return best, nil
}

// foresee runs the world untouched and remembers what arrives.
func (p *Prepared) foresee(ctx context.Context, seed uint64) (Run, map[string][]float64, error) {
	w, err := simtest.New(p.scenario.world(seed))
	if err != nil {
		return Run{}, nil, err
	}
	m := &memory{rates: map[string][]float64{}}
	r, err := p.turn(ctx, w, []hand{m}, 0, seed, nil)
	return r, m.rates, err
}

// memory keeps the rates of a run, a value for each tick.
type memory struct{ rates map[string][]float64 }

func (m *memory) see(s sight) error {
	for at, rate := range s.world.Foresight() {
		m.rates[at] = append(m.rates[at], rate)
	}
	return nil
}
func (m *memory) look(sight) ([]wish, error)                         { return nil, nil }
func (m *memory) done(assay.Action, float64, error, time.Time) error { return nil }

func (p *Prepared) hindsight(ctx context.Context, seed uint64, c choice, rates map[string][]float64) (Run, error) {
	w, err := simtest.New(p.scenario.world(seed))
	if err != nil {
		return Run{}, err
	}
	return p.turn(ctx, w, []hand{&knowing{choice: c, rates: rates, config: p.scenario.Spec.World, rest: map[string]assay.Action{}}}, 0, seed, nil)
}

// knowing follows a schedule with what it knows.
type knowing struct {
	choice choice
	rates  map[string][]float64
	config simtest.Config
	tick   int
	rest   map[string]assay.Action // moved levers, as they stood before
}

func (k *knowing) see(sight) error { return nil }

func (k *knowing) done(assay.Action, float64, error, time.Time) error { return nil }

func (k *knowing) look(s sight) (out []wish, err error) {
	k.tick++
	wants := map[string]assay.Action{}
	for _, f := range s.world.Active() {
		for _, a := range k.answer(f) {
			wants[a.Service+" "+a.Target()+" "+a.Version] = a
		}
	}
	for _, service := range k.config.Services {
		for _, a := range k.serve(s.world, service) {
			wants[a.Service+" "+a.Target()+" "+a.Version] = a
		}
	}
	for _, key := range sortedKeys(wants) {
		a := wants[key]
		now, _ := s.world.Standing(a.Service, a.Lever, or(a.Version, a.Scope))
		if _, known := k.rest[key]; !known {
			was := a
			was.Want = now
			k.rest[key] = was
		}
		if now != a.Want {
			out = append(out, wish{a, ""})
		}
	}
	return append(out, k.giveBack(s.world, wants)...), nil
}

// giveBack returns levers to where they stood once their fault is over.
func (k *knowing) giveBack(w *simtest.World, wants map[string]assay.Action) (out []wish) {
	for _, key := range sortedKeys(k.rest) {
		if _, wanted := wants[key]; wanted {
			continue
		}
		a := k.rest[key]
		delete(k.rest, key)
		if now, _ := w.Standing(a.Service, a.Lever, or(a.Version, a.Scope)); now != a.Want {
			out = append(out, wish{a, ""})
		}
	}
	return out
}

func (k *knowing) adjust(lever assay.Lever, service, scope string, want float64) assay.Action {
	a := assay.Action{Kind: assay.ActionAdjust, Service: service, Lever: lever, Scope: scope, Want: want}
	if lever == assay.LeverShare {
		a.Version, a.Scope = scope, ""
	}
	return a
}

// answer is what a schedule does about a fault while it is on.
func (k *knowing) answer(f simtest.Fault) (out []assay.Action) {
	switch f.Kind {
	case simtest.BadDeploy:
		if k.choice[assay.LeverShare] > 0 && f.Version != "" && len(k.service(f.Service).Versions) > 1 {
			out = append(out, k.adjust(assay.LeverShare, f.Service, f.Version, 0))
		}
	case simtest.RegionDown:
		if keep := k.choice[assay.LeverRegion]; keep > 0 && len(k.config.Regions) > 1 {
			for _, s := range k.config.Services {
				if f.Service == "" || f.Service == s.Name {
					out = append(out, k.adjust(assay.LeverRegion, s.Name, f.Region, math.Floor(keep)))
				}
			}
		}
	case simtest.NoisyTenant:
		if times := k.choice[assay.LeverQuota]; times > 0 {
			out = append(out, k.adjust(assay.LeverQuota, f.Service, f.Tenant, times*k.usual(f)))
		}
	case simtest.Attack:
		if k.choice[assay.LeverQuarantine] > 0 {
			out = append(out, k.adjust(assay.LeverQuarantine, f.Service, simtest.Attacker, 1))
		}
	}
	return out
}

// usual is the rate of a tenant without the fault.
func (k *knowing) usual(f simtest.Fault) (rate float64) {
	s := k.service(f.Service)
	sum, mine := 0.0, 0.0
	for _, flow := range s.Flows {
		sum += flow.Share
		if flow.Tenant == f.Tenant {
			mine += flow.Share
		}
	}
	if sum == 0 {
		return 0
	}
	return s.Traffic.Rate * mine / sum
}

func (k *knowing) service(name string) simtest.Service {
	for _, s := range k.config.Services {
		if s.Name == name {
			return s
		}
	}
	return simtest.Service{}
}

// serve is what a schedule does for a service at all times.
func (k *knowing) serve(w *simtest.World, s simtest.Service) (out []assay.Action) {
	s = s.Complete()
	one := float64(s.Workers) / s.Work.D().Seconds() // a replica manages
	rates := k.rates[s.Name]
	coming := 0.0
	ahead := k.tick + int(s.StartUp.D()/w.Tick()) + 3
	for i := min(k.tick, len(rates)); i < min(ahead, len(rates)); i++ {
		coming = max(coming, rates[i])
	}
	replicas, _ := w.Standing(s.Name, assay.LeverReplicas, "")
	manages := one * replicas
	for _, c := range s.Calls {
		for _, d := range k.config.Databases {
			if d.Name == c.To {
				manages = min(manages, 0.9*d.Capacity/c.Times)
			}
		}
	}
	over := coming > 0.95*manages || len(w.Active()) > 0
	if times := k.choice[assay.LeverReplicas]; times > 0 && coming > 0 {
		out = append(out, k.adjust(assay.LeverReplicas, s.Name, "", min(float64(s.Max), math.Ceil(times*coming/one))))
	}
	if times := k.choice[assay.LeverConcurrency]; times > 0 && over {
		out = append(out, k.adjust(assay.LeverConcurrency, s.Name, "", math.Ceil(times*min(replicas*float64(s.Workers), 2*manages*s.Work.D().Seconds()))))
	}
	if times := k.choice[assay.LeverRateLimit]; times > 0 && over {
		out = append(out, k.adjust(assay.LeverRateLimit, s.Name, "", times*manages))
	}
	if k.choice[assay.LeverSpend] > 0 && s.SpendCap > 0 {
		out = append(out, k.adjust(assay.LeverSpend, s.Name, "", s.SpendCap))
	}
	for i, f := range s.Flows {
		if f.Critical || slices.ContainsFunc(s.Flows[:i], func(o simtest.Flow) bool { return o.Class == f.Class }) {
			continue
		}
		if percent := k.choice[assay.LeverClass]; percent > 0 && over {
			out = append(out, k.adjust(assay.LeverClass, s.Name, f.Class, math.Floor(percent)))
		}
		if k.choice[assay.LeverCostClass] > 0 && (over || s.Price.Cheap > 0) {
			out = append(out, k.adjust(assay.LeverCostClass, s.Name, f.Class, 1))
		}
	}
	return out
}
