package simtest

import (
	"slices"

	"assay.dev/assay"
)

// door is what is let in, as levers set it. 0 is no limit where a limit is meant.
type door struct {
	rate        float64            // requests a second
	concurrency float64            // requests inside at once
	class       map[string]float64 // percent that is let in
	scoped      map[string]float64 // requests a second, by class
	quota       map[string]float64 // requests a second, by tenant
	quarantine  map[string]bool    // tenants and classes that are cut off
	cheap       map[string]float64 // classes that get the cheaper class, share
	spend       float64            // a day
}

func newDoor(s Service) door {
	return door{
		rate: s.RateLimit, concurrency: s.Concurrency, spend: s.SpendCap,
		class: map[string]float64{}, scoped: map[string]float64{}, quota: map[string]float64{}, quarantine: map[string]bool{}, cheap: map[string]float64{},
	}
}

// Apply moves a lever and returns where it really stands then: a request for more
// than there is gets what there is. Levers that limit (rate-limit, concurrency,
// tenant-quota, spend) take 0 for "no limit". A Scope that names no class, tenant or
// region of the service is refused with CodeNotFound. CodeUnavailable is what an
// ExecutorFailure gives, and then nothing moved.
func (w *World) Apply(a assay.Action) (float64, error) {
	if !a.Kind.Changes() {
		return 0, nil
	}
	failed := false
	w.each(ExecutorFailure, func(f Fault) {
		failed = failed || w.executor.Float64() < f.Share
	})
	if failed {
		return 0, assay.Errorf(assay.CodeUnavailable, "the executor of %s does not answer", clip(a.Service))
	}
	if d := w.database(a.Service); d != nil {
		return d.move(a)
	}
	s := w.named[a.Service]
	if s == nil {
		return 0, assay.Errorf(assay.CodeNotFound, "the world has no service %q", clip(a.Service))
	}
	if !(a.Want >= 0 && a.Want <= 1e12) {
		return 0, invalid("%s of %s cannot be %v", a.Lever, clip(a.Service), a.Want)
	}
	switch a.Lever {
	case "", assay.LeverShare:
		return s.shift(a)
	case assay.LeverReplicas:
		return w.scale(s, a)
	case assay.LeverRegion:
		return s.divert(w, a)
	}
	return s.turnDoor(a)
}

// Release gives a version a share as a deployment does, which no executor fault stops.
func (w *World) Release(a assay.Action) (float64, error) {
	s := w.named[a.Service]
	if s == nil {
		return 0, assay.Errorf(assay.CodeNotFound, "the world has no service %q", clip(a.Service))
	}
	return s.shift(a)
}

// turnDoor moves a lever of the door.
func (s *service) turnDoor(a assay.Action) (float64, error) {
	set := func(m map[string]float64, known func(Flow) string) (float64, error) {
		if !slices.ContainsFunc(s.Flows, func(f Flow) bool { return known(f) == a.Scope }) {
			return 0, assay.Errorf(assay.CodeNotFound, "service %s has no %s %q", clip(s.Name), a.Lever, clip(a.Scope))
		}
		m[a.Scope] = a.Want
		return a.Want, nil
	}
	class := func(f Flow) string { return f.Class }
	tenant := func(f Flow) string { return f.Tenant }
	switch a.Lever {
	case assay.LeverRateLimit:
		if a.Scope != "" {
			return set(s.door.scoped, class)
		}
		s.door.rate = a.Want
	case assay.LeverConcurrency:
		s.door.concurrency = a.Want
	case assay.LeverSpend:
		s.door.spend = a.Want
	case assay.LeverClass:
		a.Want = min(a.Want, 100)
		return set(s.door.class, class)
	case assay.LeverQuota:
		return set(s.door.quota, tenant)
	case assay.LeverCostClass:
		a.Want = min(a.Want, 1)
		return set(s.door.cheap, class)
	case assay.LeverQuarantine:
		if !slices.ContainsFunc(s.Flows, func(f Flow) bool { return f.Class == a.Scope || f.Tenant == a.Scope }) {
			return 0, assay.Errorf(assay.CodeNotFound, "service %s has no tenant or class %q", clip(s.Name), clip(a.Scope))
		}
		s.door.quarantine[a.Scope] = a.Want > 0
	default:
		return 0, invalid("the world has no lever %q", clip(string(a.Lever)))
	}
	return a.Want, nil
}

// shift gives a version a share; the others keep their proportions.
func (s *service) shift(a assay.Action) (float64, error) {
	want := a.Want
	if a.Lever == "" {
		want = float64(a.Weight)
	}
	i := slices.IndexFunc(s.Versions, func(v Version) bool { return v.Name == a.Version })
	if i < 0 || want > 100 {
		return 0, assay.Errorf(assay.CodeNotFound, "service %s has no version %q that could have %v %%", clip(s.Name), clip(a.Version), want)
	}
	rescale(s.share, i, want)
	return want, nil
}

