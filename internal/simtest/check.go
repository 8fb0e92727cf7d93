package simtest

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
)

func invalid(format string, args ...any) *assay.Error {
	return assay.Errorf(assay.CodeInvalid, format, args...)
}

// clip shortens what came from outside for a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// fallback is v, or other if v is its type's zero.
func fallback[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.Tick = fallback(c.Tick, Duration(DefaultTick))
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // a Monday
	}
	if len(c.Regions) == 0 {
		c.Regions = []Region{{Share: 100}}
	}
	c.Databases = slices.Clone(c.Databases)
	for i := range c.Databases {
		c.Databases[i].Replicas = max(1, c.Databases[i].Replicas)
	}
	c.Services = slices.Clone(c.Services)
	for i := range c.Services {
		c.Services[i] = c.Services[i].withDefaults()
	}
	return c
}

func (s Service) withDefaults() Service {
	s.Work = fallback(s.Work, Duration(DefaultWork))
	s.Spread = fallback(s.Spread, 0.5)
	s.Workers = fallback(s.Workers, defaultSlots)
	s.Queue = fallback(s.Queue, 1000)
	s.Order = fallback(s.Order, FIFO)
	s.Within = fallback(s.Within, Duration(300*time.Millisecond))
	s.Patience = fallback(s.Patience, Duration(10*time.Second))
	s.StartUp = fallback(s.StartUp, Duration(time.Minute))
	s.Max = fallback(s.Max, MaxReplicas)
	s.Flows = slices.Clone(s.Flows)
	if len(s.Flows) == 0 {
		s.Flows = []Flow{{Share: 1}}
	}
	for i := range s.Flows {
		s.Flows[i].Weight = fallback(s.Flows[i].Weight, 1)
		s.Flows[i].Work = fallback(s.Flows[i].Work, 1)
	}
	s.Versions = slices.Clone(s.Versions)
	if len(s.Versions) == 0 {
		s.Versions = []Version{{Name: "v1", Share: 100}}
	}
	for i := range s.Versions {
		s.Versions[i].Slow = fallback(s.Versions[i].Slow, 1)
		s.Versions[i].Calls = fallback(s.Versions[i].Calls, 1)
	}
	s.Calls = slices.Clone(s.Calls)
	for i := range s.Calls {
		s.Calls[i].Times = fallback(s.Calls[i].Times, 1)
	}
	return s
}

// Complete has the defaults for what was left out.
func (s Service) Complete() Service { return s.withDefaults() }

// Check says what is wrong with a world; CodeInvalid or CodeTooLarge, with the field.
func (c Config) Check() error { return c.withDefaults().check() }

// field puts an error at a field, or its own field below it.
func field(err error, name string) error {
	if e, ok := err.(*assay.Error); ok {
		if e.Field != "" {
			name += "." + e.Field
		}
		e.Field = name
	}
	return err
}

func (c Config) check() error {
	switch {
	case len(c.Services) == 0 || len(c.Services) > MaxServices:
		return field(invalid("a world has 1 to %d services, not %d", MaxServices, len(c.Services)), "services")
	case len(c.Regions) > MaxRegions:
		return field(invalid("%d regions; the limit is %d", len(c.Regions), MaxRegions), "regions")
	case len(c.Faults) > MaxFaults:
		return field(invalid("%d faults; the limit is %d", len(c.Faults), MaxFaults), "faults")
	case c.Tick.D() < 100*time.Millisecond || c.Tick.D() > time.Hour:
		return field(invalid("a tick of %s is not from 100ms to 1h", c.Tick.D()), "tick")
	case c.Start.Year() < 1971 || c.Start.Year() > 2200:
		return field(invalid("the year %d is not from 1971 to 2200", c.Start.Year()), "start")
	}
	sum := 0.0
	for i, r := range c.Regions {
		sum += r.Share
		if !amount(r.Share) || slices.ContainsFunc(c.Regions[:i], func(o Region) bool { return o.Name == r.Name }) {
			return field(invalid("region %q is there twice or has a share of %v", clip(r.Name), r.Share), "regions")
		}
	}
	if math.Abs(sum-100) > 1e-6 {
		return field(invalid("the regions' shares add up to %v instead of 100", sum), "regions")
	}
	names := map[string]bool{}
	for _, d := range c.Databases {
		if d.Name == "" || names[d.Name] || !(d.Capacity > 0 && amount(d.Capacity)) || d.Latency <= 0 || d.Replicas > MaxReplicas || !amounts(d.Disk, d.PerDay, d.Retention, d.Price, d.Growth) {
			return field(invalid("database %q needs a name of its own, a capacity and a latency above 0, and no negative numbers", clip(d.Name)), "databases")
		}
		names[d.Name] = true
	}
	for i, s := range c.Services {
		if s.Name == "" || names[s.Name] {
			return field(invalid("service %q needs a name of its own", clip(s.Name)), "services")
		}
		names[s.Name] = true
		if err := s.check(); err != nil {
			return field(err, "services."+strconv.Itoa(i))
		}
	}
	for i, f := range c.Faults {
		if err := c.checkFault(f); err != nil {
			return field(err, "faults."+strconv.Itoa(i))
		}
	}
	return nil
}

