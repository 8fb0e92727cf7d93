package simulate

import (
	"math"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/policy"
)

// Windows of what strategies count. A strategy's queries are not read here: its
// signals are what the law means by their names.
const (
	minute  = time.Minute     // rates and latencies
	counted = 5 * time.Minute // bad and total
	hourly  = time.Hour       // good and total of tiers
)

// values appends a signal as the telemetry shows it now; nothing if it shows nothing.
func (h *standing) values(out []mitigate.Value, s sight, decl *policy.StrategySignal) []mitigate.Value {
	service := h.strategy.Spec.Service
	switch decl.By {
	case "":
		if v, ok := h.disk(s, decl.Name); ok {
			return append(out, v)
		}
		return one(out, decl.Name, "", s.past.newest(place{service, ""}, minute), h.whole(s, decl.Name))
	case "region":
		for i := range h.scenario.Spec.World.Regions {
			out = h.region(out, s, decl.Name, h.scenario.Spec.World.Regions[i].Name)
		}
		return out
	case "version":
		by := &h.by[0]
		if s.spare {
			by = &h.by[1]
		}
		return h.version(out, by, decl.Name)
	}
	return h.flows(out, s, decl)
}

// one appends a value of the views it is taken from; their newest says how old and how
// complete it is.
func one(out []mitigate.Value, name, scope string, views []simtest.View, value func([]simtest.View) float64) []mitigate.Value {
	if len(views) == 0 || value == nil {
		return out
	}
	x := value(views)
	if math.IsNaN(x) {
		return out
	}
	last := &views[len(views)-1]
	return append(out, mitigate.Value{Name: name, Scope: scope, Value: x, Time: last.EventTime, Completeness: last.Completeness})
}

// newest are the views of the last window that telemetry shows, however old it is.
func (p *past) newest(at place, window time.Duration) []simtest.View {
	list := p.views[at]
	if len(list) == 0 {
		return nil
	}
	return since(list, list[len(list)-1].End.Add(-window))
}

func span(views []simtest.View) float64 {
	sum := 0.0
	for i := range views {
		sum += views[i].End.Sub(views[i].Start).Seconds()
	}
	return sum
}

func arrivalRate(views []simtest.View) float64 {
	n := 0
	for i := range views {
		n += views[i].Arrived
	}
	return float64(n) / span(views)
}

