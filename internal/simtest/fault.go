package simtest

import "time"

// fault is a Fault whose times are known.
type fault struct {
	Fault
	from    time.Time
	forever bool
	used    float64 // of what an Exhaustion uses up
	pace    float64 // of used, an hour
}

func (f *fault) active(now time.Time) bool { return f.near(now, 0, 0) }

// near reports whether the fault is on, begins within lead or ended less than linger ago.
func (f *fault) near(now time.Time, lead, linger time.Duration) bool {
	since := now.Sub(f.from)
	if f.Every > 0 && since >= 0 {
		since %= f.Every.D()
		if since+lead >= f.Every.D() && lead > 0 {
			return true
		}
	}
	return since >= -lead && (f.forever || since < f.For.D()+linger)
}

// Near reports whether a fault of Config is on, begins within lead or ended less than linger
// ago, known to the world and to the oracle only.
func (w *World) Near(i int, lead, linger time.Duration) bool {
	return w.faults[i].near(w.now, lead, linger)
}

// each calls fn for the faults of a kind that are active.
func (w *World) each(kind FaultKind, fn func(Fault)) {
	for _, f := range w.on {
		if f.Kind == kind {
			fn(f)
		}
	}
}

// Active are the faults that are on now, in the order of Config.
func (w *World) Active() []Fault { return w.on }

// setActive finds the faults that are on when the clock has moved.
func (w *World) setActive() {
	w.on = nil
	for i := range w.faults {
		if f := &w.faults[i]; f.active(w.now) {
			w.on = append(w.on, f.Fault)
		}
	}
}

// Began is when a fault of Config starts, known to the world and to the scorer only.
func (w *World) Began(i int) time.Time { return w.faults[i].from }

// troubled is what faults do to a version in a region: the share of answers that
// fail because of them, and how many times slower it works.
func (w *World) troubled(s *service, version, region string) (fails, slow float64) {
	good := 1.0
	slow = 1
	hit := func(f Fault) {
		good *= 1 - f.Share
		if f.Factor > 0 {
			slow *= f.Factor
		}
	}
	w.each(BadDeploy, func(f Fault) {
		if f.Service == s.Name && (f.Version == "" || f.Version == version) && (f.Region == "" || f.Region == region) {
			hit(f)
		}
	})
	w.each(RegionDown, func(f Fault) {
		if f.Region == region && (f.Service == "" || f.Service == s.Name) {
			hit(f)
		}
	})
	for i := range w.faults {
		if f := &w.faults[i]; f.Region == region && (f.Service == "" || f.Service == s.Name) && w.out(f) {
			hit(f.Fault)
		}
	}
	return 1 - good, slow
}

// slowdown is how many times slower a service or database is for its callers.
func (w *World) slowdown(name string) float64 {
	slow := 1.0
	w.each(DependencySlow, func(f Fault) {
		if f.Target == name && f.Factor > 0 {
			slow *= f.Factor
		}
	})
	return slow
}

// crash kills replicas where a Crash is on, once every StartUp.
func (w *World) crash(s *service, c *cell) {
	w.each(Crash, func(f Fault) {
		if f.Service != s.Name || f.Region != "" && f.Region != w.regions[c.region].Name {
			return
		}
		every := max(1, int(s.StartUp.D()/w.tick))
		at := int(w.now.Sub(w.config.Start) / w.tick)
		if c.lossTick > 0 && at-c.lossTick < every {
			return
		}
		c.lossTick = at
		if n := int(float64(c.ready)*f.Share + 0.5); n > 0 {
			c.ready -= n
			c.starting = append(c.starting, start{w.now.Add(s.StartUp.D()), n})
		}
	})
}

// FaultKinds are the names of all kinds of faults.
func FaultKinds() (out []string) {
	for _, k := range faultKinds {
		out = append(out, string(k))
	}
	return out
}