// amount reports whether v is a number that can be counted with.
func amount(v float64) bool { return v >= 0 && v <= 1e12 }

func amounts(list ...float64) bool {
	return !slices.ContainsFunc(list, func(v float64) bool { return !amount(v) })
}

func (s Service) check() error {
	t := s.Traffic
	switch {
	case !amounts(t.Rate, t.Noise, t.Bursts.PerHour, t.Bursts.Factor, t.Peak) || t.Noise > 3 || t.Rate > 1e9:
		return field(invalid("a rate of %v with noise %v is not possible", t.Rate, t.Noise), "traffic")
	case !(t.Day >= 0 && t.Day <= 1) || !(t.Weekend >= 0 && t.Weekend <= 1) || t.Peak >= 24:
		return field(invalid("day and weekend are from 0 to 1, and peak is an hour below 24"), "traffic")
	case slices.ContainsFunc(t.Events, func(e Event) bool { return !amount(e.Factor) }):
		return field(invalid("the factor of an event is not a number"), "traffic.events")
	case s.Replicas < 0 || s.Max < s.Replicas || s.Max > MaxReplicas:
		return field(invalid("%d replicas of at most %d are not possible; the limit is %d", s.Replicas, s.Max, MaxReplicas), "replicas")
	case s.Workers < 1 || s.Workers > 100_000 || s.Queue < 1 || s.Queue > 1e9:
		return field(invalid("%d workers and a queue of %d are not possible", s.Workers, s.Queue), "workers")
	case !(s.Spread > 0 && s.Spread < 4):
		return field(invalid("a spread of %v is not above 0 and below 4", s.Spread), "spread")
	case s.Order != FIFO && s.Order != Priority:
		return field(invalid("%q is not one of fifo, priority", clip(string(s.Order))), "order")
	case len(s.Flows) > MaxFlows || len(s.Versions) > MaxVersions || len(s.Calls) > MaxFlows:
		return field(invalid("more than %d flows or calls, or %d versions", MaxFlows, MaxVersions), "flows")
	case !amounts(s.RateLimit, s.Concurrency, s.SpendCap, s.Price.Replica, s.Price.Request, s.Price.Cheap, s.Price.Penalty, s.Retry.Budget) || !(s.Retry.Share >= 0 && s.Retry.Share <= 1):
		return field(invalid("prices, limits and retries cannot be negative"), "price")
	}
	return s.checkParts()
}

func (s Service) checkParts() error {
	total := 0.0
	for i, f := range s.Flows {
		total += f.Share
		same := func(o Flow) bool { return o.Class == f.Class && o.Tenant == f.Tenant }
		if !amounts(f.Share, f.Weight, f.Work) || f.Class == Attacker || f.Work > 1e6 || slices.ContainsFunc(s.Flows[:i], same) {
			return field(invalid("flow %q of tenant %q is there twice, is called %s, or has a negative number", clip(f.Class), clip(f.Tenant), Attacker), "flows")
		}
	}
	if total <= 0 {
		return field(invalid("the shares of the flows add up to nothing"), "flows")
	}
	sum := 0.0
	for i, v := range s.Versions {
		sum += v.Share
		if v.Name == "" || slices.ContainsFunc(s.Versions[:i], func(o Version) bool { return o.Name == v.Name }) {
			return field(invalid("version %q needs a name of its own", clip(v.Name)), "versions")
		}
		if p := v.Pool; p.Size < 0 || p.Size > MaxPool || (p.Size > 0) != (p.Hold > 0) || p.Hold < 0 {
			return field(invalid("version %q: a pool has a size of 1 to %d and a time above 0s that each is held", clip(v.Name), MaxPool), "versions")
		}
		if !(v.Errors >= 0 && v.Errors <= 1) || !amounts(v.Share, v.Burst, v.Slow) || v.Slow > 1e6 || v.Burst > 1e6 {
			return field(invalid("version %q: errors are from 0 to 1, and nothing is negative", clip(v.Name)), "versions")
		}
		if !(v.Calls > 0 && v.Calls <= 1000) {
			return field(invalid("version %q calls %v times as often as the service", clip(v.Name), v.Calls), "versions")
		}
		if err := v.checkMeasures(); err != nil {
			return field(err, "versions")
		}
	}
	if math.Abs(sum-100) > 1e-6 {
		return field(invalid("the versions' shares add up to %v instead of 100", sum), "versions")
	}
	for _, c := range s.Calls {
		if !(c.Times > 0 && c.Times <= 1000) {
			return field(invalid("%v calls of %q for one request", c.Times, clip(c.To)), "calls")
		}
	}
	return nil
}