// rescale sets part i of percents to want; the others fill 100 in proportion, or
// equally if they had nothing.
func rescale(parts []float64, i int, want float64) {
	rest := 100 - parts[i]
	for j := range parts {
		switch {
		case j == i:
		case rest > 0:
			parts[j] *= (100 - want) / rest
		default:
			parts[j] = (100 - want) / float64(len(parts)-1)
		}
	}
	parts[i] = want
	if len(parts) == 1 {
		parts[i] = 100
	}
}

func (s *service) divert(w *World, a assay.Action) (float64, error) {
	i := slices.IndexFunc(w.regions, func(r Region) bool { return r.Name == a.Scope })
	if i < 0 || a.Want > 100 {
		return 0, assay.Errorf(assay.CodeNotFound, "there is no region %q that could have %v %%", clip(a.Scope), a.Want)
	}
	rescale(s.region, i, a.Want)
	return s.region[i], nil
}

// scale asks for replicas: of one region, or of all by their shares of the traffic.
func (w *World) scale(s *service, a assay.Action) (float64, error) {
	others := 0
	var cells []*cell
	for _, c := range s.cells {
		if a.Scope == "" || w.regions[c.region].Name == a.Scope {
			cells = append(cells, c)
		} else {
			others += c.replicas()
		}
	}
	if len(cells) == 0 {
		return 0, assay.Errorf(assay.CodeNotFound, "there is no region %q", clip(a.Scope))
	}
	want := min(int(a.Want+0.5), max(0, s.Max-others))
	shares := make([]float64, len(cells))
	for i, c := range cells {
		shares[i] = s.region[c.region]
	}
	if len(cells) == 1 {
		shares[0] = 1
	}
	for i, n := range apportion(want, shares, nil) {
		cells[i].resize(n, start{at: w.now.Add(s.StartUp.D())})
	}
	return float64(want), nil
}

// replicas are those that run and those that start.
func (c *cell) replicas() int {
	n := c.ready
	for _, s := range c.starting {
		n += s.n
	}
	return n
}

// resize starts replicas, or ends some: those that are still starting first.
func (c *cell) resize(want int, as start) {
	have := c.replicas()
	if as.n = want - have; as.n > 0 {
		c.starting = append(c.starting, as)
		return
	}
	for less := have - want; less > 0; {
		last := len(c.starting) - 1
		if last < 0 {
			c.ready -= less
			return
		}
		n := min(less, c.starting[last].n)
		c.starting[last].n -= n
		less -= n
		if c.starting[last].n == 0 {
			c.starting = c.starting[:last]
		}
	}
}

// mature counts replicas as ready whose time has come.
func (c *cell) mature(w *World) {
	left := c.starting[:0]
	for _, s := range c.starting {
		if s.at.After(w.now) {
			left = append(left, s)
		} else {
			c.ready += s.n
		}
	}
	c.starting = left
}

func (w *World) database(name string) *database {
	for _, d := range w.databases {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// move sets how many days a database keeps, or its replicas.
func (d *database) move(a assay.Action) (float64, error) {
	switch {
	case !(a.Want > 0 && a.Want <= MaxReplicas):
		return 0, invalid("%s of database %s cannot be %v", a.Lever, clip(d.Name), a.Want)
	case a.Lever == assay.LeverRetention:
		d.Retention = a.Want
		return a.Want, nil
	case a.Lever == assay.LeverReplicas:
		d.Replicas = int(a.Want)
		return float64(d.Replicas), nil
	}
	return 0, invalid("database %s has no lever %q", clip(d.Name), clip(string(a.Lever)))
}

// Standing is where a lever stands; 0 for a limit that is not set, and false for one
// that the world does not have.
func (w *World) Standing(service string, lever assay.Lever, scope string) (float64, bool) {
	s := w.named[service]
	if s == nil {
		d := w.database(service)
		switch {
		case d == nil:
		case lever == assay.LeverRetention:
			return d.Retention, true
		case lever == assay.LeverReplicas:
			return float64(d.Replicas), true
		}
		return 0, false
	}
	switch lever {
	case assay.LeverReplicas:
		n := 0
		for _, c := range s.cells {
			if scope == "" || w.regions[c.region].Name == scope {
				n += c.replicas()
			}
		}
		return float64(n), true
	case assay.LeverShare, "":
		i := slices.IndexFunc(s.Versions, func(v Version) bool { return v.Name == scope })
		return at(s.share, i)
	case assay.LeverRegion:
		i := slices.IndexFunc(w.regions, func(r Region) bool { return r.Name == scope })
		return at(s.region, i)
	}
	return s.door.standing(lever, scope)
}

func at(list []float64, i int) (float64, bool) {
	if i < 0 {
		return 0, false
	}
	return list[i], true
}

func (d door) standing(lever assay.Lever, scope string) (float64, bool) {
	switch lever {
	case assay.LeverRateLimit:
		if scope != "" {
			return d.scoped[scope], true
		}
		return d.rate, true
	case assay.LeverConcurrency:
		return d.concurrency, true
	case assay.LeverSpend:
		return d.spend, true
	case assay.LeverClass:
		if v, ok := d.class[scope]; ok {
			return v, true
		}
		return 100, true
	case assay.LeverQuota:
		return d.quota[scope], true
	case assay.LeverCostClass:
		return d.cheap[scope], true
	case assay.LeverQuarantine:
		if d.quarantine[scope] {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
