package simulate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
)

// knowing follows a schedule with what it knows.
type knowing struct {
	choice choice
	rates  map[string][]float64
	config simtest.Config
	tick   int
	cap    float64                 // of a day's spend, 0 without one
	rest   map[string]assay.Action // moved levers, as they stood before
}

func (k *knowing) see(sight) error { return nil }

func (k *knowing) done(assay.Action, float64, error, time.Time) error { return nil }

func (k *knowing) look(s sight) (out []wish, err error) {
	k.tick++
	wants := map[string]assay.Action{}
	on := k.due(s)
	for _, f := range on {
		for _, a := range k.answer(f) {
			wants[a.Service+" "+a.Target()+" "+a.Version] = a
		}
	}
	for _, service := range k.config.Services {
		for _, a := range k.serve(s.world, service, len(on) > 0) {
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
		if k.choice[string(assay.LeverShare)] > 0 && f.Version != "" && len(k.service(f.Service).Versions) > 1 {
			out = append(out, k.adjust(assay.LeverShare, f.Service, f.Version, 0))
		}
	case simtest.RegionDown, simtest.Exhaustion, simtest.Preemption:
		if keep := k.choice[string(assay.LeverRegion)]; keep > 0 && len(k.config.Regions) > 1 {
			for _, s := range k.config.Services {
				if f.Service == "" || f.Service == s.Name {
					out = append(out, k.adjust(assay.LeverRegion, s.Name, f.Region, math.Floor(keep)))
				}
			}
		}
	case simtest.NoisyTenant:
		if times := k.choice[string(assay.LeverQuota)]; times > 0 {
			out = append(out, k.adjust(assay.LeverQuota, f.Service, f.Tenant, times*k.usual(f)))
		}
	case simtest.Attack:
		if k.choice[string(assay.LeverQuarantine)] > 0 {
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
func (k *knowing) serve(w *simtest.World, s simtest.Service, fault bool) (out []assay.Action) {
	s = s.Complete()
	coming, next := k.coming(w, s)
	manages := k.manages(w, s)
	over := coming > 0.95*manages || fault
	if times := k.choice[string(assay.LeverReplicas)]; times > 0 && coming > 0 {
		one := float64(s.Workers) / s.Work.D().Seconds() // a replica manages
		out = append(out, k.adjust(assay.LeverReplicas, s.Name, "", min(float64(s.Max), math.Ceil(times*coming/one))))
	}
	if times := k.choice[string(assay.LeverConcurrency)]; times > 0 && over {
		replicas, _ := w.Standing(s.Name, assay.LeverReplicas, "")
		out = append(out, k.adjust(assay.LeverConcurrency, s.Name, "", math.Ceil(times*min(replicas*float64(s.Workers), 2*manages*s.Work.D().Seconds()))))
	}
	if times := k.choice[string(assay.LeverRateLimit)]; times > 0 && over {
		out = append(out, k.adjust(assay.LeverRateLimit, s.Name, "", times*manages))
	}
	if times := k.choice[string(assay.LeverSpend)]; times > 0 && k.cap > 0 {
		out = append(out, k.adjust(assay.LeverSpend, s.Name, "", times*k.cap))
	}
	if times := k.choice[string(assay.LeverClass)]; times > 0 && over {
		out = append(out, k.admit(s, next, times*manages)...)
	}
	if k.choice[string(assay.LeverCostClass)] > 0 && s.Price.Cheap > 0 {
		for _, class := range classesOf(s) {
			out = append(out, k.adjust(assay.LeverCostClass, s.Name, class, 1))
		}
	}
	return out
}

// coming is the greatest load while a replica that is asked for now starts, and the load
// of the next tick.
func (k *knowing) coming(w *simtest.World, s simtest.Service) (most, next float64) {
	rates := k.rates[s.Name]
	ahead := k.tick + int(s.StartUp.D()/w.Tick()) + 3
	for i := min(k.tick, len(rates)); i < min(ahead, len(rates)); i++ {
		most = max(most, rates[i])
	}
	return most, rates[min(k.tick, len(rates)-1)]
}

// manages is how many requests a second the service can answer now.
func (k *knowing) manages(w *simtest.World, s simtest.Service) float64 {
	replicas, _ := w.Standing(s.Name, assay.LeverReplicas, "")
	busy, most := s.Work.D().Seconds(), math.Inf(1)
	for _, c := range s.Calls {
		for _, d := range k.config.Databases {
			if d.Name != c.To {
				continue
			}
			most = min(most, 0.9*d.Capacity*float64(max(1, d.Replicas))/c.Times)
			slow := 1.0
			for _, f := range w.Active() {
				if f.Kind == simtest.DependencySlow && f.Target == d.Name {
					slow *= f.Factor
				}
			}
			busy += c.Times * 1.4 * d.Latency.D().Seconds() * slow // a database that is used a little
		}
	}
	return min(most, replicas*float64(s.Workers)/busy)
}

// admit lets classes in by importance until what is managed is used up.
func (k *knowing) admit(s simtest.Service, load, room float64) (out []assay.Action) {
	sum := 0.0
	for _, f := range s.Flows {
		sum += f.Share
	}
	flows := slices.Clone(s.Flows)
	slices.SortStableFunc(flows, func(a, b simtest.Flow) int { return cmp.Compare(b.Weight, a.Weight) })
	for _, f := range flows {
		if f.Critical {
			room -= load * f.Share / sum
		}
	}
	for _, f := range flows {
		if f.Critical || f.Class == "" {
			continue
		}
		rate := load * f.Share / sum
		percent := 100.0
		if rate > 0 {
			percent = 100 * min(max(room/rate, 0), 1)
		}
		room = max(0, room-rate)
		out = append(out, k.adjust(assay.LeverClass, s.Name, f.Class, math.Floor(percent)))
	}
	return out
}

// classesOf are the classes of a service that are not critical.
func classesOf(s simtest.Service) (out []string) {
	for _, f := range s.Flows {
		if !f.Critical && f.Class != "" && !slices.Contains(out, f.Class) {
			out = append(out, f.Class)
		}
	}
	return out
}

// due are the faults that a schedule answers now: from lead before they begin until
// linger after they end.
func (k *knowing) due(s sight) (out []simtest.Fault) {
	tick := s.world.Tick()
	lead, linger := time.Duration(k.choice[leadDial])*tick, time.Duration(k.choice[lingerDial])*tick
	for i, f := range k.config.Faults {
		if s.world.Near(i, lead, linger) {
			out = append(out, f)
		}
	}
	return out
}