// needs says what a kind of fault must name.
var needs = map[FaultKind]struct{ service, target, region, tenant, share, factor, rate, by bool }{
	BadDeploy:       {service: true},
	DependencySlow:  {target: true, factor: true},
	RegionDown:      {region: true},
	Exhaustion:      {region: true, by: true},
	Preemption:      {region: true, by: true},
	NoisyTenant:     {service: true, tenant: true, factor: true},
	Attack:          {service: true, rate: true},
	Crash:           {service: true, share: true},
	TelemetryLag:    {by: true},
	TelemetryLoss:   {share: true},
	ExecutorFailure: {share: true},
	ClockSkew:       {by: true},
}

func (c Config) checkFault(f Fault) error {
	n, ok := needs[f.Kind]
	service := func(s Service) bool { return s.Name == f.Service }
	switch {
	case !ok:
		kinds := make([]string, len(faultKinds))
		for i, k := range faultKinds {
			kinds[i] = string(k)
		}
		return field(invalid("%q is not one of %s", clip(string(f.Kind)), strings.Join(kinds, ", ")), "kind")
	case f.Source != "" && (f.Source != FirstSource || f.Kind != TelemetryLoss):
		return field(invalid("%s: source %q is not %s of a telemetry-loss", f.Kind, clip(f.Source), FirstSource), "source")
	case f.Every > 0 && (f.For == 0 || f.For >= f.Every || (&fault{Fault: f}).lasting()):
		return field(invalid("%s: what comes again every %s is on for less than that, and is none that announces itself", f.Kind, f.Every.D()), "every")
	case n.service && f.Service == "" || f.Service != "" && !slices.ContainsFunc(c.Services, service):
		return field(invalid("%s: there is no service %q", f.Kind, clip(f.Service)), "service")
	case n.target && !c.has(f.Target):
		return field(invalid("%s: there is no service or database %q", f.Kind, clip(f.Target)), "target")
	case (n.region || f.Region != "") && !slices.ContainsFunc(c.Regions, func(r Region) bool { return r.Name == f.Region }):
		return field(invalid("%s: there is no region %q", f.Kind, clip(f.Region)), "region")
	case n.tenant && f.Tenant == "":
		return field(invalid("%s names no tenant", f.Kind), "tenant")
	case !(f.Share >= 0 && f.Share <= 1) || n.share && f.Share == 0:
		return field(invalid("%s: a share of %v is not above 0 and at most 1", f.Kind, f.Share), "share")
	case !amounts(f.Factor, f.Rate) || f.Factor > 1e6 || n.factor && f.Factor == 0 || n.rate && f.Rate == 0 || n.by && f.By == 0:
		return field(invalid("%s needs a factor, a rate or a time above 0", f.Kind), "factor")
	}
	if f.Kind == BadDeploy && f.Version != "" {
		s := c.Services[slices.IndexFunc(c.Services, service)]
		if !slices.ContainsFunc(s.Versions, func(v Version) bool { return v.Name == f.Version }) {
			return field(invalid("service %q has no version %q", clip(f.Service), clip(f.Version)), "version")
		}
	}
	return nil
}

func (c Config) has(name string) bool {
	return slices.ContainsFunc(c.Services, func(s Service) bool { return s.Name == name }) ||
		slices.ContainsFunc(c.Databases, func(d Database) bool { return d.Name == name })
}
