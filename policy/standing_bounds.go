package policy

import (
	"slices"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// under gives the path of a law's fields.
func under(law string) func(...string) []string {
	return func(field ...string) []string { return append([]string{"spec", law}, field...) }
}

// checkCapacity checks the laws about capacity and money.
func (s StrategySpec) checkCapacity(d strict.Document) error {
	switch {
	case s.Scale != nil:
		return s.Scale.check(d, under("scale"))
	case s.Stabilise != nil:
		at := under("stabilise")
		if !slices.ContainsFunc(s.Signals, func(x StrategySignal) bool { return x.Name == "recommended" }) {
			if err := positive(d, at("target"), s.Stabilise.Target); err != nil {
				return err
			}
		}
		return replicaBounds(d, at, s.Stabilise.Min, s.Stabilise.Max)
	case s.Tiers != nil:
		return s.Tiers.check(d, under("tiers"))
	case s.Cost != nil:
		return s.Cost.check(d, under("cost"))
	case s.Data != nil:
		l, at := s.Data, under("data")
		if l.MinReplicas < 1 || l.MaxReplicas < l.MinReplicas {
			return d.Errorf(at("maxReplicas"), "is %d for a minReplicas of %d; expected 1 ≤ minReplicas ≤ maxReplicas", l.MaxReplicas, l.MinReplicas)
		}
		if !(l.MinRetention > 0 && l.MinRetention <= l.MaxRetention && l.MaxRetention <= 36500) {
			return d.Errorf(at("maxRetention"), "is %v for a minRetention of %v; expected 0 < minRetention ≤ maxRetention", l.MaxRetention, l.MinRetention)
		}
		return firstError(between(d, at("diskTarget"), l.DiskTarget, 0.1, 0.95), durations(d, at, map[string]Duration{"horizon": l.Horizon}))
	}
	return nil
}

func (l ScaleLaw) check(d strict.Document, at func(...string) []string) error {
	if err := firstError(
		positive(d, at("perReplica"), l.PerReplica), between(d, at("target"), l.Target, 0.1, 1),
		replicaBounds(d, at, l.Min, l.Max), durations(d, at, map[string]Duration{"lead": l.Lead}),
	); err != nil {
		return err
	}
	if l.Lead.Value() > 6*time.Hour {
		return d.Errorf(at("lead"), "%q is longer than 6h", l.Lead)
	}
	if (l.CostReplica > 0) != (l.CostViolation > 0) || l.CostReplica < 0 {
		return d.Errorf(at("costReplica"), "is %v for a costViolation of %v; give both above 0, or none", l.CostReplica, l.CostViolation)
	}
	if l.CostReplica > 0 && l.CostReplica >= l.CostViolation*l.PerReplica {
		return d.Errorf(at("costReplica"), "is %v, and all that a replica serves is worth %v: nothing would ever be worth running", l.CostReplica, l.CostViolation*l.PerReplica)
	}
	if f := l.Forecast; f != nil {
		in := func(field ...string) []string { return append(at("forecast"), field...) }
		if err := durations(d, in, map[string]Duration{"step": f.Step, "past": f.Past}); err != nil {
			return err
		}
		if steps := f.Past.Value() / max(f.Step.Value(), 1); steps < 100 || steps > 200_000 {
			return d.Errorf(in("past"), "is %d steps of %s; expected 100 to 200000", steps, f.Step)
		}
		if _, err := time.LoadLocation(f.Zone); err != nil {
			return d.Errorf(in("zone"), "%q is not an IANA time zone such as Europe/Vienna", f.Zone)
		}
		if err := f.checkSeasons(d, in); err != nil {
			return err
		}
	}
	return l.checkEvents(d, at)
}

// minSeason is how many steps a declared season has at least: a curve of fewer points is none.
const minSeason = 24

// checkSeasons refuses seasons that a forecast in steps cannot have, or cannot have learnt.
func (f ForecastSpec) checkSeasons(d strict.Document, in func(...string) []string) error {
	if len(f.Seasons) > len(f.Cycles()) {
		return d.Errorf(in("seasons"), "has %d entries; at most %d are learnt at once", len(f.Seasons), len(f.Cycles()))
	}
	shorter, step := time.Duration(0), f.Step.Value()
	for i, s := range f.Seasons {
		at := in("seasons", strconv.Itoa(i))
		if err := durations(d, func(...string) []string { return at }, map[string]Duration{"": s}); err != nil {
			return err
		}
		switch length := s.Value(); {
		case length%step != 0 || length < minSeason*step:
			return d.Errorf(at, "%q is no whole number of steps of %s, or fewer than %d of them", s, f.Step, minSeason)
		case length <= shorter:
			return d.Errorf(at, "%q is not longer than the season before it: the shorter comes first", s)
		case i == 0 && f.Past.Value() < 2*length:
			return d.Errorf(at, "%q is seen less than twice in a past of %s", s, f.Past)
		default:
			shorter = length
		}
	}
	return nil
}

func (l ScaleLaw) checkEvents(d strict.Document, at func(...string) []string) error {
	if len(l.Events) > MaxEvents {
		return d.Errorf(at("events"), "has %d entries; at most %d are kept", len(l.Events), MaxEvents)
	}
	for i, e := range l.Events {
		in := func(field string) []string { return append(at("events"), strconv.Itoa(i), field) }
		start, err := time.Parse(time.RFC3339, e.Start)
		if err != nil {
			return d.Errorf(in("start"), "%q is not a time such as 2026-11-27T00:00:00Z", e.Start)
		}
		end, err := time.Parse(time.RFC3339, e.End)
		switch {
		case err != nil:
			return d.Errorf(in("end"), "%q is not a time such as 2026-11-27T23:00:00Z", e.End)
		case !end.After(start):
			return d.Errorf(in("end"), "%q is not after the start", e.End)
		case e.Name == "":
			return d.Errorf(in("name"), "is missing")
		case !(e.Factor >= 1 && e.Factor <= 1000):
			return d.Errorf(in("factor"), "is %v; expected 1 to 1000: an event is more load", e.Factor)
		}
	}
	return nil
}

func (l TiersLaw) check(d strict.Document, at func(...string) []string) error {
	var names, classes []string
	for i, c := range l.Classes {
		classes = append(classes, c.Name)
		if !(c.Cost >= 0) || i > 0 && c.Cost >= l.Classes[i-1].Cost {
			return d.Errorf(append(at("classes"), strconv.Itoa(i), "cost"), "is %v; expected the dearest class first, and each after it cheaper", c.Cost)
		}
	}
	for i, t := range l.Tiers {
		names = append(names, t.Name)
		if !(t.Target > 0 && t.Target < 1) {
			return d.Errorf(append(at("tiers"), strconv.Itoa(i), "target"), "is %v; expected a share above 0 and below 1", t.Target)
		}
		if t.Cheapest != "" && !slices.Contains(classes, t.Cheapest) {
			return d.Errorf(append(at("tiers"), strconv.Itoa(i), "cheapest"), "%s", strict.OneOf(t.Cheapest, classes))
		}
	}
	return firstError(named(d, at("classes"), 2, classes), named(d, at("tiers"), 1, names))
}

func (l CostLaw) check(d strict.Document, at func(...string) []string) error {
	var names []string
	essential := 0
	for _, j := range l.Jobs {
		names = append(names, j.Name)
		if j.Essential {
			essential++
		}
	}
	if err := firstError(named(d, at("jobs"), 1, names), positive(d, at("dailyCap"), l.DailyCap), between(d, at("saving"), l.Saving, 0, 0.95)); err != nil {
		return err
	}
	if essential == len(l.Jobs) {
		return d.Errorf(at("jobs"), "are all essential: nothing could be stopped, and the cap could not hold")
	}
	if _, err := time.LoadLocation(l.Zone); err != nil {
		return d.Errorf(at("zone"), "%q is not an IANA time zone such as Europe/Vienna", l.Zone)
	}
	if l.Currency == "" {
		return d.Errorf(at("currency"), "is missing; write for example EUR")
	}
	return nil
}

// checkTraffic checks the laws about what is let in and where it goes.
func (s StrategySpec) checkTraffic(d strict.Document) error {
	switch {
	case s.Throttle != nil:
		return s.checkThrottle(d, under("throttle"))
	case s.Divert != nil:
		return s.Divert.check(d, under("divert"), s.reads)
	case s.Isolate != nil:
		return s.Isolate.check(d, under("isolate"))
	case s.Contain != nil:
		l, at := s.Contain, under("contain")
		if !(l.Below > 0 && l.Below < l.Above && l.Above < 1) {
			return d.Errorf(at("above"), "is %v for a below of %v; expected 0 < below < above < 1: without a gap a source would come and go", l.Above, l.Below)
		}
		return firstError(between(d, at("maxShare"), l.MaxShare, 0, 1), between(d, at("maxSources"), float64(l.MaxSources), 1, 1000),
			durations(d, at, map[string]Duration{"for": l.For, "clear": l.Clear}))
	case s.Rollback != nil:
		l, at := s.Rollback, under("rollback")
		return firstError(between(d, at("margin"), l.Margin, 1.1, 100), between(d, at("minBad"), l.MinBad, 1, 1e6), durations(d, at, map[string]Duration{"within": l.Within}))
	}
	return nil
}

// reads reports whether a signal is declared.
func (s StrategySpec) reads(name string) bool {
	return slices.ContainsFunc(s.Signals, func(x StrategySignal) bool { return x.Name == name })
}

func (s StrategySpec) checkThrottle(d strict.Document, at func(...string) []string) error {
	l, reads := s.Throttle, s.reads
	var names []string
	critical := false
	for _, c := range l.Classes {
		names = append(names, c.Name)
		critical = critical || c.Critical
	}
	switch {
	case l.Lever != assay.LeverConcurrency && l.Lever != assay.LeverRateLimit:
		return d.Errorf(at("lever"), "%s", strict.OneOf(string(l.Lever), []string{string(assay.LeverConcurrency), string(assay.LeverRateLimit)}))
	case !(l.Min > 0 && l.Min < l.Max && l.Max < 1e9):
		return d.Errorf(at("max"), "is %v for a min of %v; expected 0 < min < max", l.Max, l.Min)
	case reads("latency") != (l.Latency > 0):
		return d.Errorf(at("latency"), "is %v; the signal latency and its promise go together", l.Latency)
	case reads("queue_age") != (l.QueueAge > 0):
		return d.Errorf(at("queueAge"), "is %v; the signal queue_age and its target go together", l.QueueAge)
	case reads("db_utilisation") != (l.ServiceTime > 0 && l.WaitBudget > 0):
		return d.Errorf(at("waitBudget"), "is %v for a serviceTime of %v; the signal db_utilisation and both go together", l.WaitBudget, l.ServiceTime)
	case l.MaxBacklog < 0 || l.MaxBacklog > 0 && !reads("queue_depth"):
		return d.Errorf(at("maxBacklog"), "is %v; it needs the signal queue_depth", l.MaxBacklog)
	case len(l.Classes) > 0 && !reads("demand"):
		return d.Errorf(at("classes"), "need the signal demand, by class")
	case len(l.Classes) > 0 && l.Lever == assay.LeverConcurrency && !reads("inflight"):
		return d.Errorf(at("classes"), "need the signal inflight: with it alone it can be said how much of the concurrency is left for them")
	case len(l.Classes) > 0 && !critical:
		return d.Errorf(at("classes"), "has no critical class; say which requests are never dropped")
	}
	return firstError(named(d, at("classes"), 0, names), durations(d, at, map[string]Duration{"queueInterval": l.QueueInterval}))
}

func (l DivertLaw) check(d strict.Document, at func(...string) []string, reads func(string) bool) error {
	var names []string
	sum := 0.0
	for i, r := range l.Regions {
		names = append(names, r.Name)
		sum += r.Share
		in := append(at("regions"), strconv.Itoa(i))
		if err := firstError(positive(d, append(slices.Clone(in), "capacity"), r.Capacity), positive(d, append(slices.Clone(in), "share"), r.Share)); err != nil {
			return err
		}
	}
	if err := named(d, at("regions"), 2, names); err != nil {
		return err
	}
	if sum < 99.9 || sum > 100.1 {
		return d.Errorf(at("regions"), "have shares that add up to %v instead of 100", sum)
	}
	for i, s := range l.Steps {
		if s < 1 || s > 100 || i > 0 && s <= l.Steps[i-1] {
			return d.Errorf(append(at("steps"), strconv.Itoa(i)), "is %d; expected percents from 1 to 100 in ascending order", s)
		}
	}
	if l.Probe < 1 || l.Probe > 50 {
		return d.Errorf(at("probe"), "is %d; expected 1 to 50 percent: without any traffic nobody sees the region recover", l.Probe)
	}
	return firstError(between(d, at("maxBad"), l.MaxBad, 1e-6, 0.9), between(d, at("maxProbe"), l.MaxProbe, 0.01, 0.99),
		durations(d, at, map[string]Duration{"verify": l.Verify, "healthy": l.Healthy}), l.checkDrain(d, at, reads))
}

func (l DivertLaw) checkDrain(d strict.Document, at func(...string) []string, reads func(string) bool) error {
	leaving, strain, growth := reads("leaving"), reads("strain"), reads("strain_growth")
	if l.Drain == nil {
		if leaving || strain || growth {
			return d.Errorf(at(), "reads what says that a region will be out of use, and does nothing about it; give drain: {}")
		}
		return nil
	}
	in := func(more ...string) []string { return append(at("drain"), more...) }
	switch {
	case strain != growth:
		return d.Errorf(in(), "needs strain and strain_growth together: when a region breaks down is said by both")
	case !leaving && !strain:
		return d.Errorf(in(), "needs the signal leaving, or strain and strain_growth, by region")
	}
	if err := firstError(durations(d, in, map[string]Duration{"before": l.Drain.Before, "sure": l.Drain.Sure}), between(d, in("return"), l.Drain.Return, 0.01, 0.95)); err != nil {
		return err
	}
	if takes := l.Drain.Sure.Value() + time.Duration(len(l.Steps))*l.Verify.Value(); l.Drain.Before.Value() < takes {
		return d.Errorf(in("before"), "is %s, and to be sure and to take %d steps takes %s; begin earlier, or take fewer steps", l.Drain.Before, len(l.Steps), takes)
	}
	return nil
}

func (l IsolateLaw) check(d strict.Document, at func(...string) []string) error {
	var names []string
	guaranteed := 0.0
	for i, t := range l.Tenants {
		names = append(names, t.Name)
		guaranteed += t.Guarantee
		if !(t.Weight > 0 && t.Guarantee >= 0) {
			return d.Errorf(append(at("tenants"), strconv.Itoa(i), "weight"), "is %v with a guarantee of %v; expected a weight above 0 and a guarantee of at least 0", t.Weight, t.Guarantee)
		}
	}
	if err := firstError(named(d, at("tenants"), 2, names), positive(d, at("capacity"), l.Capacity), between(d, at("factor"), l.Factor, 1, 100), between(d, at("maxSaturation"), l.MaxSaturation, 0.1, 1)); err != nil {
		return err
	}
	if guaranteed > l.Capacity {
		return d.Errorf(at("tenants"), "are guaranteed %v requests/s of a capacity of %v", guaranteed, l.Capacity)
	}
	return nil
}