// p95 is the quantile of the merged histograms.
func p95(views []simtest.View) float64 {
	merged := slices.Clone(views[0].Buckets)
	n := 0
	for i := range views {
		n += views[i].Answered
		for j, b := range views[i].Buckets {
			if i > 0 {
				merged[j].Count += b.Count
			}
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return simtest.Quantile(merged, uint64(n), 0.95)
}

func newestOf(get func(*simtest.View) float64) func([]simtest.View) float64 {
	return func(views []simtest.View) float64 { return get(&views[len(views)-1]) }
}

// whole is how a signal of the whole service is taken.
func (h *standing) whole(s sight, name string) func([]simtest.View) float64 {
	switch name {
	case "load":
		return arrivalRate
	case "latency":
		return p95
	case "errors":
		return func(views []simtest.View) float64 { bad, all := badOf(views); return bad / max(1, all) }
	case "samples":
		return func(views []simtest.View) float64 {
			n := 0
			for i := range views {
				n += views[i].Answered
			}
			return float64(n)
		}
	case "inflight":
		return newestOf(func(v *simtest.View) float64 { return v.InFlight })
	case "queue_depth":
		return newestOf(func(v *simtest.View) float64 { return float64(v.Waiting) })
	case "queue_age":
		return newestOf(func(v *simtest.View) float64 {
			if v.Waiting == 0 {
				return 0
			}
			return float64(v.Waiting) * v.End.Sub(v.Start).Seconds() / max(1, float64(v.Answered))
		})
	case "db_utilisation":
		return newestOf(func(v *simtest.View) float64 { return v.DBUse })
	case "saturation", "metric":
		return newestOf(func(v *simtest.View) float64 { return v.Utilisation })
	case "missing":
		return newestOf(func(v *simtest.View) float64 { return float64(v.Replicas - v.Ready) })
	case "recommended":
		return h.recommended(s)
	case "spent":
		return newestOf(func(v *simtest.View) float64 { return v.Spend })
	}
	return nil
}

// recommended is what an autoscaler without any memory asks for: 70 % utilisation.
func (h *standing) recommended(s sight) func([]simtest.View) float64 {
	return newestOf(func(v *simtest.View) float64 {
		now, _ := s.world.Standing(v.Service, assay.LeverReplicas, "")
		return mitigate.Recommend(now, v.Utilisation, 0.7, float64(v.Replicas-v.Ready))
	})
}

func badOf(views []simtest.View) (bad, all float64) {
	for i := range views {
		flows := views[i].Flows
		for j := range flows {
			bad, all = bad+float64(flows[j].Bad), all+float64(flows[j].Arrived-flows[j].Dropped)
		}
	}
	return bad, max(bad, all)
}

// strainOf is what the platform says of a region; of one that no fault ever strains nothing
// is used up.
func strainOf(s sight, name, region string) mitigate.Value {
	v, of := mitigate.Value{Name: name, Scope: region, Time: s.now, Completeness: 1}, s.past.strains[region]
	switch {
	case name == "strain":
		v.Value = of.Used
	case name == "strain_growth":
		v.Value = of.Growth
	case of.Leaving:
		v.Value = 1
	}
	return v
}

// region appends a signal of one region.
func (h *standing) region(out []mitigate.Value, s sight, name, region string) []mitigate.Value {
	at := place{h.strategy.Spec.Service, region}
	switch name {
	case "leaving", "strain", "strain_growth":
		return append(out, strainOf(s, name, region))
	case "bad":
		return one(out, name, region, s.past.newest(at, minute), func(views []simtest.View) float64 { bad, _ := badOf(views); return bad })
	case "total":
		return one(out, name, region, s.past.newest(at, minute), func(views []simtest.View) float64 { _, all := badOf(views); return all })
	case "probe":
		share, ok := s.past.probe[at]
		if !ok {
			return out
		}
		return append(out, mitigate.Value{Name: name, Scope: region, Value: share, Time: s.now, Completeness: 1})
	}
	return one(out, name, region, s.past.newest(at, minute), h.whole(s, name))
}

// version appends a count of each version.
func (h *standing) version(out []mitigate.Value, by *byVersion, name string) []mitigate.Value {
	for _, v := range h.service.Versions {
		x := mitigate.Value{Name: name, Scope: v.Name, Completeness: 1}
		for i := range by.newest {
			r := &by.newest[i]
			if r.Version != v.Name {
				continue
			}
			n := r.Total
			if name == "bad" {
				n = r.Bad()
			}
			x.Value += float64(n)
			if r.EventTime.After(x.Time) {
				x.Time, x.Completeness = r.EventTime, r.Completeness
			}
		}
		if !x.Time.IsZero() {
			out = append(out, x)
		}
	}
	return out
}

// flows appends a signal by tenant, source, class, tier or job.
func (h *standing) flows(out []mitigate.Value, s sight, decl *policy.StrategySignal) []mitigate.Value {
	of := func(f *simtest.FlowView) string { return f.Class }
	if decl.By == "tenant" || decl.By == "source" {
		of = func(f *simtest.FlowView) string { return f.Tenant }
	}
	window := minute
	if decl.Name == "good" || decl.Name == "total" {
		window = hourly
	}
	views := s.past.newest(place{h.strategy.Spec.Service, ""}, window)
	if len(views) == 0 {
		return out
	}
	var names []string
	for i := range views[0].Flows {
		if n := of(&views[0].Flows[i]); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, name := range names {
		out = one(out, decl.Name, name, views, func(views []simtest.View) float64 {
			return flowSignal(decl.Name, views, func(f *simtest.FlowView) bool { return of(f) == name })
		})
	}
	return out
}

func flowSignal(name string, views []simtest.View, match func(*simtest.FlowView) bool) float64 {
	arrived, bad, dropped, all, cost, looks := 0, 0, 0, 0, 0.0, 0.0
	for i := range views {
		all += views[i].Arrived
		flows := views[i].Flows
		for j := range flows {
			if f := &flows[j]; match(f) {
				arrived, bad, dropped = arrived+f.Arrived, bad+f.Bad, dropped+f.Dropped
				cost += f.Cost
				looks = f.Suspects
			}
		}
	}
	switch name {
	case "demand", "usage", "load":
		return float64(arrived) / span(views)
	case "good":
		return float64(max(0, arrived-bad-dropped))
	case "total":
		return float64(arrived)
	case "bad":
		return float64(bad + dropped)
	case "spend_rate":
		return cost * 3600 / span(views)
	case "anomaly":
		return looks
	case "share":
		return float64(arrived) / max(1, float64(all))
	case "evidence":
		return 1 // traces are kept as soon as a source is seen
	}
	return math.NaN()
}

// disk is a signal of a database.
func (h *standing) disk(s sight, name string) (v mitigate.Value, ok bool) {
	d, known := s.past.disks[h.strategy.Spec.Service]
	if !known {
		return v, false
	}
	v = mitigate.Value{Name: name, Time: d.Time, Completeness: 1}
	switch name {
	case "disk_used":
		v.Value = d.Used
	case "disk_growth":
		v.Value = d.Growth
	case "io_latency":
		v.Value = d.Latency
	case "db_utilisation":
		v.Value = d.Use
	default:
		return v, false
	}
	return v, true
}
